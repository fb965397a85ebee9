// SPDX-License-Identifier: BSD-3-Clause
//
// IP addresses as certificates hold them: 4 or 16 bytes (RFC 5280, section 4.2.1.6); and names, of
// which each has one spelling here: addresses that of RFC 5952, DNS names small letters.
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

#define CERT_NAME_BYTES 254 // with the final NUL: the longest name that DNS has

// The one spelling of an address, "2001:db8::1" of "2001:DB8:0::1" and "10.0.0.1" of
// "::ffff:10.0.0.1". False when `text` is no address; `out` is then as it was.
bool cert_address_canonical(const char *text, char out[static CERT_NAME_BYTES]);

// The one spelling of each name or address. False, with a sentence, when one is too long for a name
// or there twice.
bool cert_names_canonical(char (*out)[CERT_NAME_BYTES], const char *const *given, size_t count,
                          char *error, size_t size);

#endif
