// SPDX-License-Identifier: BSD-3-Clause
//
// The first bytes of a connection from a proxy. A header is found as soon as its last byte is there
// and not before, whatever follows it.
#include "proto/proxy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds)
{
    if (!holds)
        abort();
}

// On the heap and exact in size, so that a read beyond it is seen.
static enum proxy_result parse(const uint8_t *data, size_t size, struct proxy_header *out)
{
    uint8_t *copy = malloc(size ? size : 1);
    enum proxy_result result;

    demand(copy != NULL);
    memcpy(copy, data, size);
    result = proxy_parse(copy, size, out);
    free(copy);
    return result;
}

static void check_beginnings(const uint8_t *data, const struct proxy_header *whole)
{
    struct proxy_header header;

    for (size_t len = 0; len < whole->bytes; len++) {
        demand(parse(data, len, &header) == PROXY_MORE && !header.has_peer);
        demand(header.bytes > len && header.bytes <= whole->bytes);
    }
    demand(parse(data, whole->bytes, &header) == PROXY_OK && header.bytes == whole->bytes);
    demand(header.own == whole->own && header.has_peer == whole->has_peer &&
           header.port == whole->port &&
           memcmp(&header.address, &whole->address, sizeof header.address) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header header;

    switch (parse(data, size, &header)) {
    case PROXY_OK:
        demand(header.bytes <= size && header.bytes <= PROXY_HEADER_MAX_BYTES);
        check_beginnings(data, &header);
        break;
    case PROXY_MORE:
        demand(header.bytes > size && header.bytes <= PROXY_HEADER_MAX_BYTES);
        demand(!header.has_peer);
        break;
    case PROXY_BAD:
        demand(size > 0 && !header.has_peer);
    }
    return 0;
}
