// SPDX-License-Identifier: BSD-3-Clause
#include "io/tls13_keys.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>
#include <string.h>

static const struct {
    uint16_t id;
    uint8_t secret_bytes, key_bytes;
} suites[TLS13_SUITES] = {
    [TLS13_AES_128_GCM_SHA256] = {0x1301, 32, 16},
    [TLS13_AES_256_GCM_SHA384] = {0x1302, 48, 32},
    [TLS13_CHACHA20_POLY1305_SHA256] = {0x1303, 32, 32},
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

// HKDF-Expand-Label with an empty context; what we need never exceeds one block of the hash.
static bool expand_label(enum tls13_suite suite, const uint8_t *secret, const char *label,
                         uint8_t *out, size_t len)
{
    const EVP_MD *hash = suites[suite].secret_bytes == 48 ? EVP_sha384() : EVP_sha256();
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
    ok = HMAC(hash, secret, suites[suite].secret_bytes, info, n, block, NULL) != NULL;
    if (ok)
        memcpy(out, block, len);
    sodium_memzero(block, sizeof block);
    return ok;
}

static bool derive(struct tls13_direction *direction, enum tls13_suite suite)
{
    direction->sequence = 0;
    return expand_label(suite, direction->secret, "key", direction->key, suites[suite].key_bytes) &&
           expand_label(suite, direction->secret, "iv", direction->iv, TLS13_IV_BYTES);
}

bool tls13_direction_start(struct tls13_direction *direction, enum tls13_suite suite,
                           const uint8_t *secret)
{
    memmove(direction->secret, secret, suites[suite].secret_bytes);
    return derive(direction, suite);
}

bool tls13_direction_update(struct tls13_direction *direction, enum tls13_suite suite)
{
    uint8_t next[TLS13_SECRET_MAX_BYTES];
    bool ok =
        expand_label(suite, direction->secret, "traffic upd", next, suites[suite].secret_bytes);

    if (ok)
        ok = tls13_direction_start(direction, suite, next);
    sodium_memzero(next, sizeof next);
    return ok;
}
