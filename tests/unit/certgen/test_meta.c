// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/meta.h"

#include "certgen/check.h"
#include "material.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <string.h>

static const uint8_t relay_key[CERT_META_KEY_BYTES] = {0x00, 0x01, 0xab, [31] = 0xff};
#define NAME "derpkey0001ab00000000000000000000000000000000000000000000000000000000ff"

static X509 *make(void)
{
    ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
    X509 *cert = cert_meta_new(relay_key, 2, NOW);
    assert_non_null(cert);
    assert_int_equal(ERR_peek_error(), 0);
    return cert;
}

static void assert_named(const X509_NAME *name)
{
    assert_int_equal(X509_NAME_entry_count(name), 1);

    const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, 0);
    const ASN1_STRING *text = X509_NAME_ENTRY_get_data(entry);
    assert_int_equal(OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)), NID_commonName);
    assert_int_equal(ASN1_STRING_type(text), V_ASN1_PRINTABLESTRING);
    assert_int_equal(ASN1_STRING_length(text), strlen(NAME));
    assert_memory_equal(ASN1_STRING_get0_data(text), NAME, strlen(NAME));
}

static void test_fields(void **state)
{
    X509 *cert = make();
    int critical;
    struct tm from;

    (void)state;
    assert_named(X509_get_subject_name(cert));
    assert_named(X509_get_issuer_name(cert));
    assert_int_equal(X509_get_version(cert), X509_VERSION_3);
    assert_int_equal(ASN1_INTEGER_get(X509_get0_serialNumber(cert)), 2);
    assert_int_equal(ASN1_TIME_to_tm(X509_get0_notBefore(cert), &from), 1);
    assert_int_equal(timegm(&from), NOW - 30 * DAY);
    assert_int_equal(cert_not_after(cert), NOW + 30 * DAY);

    BASIC_CONSTRAINTS *basic = X509_get_ext_d2i(cert, NID_basic_constraints, &critical, NULL);
    assert_non_null(basic);
    assert_int_equal(critical, 1);
    assert_int_equal(basic->ca, 0);
    BASIC_CONSTRAINTS_free(basic);
    assert_int_equal(X509_get_ext_count(cert), 1);

    EVP_PKEY *key = X509_get0_pubkey(cert);
    assert_true(EVP_PKEY_is_a(key, "ED25519"));
    assert_int_equal(X509_verify(cert, key), 1);
    X509_free(cert);
}

static void test_every_call_has_a_key_of_its_own(void **state)
{
    X509 *a = make(), *b = make();

    (void)state;
    assert_int_equal(X509_NAME_cmp(X509_get_subject_name(a), X509_get_subject_name(b)), 0);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(a), X509_get0_pubkey(b)), 0);
    X509_free(a);
    X509_free(b);
}

static void test_survives_its_encoding(void **state)
{
    X509 *cert = make();
    unsigned char der[2048], *end = der;
    const unsigned char *at = der;

    (void)state;
    const int len = i2d_X509(cert, &end);
    assert_in_range(len, 1, sizeof der);
    X509 *again = d2i_X509(NULL, &at, len);
    assert_non_null(again);
    assert_named(X509_get_subject_name(again));
    assert_int_equal(X509_cmp(cert, again), 0);
    X509_free(again);
    X509_free(cert);
}

static void test_version_above_127_is_positive(void **state)
{
    X509 *cert = cert_meta_new(relay_key, 255, NOW);

    (void)state;
    assert_int_equal(ASN1_INTEGER_get(X509_get0_serialNumber(cert)), 255);
    X509_free(cert);
}

static void test_is_read_back(void **state)
{
    uint8_t key[CERT_META_KEY_BYTES], version;
    X509 *cert = cert_meta_new(relay_key, 255, NOW);

    (void)state;
    assert_true(cert_meta_is(cert));
    assert_true(cert_meta_read(cert, key, &version));
    assert_memory_equal(key, relay_key, sizeof key);
    assert_int_equal(version, 255);
    X509_free(cert);
}

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void test_what_is_none(void **state)
{
    static const struct {
        const char *name;
        bool is;
    } cases[] = {
        {"a.example", false},
        {"derpke", false},
        {"Derpkey" HEX, false},
        {"xderpkey" HEX, false},
        {"derpkey", true},
        {"derpkey00112233", true},
        {"derpkey00112233445566778899aabbccddeeff00112233445566778899aabbccddeef", true},
        {"derpkey00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg", true},
    };
    uint8_t key[CERT_META_KEY_BYTES], version;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        X509 *cert = X509_new();

        print_message("%s\n", cases[i].name);
        X509_NAME_add_entry_by_NID(X509_get_subject_name(cert), NID_commonName,
                                   V_ASN1_PRINTABLESTRING, (const unsigned char *)cases[i].name, -1,
                                   -1, 0);
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 2);
        assert_int_equal(cert_meta_is(cert), cases[i].is);
        assert_false(cert_meta_read(cert, key, &version));
        X509_free(cert);
    }
}

static void test_versions_that_are_none(void **state)
{
    static const int64_t versions[] = {0, -1, 256, INT64_MAX};
    uint8_t key[CERT_META_KEY_BYTES], version;

    (void)state;
    for (size_t i = 0; i < COUNT(versions); i++) {
        X509 *cert = make();

        ASN1_INTEGER_set_int64(X509_get_serialNumber(cert), versions[i]);
        assert_true(cert_meta_is(cert));
        assert_false(cert_meta_read(cert, key, &version));
        X509_free(cert);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_every_call_has_a_key_of_its_own),
        cmocka_unit_test(test_survives_its_encoding),
        cmocka_unit_test(test_version_above_127_is_positive),
        cmocka_unit_test(test_is_read_back),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_versions_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
