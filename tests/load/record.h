// SPDX-License-Identifier: BSD-3-Clause
//
// TLS 1.3 records without a TLS library's connection (RFC 8446, sections 5.2, 5.3 and 7.3): sealed
// ahead of time, opened by the caller. One side is one direction of one connection.
#ifndef LOAD_RECORD_H
#define LOAD_RECORD_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_HEADER_BYTES 5
#define RECORD_TAG_BYTES 16
#define RECORD_IV_BYTES 12
#define RECORD_OVERHEAD_BYTES (RECORD_HEADER_BYTES + 1 + RECORD_TAG_BYTES)
#define RECORD_PLAIN_MAX_BYTES 16384
#define RECORD_BODY_MAX_BYTES (RECORD_PLAIN_MAX_BYTES + 256)

enum record_type { RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };

enum record_result {
    RECORD_OPENED,
    RECORD_INCOMPLETE, // more bytes are needed; nothing was used
    RECORD_BAD,        // not a record of this side
};

struct record_side {
    EVP_CIPHER_CTX *cipher;
    uint8_t iv[RECORD_IV_BYTES];
    uint64_t sequence;
    bool seals;
};

struct record_opened {
    uint8_t type; // an enum record_type
    size_t bytes; // of plaintext
    size_t used;  // of input
};

// Derives key and IV from a traffic secret. False for a suite that TLS 1.3 does not have.
bool record_side_init(struct record_side *side, const SSL_CIPHER *suite, const uint8_t *secret,
                      size_t secret_bytes, bool seals);
void record_side_deinit(struct record_side *side);

// Sealed size of `bytes` of data, cut into as many records as they need.
size_t record_sealed_bytes(size_t bytes);

// Seals data into record_sealed_bytes(bytes) bytes at `out`.
void record_seal_data(struct record_side *side, const uint8_t *data, size_t bytes, uint8_t *out);

// One record of any type, at most RECORD_PLAIN_MAX_BYTES. Returns its size.
size_t record_seal(struct record_side *side, enum record_type type, const uint8_t *data,
                   size_t bytes, uint8_t *out);

// Opens the first record of `in`. `out` has room for RECORD_BODY_MAX_BYTES.
enum record_result record_open(struct record_side *side, const uint8_t *in, size_t len,
                               uint8_t *out, struct record_opened *opened);

#endif
