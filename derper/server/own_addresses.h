// SPDX-License-Identifier: BSD-3-Clause
//
// The addresses of this machine's interfaces that the whole internet can reach it by, if nothing is
// in the way.
#ifndef DERPER_SERVER_OWN_ADDRESSES_H
#define DERPER_SERVER_OWN_ADDRESSES_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

// Whether it is one that routers of the internet know: not private, shared by a provider's
// customers, of a link, of the machine itself, or for examples (RFC 6890). IPv4 as a mapped
// address.
bool own_address_public(const struct in6_addr *address);

// Writes up to `max` of them, without those of IPv6 that change by themselves (RFC 8981). The
// number.
size_t own_addresses(char (*out)[INET6_ADDRSTRLEN], size_t max);

#endif
