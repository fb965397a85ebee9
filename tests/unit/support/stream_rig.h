// SPDX-License-Identifier: BSD-3-Clause
//
// Streams over loopback and a real loop, for tests. The peer lives in the same thread: it is pumped
// between turns of the loop. Everything asserts.
#ifndef TEST_SUPPORT_STREAM_RIG_H
#define TEST_SUPPORT_STREAM_RIG_H

#include "io/stream.h"

#include "base/clock.h"
#include "io/listener.h"
#include "loopback.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATIENCE_MS 20000
#define SMALL_BUFFER 4096
#define SIDES 2
#define SEALED_MAX_BYTES (1024 * 1024)

struct flavour {
    const char *name;
    int version; // 0: no TLS
    bool detach;
};

extern const struct flavour no_tls, openssl_tls13, detached_tls13;

// The end that we test, and what its owner has seen.
struct side {
    struct stream *stream;
    uint8_t *got;
    size_t got_len;
    int ready, data, drained, ends;
    enum stream_end end;
    void (*on_ready)(struct side *side);
    bool (*on_data)(struct side *side, const uint8_t *data, size_t len);
    void (*on_drained)(struct side *side);
    bool keep_at_end; // on_end leaves the stream open
    struct side *other;
    uint8_t *flow; // what it writes again and again
    int flow_left;
};

// The client at the other end.
struct far {
    int fd; // non-blocking
    SSL *ssl;
    BIO *in, *out;
    uint8_t *got;
    size_t got_len;
    bool eof, reset, close_notify, failed;
};

struct rig {
    uv_loop_t loop;
    struct io_budget budget;
    struct io_context io;
    struct listener listener;
    uint16_t port;
    int version;
    SSL_CTX *client_ctx;
    struct side sides[SIDES]; // taken in the order of connecting
    struct far fars[SIDES];
    int accepted;
    size_t descriptors;
};

#define WAIT(rig, condition)                              \
    do {                                                  \
        const uint64_t until_ = clock_ms() + PATIENCE_MS; \
        while (!(condition)) {                            \
            assert_true(clock_ms() < until_);             \
            pump(rig);                                    \
        }                                                 \
    } while (0)

typedef void (*scenario)(struct rig *rig);

// Runs a scenario with one flavour, with each, with both engines of TLS 1.3.
void with_one(const struct flavour *flavour, scenario run);
void with_each(scenario run, bool with_plain);
void with_tls13(scenario run);

// One turn of the loop.
void turn(struct rig *rig);

// One step of everything.
void pump(struct rig *rig);

// Some turns in which nothing is expected to happen.
void settle(struct rig *rig);

// A connection without its handshake. Always in the order of the sides.
struct far *rig_connect_raw(struct rig *rig, int i, int receive_bytes);
// The same with its handshake done.
struct far *rig_connect(struct rig *rig, int i, int receive_bytes);

// A connection from elsewhere becomes a side.
void side_accept(struct rig *rig, struct side *side, int fd, bool tls);
int side_write(struct side *side, const void *data, size_t len);
// Writes IO_WRITE_PLAIN_BYTES that many times, as the stream drains, and waits until all have come.
void flow_start(struct side *side, int times);
void flow_expect(struct rig *rig, struct side *side, const struct far *far, int times);
void side_expect_peer(const struct side *side, const char *address);
void close_side(struct side *side);

// Sends sealed bytes as they stand.
void far_send_raw(struct rig *rig, struct far *far, const void *bytes, size_t len);

// What the client's TLS has to say, at most SEALED_MAX_BYTES.
size_t far_sealed(struct far *far, uint8_t *out);

// What the client's TLS has to say goes out.
void far_flush(struct rig *rig, struct far *far);

// Takes up to `most` bytes from the socket.
void far_receive(struct far *far, size_t most);

// Seals plaintext without sending it; plain passes through.
size_t far_seal(struct far *far, const void *data, size_t len, uint8_t *out);
void far_send(struct rig *rig, struct far *far, const void *data, size_t len);

// Random bytes, to be freed.
uint8_t *noise(size_t len);

// Of each file of tests.
int rig_group_setup(void **state);
int rig_group_teardown(void **state);

#endif
