// SPDX-License-Identifier: BSD-3-Clause
//
// Record engines: what stands between a socket and plaintext. stream.c calls these; nobody else
// does. And the stream as they and stream.c see it.
#ifndef DERPER_IO_ENGINE_H
#define DERPER_IO_ENGINE_H

#include "base/bucket.h"
#include "base/log.h"
#include "io/stream.h"
#include "io/tls13_keys.h"

struct engine;

// OPEN --stream_close--> CLOSING --handle closed--> freed
enum stream_state { STREAM_OPEN, STREAM_CLOSING };

// What a stream does about its peer's words, and what it asks the system for; only stream.c moves
// it. One state and not a set of reasons, as these do not come together: a newcomer is neither
// paused nor throttled, and who is paused has nothing yet that would be throttled.
//
//   ON         readable     all is read
//   MUTED      nothing      a newcomer that waits for its turn
//   PAUSED     the end      which is told at once
//   THROTTLED  the end      which comes behind what is still to be read
//   HALF       nothing      throttled, and the peer has closed its side: nothing new can come
//   OVER       nothing      the owner has been told of the end
//
// ON --came too early--> MUTED --its turn, stream_establish--> ON; ON --stream_pause--> PAUSED; ON
// --stream_throttle--> THROTTLED --the peer's end--> HALF; these three --stream_resume--> ON; any
// --stream_fail--> OVER
enum stream_reading {
    READING_ON, // by zeroed memory
    READING_MUTED,
    READING_PAUSED,
    READING_THROTTLED,
    READING_HALF,
    READING_OVER,
};

// stream.c's and its engines'; others have stream.h alone.
struct stream {
    uv_poll_t poll;
    struct io_context *io;
    const struct engine *engine;
    union {
        SSL *ssl;            // the OpenSSL engine's
        struct begun *begun; // the proxy engine's, before it
    };
    struct detached *detached; // the detached engine's
    struct sockaddr_in6 *peer; // what a proxy says that it is; NULL: what the socket says
    const struct stream_callbacks *callbacks;
    void *owner;
    struct unsent *unsent;   // what the socket did not take, in order
    struct arrival *arrival; // until it is established, which is when this is NULL
    struct bucket updates;   // of the peer's key
    int fd;
    uint32_t barren;     // the OpenSSL engine's: bytes received since the last data
    uint8_t answers;     // of what waits, the engine's own words
    uint8_t state : 1;   // enum stream_state
    uint8_t reading : 3; // enum stream_reading
    bool blocked : 1;    // of what waits, the owner's write
    bool ready : 1;      // handshake complete
    bool counted_tls13 : 1;
    bool shut : 1;     // our side is half-closed
    bool restless : 1; // the OpenSSL engine's: the peer has changed its key too often
    bool partial : 1;  // the OpenSSL engine's: it keeps a record that has not come whole
    bool marked : 1;   // of the record that has not come whole
};

// An idle client has one, with little but libuv's handle in it.
_Static_assert(sizeof(struct stream) <= sizeof(uv_poll_t) + 96, "paid a hundred thousand times");

// What a stream keeps of a write that the socket has not taken whole.
struct unsent {
    struct unsent *next;
    size_t len, sent;
    size_t write_len; // sealed bytes of the whole write, with what the socket took at once
    bool answer;      // the engine's own words, not the owner's
    uint8_t data[];
};

// Answers that may wait for one socket: an honest peer that is slow to read asks seldom.
#define STREAM_ANSWERS_MAX 16

struct engine {
    // Bytes from the socket, in the worker's read buffer, writable. Calls stream_deliver for what
    // they open to. False: the stream is closed or has told its owner of its end.
    bool (*receive)(struct stream *stream, uint8_t *data, size_t len);
    // Appends the pieces, sealed, to the context's `out`. False when the engine has failed.
    bool (*seal)(struct stream *stream, const struct stream_buf *pieces, size_t count);
    // Appends the goodbye of the protocol, if it has one, to `out`.
    void (*goodbye)(struct stream *stream);
    // Frees the state. Once.
    void (*stop)(struct stream *stream);
    // Memory that keeps a record that has not come whole. NULL: none is ever kept. Its changes are
    // told to stream_count_held, and the end of the record takes `marked` away.
    size_t (*kept_bytes)(const struct stream *stream);
};

extern const struct engine engine_plain;
extern const struct engine engine_openssl;
extern const struct engine engine_detached;
extern const struct engine engine_proxy; // of connections that a proxy passes on, at their start

// The message callback of a context of one thread: notes KeyUpdates for engine_openssl and, when
// that makes TLS 1.3 connections for engine_detached, does engine_detached_on_finished.
void engine_openssl_message(int sent, int version, int type, const void *data, size_t len, SSL *ssl,
                            void *arg);

// For engine_openssl, when it makes TLS 1.3 connections for engine_detached: sets the context's
// keylog callback where the traffic secrets come, and keeps them.
void engine_detached_on_finished(struct stream *stream);

// The handshake is complete: the stream's engine is the detached one from now on, and its SSL
// object may go. False when it has to stay, as the secrets are not there or the two ends have
// agreed on something that only OpenSSL does; the secrets are forgotten then.
bool engine_detached_take(struct stream *stream);

// The same with these traffic secrets, both ends at their first record, for a stream that need not
// have had a handshake (tests); the caller counts it. False when the library fails.
bool engine_detached_begin(struct stream *stream, enum tls13_suite suite, const uint8_t *in_secret,
                           const uint8_t *out_secret);

// Wipes and frees what the detached engine keeps of a stream. Harmless when that is nothing.
void engine_detached_free(struct stream *stream);

// For engines. Sends what the engine says by itself (handshake, alerts, answers to KeyUpdate) and
// has put into the context's `out`, behind whatever waits already; the stream does not count as
// blocked by it. 0 or a negative libuv error: also when STREAM_ANSWERS_MAX wait. `out` is empty
// afterwards.
int stream_send_answer(struct stream *stream);

// For engines and stream.c: the stream holds so much more memory.
void stream_count_held(struct stream *stream, ptrdiff_t bytes);

// For engines. Hands plaintext to the owner; false when the stream was closed meanwhile.
bool stream_deliver(struct stream *stream, uint8_t *data, size_t len);

// For engines. Tells the owner of the end. Always false, to be returned by `receive`.
bool stream_fail(struct stream *stream, enum stream_end why);

// For engines. The peer changes its key: false when it has done so too often.
bool stream_take_update(struct stream *stream);

// For engines. One line about a TLS failure of this peer, if `limit` allows one.
void stream_log_tls(const struct stream *stream, struct log_limit *limit, const char *reason,
                    const char *hint);

#endif
