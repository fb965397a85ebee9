// SPDX-License-Identifier: BSD-3-Clause
//
// Who may see the debug pages: loopback, Tailscale addresses, the prefixes of the configuration,
// and whoever knows the debug key.
#ifndef DERPER_WEB_DEBUG_ACCESS_H
#define DERPER_WEB_DEBUG_ACCESS_H

#include "base/prefix.h"
#include "io/http.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEBUG_KEY_MAX_BYTES 1024 // of the file that holds it; a longer one opens nothing

struct debug_rule {
    const struct prefix *prefixes; // TS_ALLOW_DEBUG_IP and TS_DEBUG_TRUSTED_CIDRS
    size_t prefix_count;
    const char *key_path; // TS_DEBUG_KEY_PATH; NULL or "" when there is none. Read when asked.
};

// `peer` is the address of the connection's other end; IPv4 comes as a mapped address. A forwarded
// request's address says nothing, so only the key opens for it, and that only for GET.
bool debug_access_allowed(const struct debug_rule *rule, const struct http_request *request,
                          const struct sockaddr_in6 *peer);

#endif
