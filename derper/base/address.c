// SPDX-License-Identifier: BSD-3-Clause
#include "base/address.h"

#include <arpa/inet.h>
#include <string.h>

void address_map(struct in6_addr *out, const struct in_addr *ipv4)
{
    *out = (struct in6_addr){.s6_addr = {[10] = 0xff, 0xff}};
    memcpy(out->s6_addr + 12, ipv4, sizeof *ipv4);
}

bool address_from_text(struct in6_addr *out, const char *text)
{
    struct in_addr ipv4;

    if (inet_pton(AF_INET, text, &ipv4) != 1)
        return inet_pton(AF_INET6, text, out) == 1;
    address_map(out, &ipv4);
    return true;
}
