// SPDX-License-Identifier: BSD-3-Clause
//
// Curve25519 keys of nodes and relays, and their text forms (wire page, section 3).
#ifndef DERPER_BASE_KEY_H
#define DERPER_BASE_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KEY_BYTES 32
#define KEY_HEX_CHARS 64
#define KEY_NAME_CHARS (8 + KEY_HEX_CHARS) // "nodekey:" and 64 hex digits, without the final NUL
#define KEY_SHORT_CHARS 7                  // "[AbCdE]", without the final NUL

struct key {
    uint8_t bytes[KEY_BYTES];
};

struct key_pair {
    struct key public;
    struct key private; // wiped by key_pair_wipe
};

static inline bool key_equal(const struct key *a, const struct key *b)
{
    return memcmp(a->bytes, b->bytes, KEY_BYTES) == 0;
}

bool key_is_zero(const struct key *key);

// A fresh pair from the system's random source.
void key_pair_generate(struct key_pair *pair);

// Clamps `private` as Curve25519 wants it and derives the public half. False for an all-zero
// private key.
bool key_pair_from_private(struct key_pair *pair, const struct key *private);

void key_pair_wipe(struct key_pair *pair);

// Exactly 64 hex digits, either case. False otherwise; `out` is then untouched.
bool key_from_hex(struct key *out, const char *text, size_t len);

// Lower-case hex digits and a NUL.
void key_to_hex(const struct key *key, char out[static KEY_HEX_CHARS + 1]);

// "nodekey:<hex>" and a NUL.
void key_name(const struct key *key, char out[static KEY_NAME_CHARS + 1]);

// The same back, and nothing else. False otherwise; `out` is then untouched.
bool key_from_name(struct key *out, const char *text, size_t len);

// The form for log lines: "[" and the first five base64 characters and "]".
void key_short(const struct key *key, char out[static KEY_SHORT_CHARS + 1]);

#endif
