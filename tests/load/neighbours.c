// SPDX-License-Identifier: BSD-3-Clause
#include "neighbours.h"

#include "payload.h"

#include <string.h>

void neighbours_send(const struct fleet *fleet, size_t i, size_t payload_bytes)
{
    static uint8_t frame[FRAME_HEADER_BYTES + KEY_BYTES + PAYLOAD_MAX_BYTES];
    const size_t bytes = KEY_BYTES + payload_bytes;
    const struct payload content = {.flow = (uint32_t)i};

    frame_put_header(frame, FRAME_SEND_PACKET, (uint32_t)bytes);
    memcpy(frame + FRAME_HEADER_BYTES, neighbours_of(fleet, i)->keys.public.bytes, KEY_BYTES);
    payload_put(frame + FRAME_HEADER_BYTES + KEY_BYTES, payload_bytes, &content);
    conn_send(&fleet->conns[i], frame, FRAME_HEADER_BYTES + bytes);
}

bool neighbours_check(const struct frame_header *header, const uint8_t *frame, size_t i,
                      size_t payload_bytes)
{
    struct payload payload;

    return header->payload_bytes == KEY_BYTES + payload_bytes &&
           payload_check(frame + KEY_BYTES, payload_bytes, &payload) && payload.flow == (i ^ 1);
}
