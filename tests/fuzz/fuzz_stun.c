// SPDX-License-Identifier: BSD-3-Clause
//
// One datagram through the STUN parser in both modes, and its answers to both families.
#include "stun/message.h"

#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// assert() that stays in every build.
static void demand(bool holds)
{
    if (!holds)
        abort();
}

static size_t expected_size(const struct stun_request *request, const struct stun_address *source)
{
    const size_t list = 2 * (size_t)request->unknown_count;

    if (request->unknown_count > 0)
        return HEADER_BYTES + 8 + 4 + (list + 3) / 4 * 4;
    return source->ipv6 ? STUN_SUCCESS_IPV6_BYTES : STUN_SUCCESS_IPV4_BYTES;
}

static void answer(const uint8_t *data, const struct stun_request *request, bool ipv6)
{
    const struct stun_address source = {.ipv6 = ipv6, .port = 3478, .ip = {192, 0, 2, 1}};
    uint8_t out[STUN_ANSWER_MAX_BYTES];
    struct stun_request again;
    const size_t size = stun_put_answer(out, request, &source);

    demand(size == expected_size(request, &source) && size <= sizeof out);
    demand(out[2] == 0 && out[3] == size - HEADER_BYTES);
    demand(memcmp(out + 4, data + 4, HEADER_BYTES - 4) == 0); // cookie and transaction
    demand(!stun_parse_request(out, size, STUN_ANY, &again)); // no two servers in a loop
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stun_request tailscale, any;
    const bool is_tailscale = stun_parse_request(data, size, STUN_TAILSCALE, &tailscale);
    const bool is_any = stun_parse_request(data, size, STUN_ANY, &any);

    demand(is_any || !is_tailscale);
    if (is_tailscale)
        demand(tailscale.unknown_count == 0 && any.unknown_count == 0);
    if (is_any) {
        demand(size >= HEADER_BYTES && any.unknown_count <= STUN_UNKNOWN_MAX);
        answer(data, &any, false);
        answer(data, &any, true);
    }
    return 0;
}
