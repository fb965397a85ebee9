// SPDX-License-Identifier: BSD-3-Clause
//
// A stream of OpenSSL's engine and one of the detached engine, each on a loop of its own, and a
// real client of OpenSSL that shakes hands with them; its keylog gives the test the keys to seal
// what no honest client sends. The client lives in the same thread. Everything asserts.
#ifndef TEST_IO_DETACHED_RIG_H
#define TEST_IO_DETACHED_RIG_H

#include "../support/loopback.h"
#include "base/clock.h"
#include "io/engine.h"
#include "io/listener.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATIENCE_MS 20000
#define NO_ALERT (-1)

struct conn;

// One loop and one engine.
struct rig {
    uv_loop_t loop;
    struct io_budget budget;
    struct io_context io;
    struct listener listener;
    uint16_t port;
    struct conn *accepting;
};

enum split { SPLIT_NONE, SPLIT_RANDOM, SPLIT_BYTES, SPLITS };

// A connection: our stream and what its owner has seen, and the client.
struct conn {
    struct rig *rig;
    enum tls13_suite suite;

    struct stream *stream;
    uint8_t *got;
    size_t got_len;
    int ready, ends;
    enum stream_end end;
    bool silent; // the owner answers nothing

    int fd;
    SSL *ssl; // until the handshake is complete
    struct tls13_direction to, from;
    uint8_t *wire; // what is to be sent
    size_t wire_len;
    uint8_t *expected; // what is to be delivered
    size_t expected_len;
    bool dead; // behind a fault: nothing more is expected
    bool fin;  // the client half-closes at the end
    int requests;
    uint32_t seed;

    uint8_t *in; // sealed, from the server
    size_t in_len;
    bool eof;
    int alert; // fatal, from the server
    int close_notifies, updates, update_requests;
    size_t data_len;
    bool data_behind_update; // data came under new keys
};

extern struct rig rigs[2]; // OpenSSL's, detached
extern SSL_CTX *client_ctx;

#define WAIT(conn, condition)                             \
    do {                                                  \
        const uint64_t until_ = clock_ms() + PATIENCE_MS; \
        while (!(condition)) {                            \
            assert_true(clock_ms() < until_);             \
            pump(conn);                                   \
        }                                                 \
    } while (0)

// One step of everything.
void pump(struct conn *conn);
// Some steps in which nothing is expected to happen.
void settle(struct conn *conn);

// A connection whose handshake is done, in the rig's engine.
void conn_start(struct conn *conn, struct rig *rig, enum tls13_suite suite, uint32_t seed);
// The same by an SSL object of the test's, which stays the connection's; `conn` begins zeroed.
void conn_start_by(struct conn *conn, struct rig *rig, SSL *ssl);
void conn_stop(struct conn *conn);

// The same numbers for both engines.
uint32_t dice(struct conn *conn, uint32_t below);

// --- What the client writes: sealed, and sent by send_split.

// It is to be delivered, unless it stands behind a fault.
void expect(struct conn *conn, const void *data, size_t len);
void put_raw(struct conn *conn, const void *bytes, size_t len); // as they stand
void put(struct conn *conn, uint8_t type, const void *content, size_t len);
void put_padded(struct conn *conn, uint8_t type, const void *content, size_t len, size_t padding);
void put_data(struct conn *conn, size_t len); // random, and expected
void put_key_update(struct conn *conn, uint8_t request);
void put_split_key_update(struct conn *conn, const size_t *sizes, size_t count);
void put_alert(struct conn *conn, uint8_t level, uint8_t alert);
void send_split(struct conn *conn, enum split split);

// Wholes of these.
typedef void (*builder)(struct conn *conn);

void front(struct conn *conn); // 20 bytes
void put_dead(struct conn *conn, const void *bytes, size_t len);
void put_end(struct conn *conn, uint8_t level, uint8_t alert);
void bad_mac(struct conn *conn);
void fatal_alert(struct conn *conn);
void close_notify(struct conn *conn);

// --- What the server writes.

void write_bytes(struct conn *conn, size_t len);
// Settles, then opens what has come. Nothing may follow an end.
void hear(struct conn *conn);

// For cmocka_run_group_tests.
int detached_group_setup(void **state);
int detached_group_teardown(void **state);

#endif
