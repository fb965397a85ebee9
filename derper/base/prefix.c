// SPDX-License-Identifier: BSD-3-Clause
#include "base/prefix.h"

#include <arpa/inet.h>
#include <string.h>

#define PREFIX_CHARS_MAX (INET6_ADDRSTRLEN + 4) // "/128"

bool prefix_from_address(struct prefix *out, const char *text)
{
    *out = (struct prefix){.family = AF_INET, .bits = 32};
    if (inet_pton(AF_INET, text, out->address) == 1)
        return true;
    *out = (struct prefix){.family = AF_INET6, .bits = 128};
    return inet_pton(AF_INET6, text, out->address) == 1;
}

// One to three digits, without leading zeros.
static bool parse_bits(const char *text, unsigned *out)
{
    const size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 3 || text[digits] != '\0' || (text[0] == '0' && digits > 1))
        return false;
    *out = 0;
    for (; *text; text++)
        *out = *out * 10 + (unsigned)(*text - '0');
    return true;
}

bool prefix_from_text(struct prefix *out, const char *text, size_t len)
{
    char copy[PREFIX_CHARS_MAX + 1];
    char *slash;
    unsigned bits;

    if (len > PREFIX_CHARS_MAX)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    slash = strchr(copy, '/');
    if (!slash)
        return false;
    *slash++ = '\0';
    if (!prefix_from_address(out, copy) || !parse_bits(slash, &bits) || bits > out->bits)
        return false;
    out->bits = bits;
    return true;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    const unsigned bytes = bits / 8, rest = bits % 8;

    return memcmp(a, b, bytes) == 0 && (rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0);
}

static bool contains(const struct prefix *prefix, const struct in6_addr *address)
{
    const bool mapped = IN6_IS_ADDR_V4MAPPED(address);

    if (prefix->family == AF_INET)
        return mapped && same_bits(prefix->address, address->s6_addr + 12, prefix->bits);
    // One that says ::ffff: means IPv4, ::/0 does not.
    return (!mapped || prefix->bits >= 96) &&
           same_bits(prefix->address, address->s6_addr, prefix->bits);
}

bool prefixes_contain(const struct prefix *prefixes, size_t count, const struct in6_addr *address)
{
    for (size_t i = 0; i < count; i++)
        if (contains(&prefixes[i], address))
            return true;
    return false;
}
