// SPDX-License-Identifier: BSD-3-Clause
//
// Traffic keys: the numbers of RFC 8448, section 3, and OpenSSL's own HKDF as a second opinion.
#include "io/tls13_keys.h"

#include "../support/loopback.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *secret, *key, *iv;
} rfc8448[] = {
    {"9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
     "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9"},
    {"a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643",
     "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984"},
};

static void from_hex(const char *hex, uint8_t *out, size_t len)
{
    size_t n;

    assert_int_equal(sodium_hex2bin(out, len, hex, strlen(hex), NULL, &n, NULL), 0);
    assert_int_equal(n, len);
}

static void test_rfc8448(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rfc8448); i++) {
        uint8_t secret[32], key[16], iv[TLS13_IV_BYTES];
        struct tls13_direction direction = {.sequence = 7};

        from_hex(rfc8448[i].secret, secret, sizeof secret);
        from_hex(rfc8448[i].key, key, sizeof key);
        from_hex(rfc8448[i].iv, iv, sizeof iv);
        assert_true(tls13_direction_start(&direction, TLS13_AES_128_GCM_SHA256, secret));
        assert_memory_equal(direction.key, key, sizeof key);
        assert_memory_equal(direction.iv, iv, sizeof iv);
        assert_memory_equal(direction.key + sizeof key, secret, sizeof secret);
        assert_int_equal(direction.sequence, 0);
    }
}

// HKDF-Expand of the library, with the label put together in another way (RFC 8446, section 7.1).
static void expand(const char *hash, const uint8_t *secret, size_t secret_len, const char *label,
                   uint8_t *out, size_t len)
{
    char info[64];
    const int head = snprintf(info, sizeof info, "%c%c%ctls13 %s%c", 0, (int)len,
                              (int)(strlen(label) + 6), label, 0);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, (char *)"EXPAND_ONLY", 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)hash, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret, secret_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, (size_t)head),
        OSSL_PARAM_construct_end(),
    };

    assert_int_equal(EVP_KDF_derive(context, out, len, parameters), 1);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
}

static const struct {
    uint16_t id;
    const char *hash;
    size_t secret_bytes, key_bytes;
} suites[TLS13_SUITES] = {
    [TLS13_AES_128_GCM_SHA256] = {0x1301, "SHA256", 32, 16},
    [TLS13_AES_256_GCM_SHA384] = {0x1302, "SHA384", 48, 32},
    [TLS13_CHACHA20_POLY1305_SHA256] = {0x1303, "SHA256", 32, 32},
};

static void assert_generation(const struct tls13_direction *direction, int suite,
                              const uint8_t *secret)
{
    const size_t n = suites[suite].secret_bytes;
    uint8_t key[TLS13_KEY_MAX_BYTES], iv[TLS13_IV_BYTES];

    expand(suites[suite].hash, secret, n, "key", key, suites[suite].key_bytes);
    expand(suites[suite].hash, secret, n, "iv", iv, sizeof iv);
    assert_memory_equal(direction->key, key, suites[suite].key_bytes);
    assert_memory_equal(direction->key + suites[suite].key_bytes, secret, n);
    assert_memory_equal(direction->iv, iv, sizeof iv);
    assert_int_equal(direction->sequence, 0);
}

static void test_updates(void **state)
{
    (void)state;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        const size_t n = suites[suite].secret_bytes;
        uint8_t secret[TLS13_SECRET_MAX_BYTES], next[TLS13_SECRET_MAX_BYTES];
        struct tls13_direction direction;

        assert_int_equal(RAND_bytes(secret, (int)n), 1);
        assert_true(tls13_direction_start(&direction, (enum tls13_suite)suite, secret));
        for (int generation = 0; generation < 5; generation++) {
            assert_generation(&direction, suite, secret);
            direction.sequence = 99;
            assert_true(tls13_direction_update(&direction, (enum tls13_suite)suite));
            expand(suites[suite].hash, secret, n, "traffic upd", next, n);
            memcpy(secret, next, n);
        }
    }
}

// A direction whose memory ends where its suite's need does: the sanitizer sees to the rest.
static void test_shortest_memory(void **state)
{
    static const uint8_t secret[TLS13_SECRET_MAX_BYTES] = "long enough for any suite";

    (void)state;
    for (int i = 0; i < TLS13_SUITES; i++) {
        const enum tls13_suite suite = (enum tls13_suite)i;
        const size_t bytes = tls13_direction_bytes(suite);
        struct tls13_direction *direction = malloc(bytes);

        assert_in_range(bytes, 8 + 12 + suites[i].key_bytes + suites[i].secret_bytes,
                        sizeof *direction);
        assert_int_equal(bytes % sizeof direction->sequence, 0);
        assert_true(tls13_direction_start(direction, suite, secret));
        assert_generation(direction, i, secret);
        assert_true(tls13_direction_update(direction, suite));
        free(direction);
    }
}

static void test_suites(void **state)
{
    enum tls13_suite suite;

    (void)state;
    for (int i = 0; i < TLS13_SUITES; i++) {
        assert_true(tls13_suite_from_id(suites[i].id, &suite));
        assert_int_equal(suite, i);
    }
    for (int id = 0; id <= UINT16_MAX; id++)
        assert_int_equal(tls13_suite_from_id((uint16_t)id, &suite), id >= 0x1301 && id <= 0x1303);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8448),
        cmocka_unit_test(test_updates),
        cmocka_unit_test(test_shortest_memory),
        cmocka_unit_test(test_suites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
