// SPDX-License-Identifier: BSD-3-Clause
#include "server/own_addresses.h"

#include "base/address.h"
#include "base/prefix.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define IPV6_TABLE "/proc/net/if_inet6" // the only place that tells flags without netlink
#define PREFIXES_MAX 16

static bool is_in(const struct in6_addr *address, const char *const *ranges, size_t count)
{
    struct prefix prefixes[PREFIXES_MAX];

    for (size_t i = 0; i < count; i++)
        prefix_from_text(&prefixes[i], ranges[i], strlen(ranges[i]));
    return prefixes_contain(prefixes, count, address);
}

bool own_address_public(const struct in6_addr *address)
{
    static const char *const not_public[] = {
        "0.0.0.0/8",       "10.0.0.0/8",     "100.64.0.0/10", "127.0.0.0/8",    "169.254.0.0/16",
        "172.16.0.0/12",   "192.0.0.0/24",   "192.0.2.0/24",  "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",   "2001:db8::/32",
    };
    static const char *const global[] = {"2000::/3", "::ffff:0.0.0.0/96"};

    return is_in(address, global, 2) &&
           !is_in(address, not_public, sizeof not_public / sizeof not_public[0]);
}

static void take(char (*out)[INET6_ADDRSTRLEN], size_t max, size_t *count, int family,
                 const void *bytes)
{
    struct in6_addr address;

    if (family == AF_INET)
        address_map(&address, bytes);
    else
        memcpy(&address, bytes, sizeof address);
    if (*count < max && own_address_public(&address) &&
        inet_ntop(family, bytes, out[*count], INET6_ADDRSTRLEN))
        ++*count;
}

static void take_ipv4(char (*out)[INET6_ADDRSTRLEN], size_t max, size_t *count)
{
    struct ifaddrs *all;

    if (getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *one = all; one; one = one->ifa_next)
        if (one->ifa_addr && one->ifa_addr->sa_family == AF_INET && one->ifa_flags & IFF_UP)
            take(out, max, count, AF_INET,
                 &((const struct sockaddr_in *)(const void *)one->ifa_addr)->sin_addr);
    freeifaddrs(all);
}

static void take_ipv6(char (*out)[INET6_ADDRSTRLEN], size_t max, size_t *count)
{
    const unsigned passing = IFA_F_TEMPORARY | IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED;
    FILE *table = fopen(IPV6_TABLE, "re");
    char line[128];

    while (table && fgets(line, sizeof line, table)) {
        struct in6_addr address;
        unsigned flags;
        bool whole = sscanf(line, "%*32[0-9a-f] %*x %*x %*x %x", &flags) == 1;

        for (size_t i = 0; i < sizeof address.s6_addr && whole; i++)
            whole = sscanf(line + 2 * i, "%2hhx", &address.s6_addr[i]) == 1;
        if (whole && !(flags & passing))
            take(out, max, count, AF_INET6, &address);
    }
    if (table)
        fclose(table);
}

size_t own_addresses(char (*out)[INET6_ADDRSTRLEN], size_t max)
{
    size_t count = 0;

    take_ipv4(out, max, &count);
    take_ipv6(out, max, &count);
    return count;
}
