// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/csr.h"

#include "material.h"

#include <openssl/x509v3.h>
#include <string.h>

static GENERAL_NAMES *names_of(X509_REQ *request)
{
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(request);
    GENERAL_NAMES *names = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);

    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return names;
}

static void assert_name(const GENERAL_NAMES *names, int i, int kind, const void *bytes, int len)
{
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, NULL);

    assert_int_equal(name->type, kind);
    assert_int_equal(ASN1_STRING_length(value), len);
    assert_memory_equal(ASN1_STRING_get0_data(value), bytes, (size_t)len);
}

static void test_request(void **state)
{
    static const char *const wanted[] = {"derp.example.com", "203.0.113.1", "2001:db8::1"};
    static const uint8_t four[] = {203, 0, 113, 1};
    static const uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    EVP_PKEY *key = EVP_EC_gen("P-256"), *theirs;
    unsigned char *der;
    const int len = csr_new(wanted, COUNT(wanted), key, &der);
    const unsigned char *at = der;
    X509_REQ *request = d2i_X509_REQ(NULL, &at, len);
    GENERAL_NAMES *names;

    (void)state;
    assert_non_null(request);
    assert_ptr_equal(at, der + len);
    theirs = X509_REQ_get0_pubkey(request);
    assert_int_equal(EVP_PKEY_eq(key, theirs), 1);
    assert_int_equal(X509_REQ_verify(request, key), 1);
    assert_int_equal(X509_NAME_entry_count(X509_REQ_get_subject_name(request)), 0);
    names = names_of(request);
    assert_int_equal(sk_GENERAL_NAME_num(names), COUNT(wanted));
    assert_name(names, 0, GEN_DNS, wanted[0], (int)strlen(wanted[0]));
    assert_name(names, 1, GEN_IPADD, four, sizeof four);
    assert_name(names, 2, GEN_IPADD, six, sizeof six);
    GENERAL_NAMES_free(names);
    X509_REQ_free(request);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_request)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
