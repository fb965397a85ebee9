// SPDX-License-Identifier: BSD-3-Clause
#include "record.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define LABEL_MAX_BYTES 64

// HKDF-Expand-Label with an empty context, for outputs of at most one hash (RFC 8446, 7.1).
static bool expand_label(const EVP_MD *hash, const uint8_t *secret, size_t secret_bytes,
                         const char *label, uint8_t *out, size_t bytes)
{
    uint8_t info[LABEL_MAX_BYTES], block[EVP_MAX_MD_SIZE];
    const size_t label_bytes = strlen(label);
    size_t at = 0;
    unsigned int block_bytes = 0;

    info[at++] = 0;
    info[at++] = (uint8_t)bytes;
    info[at++] = (uint8_t)(6 + label_bytes);
    memcpy(info + at, "tls13 ", 6);
    memcpy(info + at + 6, label, label_bytes);
    at += 6 + label_bytes;
    info[at++] = 0; // no context
    info[at++] = 1; // first and only block
    if (!HMAC(hash, secret, (int)secret_bytes, info, at, block, &block_bytes))
        return false;
    if (bytes > block_bytes)
        return false;
    memcpy(out, block, bytes);
    return true;
}

static const EVP_CIPHER *suite_cipher(const SSL_CIPHER *suite)
{
    switch (SSL_CIPHER_get_protocol_id(suite)) {
    case 0x1301:
        return EVP_aes_128_gcm();
    case 0x1302:
        return EVP_aes_256_gcm();
    case 0x1303:
        return EVP_chacha20_poly1305();
    default:
        return NULL;
    }
}

bool record_side_init(struct record_side *side, const SSL_CIPHER *suite, const uint8_t *secret,
                      size_t secret_bytes, bool seals)
{
    const EVP_CIPHER *cipher = suite_cipher(suite);
    const EVP_MD *hash = SSL_CIPHER_get_handshake_digest(suite);
    uint8_t key[EVP_MAX_KEY_LENGTH];

    *side = (struct record_side){.seals = seals};
    if (!cipher || !hash ||
        !expand_label(hash, secret, secret_bytes, "key", key,
                      (size_t)EVP_CIPHER_get_key_length(cipher)) ||
        !expand_label(hash, secret, secret_bytes, "iv", side->iv, sizeof side->iv))
        return false;
    side->cipher = EVP_CIPHER_CTX_new();
    return side->cipher && EVP_CipherInit_ex(side->cipher, cipher, NULL, key, NULL, seals) == 1;
}

void record_side_deinit(struct record_side *side)
{
    EVP_CIPHER_CTX_free(side->cipher);
    *side = (struct record_side){0};
}

// Sets this record's nonce and authenticates its header.
static bool begin(struct record_side *side, const uint8_t header[static RECORD_HEADER_BYTES])
{
    uint8_t nonce[RECORD_IV_BYTES];
    int n;

    memcpy(nonce, side->iv, sizeof nonce);
    for (int i = 0; i < 8; i++)
        nonce[RECORD_IV_BYTES - 1 - i] ^= (uint8_t)(side->sequence >> (8 * i));
    return EVP_CipherInit_ex(side->cipher, NULL, NULL, NULL, nonce, -1) == 1 &&
           EVP_CipherUpdate(side->cipher, NULL, &n, header, RECORD_HEADER_BYTES) == 1;
}

size_t record_sealed_bytes(size_t bytes)
{
    const size_t records = (bytes + RECORD_PLAIN_MAX_BYTES - 1) / RECORD_PLAIN_MAX_BYTES;

    return bytes + records * RECORD_OVERHEAD_BYTES;
}

size_t record_seal(struct record_side *side, enum record_type type, const uint8_t *data,
                   size_t bytes, uint8_t *out)
{
    const uint8_t inner_type = (uint8_t)type;
    const size_t body = bytes + 1 + RECORD_TAG_BYTES;
    uint8_t *at = out + RECORD_HEADER_BYTES;
    int n = 0, last = 0, end = 0;
    bool ok;

    assert(side->seals && bytes <= RECORD_PLAIN_MAX_BYTES);
    memcpy(out, (uint8_t[]){RECORD_DATA, 3, 3, (uint8_t)(body >> 8), (uint8_t)body},
           RECORD_HEADER_BYTES);
    ok = begin(side, out) &&
         (bytes == 0 || EVP_EncryptUpdate(side->cipher, at, &n, data, (int)bytes) == 1) &&
         EVP_EncryptUpdate(side->cipher, at + n, &last, &inner_type, 1) == 1 &&
         EVP_EncryptFinal_ex(side->cipher, at + n + last, &end) == 1 &&
         EVP_CIPHER_CTX_ctrl(side->cipher, EVP_CTRL_AEAD_GET_TAG, RECORD_TAG_BYTES,
                             at + bytes + 1) == 1;
    assert(ok);
    side->sequence++;
    return ok ? RECORD_HEADER_BYTES + body : 0;
}

void record_seal_data(struct record_side *side, const uint8_t *data, size_t bytes, uint8_t *out)
{
    while (bytes > 0) {
        const size_t part = bytes < RECORD_PLAIN_MAX_BYTES ? bytes : RECORD_PLAIN_MAX_BYTES;

        out += record_seal(side, RECORD_DATA, data, part, out);
        data += part;
        bytes -= part;
    }
}

// The last byte that is not padding tells the type (RFC 8446, 5.4).
static bool strip_padding(const uint8_t *inner, size_t bytes, struct record_opened *opened)
{
    while (bytes > 0 && inner[bytes - 1] == 0)
        bytes--;
    if (bytes == 0)
        return false;
    opened->type = inner[bytes - 1];
    opened->bytes = bytes - 1;
    return true;
}

enum record_result record_open(struct record_side *side, const uint8_t *in, size_t len,
                               uint8_t *out, struct record_opened *opened)
{
    size_t body, inner;
    int n = 0, end = 0;

    assert(!side->seals);
    if (len < RECORD_HEADER_BYTES)
        return RECORD_INCOMPLETE;
    body = (size_t)in[3] << 8 | in[4];
    if (in[0] != RECORD_DATA || body <= RECORD_TAG_BYTES || body > RECORD_BODY_MAX_BYTES)
        return RECORD_BAD;
    if (len < RECORD_HEADER_BYTES + body)
        return RECORD_INCOMPLETE;
    inner = body - RECORD_TAG_BYTES;
    if (!begin(side, in) ||
        EVP_DecryptUpdate(side->cipher, out, &n, in + RECORD_HEADER_BYTES, (int)inner) != 1 ||
        EVP_CIPHER_CTX_ctrl(side->cipher, EVP_CTRL_AEAD_SET_TAG, RECORD_TAG_BYTES,
                            (void *)(in + RECORD_HEADER_BYTES + inner)) != 1 ||
        EVP_DecryptFinal_ex(side->cipher, out + n, &end) != 1)
        return RECORD_BAD;
    side->sequence++;
    opened->used = RECORD_HEADER_BYTES + body;
    return strip_padding(out, inner, opened) ? RECORD_OPENED : RECORD_BAD;
}
