// SPDX-License-Identifier: BSD-3-Clause
#include "proto/reader.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

struct partial_frame {
    uint32_t len;
    bool marked;
    uint8_t data[];
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// `whole`: the bytes of the frame, or of its header while that has not come whole.
static void keep(struct frame_reader *reader, size_t whole, const uint8_t *data, size_t len)
{
    struct partial_frame *partial = reader->partial;
    const size_t have = partial ? partial->len : 0;

    if (!partial || sizeof *partial + have + len > reader->held_bytes) {
        const size_t bytes = sizeof *partial + least((have + len) * 2, whole);

        partial = memory_resize(partial, bytes);
        if (!reader->partial)
            partial->marked = false;
        reader->partial = partial;
        reader->held_bytes = (uint32_t)bytes;
    }
    memcpy(partial->data + have, data, len);
    partial->len = (uint32_t)(have + len);
}

bool frame_reader_mark(struct frame_reader *reader)
{
    struct partial_frame *partial = reader->partial;
    const bool marked = partial && partial->marked;

    if (partial)
        partial->marked = true;
    return marked;
}

void frame_reader_deinit(struct frame_reader *reader)
{
    free(reader->partial);
    *reader = (struct frame_reader){0};
}

// Reads a frame whose first bytes are kept. `*go_on` is false when the owner stops. Returns the
// bytes used.
static size_t read_on(struct frame_reader *reader, const struct frame_reader_callbacks *callbacks,
                      void *owner, uint8_t *data, size_t len, bool *go_on)
{
    struct frame_header header;
    size_t used = 0;

    if (reader->partial->len < FRAME_HEADER_BYTES) {
        enum reader_verdict verdict;

        used = least(FRAME_HEADER_BYTES - reader->partial->len, len);
        keep(reader, FRAME_HEADER_BYTES, data, used);
        if (!frame_parse_header(reader->partial->data, reader->partial->len, &header))
            return used;
        verdict = callbacks->on_header(owner, &header);
        *go_on = verdict != READER_STOP;
        if (verdict != READER_TAKE) {
            frame_reader_deinit(reader);
            reader->skip = header.payload_bytes;
            return used;
        }
    }
    frame_parse_header(reader->partial->data, reader->partial->len, &header);

    const size_t whole = FRAME_HEADER_BYTES + (size_t)header.payload_bytes;
    const size_t missing = whole - reader->partial->len;
    const size_t n = least(missing, len - used);

    keep(reader, whole, data + used, n);
    if (n == missing) {
        *go_on = callbacks->on_frame(owner, reader->partial->data, whole);
        frame_reader_deinit(reader);
    }
    return used + n;
}

// Reads a frame that starts at `data`. The same words.
static size_t read_frame(struct frame_reader *reader,
                         const struct frame_reader_callbacks *callbacks, void *owner, uint8_t *data,
                         size_t len, bool *go_on)
{
    struct frame_header header;
    enum reader_verdict verdict;

    if (!frame_parse_header(data, len, &header)) {
        keep(reader, FRAME_HEADER_BYTES, data, len);
        return len;
    }
    verdict = callbacks->on_header(owner, &header);
    if (verdict != READER_TAKE) {
        *go_on = verdict != READER_STOP;
        reader->skip = header.payload_bytes;
        return FRAME_HEADER_BYTES;
    }

    const size_t whole = FRAME_HEADER_BYTES + (size_t)header.payload_bytes;

    if (len < whole) {
        keep(reader, whole, data, len);
        return len;
    }
    *go_on = callbacks->on_frame(owner, data, whole);
    return whole;
}

bool frame_reader_feed(struct frame_reader *reader, const struct frame_reader_callbacks *callbacks,
                       void *owner, uint8_t *data, size_t len)
{
    bool go_on = true;

    while (len > 0 && go_on) {
        size_t used;

        if (reader->skip > 0) {
            used = least(reader->skip, len);
            reader->skip -= (uint32_t)used;
        } else if (reader->partial) {
            used = read_on(reader, callbacks, owner, data, len, &go_on);
        } else {
            used = read_frame(reader, callbacks, owner, data, len, &go_on);
        }
        data += used;
        len -= used;
    }
    reader->left = (uint32_t)len;
    return go_on;
}
