// SPDX-License-Identifier: BSD-3-Clause
//
// Addresses of both families in one type: IPv4 ones as mapped addresses (RFC 4291, section
// 2.5.5.2).
#ifndef DERPER_BASE_ADDRESS_H
#define DERPER_BASE_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>

void address_map(struct in6_addr *out, const struct in_addr *ipv4);

// An address alone, without port, brackets or zone. False for anything else; `out` is then
// untouched.
bool address_from_text(struct in6_addr *out, const char *text);

#endif
