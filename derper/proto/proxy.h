// SPDX-License-Identifier: BSD-3-Clause
//
// The header of the PROXY protocol, versions 1 and 2, with which a proxy in front of the relay says
// whose connection it passes on. Pure codec: no I/O, no allocation, no state. "The PROXY protocol",
// HAProxy's doc/proxy-protocol.txt, sections 2.1 and 2.2.
#ifndef DERPER_PROTO_PROXY_H
#define DERPER_PROTO_PROXY_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROXY_V1_MAX_BYTES 107
// Of a version 2 header with all that proxies append (TLVs). The protocol asks senders to stay
// below 536; some that are told to append certificates do not.
#define PROXY_HEADER_MAX_BYTES 4096

enum proxy_result {
    PROXY_OK,
    PROXY_MORE, // what is there may be the beginning of one
    PROXY_BAD,
};

struct proxy_header {
    size_t bytes;  // of the header; what the client said follows. With PROXY_MORE: how many there
                   // must be before it is worth looking again
    bool own;      // the connection is the proxy's own, such as a health check
    bool has_peer; // otherwise it is, or the proxy does not know or cannot say whose it is
    struct in6_addr address; // the client's; IPv4 as a mapped address
    uint16_t port;           // host byte order
};

// Looks at the first bytes of a connection. TLVs of version 2 are skipped unseen.
enum proxy_result proxy_parse(const uint8_t *data, size_t len, struct proxy_header *out);

#endif
