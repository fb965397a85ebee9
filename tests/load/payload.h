// SPDX-License-Identifier: BSD-3-Clause
//
// What the relayed packets carry: who sent them, which one it is, when it was meant to be sent, and
// noise that differs from packet to packet, so that a mixed-up, cut or repeated one is seen.
#ifndef LOAD_PAYLOAD_H
#define LOAD_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_MIN_BYTES 24
#define PAYLOAD_MAX_BYTES 65536

struct payload {
    uint32_t flow;
    uint64_t sequence;
    uint64_t planned_ns; // since the start of the run
};

// Before any other call.
void payload_init(void);

// `len` between the bounds above. Starts as WireGuard's data packets do.
void payload_put(uint8_t *out, size_t len, const struct payload *payload);

// False when any byte is not what payload_put writes for the numbers in front.
bool payload_check(const uint8_t *in, size_t len, struct payload *out);

#endif
