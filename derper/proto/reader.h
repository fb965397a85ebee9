// SPDX-License-Identifier: BSD-3-Clause
//
// Finds frames in a stream of bytes that comes in pieces. Whole frames are handed out where they
// lie; only what has not come whole is kept, in a buffer that is never larger than the frame, nor
// than twice what has come of it, so that a length alone costs nothing. It goes with the frame.
// Frames that their owner does not take are skipped by their length and never kept.
//
// A frame may never end. The reader waits: the owner bounds what all its readers hold
// (`held_bytes`), and gives up on one that stalls.
#ifndef DERPER_PROTO_READER_H
#define DERPER_PROTO_READER_H

#include "proto/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum reader_verdict {
    READER_TAKE, // wait for the whole frame: the owner bounds its length by this word
    READER_SKIP, // pass over its payload
    READER_STOP, // nothing more is read
};

struct frame_reader_callbacks {
    // A header has come; the frame has not.
    enum reader_verdict (*on_header)(void *owner, const struct frame_header *header);
    // A whole frame, header included; valid and writable until the return. False: nothing more is
    // read.
    bool (*on_frame)(void *owner, uint8_t *frame, size_t len);
};

// Embedded in its owner; all zero at the start.
struct frame_reader {
    struct partial_frame *partial; // NULL while no frame is begun
    uint32_t held_bytes;           // the memory of that; for the owner to read
    uint32_t skip;                 // bytes of a skipped frame still to come
    uint32_t left;                 // when it was stopped: bytes that it was fed and has not read
};

// Takes the next bytes of the stream, which handing out frames may change. False when the owner has
// stopped the reader; the last `left` bytes are then not read.
bool frame_reader_feed(struct frame_reader *reader, const struct frame_reader_callbacks *callbacks,
                       void *owner, uint8_t *data, size_t len);

// Marks the frame that is kept now, if there is one. True when it was marked already: called once
// in a while, it finds frames that have not ended since the last call.
bool frame_reader_mark(struct frame_reader *reader);

void frame_reader_deinit(struct frame_reader *reader);

#endif
