// SPDX-License-Identifier: BSD-3-Clause
//
// An X-Forwarded-For field. Whose request it is depends on nothing in front of the address that is
// found, and is never a proxy's.
#include "proto/forwarded.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char lie[] = "203.0.113.1, ";
    struct prefix proxy;
    struct in6_addr address, again;
    char *field = malloc(size + sizeof lie);
    bool found;

    demand(field && prefix_from_text(&proxy, "10.0.0.0/8", 10));
    memcpy(field, data, size);
    found = forwarded_client(field, size, &proxy, 1, &address);
    demand(!found || !prefixes_contain(&proxy, 1, &address));
    memcpy(field, lie, sizeof lie - 1);
    memcpy(field + sizeof lie - 1, data, size);
    if (found)
        demand(forwarded_client(field, size + sizeof lie - 1, &proxy, 1, &again) &&
               memcmp(&again, &address, sizeof address) == 0);
    free(field);
    return 0;
}
