// SPDX-License-Identifier: BSD-3-Clause
#include "io/tls13_keys.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <string.h>
#include <uv.h>

static const struct {
    uint16_t id;
    uint8_t secret_bytes, key_bytes;
} suites[TLS13_SUITES] = {
    [TLS13_AES_128_GCM_SHA256] = {0x1301, SHA256_DIGEST_LENGTH, 16},
    [TLS13_AES_256_GCM_SHA384] = {0x1302, SHA384_DIGEST_LENGTH, 32},
    [TLS13_CHACHA20_POLY1305_SHA256] = {0x1303, SHA256_DIGEST_LENGTH, 32},
};

bool tls13_suite_from_id(uint16_t id, enum tls13_suite *out)
{
    for (int i = 0; i < TLS13_SUITES; i++) {
        if (suites[i].id == id) {
            *out = (enum tls13_suite)i;
            return true;
        }
    }
    return false;
}

size_t tls13_direction_bytes(enum tls13_suite suite)
{
    const size_t bytes = offsetof(struct tls13_direction, key) + suites[suite].key_bytes +
                         suites[suite].secret_bytes;
    const size_t alignment = _Alignof(struct tls13_direction);

    return (bytes + alignment - 1) / alignment * alignment;
}

static uint8_t *secret_of(struct tls13_direction *direction, enum tls13_suite suite)
{
    return direction->key + suites[suite].key_bytes;
}

// HMAC contexts to copy, one for each hash, keyed with anything: a one-shot HMAC() looks its
// algorithms up by name each time, which costs four times what it computes.
static EVP_MAC_CTX *hmac_sha256, *hmac_sha384;

static EVP_MAC_CTX *make_hmac(EVP_MAC *mac, const char *hash)
{
    const uint8_t key[TLS13_SECRET_MAX_BYTES] = {0};
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)hash, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC_CTX *hmac = mac ? EVP_MAC_CTX_new(mac) : NULL;

    if (hmac && EVP_MAC_init(hmac, key, sizeof key, params) != 1) {
        EVP_MAC_CTX_free(hmac);
        hmac = NULL;
    }
    return hmac;
}

static void make_hmacs(void)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);

    hmac_sha256 = make_hmac(mac, SN_sha256);
    hmac_sha384 = make_hmac(mac, SN_sha384);
    EVP_MAC_free(mac);
}

// NULL when the library fails.
static EVP_MAC_CTX *hmac_new(enum tls13_suite suite)
{
    static uv_once_t once = UV_ONCE_INIT;
    const EVP_MAC_CTX *model;

    uv_once(&once, make_hmacs);
    model = suites[suite].secret_bytes == SHA384_DIGEST_LENGTH ? hmac_sha384 : hmac_sha256;
    return model ? EVP_MAC_CTX_dup(model) : NULL;
}

// HKDF-Expand-Label with an empty context; what we need never exceeds one block of the hash.
static bool expand_label(EVP_MAC_CTX *hmac, enum tls13_suite suite, const uint8_t *secret,
                         const char *label, uint8_t *out, size_t len)
{
    const size_t label_len = 6 + strlen(label);
    uint8_t info[64], block[EVP_MAX_MD_SIZE];
    size_t n = 0;
    bool ok;

    info[n++] = (uint8_t)(len >> 8);
    info[n++] = (uint8_t)len;
    info[n++] = (uint8_t)label_len;
    memcpy(info + n, "tls13 ", 6);
    memcpy(info + n + 6, label, label_len - 6);
    n += label_len;
    info[n++] = 0; // context
    info[n++] = 1; // the first block
    ok = EVP_MAC_init(hmac, secret, suites[suite].secret_bytes, NULL) == 1 &&
         EVP_MAC_update(hmac, info, n) == 1 && EVP_MAC_final(hmac, block, NULL, sizeof block) == 1;
    if (ok)
        memcpy(out, block, len);
    sodium_memzero(block, sizeof block);
    return ok;
}

static bool derive(struct tls13_direction *direction, enum tls13_suite suite, EVP_MAC_CTX *hmac)
{
    const uint8_t *secret = secret_of(direction, suite);

    direction->sequence = 0;
    return expand_label(hmac, suite, secret, "key", direction->key, suites[suite].key_bytes) &&
           expand_label(hmac, suite, secret, "iv", direction->iv, TLS13_IV_BYTES);
}

bool tls13_direction_start(struct tls13_direction *direction, enum tls13_suite suite,
                           const uint8_t *secret)
{
    EVP_MAC_CTX *hmac = hmac_new(suite);
    bool ok;

    memcpy(secret_of(direction, suite), secret, suites[suite].secret_bytes);
    ok = hmac && derive(direction, suite, hmac);
    EVP_MAC_CTX_free(hmac);
    return ok;
}

bool tls13_direction_update(struct tls13_direction *direction, enum tls13_suite suite)
{
    EVP_MAC_CTX *hmac = hmac_new(suite);
    uint8_t *secret = secret_of(direction, suite);
    bool ok =
        hmac &&
        expand_label(hmac, suite, secret, "traffic upd", secret, suites[suite].secret_bytes) &&
        derive(direction, suite, hmac);

    EVP_MAC_CTX_free(hmac);
    return ok;
}
