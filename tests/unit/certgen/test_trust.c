// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/trust.h"

#include "certgen/error.h"
#include "certgen/pem.h"
#include "material.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

static EVP_PKEY *root_key, *leaf_key;
static X509 *root, *leaf, *alone;
static STACK_OF(X509) * none;
static char folder[FOLDER_BYTES], ca_file[PATH_BYTES], error[CERT_ERROR_BYTES];

static int setup(void **state)
{
    (void)state;
    folder_make(folder);
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", folder);
    root_key = EVP_EC_gen("P-256");
    leaf_key = EVP_EC_gen("P-256");
    root = make_cert(&(struct spec){.name = "root", .authority = true}, root_key);
    leaf = make_cert(
        &(struct spec){
            .name = "a", .san = "DNS:a.example", .issuer = "root", .issuer_key = root_key},
        leaf_key);
    alone = make_cert(&(struct spec){.name = "a", .san = "DNS:a.example"}, leaf_key);
    none = sk_X509_new_null();
    file_write_bio(folder, "ca.pem", cert_pem_write_certificate(root));
    setenv("SSL_CERT_FILE", "/dev/null", 1);
    setenv("SSL_CERT_DIR", folder, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    X509_free(root);
    X509_free(leaf);
    X509_free(alone);
    sk_X509_free(none);
    EVP_PKEY_free(root_key);
    EVP_PKEY_free(leaf_key);
    folder_remove(folder);
    return 0;
}

static enum cert_trust trust(X509 *cert, const char *file, time_t now)
{
    ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
    const enum cert_trust result = cert_trust(cert, none, file, now, error, sizeof error);
    assert_int_equal(ERR_peek_error(), 0);
    return result;
}

static void test_kinds(void **state)
{
    (void)state;
    assert_int_equal(trust(leaf, ca_file, NOW), CERT_TRUST_FILE);
    assert_int_equal(trust(leaf, NULL, NOW), CERT_TRUST_NONE);
    assert_sentence(error, (const char *[]){"no authority", "issuer", "--ca", NULL});
    assert_int_equal(trust(leaf, ca_file, NOW + 2 * DAY), CERT_TRUST_NONE);
    assert_sentence(error, (const char *[]){"expired", NULL});
    assert_int_equal(trust(alone, NULL, NOW), CERT_TRUST_PIN);
    assert_int_equal(trust(alone, ca_file, NOW), CERT_TRUST_PIN);
    assert_int_equal(trust(leaf, "/gone", NOW), CERT_TRUST_FAILED);
    assert_sentence(error, (const char *[]){"/gone", "cannot be read", NULL});
    setenv("SSL_CERT_FILE", ca_file, 1);
    assert_int_equal(trust(leaf, NULL, NOW), CERT_TRUST_SYSTEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
