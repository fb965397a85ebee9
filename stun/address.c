// SPDX-License-Identifier: BSD-3-Clause
#include "stun/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#define MAPPED_PREFIX_BYTES 12

bool stun_address_from(struct stun_address *out, const struct sockaddr *from)
{
    if (from->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;

        *out = (struct stun_address){.port = ntohs(in->sin_port)};
        memcpy(out->ip, &in->sin_addr, STUN_IPV4_BYTES);
        return true;
    }
    if (from->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
        const bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);

        *out = (struct stun_address){.ipv6 = !mapped, .port = ntohs(in6->sin6_port)};
        if (mapped)
            memcpy(out->ip, in6->sin6_addr.s6_addr + MAPPED_PREFIX_BYTES, STUN_IPV4_BYTES);
        else
            memcpy(out->ip, &in6->sin6_addr, STUN_IPV6_BYTES);
        return true;
    }
    return false;
}

static bool private_ipv4(const uint8_t ip[static STUN_IPV4_BYTES])
{
    return ip[0] == 10 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) ||
           (ip[0] == 192 && ip[1] == 168) || (ip[0] == 169 && ip[1] == 254);
}

static bool private_ipv6(const uint8_t ip[static STUN_IPV6_BYTES])
{
    static const uint8_t tailnet[] = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0};
    const bool link_local = ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;
    const bool unique_local = (ip[0] & 0xfe) == 0xfc;

    return link_local || (unique_local && memcmp(ip, tailnet, sizeof tailnet) != 0);
}

bool stun_address_private(const struct stun_address *address)
{
    return address->ipv6 ? private_ipv6(address->ip) : private_ipv4(address->ip);
}

void stun_address_text(const struct stun_address *address,
                       char out[static STUN_ADDRESS_TEXT_CHARS + 1])
{
    inet_ntop(address->ipv6 ? AF_INET6 : AF_INET, address->ip, out, STUN_ADDRESS_TEXT_CHARS + 1);
}
