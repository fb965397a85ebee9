// SPDX-License-Identifier: BSD-3-Clause
//
// One TCP connection and the record engine on top of it. What is read is handed to the owner in the
// worker's buffer; what is written is sealed into the worker's buffer and leaves in one write. A
// stream owns a buffer only while the socket has not taken all of a write.
#ifndef DERPER_IO_STREAM_H
#define DERPER_IO_STREAM_H

#include "io/context.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct stream;

enum stream_end {
    STREAM_END_EOF,         // the peer closed in order
    STREAM_END_RESET,       // a system error
    STREAM_END_TLS,         // of TLS, the peer's failure or ours, or of the PROXY header in front;
                            // also of tls-alpn-01, which is no more than a handshake
    STREAM_END_CROWDED_OUT, // too many are not established, and this one has been quiet for longest
};

// All run on the loop's thread. The owner may close the stream in any of them;
// on_data must then return false.
struct stream_callbacks {
    // The handshake is complete (never called for plain streams, which are ready at once). May be
    // NULL.
    void (*on_ready)(struct stream *stream);
    // Plaintext, valid and writable until the return. False: the stream is closed, just return.
    bool (*on_data)(struct stream *stream, uint8_t *data, size_t len);
    // A write that had blocked is complete: stream_write may be called again.
    void (*on_drained)(struct stream *stream);
    // Nothing more comes: the owner closes the stream now. Called once at most.
    void (*on_end)(struct stream *stream, enum stream_end why);
    // The context's held_bytes have grown while the stream was read. May be NULL. False: the stream
    // is closed.
    bool (*on_held)(struct stream *stream);
};

struct stream_buf {
    const uint8_t *data;
    size_t len;
};

// Takes `fd`, a connection that was accepted, non-blocking. TLS when `tls`, behind a PROXY header
// when it is of a proxy that the context knows. NULL when no stream
// could be had (counted; `fd` is closed); the owner's callbacks start with the next loop turn.
struct stream *stream_accept(struct io_context *io, int fd, bool tls,
                             const struct stream_callbacks *callbacks, void *owner);

void *stream_owner(const struct stream *stream);

// The owner knows its peer, which is logged in: from now on the stream is read as soon as something
// comes, and is never crowded out. Idempotent.
void stream_establish(struct stream *stream);

// The stream gets a new owner, for instance after an upgrade.
void stream_set_owner(struct stream *stream, const struct stream_callbacks *callbacks, void *owner);

// For an on_data in which the stream has got a new owner: what is left of the data is that one's.
// Returns what on_data has to.
bool stream_pass_on(struct stream *stream, uint8_t *data, size_t len);

#define STREAM_PIECES_MAX 64

// Seals and sends the pieces (at most STREAM_PIECES_MAX, and IO_WRITE_PLAIN_BYTES in all) in one
// write. Everything is taken: what the socket does not accept is kept, the stream is then blocked
// and on_drained will come. Must not be called while blocked. 0, or a negative libuv error, after
// which the owner should close.
int stream_write(struct stream *stream, const struct stream_buf *pieces, size_t count);

bool stream_blocked(const struct stream *stream);

// Sealed bytes that the socket has not taken yet: falls while the peer makes progress.
size_t stream_unsent_bytes(const struct stream *stream);

// The same, and what the peer has not acknowledged yet: falls as soon as the peer takes anything,
// while the socket takes more only when half of what it may hold is free.
size_t stream_unacked_bytes(const struct stream *stream);

// Memory that the stream holds for its peer, 0 until it is established: what the socket has not
// taken, which is freed only when it has taken all of a write, and a TLS record that has not come
// whole.
size_t stream_held_bytes(const struct stream *stream);

// Marks the TLS record that has not come whole, if there is one. True when it was marked already:
// called once in a while, it finds records that have not ended since the last call.
bool stream_mark_record(struct stream *stream);

// Of a write of `written` bytes that has blocked, what the kernel has not taken yet: to within the
// overhead of a record. 0 when it is through.
size_t stream_untaken_bytes(const struct stream *stream, size_t written);

// Nothing is read until it is resumed, but the end of a peer that goes is told. What has been read
// already may still be delivered. Of a stream that is established and neither paused nor throttled.
void stream_pause(struct stream *stream);

// The same, but an orderly end comes behind all that the peer has sent, when it is read again. A
// reset is told at once, but after an orderly end no sooner than that.
void stream_throttle(struct stream *stream);

// It is read again, after either.
void stream_resume(struct stream *stream);

// Says goodbye and half-closes once all is written; reading goes on. Must not be called while
// blocked.
void stream_shutdown(struct stream *stream);

// Idempotent. The stream must not be used afterwards; its memory goes with the handle.
void stream_close(struct stream *stream);

// For an on_data that may have closed its stream by the way.
bool stream_closed(const struct stream *stream);

struct io_context *stream_context(const struct stream *stream);

// The handshake is complete.
bool stream_ready(const struct stream *stream);

// 0x0303 or 0x0304, 0 for plain and for handshakes under way.
int stream_tls_version(const struct stream *stream);

// The kernel's smoothed round-trip time. False when it has none.
bool stream_rtt_us(const struct stream *stream, uint32_t *out);

// Without TLS: the plain engine's.
bool stream_is_plain(const struct stream *stream);

// A proxy has said whose connection it is. `port` in host byte order, 0 when it did not say. All
// zero for somebody whom it does not name. NULL: back to what the socket says.
void stream_set_peer(struct stream *stream, const struct in6_addr *address, uint16_t port);

// IPv4 addresses come as mapped ones. All zero when the system does not know it.
void stream_peer(const struct stream *stream, struct sockaddr_in6 *out);
// The address alone, for log lines; IPv4 as such.
void stream_peer_text(const struct stream *stream, char out[static INET6_ADDRSTRLEN]);

#endif
