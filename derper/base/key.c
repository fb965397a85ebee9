// SPDX-License-Identifier: BSD-3-Clause
#include "base/key.h"

#include <sodium.h>
#include <stdio.h>

#define NAME_PREFIX "nodekey:"
#define NAME_PREFIX_CHARS (sizeof NAME_PREFIX - 1)

bool key_is_zero(const struct key *key)
{
    return sodium_is_zero(key->bytes, KEY_BYTES);
}

static void clamp(struct key *private)
{
    private->bytes[0] &= 248;
    private->bytes[31] = (private->bytes[31] & 127) | 64;
}

void key_pair_generate(struct key_pair *pair)
{
    struct key private;

    randombytes_buf(private.bytes, KEY_BYTES);
    key_pair_from_private(pair, &private);
    sodium_memzero(&private, sizeof private);
}

bool key_pair_from_private(struct key_pair *pair, const struct key *private)
{
    if (key_is_zero(private))
        return false;
    pair->private = *private;
    clamp(&pair->private);
    return crypto_scalarmult_base(pair->public.bytes, pair->private.bytes) == 0;
}

void key_pair_wipe(struct key_pair *pair)
{
    sodium_memzero(pair, sizeof *pair);
}

bool key_from_hex(struct key *out, const char *text, size_t len)
{
    struct key key;
    size_t n;
    bool valid;

    if (len != KEY_HEX_CHARS)
        return false;
    valid = sodium_hex2bin(key.bytes, KEY_BYTES, text, len, NULL, &n, NULL) == 0 && n == KEY_BYTES;
    if (valid)
        *out = key;
    sodium_memzero(&key, sizeof key); // private and mesh keys pass through here
    return valid;
}

void key_to_hex(const struct key *key, char out[static KEY_HEX_CHARS + 1])
{
    sodium_bin2hex(out, KEY_HEX_CHARS + 1, key->bytes, KEY_BYTES);
}

void key_name(const struct key *key, char out[static KEY_NAME_CHARS + 1])
{
    memcpy(out, NAME_PREFIX, NAME_PREFIX_CHARS);
    key_to_hex(key, out + NAME_PREFIX_CHARS);
}

bool key_from_name(struct key *out, const char *text, size_t len)
{
    return len > NAME_PREFIX_CHARS && memcmp(text, NAME_PREFIX, NAME_PREFIX_CHARS) == 0 &&
           key_from_hex(out, text + NAME_PREFIX_CHARS, len - NAME_PREFIX_CHARS);
}

void key_short(const struct key *key, char out[static KEY_SHORT_CHARS + 1])
{
    char text[sodium_base64_ENCODED_LEN(KEY_BYTES, sodium_base64_VARIANT_ORIGINAL)];

    sodium_bin2base64(text, sizeof text, key->bytes, KEY_BYTES, sodium_base64_VARIANT_ORIGINAL);
    snprintf(out, KEY_SHORT_CHARS + 1, "[%.5s]", text);
}
