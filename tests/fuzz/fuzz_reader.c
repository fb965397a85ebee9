// SPDX-License-Identifier: BSD-3-Clause
//
// A frame stream, fed at once and in pieces: both must hand out the same. The first byte chooses
// the pieces.
#include "proto/reader.h"

#include <stdlib.h>
#include <string.h>

struct heard {
    uint64_t digest;
    int frames;
};

static enum reader_verdict on_header(void *owner, const struct frame_header *header)
{
    (void)owner;
    if (header->type == 0x66)
        return READER_STOP;
    return header->type == FRAME_SEND_PACKET || header->type == FRAME_PING ? READER_TAKE
                                                                           : READER_SKIP;
}

static bool on_frame(void *owner, uint8_t *frame, size_t len)
{
    struct heard *heard = owner;

    for (size_t i = 0; i < len; i++)
        heard->digest = heard->digest * 1099511628211u + frame[i] + 1;
    memset(frame, 0, len);
    heard->frames++;
    return len < 3000;
}

static struct heard run(const uint8_t *data, size_t size, size_t piece)
{
    static const struct frame_reader_callbacks callbacks = {on_header, on_frame};
    struct frame_reader reader = {0};
    struct heard heard = {0};

    for (size_t at = 0; at < size; at += piece) {
        const size_t n = size - at < piece ? size - at : piece;
        uint8_t *copy = malloc(n);
        bool go_on;

        memcpy(copy, data + at, n);
        go_on = frame_reader_feed(&reader, &callbacks, &heard, copy, n);
        free(copy);
        if (!go_on)
            break;
    }
    frame_reader_deinit(&reader);
    return heard;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heard whole, pieces;

    if (size < 2)
        return 0;
    whole = run(data + 1, size - 1, size - 1);
    pieces = run(data + 1, size - 1, 1 + data[0] % 64);
    if (whole.digest != pieces.digest || whole.frames != pieces.frames)
        abort();
    return 0;
}
