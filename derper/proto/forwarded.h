// SPDX-License-Identifier: BSD-3-Clause
//
// X-Forwarded-For, the field with which an HTTP proxy says whose request it passes on: addresses
// separated by commas, each proxy's own addition at the end. Pure codec.
#ifndef DERPER_PROTO_FORWARDED_H
#define DERPER_PROTO_FORWARDED_H

#include "base/prefix.h"

// The last address that is none of `proxies`: what stands in front of it, anybody may have made up.
// Addresses may have a port, as some proxies write. False when there is none, or when the search
// meets something else than an address; `out` is then untouched.
bool forwarded_client(const char *field, size_t len, const struct prefix *proxies, size_t count,
                      struct in6_addr *out);

#endif
