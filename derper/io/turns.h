// SPDX-License-Identifier: BSD-3-Clause
//
// The share of a loop turn that handshakes get. When many clients come at once, as after a restart,
// only so many of them are served in one turn, in the order of their coming, so that the packets of
// those that are connected wait for a millisecond and not for all handshakes.
#ifndef DERPER_IO_TURNS_H
#define DERPER_IO_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TURN_HANDSHAKES_MAX 8 // about 1 ms

struct stream;
struct uv_idle_s;

// One a loop, embedded in its io_context; starts as zeroed memory and owns nothing while no stream
// waits.
struct turns {
    uint64_t now_ms;         // the loop's time, which stands still during a turn
    int handshakes;          // in this turn
    struct stream **waiting; // NULL in the place of one that was closed
    size_t first, end, capacity;
    size_t count;           // of those that wait, between first and end
    struct uv_idle_s *idle; // keeps the loop from sleeping while streams wait
};

// Whether `stream`, of which something has come for its handshake, may read it now. Otherwise it is
// counted and waits: it must not poll for reading; stream_resume is called in one of the next
// turns.
bool turns_may_read(struct stream *stream);

// `stream`, which waits, is closed.
void turns_forget(struct stream *stream);

#endif
