// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/self_signed.h"

#include "certgen/check.h"
#include "certgen/error.h"
#include "certgen/pair.h"
#include "certgen/pin.h"
#include "material.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ADDRESS "203.0.113.1"

static char folder[FOLDER_BYTES];
static char certs[PATH_BYTES]; // a folder inside that does not exist yet
static struct cert_paths paths;
static struct self_signed_report report;
static char error[CERT_ERROR_BYTES];

static int setup(void **state)
{
    (void)state;
    folder_make(folder);
    snprintf(certs, sizeof certs, "%s/certs", folder);
    error[0] = '\0';
    return cert_paths_for_host(&paths, certs, ADDRESS, error, sizeof error) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static enum self_signed ensure(const char *address, time_t now)
{
    ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
    const enum self_signed result =
        self_signed_ensure(&paths, &address, 1, now, &report, error, sizeof error);
    assert_int_equal(ERR_peek_error(), 0);
    assert_true((result == SELF_SIGNED_FAILED) == (error[0] != '\0'));
    return result;
}

static void load(struct cert_pair *pair, const char *address)
{
    if (!cert_pair_load(pair, &paths, address, NOW, error, sizeof error))
        fail_msg("%s", error);
}

static void read_pin(char out[static CERT_PIN_CHARS + 1])
{
    struct cert_pair pair;

    load(&pair, ADDRESS);
    assert_true(cert_pin(pair.leaf, out));
    cert_pair_free(&pair);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void assert_first_line(const char *path, const char *line)
{
    char buf[128] = "";
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    assert_non_null(fgets(buf, sizeof buf, file));
    assert_string_equal(buf, line);
    fclose(file);
}

static void test_files(void **state)
{
    static const mode_t umasks[] = {0, 077, 0777};

    (void)state;
    for (size_t i = 0; i < COUNT(umasks); i++) {
        const mode_t old = umask(umasks[i]);
        const enum self_signed result = ensure(ADDRESS, NOW);

        umask(old);
        assert_int_equal(result, SELF_SIGNED_CREATED);
        assert_string_equal(error, "");
        assert_int_equal(mode_of(certs), 0700);
        assert_int_equal(mode_of(paths.key), 0600);
        assert_int_equal(mode_of(paths.cert), 0644);
        assert_int_equal(folder_count(certs), 2);
        assert_first_line(paths.key, "-----BEGIN PRIVATE KEY-----\n");
        assert_first_line(paths.cert, "-----BEGIN CERTIFICATE-----\n");
        folder_remove(certs);
    }
}

static void assert_extensions(const X509 *cert)
{
    int critical;
    BASIC_CONSTRAINTS *basic = X509_get_ext_d2i(cert, NID_basic_constraints, &critical, NULL);

    assert_non_null(basic);
    assert_int_equal(basic->ca, 0);
    assert_int_equal(critical, 1);
    BASIC_CONSTRAINTS_free(basic);
    assert_int_equal(X509_get_key_usage((X509 *)cert), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_extended_key_usage((X509 *)cert), XKU_SSL_SERVER);
    assert_int_equal(X509_check_purpose((X509 *)cert, X509_PURPOSE_SSL_SERVER, 0), 1);
    assert_int_equal(X509_get_ext_count(cert), 4);
}

static void assert_fields(X509 *cert, const char *address)
{
    char name[64], group[32];
    struct tm from;
    BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);

    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof name);
    assert_string_equal(name, address);
    assert_int_equal(X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)), 0);
    assert_int_equal(X509_get_version(cert), X509_VERSION_3);
    assert_int_equal(ASN1_TIME_to_tm(X509_get0_notBefore(cert), &from), 1);
    assert_int_equal(timegm(&from), 0);
    assert_int_equal(cert_not_after(cert), NOW + 3653L * DAY);
    assert_int_equal(BN_num_bits(serial), 127);
    assert_false(BN_is_negative(serial));
    BN_free(serial);
    EVP_PKEY_get_group_name(X509_get0_pubkey(cert), group, sizeof group, NULL);
    assert_string_equal(group, "prime256v1");
    assert_int_equal(X509_get_signature_nid(cert), NID_ecdsa_with_SHA256);
    assert_int_equal(X509_verify(cert, X509_get0_pubkey(cert)), 1);
    assert_extensions(cert);
}

static void test_certificate(void **state)
{
    static const struct {
        const char *address, *names, *file;
    } cases[] = {
        {"203.0.113.1", "203.0.113.1", "203.0.113.1.crt"},
        {"2001:db8::1", "2001:db8::1", "2001db81.crt"},
        {"2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:1111:2222:3333:4444:5555:6666",
         "2001db8111122223333444455556666.crt"},
        {"::ffff:203.0.113.1", "203.0.113.1", "ffff203.0.113.1.crt"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct cert_pair pair;
        char names[64];

        print_message("%s\n", cases[i].address);
        assert_true(cert_paths_for_host(&paths, certs, cases[i].address, error, sizeof error));
        assert_string_equal(strrchr(paths.cert, '/') + 1, cases[i].file);
        assert_int_equal(ensure(cases[i].address, NOW), SELF_SIGNED_CREATED);
        load(&pair, cases[i].address);
        assert_fields(pair.leaf, cases[i].address);
        assert_string_equal(cert_names(pair.leaf, names, sizeof names), cases[i].names);
        assert_int_equal(sk_X509_num(pair.chain), 0);
        assert_true(cert_check_chain(pair.leaf, pair.chain, paths.cert, NOW, error, sizeof error));
        cert_pair_free(&pair);
    }
}

static void test_second_time_keeps_the_pin(void **state)
{
    char first[CERT_PIN_CHARS + 1], second[CERT_PIN_CHARS + 1];

    (void)state;
    assert_int_equal(ensure(ADDRESS, NOW), SELF_SIGNED_CREATED);
    read_pin(first);
    assert_int_equal(ensure(ADDRESS, NOW + 3000L * DAY), SELF_SIGNED_KEPT);
    read_pin(second);
    assert_string_equal(first, second);
    assert_string_equal(first, report.pin);
    assert_string_equal(report.next_pin, "");
    assert_int_equal(report.switch_at, 0);
    assert_int_equal(report.not_after, NOW + 3653L * DAY);
}

static void test_other_folders_have_other_keys(void **state)
{
    char first[CERT_PIN_CHARS + 1], second[CERT_PIN_CHARS + 1];

    (void)state;
    ensure(ADDRESS, NOW);
    read_pin(first);
    folder_remove(certs);
    ensure(ADDRESS, NOW);
    read_pin(second);
    assert_string_not_equal(first, second);
}

// What a crash between the two files leaves.
static void test_key_alone_gets_its_certificate(void **state)
{
    struct cert_pair before, after;

    (void)state;
    ensure(ADDRESS, NOW);
    load(&before, ADDRESS);
    unlink(paths.cert);
    assert_int_equal(ensure(ADDRESS, NOW), SELF_SIGNED_CREATED);
    load(&after, ADDRESS);
    assert_int_equal(EVP_PKEY_eq(before.key, after.key), 1);
    assert_int_equal(folder_count(certs), 2);
    cert_pair_free(&before);
    cert_pair_free(&after);
}

static void test_key_alone_of_another_kind(void **state)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *out = BIO_new(BIO_s_mem());
    struct cert_pair pair;

    (void)state;
    PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
    mkdir(certs, 0700);
    file_write_bio(certs, ADDRESS ".key", out);
    assert_int_equal(ensure(ADDRESS, NOW), SELF_SIGNED_CREATED);
    load(&pair, ADDRESS);
    assert_int_equal(EVP_PKEY_eq(pair.key, key), 1);
    assert_int_equal(X509_verify(pair.leaf, key), 1);
    cert_pair_free(&pair);
    EVP_PKEY_free(key);
}

static void test_broken_key_alone_is_an_error(void **state)
{
    (void)state;
    mkdir(certs, 0700);
    file_write(certs, ADDRESS ".key", "x", 1);
    assert_int_equal(ensure(ADDRESS, NOW), SELF_SIGNED_FAILED);
    assert_sentence(error, (const char *[]){paths.key, "no PEM", NULL});
    assert_int_equal(folder_count(certs), 1);
}

static void test_certificate_alone_is_an_error(void **state)
{
    (void)state;
    ensure(ADDRESS, NOW);
    unlink(paths.key);
    assert_int_equal(ensure(ADDRESS, NOW), SELF_SIGNED_FAILED);
    assert_sentence(error, (const char *[]){paths.cert, paths.key, "put the key back", NULL});
    assert_int_equal(folder_count(certs), 1);
}

static void test_broken_pair_is_an_error(void **state)
{
    (void)state;
    ensure(ADDRESS, NOW);
    assert_int_equal(truncate(paths.cert, 100), 0);
    assert_int_equal(ensure(ADDRESS, NOW), SELF_SIGNED_FAILED);
    assert_sentence(error, (const char *[]){paths.cert, "cut short", NULL});
}

static void test_pair_of_another_address_is_an_error(void **state)
{
    (void)state;
    ensure(ADDRESS, NOW);
    assert_int_equal(ensure("203.0.113.2", NOW), SELF_SIGNED_FAILED);
    assert_sentence(error, (const char *[]){paths.cert, "203.0.113.2 but " ADDRESS, NULL});
}

static void test_dangling_link_is_an_error(void **state)
{
    (void)state;
    mkdir(certs, 0700);
    assert_int_equal(symlink("gone", paths.cert), 0);
    assert_int_equal(symlink("gone", paths.key), 0);
    assert_int_equal(ensure(ADDRESS, NOW), SELF_SIGNED_FAILED);
    assert_sentence(error, (const char *[]){paths.cert, "is a link", NULL});
    assert_int_equal(folder_count(certs), 2);
}

static void test_names_are_refused(void **state)
{
    (void)state;
    assert_int_equal(ensure("a.example", NOW), SELF_SIGNED_FAILED);
    assert_sentence(error, (const char *[]){"a.example", "not an IP address", "give", NULL});
    assert_int_equal(folder_count(folder), 0);
}

static void test_closed_folder_is_an_error(void **state)
{
    (void)state;
    mkdir(certs, 0700);
    chmod(folder, 0755);
    chmod(certs, 0555);
    drop_root();
    const enum self_signed result = ensure(ADDRESS, NOW);
    regain_root();
    chmod(certs, 0700);
    assert_int_equal(result, SELF_SIGNED_FAILED);
    assert_sentence(error, (const char *[]){paths.key, "Permission denied", "another", NULL});
    assert_int_equal(folder_count(certs), 0);
}

static void test_folder_that_cannot_be_made_is_an_error(void **state)
{
    (void)state;
    chmod(folder, 0555);
    drop_root();
    const enum self_signed result = ensure(ADDRESS, NOW);
    regain_root();
    chmod(folder, 0700);
    assert_int_equal(result, SELF_SIGNED_FAILED);
    assert_sentence(error, (const char *[]){certs, "Permission denied", "create it", NULL});
}

static void test_several_addresses(void **state)
{
    static const char *const addresses[] = {ADDRESS, "2001:db8::1", "203.0.113.2"};
    struct cert_pair pair;
    char names[64];

    (void)state;
    assert_int_equal(
        self_signed_ensure(&paths, addresses, COUNT(addresses), NOW, &report, error, sizeof error),
        SELF_SIGNED_CREATED);
    load(&pair, "2001:db8::1");
    assert_fields(pair.leaf, ADDRESS);
    assert_string_equal(cert_names(pair.leaf, names, sizeof names),
                        ADDRESS ", 2001:db8::1, 203.0.113.2");
    cert_pair_free(&pair);
}

static void test_one_name_among_addresses_is_refused(void **state)
{
    static const char *const addresses[] = {ADDRESS, "a.example"};

    (void)state;
    assert_int_equal(
        self_signed_ensure(&paths, addresses, COUNT(addresses), NOW, &report, error, sizeof error),
        SELF_SIGNED_FAILED);
    assert_sentence(error, (const char *[]){"a.example", "not an IP address", NULL});
}

// A board without a clock starts in 1970; another one was told 2105.
static void test_wrong_clock_makes_a_certificate_for_now(void **state)
{
    static const time_t clocks[] = {0, 1000, NOW - 20L * 365 * DAY, NOW + 80L * 365 * DAY};
    char pin[CERT_PIN_CHARS + 1];

    (void)state;
    for (size_t i = 0; i < COUNT(clocks); i++) {
        print_message("%lld\n", (long long)clocks[i]);
        assert_int_equal(ensure(ADDRESS, clocks[i]), SELF_SIGNED_CREATED);
        read_pin(pin);
        for (long years = 0; years < 9; years++)
            assert_int_equal(ensure(ADDRESS, NOW + years * 365 * DAY), SELF_SIGNED_KEPT);
        assert_int_equal(ensure(ADDRESS, 1000), SELF_SIGNED_KEPT);
        assert_string_equal(report.pin, pin);
        folder_remove(certs);
    }
}

static void test_many_at_once_end_with_one_pair(void **state)
{
    char pin[CERT_PIN_CHARS + 1];
    pid_t children[8];
    int gate[2], status;

    (void)state;
    assert_int_equal(pipe(gate), 0);
    for (size_t i = 0; i < COUNT(children); i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] > 0)
            continue;
        close(gate[1]);
        const bool open = read(gate[0], pin, 1) == 0;
        _exit(open && ensure(ADDRESS, NOW) != SELF_SIGNED_FAILED ? 0 : 1);
    }
    close(gate[1]); // go
    for (size_t i = 0; i < COUNT(children); i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    close(gate[0]);
    read_pin(pin);
    assert_int_equal(folder_count(certs), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_files),
        TEST(test_certificate),
        TEST(test_second_time_keeps_the_pin),
        TEST(test_other_folders_have_other_keys),
        TEST(test_key_alone_gets_its_certificate),
        TEST(test_key_alone_of_another_kind),
        TEST(test_broken_key_alone_is_an_error),
        TEST(test_certificate_alone_is_an_error),
        TEST(test_broken_pair_is_an_error),
        TEST(test_pair_of_another_address_is_an_error),
        TEST(test_dangling_link_is_an_error),
        TEST(test_names_are_refused),
        TEST(test_closed_folder_is_an_error),
        TEST(test_folder_that_cannot_be_made_is_an_error),
        TEST(test_several_addresses),
        TEST(test_one_name_among_addresses_is_refused),
        TEST(test_wrong_clock_makes_a_certificate_for_now),
        TEST(test_many_at_once_end_with_one_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
