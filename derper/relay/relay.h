// SPDX-License-Identifier: BSD-3-Clause
//
// The relay as a whole: its key, its workers, their directory. Made and stopped by server/; web/
// reads snapshots.
#ifndef DERPER_RELAY_RELAY_H
#define DERPER_RELAY_RELAY_H

#include "base/key.h"
#include "io/http.h"
#include "proto/login.h"
#include "relay/counters.h"
#include "relay/directory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RELAY_WORKERS_MAX 256

// Per client and kind of packet; the oldest is dropped from a full queue. The original's 32 packets
// lose traffic of one fast flow on a relay that is nearly idle.
#define RELAY_QUEUE_PACKETS_DEFAULT 1024
#define RELAY_QUEUE_BYTES_DEFAULT (1024 * 1024)

struct worker;

struct relay_config {
    struct key_pair key;
    size_t workers;
    size_t queue_packets;      // per client and kind
    size_t queue_bytes;        // per client and kind
    uint64_t write_timeout_ms; // 0 = none
    int connections_max;       // of the process
    struct server_limits limits;
};

struct relay {
    struct relay_config config;
    struct directory directory;
    struct io_budget budget;
    _Atomic bool stopping;
    struct worker **workers; // config.workers of them
};

// Everything counted by one worker. A copy: plain numbers.
struct worker_snapshot {
    struct io_counters io;
    struct relay_counters relay;
};

// The directory's gauges: keys and connections of the whole relay.
struct relay_snapshot {
    int64_t clients;          // different keys connected
    int64_t dup_client_keys;  // keys with more than one connection
    int64_t dup_client_conns; // connections of such keys
    int64_t dup_client_total; // counter: connections that made or joined a duplicate
};

// Makes the workers and starts their threads. 0 or a libuv error.
int relay_start(struct relay *relay, const struct relay_config *config);

// Lets worker `index` serve connections of `fd`, a bound socket that is the worker's from now on.
// `service` outlives the relay.
void relay_listen(struct relay *relay, size_t index, int fd, bool tls,
                  const struct http_service *service);

// New connections of worker `index` use `tls`; one reference is taken.
void relay_set_tls(struct relay *relay, size_t index, SSL_CTX *tls);

// Takes a stream that asked for DERP, on the thread of the worker that owns it. `preface` (the HTTP
// answer, may be empty) is sent in front of the first frame.
void relay_accept_client(struct relay *relay, struct stream *stream, const char *preface,
                         size_t preface_len, bool not_ideal);

// Tells clients, lets queues drain for a bounded time, ends the workers and waits for them. The key
// is wiped.
void relay_stop(struct relay *relay);

// From any thread.
void relay_snapshot(struct relay *relay, struct relay_snapshot *out);
void relay_worker_snapshot(struct relay *relay, size_t index, struct worker_snapshot *out);

#endif
