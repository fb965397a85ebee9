// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/self_signed.h"

#include "certgen/check.h"
#include "certgen/error.h"
#include "certgen/pair.h"
#include "certgen/pem.h"
#include "certgen/pin.h"
#include "material.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ADDRESS "203.0.113.1"
#define OTHER "203.0.113.2"
#define SIXTH "2001:db8::1"
#define MADE (NOW - 30 * DAY) // the pair of others: 335 days are left
#define END (MADE + 365L * DAY)

static char folder[FOLDER_BYTES];
static char next_path[PATH_BYTES], old_path[PATH_BYTES];
static struct cert_paths paths;
static struct self_signed_report report;
static char error[CERT_ERROR_BYTES];
static const char *addresses[3] = {ADDRESS};
static size_t count;

static int setup(void **state)
{
    (void)state;
    folder_make(folder);
    snprintf(next_path, sizeof next_path, "%s/" ADDRESS ".next.crt", folder);
    snprintf(old_path, sizeof old_path, "%s/" ADDRESS ".old.crt", folder);
    count = 1;
    return cert_paths_for_host(&paths, folder, ADDRESS, error, sizeof error) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

// As the Go derper makes them.
static void write_pair_of_others(time_t from, time_t until)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = make_cert(
        &(struct spec){.name = ADDRESS, .san = "IP:" ADDRESS, .from = from, .until = until}, key);
    BIO *out = BIO_new(BIO_s_mem());

    PEM_write_bio_PrivateKey_traditional(out, key, NULL, NULL, 0, NULL, NULL);
    file_write_bio(folder, ADDRESS ".key", out);
    file_write_bio(folder, ADDRESS ".crt", cert_pem_write_certificate(cert));
    X509_free(cert);
    EVP_PKEY_free(key);
}

static enum self_signed would(time_t now)
{
    return self_signed_would(&paths, addresses, count, now, error, sizeof error);
}

// Also: that self_signed_would says the same before.
static enum self_signed ensure(time_t now)
{
    const enum self_signed expected = would(now);

    ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
    const enum self_signed result =
        self_signed_ensure(&paths, addresses, count, now, &report, error, sizeof error);
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(result, expected);
    return result;
}

// ensure() that has no word to say.
static void assert_ensure(time_t now, enum self_signed expected)
{
    const enum self_signed result = ensure(now);

    if (result != expected || error[0] != '\0')
        fail_msg("%d, not %d, %lld days before the end: \"%s\"", result, expected,
                 (long long)((END - now) / DAY), error);
}

static void pin_of(const char *path, char out[static CERT_PIN_CHARS + 1])
{
    char why[CERT_ERROR_BYTES];
    STACK_OF(X509) *certs = cert_pem_read_certificates(path, why, sizeof why);

    if (!certs)
        fail_msg("%s", why);
    assert_int_equal(sk_X509_num(certs), 1);
    assert_true(cert_pin(sk_X509_value(certs, 0), out));
    sk_X509_pop_free(certs, X509_free);
}

static bool there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static EVP_PKEY *read_key(void)
{
    EVP_PKEY *key = cert_pem_read_key(paths.key, error, sizeof error);

    assert_non_null(key);
    return key;
}

// The pair is whole, valid at `now` and has this key.
static void assert_serves(time_t now, EVP_PKEY *key)
{
    struct cert_pair pair;

    if (!cert_pair_load(&pair, &paths, ADDRESS, now, error, sizeof error))
        fail_msg("%s", error);
    assert_int_equal(EVP_PKEY_eq(pair.key, key), 1);
    cert_pair_free(&pair);
}

// Day by day through the life of a pair of others and that of its successor.
static void test_every_age(void **state)
{
    char first[CERT_PIN_CHARS + 1], second[CERT_PIN_CHARS + 1];
    EVP_PKEY *key;

    (void)state;
    write_pair_of_others(MADE, END);
    pin_of(paths.cert, first);
    key = read_key();
    for (time_t now = MADE; now <= END - 90L * DAY; now += DAY) {
        assert_ensure(now, SELF_SIGNED_KEPT);
        assert_string_equal(report.pin, first);
        assert_string_equal(report.next_pin, "");
        assert_int_equal(folder_count(folder), 2);
    }
    assert_ensure(END - 89L * DAY, SELF_SIGNED_ANNOUNCED);
    pin_of(next_path, second);
    for (time_t now = END - 89L * DAY; now < END - 29L * DAY; now += DAY) {
        assert_ensure(now, SELF_SIGNED_KEPT);
        assert_string_equal(report.pin, first);
        assert_string_equal(report.next_pin, second);
        assert_int_equal(report.switch_at, END - 29L * DAY);
        assert_serves(now, key);
    }
    assert_ensure(report.switch_at - 1, SELF_SIGNED_KEPT);
    assert_ensure(report.switch_at, SELF_SIGNED_RENEWED);
    for (time_t now = END - 29L * DAY; now < END + 9L * 365 * DAY; now += 30L * DAY) {
        assert_string_equal(report.pin, second);
        assert_string_equal(report.next_pin, "");
        assert_serves(now, key);
        assert_ensure(now, SELF_SIGNED_KEPT);
    }
    assert_int_equal(folder_count(folder), 3);
    pin_of(old_path, second);
    assert_string_equal(second, first);
    EVP_PKEY_free(key);
}

// First seen at any age: notice of 60 days where the end allows that, otherwise as long as it does.
static void test_first_look_at_every_age(void **state)
{
    (void)state;
    for (time_t left = 95L * DAY; left > -5L * DAY; left -= DAY / 2) {
        EVP_PKEY *key;

        write_pair_of_others(MADE, END);
        key = read_key();
        const enum self_signed expected = left >= 90L * DAY ? SELF_SIGNED_KEPT
                                          : left > DAY      ? SELF_SIGNED_ANNOUNCED
                                                            : SELF_SIGNED_RENEWED;
        assert_ensure(END - left, expected);
        assert_serves(END - left, key);
        if (expected == SELF_SIGNED_ANNOUNCED) {
            const time_t notice = left - DAY < 60L * DAY ? left - DAY : 60L * DAY;

            assert_int_equal(report.switch_at, END - left + notice);
            assert_ensure(report.switch_at, SELF_SIGNED_RENEWED);
        }
        assert_serves(END - left, key);
        unlink(next_path);
        EVP_PKEY_free(key);
    }
}

// A relay that was off from the announcement until long after the end.
static void test_end_passes_unseen(void **state)
{
    char next[CERT_PIN_CHARS + 1];
    EVP_PKEY *key;

    (void)state;
    write_pair_of_others(MADE, END);
    key = read_key();
    assert_ensure(END - 80L * DAY, SELF_SIGNED_ANNOUNCED);
    strcpy(next, report.next_pin);
    assert_ensure(END + 200L * DAY, SELF_SIGNED_RENEWED);
    assert_string_equal(report.pin, next);
    assert_serves(END + 200L * DAY, key);
    EVP_PKEY_free(key);
}

static void test_people_rename_it_sooner(void **state)
{
    char next[CERT_PIN_CHARS + 1];
    EVP_PKEY *key;

    (void)state;
    write_pair_of_others(MADE, END);
    key = read_key();
    assert_ensure(END - 80L * DAY, SELF_SIGNED_ANNOUNCED);
    strcpy(next, report.next_pin);
    assert_int_equal(rename(next_path, paths.cert), 0);
    assert_ensure(END - 79L * DAY, SELF_SIGNED_KEPT);
    assert_string_equal(report.pin, next);
    assert_string_equal(report.next_pin, "");
    assert_serves(END + DAY, key);
    EVP_PKEY_free(key);
}

static void test_people_copy_it_sooner(void **state)
{
    char command[2 * CERT_PATH_MAX_BYTES];

    (void)state;
    write_pair_of_others(MADE, END);
    assert_ensure(END - 80L * DAY, SELF_SIGNED_ANNOUNCED);
    snprintf(command, sizeof command, "cp %s %s", next_path, paths.cert);
    assert_int_equal(system(command), 0);
    assert_ensure(END - 79L * DAY, SELF_SIGNED_KEPT);
    assert_string_equal(report.next_pin, "");
    assert_false(there(next_path));
}

// The first line is for people to change, but not beyond the end.
static void test_moment_is_what_the_file_says(void **state)
{
    static const struct {
        const char *when;
        time_t moment;
    } cases[] = {
        {"2027-08-01T12:00:00Z", 1817121600},
        {"2031-01-01T00:00:00Z", END - DAY},
        {"next Wednesday, about ", END - DAY},
    };
    char text[4096];

    (void)state;
    write_pair_of_others(MADE, END);
    assert_ensure(END - 80L * DAY, SELF_SIGNED_ANNOUNCED);
    FILE *file = fopen(next_path, "r");
    assert_non_null(file);
    const size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = '\0';
    char *when = strstr(text, "20");
    assert_non_null(when);
    for (size_t i = 0; i < COUNT(cases); i++) {
        memcpy(when, cases[i].when, strlen("2027-08-01T12:00:00Z"));
        file_write(folder, ADDRESS ".next.crt", text, len);
        assert_ensure(END - 79L * DAY, SELF_SIGNED_KEPT);
        assert_int_equal(report.switch_at, cases[i].moment);
    }
}

// What cannot serve is made anew; the one that serves is not touched.
static void test_unfit_successors(void **state)
{
    EVP_PKEY *strange = EVP_EC_gen("P-256");

    (void)state;
    for (int fault = 0; fault < 6; fault++) {
        char first[CERT_PIN_CHARS + 1], now[CERT_PIN_CHARS + 1];
        struct spec spec = {
            .name = ADDRESS, .san = "IP:" ADDRESS, .from = MADE, .until = END + 3650L * DAY};
        EVP_PKEY *key;
        X509 *cert;

        print_message("fault %d\n", fault);
        write_pair_of_others(MADE, END);
        pin_of(paths.cert, first);
        key = read_key();
        if (fault == 1)
            spec.san = "IP:" OTHER;
        if (fault == 2)
            spec.until = END - DAY;
        if (fault == 3)
            spec.from = END - 10L * DAY;
        if (fault == 4)
            spec.issuer = "somebody else", spec.issuer_key = strange;
        cert = make_cert(&spec, fault == 0 ? strange : key);
        file_write_bio(folder, ADDRESS ".next.crt", cert_pem_write_certificate(cert));
        if (fault == 5)
            file_write(folder, ADDRESS ".next.crt", "half a certifi", 14);
        assert_ensure(END - 40L * DAY, SELF_SIGNED_ANNOUNCED);
        assert_true(report.switch_at > END - 40L * DAY);
        pin_of(paths.cert, now);
        assert_string_equal(first, now);
        assert_string_equal(report.pin, first);
        assert_ensure(report.switch_at, SELF_SIGNED_RENEWED);
        assert_serves(END + 300L * DAY, key);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    EVP_PKEY_free(strange);
}

static void test_address_is_added(void **state)
{
    struct cert_pair pair;
    char first[CERT_PIN_CHARS + 1];

    (void)state;
    assert_ensure(NOW, SELF_SIGNED_CREATED);
    strcpy(first, report.pin);
    addresses[1] = SIXTH;
    count = 2;
    assert_ensure(NOW + DAY, SELF_SIGNED_ANNOUNCED);
    assert_string_equal(report.pin, first);
    assert_int_equal(report.switch_at, NOW + 61L * DAY);
    addresses[2] = OTHER; // one more meanwhile
    count = 3;
    assert_ensure(NOW + 2L * DAY, SELF_SIGNED_ANNOUNCED);
    assert_ensure(NOW + 62L * DAY, SELF_SIGNED_RENEWED);
    assert_true(cert_pair_load(&pair, &paths, SIXTH, NOW, error, sizeof error));
    assert_true(cert_check_host(pair.leaf, "", OTHER, error, sizeof error));
    assert_true(cert_check_host(pair.leaf, "", ADDRESS, error, sizeof error));
    cert_pair_free(&pair);
    assert_ensure(NOW + 63L * DAY, SELF_SIGNED_KEPT);
}

static void test_address_is_removed(void **state)
{
    char first[CERT_PIN_CHARS + 1];

    (void)state;
    addresses[1] = OTHER;
    count = 2;
    assert_ensure(NOW, SELF_SIGNED_CREATED);
    strcpy(first, report.pin);
    count = 1;
    assert_ensure(NOW + DAY, SELF_SIGNED_KEPT);
    assert_string_equal(report.pin, first);
    assert_string_equal(report.next_pin, "");
}

static void test_address_is_added_by_mistake(void **state)
{
    (void)state;
    assert_ensure(NOW, SELF_SIGNED_CREATED);
    addresses[1] = OTHER;
    count = 2;
    assert_ensure(NOW + DAY, SELF_SIGNED_ANNOUNCED);
    count = 1;
    assert_ensure(NOW + 2L * DAY, SELF_SIGNED_KEPT);
    assert_string_equal(report.next_pin, "");
    assert_false(there(next_path));
    count = 2; // a year later, in earnest: the notice begins anew
    assert_ensure(NOW + 400L * DAY, SELF_SIGNED_ANNOUNCED);
    assert_int_equal(report.switch_at, NOW + 460L * DAY);
}

// What was announced survives a start in 1970 and one with a clock that is a little behind.
static void test_clock_is_behind(void **state)
{
    static const time_t clocks[] = {0, 100L * DAY, END - 95L * DAY, END - 170L * DAY};
    char next[CERT_PIN_CHARS + 1];

    (void)state;
    write_pair_of_others(MADE, END);
    assert_ensure(END - 60L * DAY, SELF_SIGNED_ANNOUNCED);
    strcpy(next, report.next_pin);
    for (size_t i = 0; i < COUNT(clocks); i++) {
        assert_ensure(clocks[i], SELF_SIGNED_KEPT);
        assert_ensure(END - 59L * DAY, SELF_SIGNED_KEPT);
        assert_string_equal(report.next_pin, next);
    }
}

static void test_clock_was_ahead(void **state)
{
    char first[CERT_PIN_CHARS + 1];

    (void)state;
    write_pair_of_others(MADE, END);
    pin_of(paths.cert, first);
    assert_ensure(END + 3000L * DAY, SELF_SIGNED_RENEWED);
    assert_string_not_equal(report.pin, first);
    assert_int_equal(rename(old_path, paths.cert), 0); // as the header says
    assert_ensure(NOW, SELF_SIGNED_KEPT);
    assert_string_equal(report.pin, first);
}

// What a power cut leaves behind each step of a switch.
static void test_interrupted_switch(void **state)
{
    char first[CERT_PIN_CHARS + 1], next[CERT_PIN_CHARS + 1], command[2 * CERT_PATH_MAX_BYTES];

    (void)state;
    write_pair_of_others(MADE, END);
    pin_of(paths.cert, first);
    assert_ensure(END - 60L * DAY, SELF_SIGNED_ANNOUNCED);
    strcpy(next, report.next_pin);
    snprintf(command, sizeof command, "cp %s %s", paths.cert, old_path); // the old one is kept
    assert_int_equal(system(command), 0);
    assert_ensure(END - 59L * DAY, SELF_SIGNED_KEPT);
    assert_string_equal(report.pin, first);
    assert_ensure(END - DAY, SELF_SIGNED_RENEWED);
    assert_string_equal(report.pin, next);
    pin_of(old_path, next);
    assert_string_equal(first, next);
}

// People who remove an old certificate get the one that was announced.
static void test_key_and_successor_alone(void **state)
{
    char next[CERT_PIN_CHARS + 1];

    (void)state;
    write_pair_of_others(MADE, END);
    assert_ensure(END - 60L * DAY, SELF_SIGNED_ANNOUNCED);
    strcpy(next, report.next_pin);
    unlink(paths.cert);
    assert_ensure(END - 60L * DAY, SELF_SIGNED_RENEWED);
    assert_string_equal(report.pin, next);
    assert_int_equal(folder_count(folder), 2);
}

static void test_successor_without_key(void **state)
{
    (void)state;
    write_pair_of_others(MADE, END);
    assert_ensure(END - 60L * DAY, SELF_SIGNED_ANNOUNCED);
    unlink(paths.cert);
    unlink(paths.key);
    assert_ensure(END - 60L * DAY, SELF_SIGNED_CREATED);
    assert_false(there(next_path));
    assert_int_equal(folder_count(folder), 2);
}

static void test_pair_of_an_authority_is_left_alone(void **state)
{
    EVP_PKEY *key = EVP_EC_gen("P-256"), *authority = EVP_EC_gen("P-256");
    X509 *cert = make_cert(&(struct spec){.name = ADDRESS,
                                          .san = "IP:" ADDRESS,
                                          .issuer = "authority",
                                          .issuer_key = authority,
                                          .from = MADE,
                                          .until = END},
                           key);

    (void)state;
    file_write_bio(folder, ADDRESS ".key", cert_pem_write_key(key));
    file_write_bio(folder, ADDRESS ".crt", cert_pem_write_certificate(cert));
    addresses[1] = OTHER;
    count = 2;
    assert_ensure(END - DAY, SELF_SIGNED_KEPT);
    assert_string_equal(report.pin, "");
    assert_int_equal(report.not_after, END);
    assert_int_equal(ensure(END + DAY), SELF_SIGNED_FAILED);
    assert_sentence(error, (const char *[]){paths.cert, "expired", "renew it", NULL});
    assert_int_equal(folder_count(folder), 2);
    X509_free(cert);
    EVP_PKEY_free(key);
    EVP_PKEY_free(authority);
}

// The pair serves on; whoever reads the log has 90 days.
static void test_closed_folder(void **state)
{
    (void)state;
    write_pair_of_others(MADE, END);
    chmod(paths.key, 0644);
    chmod(paths.cert, 0644);
    chmod(folder, 0555);
    drop_root();
    const enum self_signed soon =
        self_signed_ensure(&paths, addresses, count, END - 60L * DAY, &report, error, sizeof error);
    regain_root();
    assert_int_equal(soon, SELF_SIGNED_KEPT);
    assert_sentence(error, (const char *[]){next_path, "Permission denied", NULL});
    assert_int_equal(report.not_after, END);
    drop_root();
    const enum self_signed late =
        self_signed_ensure(&paths, addresses, count, END + DAY, &report, error, sizeof error);
    regain_root();
    chmod(folder, 0700);
    assert_int_equal(late, SELF_SIGNED_FAILED);
    assert_sentence(error, (const char *[]){"Permission denied", NULL});
    assert_int_equal(folder_count(folder), 2);
}

static void test_announcement(void **state)
{
    char text[CERT_ERROR_BYTES];

    (void)state;
    write_pair_of_others(MADE, END);
    assert_ensure(END - 95L * DAY, SELF_SIGNED_KEPT);
    assert_string_equal(self_signed_announcement(&report, &paths, text, sizeof text), "");
    assert_ensure(END - 60L * DAY, SELF_SIGNED_ANNOUNCED);
    assert_sentence(self_signed_announcement(&report, &paths, text, sizeof text),
                    (const char *[]){report.pin, report.next_pin, "2027-08-21 14:13:20 UTC",
                                     next_path, paths.cert, NULL});
}

// `calls` looks by each of several processes, all at once.
static void race(time_t now, int calls)
{
    pid_t children[8];
    int gate[2], status;
    char byte;

    assert_int_equal(pipe(gate), 0);
    for (size_t i = 0; i < COUNT(children); i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] > 0)
            continue;
        close(gate[1]);
        bool ok = read(gate[0], &byte, 1) == 0;
        for (int n = 0; ok && n < calls; n++)
            ok = self_signed_ensure(&paths, addresses, count, now, &report, error, sizeof error) !=
                     SELF_SIGNED_FAILED &&
                 error[0] == '\0';
        if (!ok)
            fprintf(stderr, "%s\n", error);
        _exit(ok ? 0 : 1);
    }
    close(gate[1]); // go
    for (size_t i = 0; i < COUNT(children); i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    close(gate[0]);
}

static void test_many_at_once(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        char first[CERT_PIN_CHARS + 1], next[CERT_PIN_CHARS + 1], pin[CERT_PIN_CHARS + 1];
        EVP_PKEY *key;

        write_pair_of_others(MADE, END);
        key = read_key();
        pin_of(paths.cert, first);
        race(END - 60L * DAY, 2);
        pin_of(paths.cert, pin);
        assert_string_equal(pin, first);
        pin_of(next_path, next);
        race(END - DAY, 2);
        pin_of(paths.cert, pin);
        assert_string_equal(pin, next);
        pin_of(old_path, pin);
        assert_string_equal(pin, first);
        assert_serves(END + DAY, key);
        assert_int_equal(folder_count(folder), 3);
        race(END + 3650L * DAY, 2); // all at once: a successor is made and serves
        assert_serves(END + 3651L * DAY, key);
        EVP_PKEY_free(key);
        unlink(old_path);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_age),
        TEST(test_first_look_at_every_age),
        TEST(test_end_passes_unseen),
        TEST(test_people_rename_it_sooner),
        TEST(test_people_copy_it_sooner),
        TEST(test_moment_is_what_the_file_says),
        TEST(test_unfit_successors),
        TEST(test_address_is_added),
        TEST(test_address_is_removed),
        TEST(test_address_is_added_by_mistake),
        TEST(test_clock_is_behind),
        TEST(test_clock_was_ahead),
        TEST(test_interrupted_switch),
        TEST(test_key_and_successor_alone),
        TEST(test_successor_without_key),
        TEST(test_pair_of_an_authority_is_left_alone),
        TEST(test_closed_folder),
        TEST(test_announcement),
        TEST(test_many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
