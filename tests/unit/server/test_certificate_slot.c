// SPDX-License-Identifier: BSD-3-Clause
#include "server/certificate_slot.h"

#include "certgen/file.h"
#include "certgen/issue.h"
#include "certgen/pem.h"

#include <ftw.h>
#include <openssl/bio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define HOST "derp.example.com"
#define DAY_S (24 * 60 * 60)

static char folder[64];
static struct options options;
static struct slot slot;

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test-slot-XXXXXX");
    assert_non_null(mkdtemp(folder));
    memset(&options, 0, sizeof options);
    memset(&slot, 0, sizeof slot);
    strcpy(options.cert_dir, folder);
    slot.options = &options;
    slot.names[slot.name_count++] = HOST;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st, (void)kind, (void)place;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    slot_free(&slot);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name, BIO *text)
{
    char error[CERT_ERROR_BYTES], path[128], *bytes;
    const long len = BIO_get_mem_data(text, &bytes);

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_true(cert_file_replace(path, bytes, (size_t)len, 0600, error, sizeof error));
    BIO_free(text);
}

static void put_text(const char *name, const char *text)
{
    BIO *bio = BIO_new(BIO_s_mem());

    BIO_puts(bio, text);
    put(name, bio);
}

static void remove_file(const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

static X509 *make(EVP_PKEY *key, const char *name)
{
    static uint8_t serial;
    const time_t now = time(NULL);
    X509 *cert;

    serial = (uint8_t)(serial % 100 + 1);
    cert = cert_issue(&(struct cert_request){.common_name = name,
                                             .serial = &serial,
                                             .serial_len = 1,
                                             .not_before = now - DAY_S,
                                             .not_after = now + DAY_S,
                                             .names = &name,
                                             .name_count = 1},
                      key);
    assert_non_null(cert);
    return cert;
}

// A pair with names STEM.crt and STEM.key, or only one half of it.
enum halves { BOTH, CERT_ONLY };

static void put_pair(const char *stem, const char *kind, const char *name, enum halves halves)
{
    EVP_PKEY *key = strcmp(kind, "rsa") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    X509 *cert = make(key, name);
    char file[64];

    snprintf(file, sizeof file, "%s.key", stem);
    if (halves == BOTH)
        put(file, cert_pem_write_key(key));
    snprintf(file, sizeof file, "%s.crt", stem);
    put(file, cert_pem_write_certificate(cert));
    X509_free(cert);
    EVP_PKEY_free(key);
}

static struct slot_news look(bool settled)
{
    struct reading *reading = calloc(1, sizeof *reading);
    struct slot_news news;

    reading_take(reading, &slot, READING_LOOK);
    news = slot_take(&slot, reading, settled, "");
    free(reading);
    return news;
}

static void assert_news(struct slot_news news, unsigned swapped, unsigned refused, bool again)
{
    assert_int_equal(news.swapped, swapped);
    assert_int_equal(news.refused, refused);
    assert_int_equal(news.again, again);
}

static void assert_served(size_t pairs)
{
    struct tls_identity identity;

    slot_tls_identity(&slot, &identity);
    assert_string_equal(identity.hostname, HOST);
    assert_int_equal(identity.pair_count, pairs);
}

static void test_a_fit_pair_is_taken_at_once_and_only_once(void **state)
{
    (void)state;
    put_pair(HOST, "ec", HOST, BOTH);
    assert_news(look(false), 1, 0, false);
    assert_news(look(false), 0, 0, false);
    assert_served(1);
    assert_string_equal(slot_source(&slot), "manual");
    put_pair(HOST, "ec", HOST, BOTH);
    assert_news(look(false), 1, 0, false);
}

static void test_a_fault_must_last_and_is_told_once(void **state)
{
    char pin[CERT_PIN_CHARS + 1];

    (void)state;
    put_pair(HOST, "ec", HOST, BOTH);
    look(false);
    strcpy(pin, slot_first(&slot)->pin);
    put_pair(HOST, "ec", HOST, CERT_ONLY);
    assert_news(look(false), 0, 0, true);
    assert_false(slot.pairs[0].refused);
    assert_news(look(true), 0, 1, false);
    assert_true(slot.pairs[0].refused);
    assert_non_null(strstr(slot.pairs[0].fault, "does not belong to"));
    assert_news(look(false), 0, 0, false);
    put_pair(HOST, "ec", HOST, CERT_ONLY); // the same fault again
    assert_news(look(false), 0, 0, false);
    put_text(HOST ".crt", "garbage\n"); // another one
    assert_news(look(false), 0, 0, true);
    assert_news(look(true), 0, 1, false);
    assert_string_equal(slot_first(&slot)->pin, pin);
    put_pair(HOST, "ec", HOST, BOTH);
    assert_news(look(false), 1, 0, false);
    assert_false(slot.pairs[0].refused);
}

static void test_nothing_there_any_more(void **state)
{
    (void)state;
    put_pair(HOST, "ec", HOST, BOTH);
    look(false);
    remove_file(HOST ".crt");
    remove_file(HOST ".key");
    assert_news(look(false), 0, 0, true);
    assert_news(look(true), 0, 1, false);
    assert_news(look(false), 0, 0, false);
    assert_served(1);
    strcat(options.cert_dir, ".gone"); // another fault, again without any file
    assert_news(look(true), 0, 1, false);
    assert_news(look(false), 0, 0, false);
}

static void test_a_slot_of_acme_may_be_empty_at_first(void **state)
{
    (void)state;
    options.cert_mode = CERT_MODE_LETSENCRYPT;
    assert_news(look(true), 0, 0, false);
    assert_served(0);
    assert_string_equal(slot_source(&slot), "none");
    put_pair(HOST, "ec", HOST, BOTH); // not the form that is looked for
    assert_news(look(true), 0, 0, false);
    assert_false(slot.pairs[0].refused);
}

static void test_two_kinds_go_their_own_ways(void **state)
{
    (void)state;
    put_pair(HOST, "ec", HOST, BOTH);
    put_pair(HOST "+rsa", "rsa", HOST, BOTH);
    assert_news(look(false), 2, 0, false);
    assert_served(2);
    put_text(HOST "+rsa.crt", "garbage\n");
    put_pair(HOST, "ec", HOST, BOTH);
    assert_news(look(true), 1, 1, false);
    assert_served(2);
    assert_false(slot.pairs[0].refused);
    assert_true(slot.pairs[1].refused);
    remove_file(HOST "+rsa.crt");
    remove_file(HOST "+rsa.key");
    assert_true(look(false).again);
    assert_served(2);
    assert_int_equal(look(true).dropped, 1);
    assert_served(1);
    assert_false(slot.pairs[1].refused);
}

static void test_two_of_a_kind_are_one_too_many(void **state)
{
    (void)state;
    put_pair(HOST, "ec", HOST, BOTH);
    put_pair(HOST "+rsa", "ec", HOST, BOTH);
    assert_news(look(true), 1, 1, false);
    assert_non_null(strstr(slot.pairs[1].fault, "keys of the same kind"));
    assert_served(1);
    // The first comes to be of the second's kind.
    put_pair(HOST "+rsa", "rsa", HOST, BOTH);
    look(true);
    assert_served(2);
    put_pair(HOST, "rsa", HOST, BOTH);
    look(true);
    assert_served(1);
}

static void test_the_old_one_put_back_is_no_swap(void **state)
{
    struct cert_text text;
    char error[CERT_ERROR_BYTES], path[128];

    (void)state;
    put_pair(HOST, "ec", HOST, BOTH);
    look(false);
    snprintf(path, sizeof path, "%s/" HOST ".crt", folder);
    assert_true(cert_file_read(path, &text, error, sizeof error));
    put_text(HOST ".crt", "garbage\n");
    assert_news(look(true), 0, 1, false);
    assert_true(cert_file_replace(path, text.bytes, text.len, 0600, error, sizeof error));
    cert_file_wipe(&text);
    assert_news(look(false), 0, 0, false);
    assert_false(slot.pairs[0].refused);
}

static void put_pair_of_an_authority(const char *stem, const char *name)
{
    EVP_PKEY *key = EVP_EC_gen("P-256"), *authority = EVP_EC_gen("P-256");
    X509 *cert = make(key, name), *issuer = make(authority, "authority");
    char file[64];

    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    assert_true(X509_sign(cert, authority, EVP_sha256()) > 0);
    snprintf(file, sizeof file, "%s.key", stem);
    put(file, cert_pem_write_key(key));
    snprintf(file, sizeof file, "%s.crt", stem);
    put(file, cert_pem_write_certificate(cert));
    X509_free(cert);
    X509_free(issuer);
    EVP_PKEY_free(key);
    EVP_PKEY_free(authority);
}

static void test_each_address_must_be_covered(void **state)
{
    (void)state;
    slot.addresses = true;
    slot.names[0] = "203.0.113.1";
    slot.names[slot.name_count++] = "2001:db8::1";
    put_pair_of_an_authority("203.0.113.1", "203.0.113.1");
    assert_news(look(true), 0, 1, false);
    assert_non_null(strstr(slot.pairs[0].fault, "2001:db8::1"));
}

// Its successor will cover them all, and until then its pin must stay good.
static void test_self_signed_pair_serves_until_an_address_is_added(void **state)
{
    (void)state;
    slot.addresses = true;
    slot.names[0] = "203.0.113.1";
    slot.names[slot.name_count++] = "2001:db8::1";
    put_pair("203.0.113.1", "ec", "203.0.113.1", BOTH);
    assert_news(look(true), 1, 0, false);
}

static void test_files_named_outright(void **state)
{
    char cert[128], key[128];

    (void)state;
    snprintf(cert, sizeof cert, "%s/any.crt", folder);
    snprintf(key, sizeof key, "%s/any.key", folder);
    options.certs = (struct option_list){1, {cert}};
    options.keys = (struct option_list){1, {key}};
    put_pair(HOST, "ec", HOST, BOTH); // not asked for
    assert_news(look(true), 0, 1, false);
    assert_non_null(strstr(slot.pairs[0].fault, "any.crt does not exist"));
    put_pair("any", "ec", HOST, BOTH);
    assert_news(look(false), 1, 0, false);
}

int main(void)
{
#define ON_SLOT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        ON_SLOT(test_a_fit_pair_is_taken_at_once_and_only_once),
        ON_SLOT(test_a_fault_must_last_and_is_told_once),
        ON_SLOT(test_nothing_there_any_more),
        ON_SLOT(test_a_slot_of_acme_may_be_empty_at_first),
        ON_SLOT(test_two_kinds_go_their_own_ways),
        ON_SLOT(test_two_of_a_kind_are_one_too_many),
        ON_SLOT(test_the_old_one_put_back_is_no_swap),
        ON_SLOT(test_each_address_must_be_covered),
        ON_SLOT(test_self_signed_pair_serves_until_an_address_is_added),
        ON_SLOT(test_files_named_outright),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
