// SPDX-License-Identifier: BSD-3-Clause
//
// Address ranges, as in "10.0.0.0/8" (RFC 4632, RFC 4291 section 2.3).
#ifndef DERPER_BASE_PREFIX_H
#define DERPER_BASE_PREFIX_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A range, or one address when `bits` is its whole length.
struct prefix {
    int family;          // AF_INET or AF_INET6
    unsigned bits;       // at most 32 or 128; address bits behind them may be set and do not count
    uint8_t address[16]; // network order; IPv4 uses the first 4 bytes
};

// One address, as the range that holds it alone.
bool prefix_from_address(struct prefix *out, const char *text);

// `len` characters, "address/bits"; the bits must be there.
bool prefix_from_text(struct prefix *out, const char *text, size_t len);

// Whether one of the ranges holds `address`; IPv4 comes as a mapped address, which ranges hold that
// are of IPv4 or of mapped addresses alone, as in "::ffff:10.0.0.0/104".
bool prefixes_contain(const struct prefix *prefixes, size_t count, const struct in6_addr *address);

#endif
