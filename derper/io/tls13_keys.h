// SPDX-License-Identifier: BSD-3-Clause
//
// TLS 1.3 traffic keys of one direction, from the traffic secret on (RFC 8446, sections 7.2
// and 7.3).
#ifndef DERPER_IO_TLS13_KEYS_H
#define DERPER_IO_TLS13_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS13_SECRET_MAX_BYTES 48
#define TLS13_KEY_MAX_BYTES 32
#define TLS13_IV_BYTES 12

enum tls13_suite {
    TLS13_AES_128_GCM_SHA256,
    TLS13_AES_256_GCM_SHA384,
    TLS13_CHACHA20_POLY1305_SHA256,
    TLS13_SUITES
};

// Secret: its owner wipes it. Only the first tls13_direction_bytes() are used, so one that is kept
// for long may have no more memory than those.
struct tls13_direction {
    uint64_t sequence; // of the next record
    uint8_t iv[TLS13_IV_BYTES];
    uint8_t key[TLS13_KEY_MAX_BYTES + TLS13_SECRET_MAX_BYTES]; // and behind it the traffic secret
};

// The suite of an IANA number (0x1301, …). False for one that we do not have.
bool tls13_suite_from_id(uint16_t id, enum tls13_suite *out);

// A multiple of the struct's alignment.
size_t tls13_direction_bytes(enum tls13_suite suite);

// Starts with the given traffic secret at sequence number 0. False when the library fails.
bool tls13_direction_start(struct tls13_direction *direction, enum tls13_suite suite,
                           const uint8_t *secret);

// Moves on to the next generation, as a KeyUpdate demands. False when the library fails.
bool tls13_direction_update(struct tls13_direction *direction, enum tls13_suite suite);

#endif
