// SPDX-License-Identifier: BSD-3-Clause
//
// A whole relay with real workers on loopback. Each worker listens on a port of its own, so that a
// test chooses the worker of each client. Clients live in the test's thread and block.
#ifndef TEST_SUPPORT_RIG_H
#define TEST_SUPPORT_RIG_H

#include "base/clock.h"
#include "loopback.h"
#include "peer.h"
#include "relay/relay.h"

#include <unistd.h>

#define WORKERS_MAX 4
#define WORKER_COUNTS 3
#define PATIENCE_MS 20000
#define SMALL_BUFFER 4096
#define PREFACE "HTTP/1.1 101 Switching Protocols\r\n\r\n"

extern const size_t worker_counts[WORKER_COUNTS]; // that tests go through
extern const struct relay_config defaults;

struct rig {
    struct relay relay;
    struct http_service service;
    bool preface;
    uint16_t ports[WORKERS_MAX];
    size_t descriptors;
};

// For cmocka_run_group_tests.
int rig_setup(void **state);

// Zeros in `wanted` mean what a relay has by default.
void rig_start(struct rig *rig, size_t workers, const struct relay_config *wanted);
void rig_stop(struct rig *rig);

typedef void (*scenario)(struct rig *rig);

// Runs it on a fresh rig for each of the worker_counts.
void with_each(scenario run, const struct relay_config *config);

// A counter or gauge of all workers together.
#define SUM(rig, field)                                               \
    ({                                                                \
        int64_t sum_ = 0;                                             \
        for (size_t i_ = 0; i_ < (rig)->relay.config.workers; i_++) { \
            struct worker_snapshot snapshot_;                         \
            relay_worker_snapshot(&(rig)->relay, i_, &snapshot_);     \
            sum_ += counter_read(&snapshot_.field);                   \
        }                                                             \
        sum_;                                                         \
    })

#define WAIT(condition)                                   \
    do {                                                  \
        const uint64_t until_ = clock_ms() + PATIENCE_MS; \
        while (!(condition)) {                            \
            assert_true(clock_ms() < until_);             \
            usleep(1000);                                 \
        }                                                 \
    } while (0)

struct relay_snapshot snapshot(struct rig *rig);
uint16_t port_of(const struct rig *rig, size_t worker); // modulo the number of workers

// A client that is logged in, on the heap; a fresh key when `key` is NULL.
struct peer *peer_new(struct rig *rig, size_t worker, const struct key_pair *key);
// One that has a small receive buffer.
struct peer *slow_peer_new(struct rig *rig, size_t worker);
// One that has the relay's key and has not sent ClientInfo.
struct peer *before_login(struct rig *rig, size_t worker);
void peer_free(struct peer *peer);

// The next that comes at `at` is this text of `sender`.
void expect_at(struct peer *sender, struct peer *at, const char *text);

// The worker that reads this does nothing else for 300 ms.
#define STALL_REQUEST "GET /stall HTTP/1.1\r\nHost: a\r\n\r\n"

// Sends it, on a connection of its own. Half of the time is over at the return.
void stall(const struct rig *rig, size_t worker);

#endif
