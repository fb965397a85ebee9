// SPDX-License-Identifier: BSD-3-Clause
//
// TLS 1.3 records as they stand on the wire (RFC 8446, section 5). No connection state beyond the
// sequence number in the direction; what a record means is the engine's question.
#ifndef DERPER_IO_TLS13_RECORD_H
#define DERPER_IO_TLS13_RECORD_H

#include "io/tls13_keys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS13_HEADER_BYTES 5
#define TLS13_TAG_BYTES 16
#define TLS13_PLAIN_MAX_BYTES 16384
#define TLS13_CIPHER_MAX_BYTES (TLS13_PLAIN_MAX_BYTES + 256) // behind the header
#define TLS13_OVERHEAD_BYTES (TLS13_HEADER_BYTES + 1 + TLS13_TAG_BYTES)

enum tls13_type {
    TLS13_CHANGE_CIPHER_SPEC = 20,
    TLS13_ALERT = 21,
    TLS13_HANDSHAKE = 22,
    TLS13_DATA = 23,
};

enum tls13_alert {
    TLS13_CLOSE_NOTIFY = 0,
    TLS13_UNEXPECTED_MESSAGE = 10,
    TLS13_BAD_RECORD_MAC = 20,
    TLS13_RECORD_OVERFLOW = 22,
    TLS13_ILLEGAL_PARAMETER = 47,
    TLS13_DECODE_ERROR = 50,
    TLS13_INTERNAL_ERROR = 80,
    TLS13_USER_CANCELED = 90,
};

// A cipher context and the key that it has: records of one direction that follow each other, as in
// a burst, are keyed once, which is a quarter of what a record of 1.2 KB costs. The context is NULL
// for a suite that the library does not have, such as ChaCha20-Poly1305 in FIPS mode.
struct tls13_cipher {
    void *context;
    bool keyed;
    uint8_t key_bytes; // the secret that stands behind a shorter key is not kept here
    uint8_t key[TLS13_KEY_MAX_BYTES];
};

// One for each suite and way; a loop's thread has one set.
struct tls13_ciphers {
    struct tls13_cipher seal[TLS13_SUITES];
    struct tls13_cipher open[TLS13_SUITES];
};

void tls13_ciphers_init(struct tls13_ciphers *ciphers);
void tls13_ciphers_deinit(struct tls13_ciphers *ciphers);

// The context forgets the key of `direction`, if that is the one it has: to be called before a
// direction is wiped or moves on to new keys.
void tls13_cipher_forget(struct tls13_cipher *cipher, const struct tls13_direction *direction);

// Whether records of this suite can be sealed and opened.
bool tls13_ciphers_have(const struct tls13_ciphers *ciphers, enum tls13_suite suite);

struct tls13_piece {
    const uint8_t *data;
    size_t len;
};

// Writes one record of TLS13_PLAIN_MAX_BYTES at most, made of `count` pieces, to `out`, which has
// room for TLS13_OVERHEAD_BYTES more. Returns the bytes written, 0 when the library fails or the
// sequence number would wrap (section 5.3).
size_t tls13_seal(struct tls13_ciphers *ciphers, enum tls13_suite suite,
                  struct tls13_direction *direction, enum tls13_type type,
                  const struct tls13_piece *pieces, size_t count, uint8_t *out);

struct tls13_opened {
    uint8_t type; // enum tls13_type, or what the peer wrote
    size_t len;   // of the content in `out`
};

// Bytes of the whole record that starts at `data`, header included; 0 when not even the header is
// there. Sets `*alert` (and returns 0) when the header alone is a fault.
size_t tls13_record_bytes(const uint8_t *data, size_t len, enum tls13_alert *alert);

// Opens the whole record at `record` (header included, `len` bytes, as tls13_record_bytes said)
// into `out`, which has room for `len` bytes and may be the place of the record's own content.
// False with the alert that its fault deserves; `out` is then not to be looked at.
bool tls13_open(struct tls13_ciphers *ciphers, enum tls13_suite suite,
                struct tls13_direction *direction, const uint8_t *record, size_t len, uint8_t *out,
                struct tls13_opened *opened, enum tls13_alert *alert);

#endif
