// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/jose.h"

#include "material.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The key of RFC 7515, appendix A.3.1.
#define KEY_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define KEY_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define KEY_D "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"

static EVP_PKEY *rfc_key(void)
{
    uint8_t point[65] = {4}, number[32];
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params;
    BIGNUM *d;

    assert_int_equal(jose_base64_decode(KEY_X, point + 1, 32), 32);
    assert_int_equal(jose_base64_decode(KEY_Y, point + 33, 32), 32);
    assert_int_equal(jose_base64_decode(KEY_D, number, 32), 32);
    d = BN_bin2bn(number, sizeof number, NULL);
    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, d);
    params = OSSL_PARAM_BLD_to_param(build);
    assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
    assert_int_equal(EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params), 1);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(context);
    BN_free(d);
    return key;
}

static void test_base64(void **state)
{
    static const struct {
        const char *text, *bytes;
    } good[] = {
        {"", ""},       {"Zg", "f"},     {"Zg==", "f"},       {"Zm8", "fo"},
        {"Zm8=", "fo"}, {"Zm9v", "foo"}, {"_-8", "\xff\xef"}, {"/+8=", "\xff\xef"},
    };
    static const char *const bad[] = {"Z", "Zg=", "Zm9v!", "Zm 9v", "_+8", "Zm9vYg"};
    uint8_t out[3];
    char *text;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        const int len = jose_base64_decode(good[i].text, out, sizeof out);

        assert_int_equal(len, strlen(good[i].bytes));
        assert_memory_equal(out, good[i].bytes, (size_t)len);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (jose_base64_decode(bad[i], out, sizeof out) >= 0)
            fail_msg("\"%s\" is taken", bad[i]);
    text = jose_base64url("\xff\xef", 2);
    assert_string_equal(text, "_-8");
    free(text);
}

static void test_jwk_and_thumbprint(void **state)
{
    EVP_PKEY *key = rfc_key();
    json_t *jwk = jose_jwk(key);
    char thumbprint[JOSE_THUMBPRINT_CHARS + 1];

    (void)state;
    assert_string_equal(json_string_value(json_object_get(jwk, "kty")), "EC");
    assert_string_equal(json_string_value(json_object_get(jwk, "crv")), "P-256");
    assert_string_equal(json_string_value(json_object_get(jwk, "x")), KEY_X);
    assert_string_equal(json_string_value(json_object_get(jwk, "y")), KEY_Y);
    assert_int_equal(json_object_size(jwk), 4);
    assert_true(jose_thumbprint(key, thumbprint));
    assert_string_equal(thumbprint, "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
    json_decref(jwk);
    EVP_PKEY_free(key);
}

static void test_usable(void **state)
{
    EVP_PKEY *p256 = jose_key_new(), *p384 = EVP_EC_gen("P-384");
    EVP_PKEY *ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    (void)state;
    assert_true(jose_key_usable(p256));
    assert_false(jose_key_usable(p384));
    assert_false(jose_key_usable(ed25519));
    EVP_PKEY_free(p256);
    EVP_PKEY_free(p384);
    EVP_PKEY_free(ed25519);
}

static const char *part(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    assert_non_null(text);
    return text;
}

// As anybody else would verify it.
static void verify(const json_t *object, EVP_PKEY *key)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    ECDSA_SIG *numbers = ECDSA_SIG_new();
    unsigned char signature[64], *der = NULL;
    char input[1024];
    int len;

    assert_int_equal(jose_base64_decode(part(object, "signature"), signature, 64), 64);
    ECDSA_SIG_set0(numbers, BN_bin2bn(signature, 32, NULL), BN_bin2bn(signature + 32, 32, NULL));
    len = i2d_ECDSA_SIG(numbers, &der);
    snprintf(input, sizeof input, "%s.%s", part(object, "protected"), part(object, "payload"));
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(
        EVP_DigestVerify(context, der, (size_t)len, (unsigned char *)input, strlen(input)), 1);
    OPENSSL_free(der);
    ECDSA_SIG_free(numbers);
    EVP_MD_CTX_free(context);
}

static void test_sign(void **state)
{
    EVP_PKEY *key = rfc_key();

    (void)state;
    for (int i = 0; i < 600; i++) { // some numbers are shorter than 32 bytes
        json_t *header = json_pack("{ss}", "nonce", "n");
        char *text = jose_sign(header, i % 2 ? "{\"a\":1}" : "", key);
        json_t *object = json_loads(text, 0, NULL);

        assert_string_equal(part(object, "payload"), i % 2 ? "eyJhIjoxfQ" : "");
        assert_string_equal(part(header, "alg"), "ES256");
        verify(object, key);
        json_decref(object);
        json_decref(header);
        free(text);
    }
    EVP_PKEY_free(key);
}

// RFC 7515, appendix A.1, has line ends in its header that a serializer does not make; so another
// well-known one, computed apart.
static void test_sign_hmac(void **state)
{
    static const uint8_t secret[] = "secret";
    json_t *header = json_pack("{ss}", "kid", "1");
    char *text = jose_sign_hmac(header, "{}", secret, sizeof secret - 1);
    json_t *object = json_loads(text, 0, NULL);

    (void)state;
    assert_string_equal(part(object, "protected"), "eyJraWQiOiIxIiwiYWxnIjoiSFMyNTYifQ");
    assert_string_equal(part(object, "payload"), "e30");
    assert_string_equal(part(object, "signature"), "l1ypKd4FUXy-YqeZ-a0CnXBD4oFUQZJYeMvcUSydqTk");
    json_decref(object);
    json_decref(header);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64),    cmocka_unit_test(test_jwk_and_thumbprint),
        cmocka_unit_test(test_usable),    cmocka_unit_test(test_sign),
        cmocka_unit_test(test_sign_hmac),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
