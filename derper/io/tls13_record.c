// SPDX-License-Identifier: BSD-3-Clause
#include "io/tls13_record.h"

#include <endian.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

static const EVP_CIPHER *cipher_of(int suite)
{
    switch (suite) {
    case TLS13_AES_128_GCM_SHA256:
        return EVP_aes_128_gcm();
    case TLS13_AES_256_GCM_SHA384:
        return EVP_aes_256_gcm();
    default:
        return EVP_chacha20_poly1305();
    }
}

static void cipher_init(struct tls13_cipher *cipher, int suite, int encrypt)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    *cipher = (struct tls13_cipher){0};
    if (context && EVP_CipherInit_ex(context, cipher_of(suite), NULL, NULL, NULL, encrypt) == 1) {
        cipher->context = context;
        cipher->key_bytes = (uint8_t)EVP_CIPHER_CTX_get_key_length(context);
    } else {
        EVP_CIPHER_CTX_free(context);
    }
}

void tls13_ciphers_init(struct tls13_ciphers *ciphers)
{
    for (int i = 0; i < TLS13_SUITES; i++) {
        cipher_init(&ciphers->seal[i], i, 1);
        cipher_init(&ciphers->open[i], i, 0);
    }
    ERR_clear_error();
}

bool tls13_ciphers_have(const struct tls13_ciphers *ciphers, enum tls13_suite suite)
{
    return ciphers->seal[suite].context && ciphers->open[suite].context;
}

void tls13_ciphers_deinit(struct tls13_ciphers *ciphers)
{
    for (int i = 0; i < TLS13_SUITES; i++) {
        EVP_CIPHER_CTX_free(ciphers->seal[i].context);
        EVP_CIPHER_CTX_free(ciphers->open[i].context);
    }
    sodium_memzero(ciphers, sizeof *ciphers);
}

// Section 5.3: the sequence number, big endian, padded on the left, xored with the IV.
static void put_nonce(const struct tls13_direction *direction, uint8_t nonce[static TLS13_IV_BYTES])
{
    uint64_t last;

    memcpy(nonce, direction->iv, TLS13_IV_BYTES);
    memcpy(&last, nonce + TLS13_IV_BYTES - sizeof last, sizeof last);
    last ^= htobe64(direction->sequence);
    memcpy(nonce + TLS13_IV_BYTES - sizeof last, &last, sizeof last);
}

static bool has_key(const struct tls13_cipher *cipher, const struct tls13_direction *direction)
{
    return cipher->keyed && memcmp(cipher->key, direction->key, cipher->key_bytes) == 0;
}

// Gets `cipher` ready for the next record of `direction`.
static bool prepare(struct tls13_cipher *cipher, const struct tls13_direction *direction)
{
    const bool same = has_key(cipher, direction);
    uint8_t nonce[TLS13_IV_BYTES];

    put_nonce(direction, nonce);
    cipher->keyed = EVP_CipherInit_ex(cipher->context, NULL, NULL, same ? NULL : direction->key,
                                      nonce, -1) == 1;
    if (!same)
        memcpy(cipher->key, direction->key, cipher->key_bytes);
    return cipher->keyed;
}

// Another key is the only thing that overwrites all that the library made of the first one.
void tls13_cipher_forget(struct tls13_cipher *cipher, const struct tls13_direction *direction)
{
    static const struct tls13_direction nobody;

    if (has_key(cipher, direction))
        prepare(cipher, &nobody);
}

static void put_header(uint8_t *out, size_t len)
{
    out[0] = TLS13_DATA;
    out[1] = out[2] = 3; // legacy_record_version, TLS 1.2
    out[3] = (uint8_t)(len >> 8);
    out[4] = (uint8_t)len;
}

static bool seal_pieces(EVP_CIPHER_CTX *context, const struct tls13_piece *pieces, size_t count,
                        uint8_t type, uint8_t *out)
{
    int n;

    for (size_t i = 0; i < count; i++) {
        if (EVP_EncryptUpdate(context, out, &n, pieces[i].data, (int)pieces[i].len) != 1)
            return false;
        out += n;
    }
    if (EVP_EncryptUpdate(context, out, &n, &type, 1) != 1)
        return false;
    out += n;
    return EVP_EncryptFinal_ex(context, out, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TLS13_TAG_BYTES, out + n) == 1;
}

size_t tls13_seal(struct tls13_ciphers *ciphers, enum tls13_suite suite,
                  struct tls13_direction *direction, enum tls13_type type,
                  const struct tls13_piece *pieces, size_t count, uint8_t *out)
{
    struct tls13_cipher *cipher = &ciphers->seal[suite];
    size_t len = 1 + TLS13_TAG_BYTES;
    int n;

    for (size_t i = 0; i < count; i++)
        len += pieces[i].len;
    put_header(out, len);
    if (direction->sequence == UINT64_MAX || !prepare(cipher, direction) ||
        EVP_EncryptUpdate(cipher->context, NULL, &n, out, TLS13_HEADER_BYTES) != 1 ||
        !seal_pieces(cipher->context, pieces, count, (uint8_t)type, out + TLS13_HEADER_BYTES))
        return 0;
    direction->sequence++;
    return TLS13_HEADER_BYTES + len;
}

size_t tls13_record_bytes(const uint8_t *data, size_t len, enum tls13_alert *alert)
{
    size_t body;

    if (len < TLS13_HEADER_BYTES)
        return 0;
    body = (size_t)data[3] << 8 | data[4];
    // After the handshake, all records are protected ones (section 5.1); their version is not
    // looked at.
    if (data[0] != TLS13_DATA)
        *alert = TLS13_UNEXPECTED_MESSAGE;
    else if (body > TLS13_CIPHER_MAX_BYTES)
        *alert = TLS13_RECORD_OVERFLOW;
    else if (body < 1 + TLS13_TAG_BYTES)
        *alert = TLS13_BAD_RECORD_MAC;
    else
        return TLS13_HEADER_BYTES + body;
    return 0;
}

static bool decrypt(struct tls13_cipher *cipher, const struct tls13_direction *direction,
                    const uint8_t *record, size_t body, uint8_t *out)
{
    const uint8_t *sealed = record + TLS13_HEADER_BYTES;
    EVP_CIPHER_CTX *context = cipher->context;
    uint8_t tag[TLS13_TAG_BYTES];
    int n, last;

    memcpy(tag, sealed + body - TLS13_TAG_BYTES, sizeof tag);
    return prepare(cipher, direction) &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TLS13_TAG_BYTES, tag) == 1 &&
           EVP_DecryptUpdate(context, NULL, &n, record, TLS13_HEADER_BYTES) == 1 &&
           EVP_DecryptUpdate(context, out, &n, sealed, (int)(body - TLS13_TAG_BYTES)) == 1 &&
           EVP_DecryptFinal_ex(context, out + n, &last) == 1;
}

bool tls13_open(struct tls13_ciphers *ciphers, enum tls13_suite suite,
                struct tls13_direction *direction, const uint8_t *record, size_t len, uint8_t *out,
                struct tls13_opened *opened, enum tls13_alert *alert)
{
    const size_t body = len - TLS13_HEADER_BYTES;
    size_t n = body - TLS13_TAG_BYTES;

    if (direction->sequence == UINT64_MAX) {
        *alert = TLS13_INTERNAL_ERROR;
        return false;
    }
    if (!decrypt(&ciphers->open[suite], direction, record, body, out)) {
        ERR_clear_error();
        *alert = TLS13_BAD_RECORD_MAC;
        return false;
    }
    direction->sequence++;
    if (n > TLS13_PLAIN_MAX_BYTES + 1) { // padding counts, too: section 5.4
        *alert = TLS13_RECORD_OVERFLOW;
        return false;
    }
    while (n > 0 && out[n - 1] == 0) // padding, section 5.4
        n--;
    if (n == 0) {
        *alert = TLS13_UNEXPECTED_MESSAGE;
        return false;
    }
    opened->type = out[n - 1];
    opened->len = n - 1;
    return true;
}
