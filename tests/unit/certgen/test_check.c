// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/check.h"

#include "certgen/error.h"
#include "material.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#define FILE_NAME "/certs/a.crt"

static EVP_PKEY *key;                           // one for all, names tell them apart
static X509 *leaf, *middle, *root, *own, *aged; // aged: middle's twin, expired

static int setup(void **state)
{
    (void)state;
    key = EVP_EC_gen("P-256");
    leaf = make_cert(&(struct spec){.name = "a.example", .issuer = "middle"}, key);
    middle = make_cert(&(struct spec){.name = "middle", .issuer = "root", .authority = true}, key);
    root = make_cert(&(struct spec){.name = "root", .authority = true}, key);
    own = make_cert(&(struct spec){.name = "own"}, key);
    aged = make_cert(&(struct spec){.name = "middle",
                                    .issuer = "root",
                                    .authority = true,
                                    .from = NOW - 2 * DAY,
                                    .until = NOW - DAY},
                     key);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    X509_free(leaf);
    X509_free(middle);
    X509_free(root);
    X509_free(own);
    X509_free(aged);
    EVP_PKEY_free(key);
    return 0;
}

static void test_chain(void **state)
{
    const struct {
        const char *title;
        X509 *first, *behind[3];
        const char *words[3]; // none: in order
    } cases[] = {
        {"with the intermediate", leaf, {middle}},
        {"up to the root", leaf, {middle, root}},
        {"alone, signed itself", own, {NULL}},
        {"alone", leaf, {NULL}, {"not its issuer's", "fullchain.pem"}},
        {"reversed", leaf, {root, middle}, {"certificate 2", "in turn"}},
        {"leaf twice", leaf, {leaf, middle}, {"certificate 2", "in turn"}},
        {"foreign behind", leaf, {middle, own}, {"certificate 3", "in turn"}},
        {"expired intermediate", leaf, {aged}, {"expired", "renew it"}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        STACK_OF(X509) *chain = sk_X509_new_null();
        char error[CERT_ERROR_BYTES] = "";

        print_message("%s\n", cases[i].title);
        for (X509 *const *cert = cases[i].behind; *cert; cert++)
            sk_X509_push(chain, *cert);
        const bool ok =
            cert_check_chain(cases[i].first, chain, FILE_NAME, NOW, error, sizeof error);
        assert_int_equal(ok, !cases[i].words[0]);
        assert_int_equal(ERR_peek_error(), 0);
        if (!ok) {
            assert_sentence(error, cases[i].words);
            assert_non_null(strstr(error, FILE_NAME));
        }
        sk_X509_free(chain);
    }
    assert_true(cert_check_chain(own, NULL, FILE_NAME, NOW, NULL, 0));
}

static void test_expired_and_signed_itself(void **state)
{
    char error[CERT_ERROR_BYTES];

    (void)state;
    assert_false(cert_check_time(own, FILE_NAME, NOW + 2 * DAY, error, sizeof error));
    assert_sentence(error, (const char *[]){"expired", "new pin", "derper does that", NULL});
}

static void test_host(void **state)
{
    static const struct {
        const char *san, *host;
        bool covered;
    } cases[] = {
        {"DNS:a.example", "a.example", true},
        {"DNS:a.example", "A.EXAMPLE.", true},
        {"DNS:a.example", ".example", false},
        {"DNS:a.example", ".a.example", false},
        {"DNS:a.example", "", false},
        {"DNS:a.example", ".", false},
        {"DNS:*.b.example", "a.b.example", true},
        {"DNS:*.b.example", ".b.example", false},
        {"DNS:*.b.example", "c.a.b.example", false},
        {"DNS:a*.b.example", "ab.b.example", false},
        {"IP:203.0.113.1", "203.0.113.1", true},
        {"DNS:203.0.113.1", "203.0.113.1", false},
        {"IP:2001:db8::1", "2001:DB8:0::1", true},
        {NULL, "cn", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        X509 *cert = make_cert(&(struct spec){.name = "cn", .san = cases[i].san}, key);
        char error[CERT_ERROR_BYTES];

        print_message("%s, %s\n", cases[i].san ? cases[i].san : "no name", cases[i].host);
        assert_int_equal(cert_check_host(cert, FILE_NAME, cases[i].host, error, sizeof error),
                         cases[i].covered);
        X509_free(cert);
    }
}

static void test_not_after(void **state)
{
    static const time_t times[] = {
        0, 2524607999, 2524608000, 253402300799, // 1970, 2049 and 2050 (other encoding), 9999
    };

    (void)state;
    for (size_t i = 0; i < COUNT(times); i++) {
        X509 *cert = make_cert(&(struct spec){.name = "a", .from = -1, .until = times[i]}, key);

        assert_int_equal(cert_not_after(cert), times[i]);
        X509_free(cert);
    }
    X509 *cert = X509_dup(own);
    assert_int_equal(ASN1_STRING_set(X509_getm_notAfter(cert), "junk", 4), 1);
    assert_int_equal(cert_not_after(cert), -1);
    assert_int_equal(ERR_peek_error(), 0);
    X509_free(cert);
}

static void test_names(void **state)
{
    static const struct {
        const char *san;
        size_t size;
        const char *expected;
    } cases[] = {
        {NULL, 64, "no name"},
        {"email:a@b.example", 64, "no name"},
        {"DNS:a.example", 64, "a.example"},
        {"DNS:a.example,email:x@y.example,DNS:*.b.example", 64, "a.example, *.b.example"},
        {"IP:203.0.113.1,IP:2001:db8::1", 64, "203.0.113.1, 2001:db8::1"},
        {"DNS:a\tb.example", 64, "a?b.example"},
        {"DNS:a.example", 10, "a.example"},
        {"DNS:a.example", 9, "a.exa..."},
        {"DNS:a.example,DNS:b.example", 10, "a.exam..."},
        {"DNS:a.example,DNS:b.example", 11, "a.examp..."},
        {"DNS:a.example,DNS:b.example", 12, "a.exampl..."},
        {"DNS:a.example,DNS:b.example", 20, "a.example, b.exa..."},
        {"DNS:a.example,DNS:b.example", 21, "a.example, b.example"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        X509 *cert = make_cert(&(struct spec){.name = "cn", .san = cases[i].san}, key);
        char out[65];

        memset(out, '#', sizeof out);
        print_message("%s\n", cases[i].expected);
        assert_string_equal(cert_names(cert, out, cases[i].size), cases[i].expected);
        assert_int_equal(out[cases[i].size], '#');
        X509_free(cert);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain), cmocka_unit_test(test_expired_and_signed_itself),
        cmocka_unit_test(test_host),  cmocka_unit_test(test_not_after),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
