// SPDX-License-Identifier: BSD-3-Clause
//
// The address and port that a datagram came from, in one form: an IPv4 address that a dual-stack
// socket reports as ::ffff:a.b.c.d is an IPv4 address here.
#ifndef STUN_ADDRESS_H
#define STUN_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define STUN_IPV4_BYTES 4
#define STUN_IPV6_BYTES 16
#define STUN_ADDRESS_TEXT_CHARS 45 // longest IPv6 text, without the final NUL

struct stun_address {
    bool ipv6;
    uint16_t port;               // host order
    uint8_t ip[STUN_IPV6_BYTES]; // network order; the first STUN_IPV4_BYTES unless `ipv6`
};

// False for families other than IPv4 and IPv6; `out` is then untouched. `from` holds as many bytes
// as its family needs.
bool stun_address_from(struct stun_address *out, const struct sockaddr *from);

// An address that clients on the internet cannot have: RFC 1918, link-local, IPv6 unique local. As
// a source it says that something before us (a container gateway, a NAT) rewrites sources, and that
// clients are told an address that is not theirs. Loopback is not meant, nor are 100.64.0.0/10 and
// fd7a:115c:a1e0::/48, where tailnets live.
bool stun_address_private(const struct stun_address *address);

// The address without its port, and a NUL.
void stun_address_text(const struct stun_address *address,
                       char out[static STUN_ADDRESS_TEXT_CHARS + 1]);

#endif
