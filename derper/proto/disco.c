// SPDX-License-Identifier: BSD-3-Clause
#include "proto/disco.h"

#include <string.h>

static const uint8_t magic[DISCO_MAGIC_BYTES] = {0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac};

bool disco_looks_like(const uint8_t *packet, size_t len)
{
    return len >= DISCO_MIN_BYTES && memcmp(packet, magic, DISCO_MAGIC_BYTES) == 0;
}
