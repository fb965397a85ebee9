// SPDX-License-Identifier: BSD-3-Clause
//
// IP addresses as certificates hold them: 4 or 16 bytes (RFC 5280, section 4.2.1.6).
#ifndef CERTGEN_ADDRESS_H
#define CERTGEN_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cert_address {
    uint8_t bytes[16];
    size_t len; // 4 or 16
};

// Reads "203.0.113.1" or "2001:db8::1", without brackets or zone. An IPv4-mapped IPv6 address is
// the IPv4 address. False when `text` is no address; `out` is then undefined.
bool cert_address_parse(const char *text, struct cert_address *out);

// Whether it is one.
bool cert_is_address(const char *text);

#endif
