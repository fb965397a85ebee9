// SPDX-License-Identifier: BSD-3-Clause
#include "payload.h"

#include <string.h>

#define NOISE_OFFSETS 65536

static const uint8_t start[4] = {4, 0, 0, 0}; // type of a WireGuard data packet
static uint8_t noise[NOISE_OFFSETS + PAYLOAD_MAX_BYTES];

void payload_init(void)
{
    uint64_t x = 0x9e3779b97f4a7c15;

    for (size_t i = 0; i < sizeof noise; i += sizeof x) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(noise + i, &x, sizeof x);
    }
}

static const uint8_t *noise_of(const struct payload *payload)
{
    return noise + (payload->flow * 7919ULL + payload->sequence * 31) % NOISE_OFFSETS;
}

void payload_put(uint8_t *out, size_t len, const struct payload *payload)
{
    memcpy(out, start, sizeof start);
    memcpy(out + 4, &payload->flow, sizeof payload->flow);
    memcpy(out + 8, &payload->sequence, sizeof payload->sequence);
    memcpy(out + 16, &payload->planned_ns, sizeof payload->planned_ns);
    memcpy(out + PAYLOAD_MIN_BYTES, noise_of(payload), len - PAYLOAD_MIN_BYTES);
}

bool payload_check(const uint8_t *in, size_t len, struct payload *out)
{
    if (len < PAYLOAD_MIN_BYTES || len > PAYLOAD_MAX_BYTES || memcmp(in, start, sizeof start) != 0)
        return false;
    memcpy(&out->flow, in + 4, sizeof out->flow);
    memcpy(&out->sequence, in + 8, sizeof out->sequence);
    memcpy(&out->planned_ns, in + 16, sizeof out->planned_ns);
    return memcmp(in + PAYLOAD_MIN_BYTES, noise_of(out), len - PAYLOAD_MIN_BYTES) == 0;
}
