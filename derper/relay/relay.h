// SPDX-License-Identifier: BSD-3-Clause
//
// The relay as a whole: its key, its workers, their directory. Made and stopped by server/; web/
// reads snapshots.
#ifndef DERPER_RELAY_RELAY_H
#define DERPER_RELAY_RELAY_H

#include "io/http.h"
#include "relay/counters.h"
#include "relay/shared.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    int64_t bytes_per_second; // that each client may send; 0 = no limit
    int64_t burst_bytes;
};

// Makes the workers and starts their threads. 0 or a libuv error.
int relay_start(struct relay *relay, const struct relay_config *config);

// What connections of a port get.
struct relay_port {
    const struct http_service *service; // outlives the relay
    bool tls;
    bool limited; // the configuration's accept_rate holds for them
};

// Lets worker `index` serve `port` on `fd`, a bound socket that is the worker's from now on.
void relay_listen(struct relay *relay, size_t index, int fd, const struct relay_port *port);

// New connections of worker `index` use `tls`; one reference is taken.
void relay_set_tls(struct relay *relay, size_t index, SSL_CTX *tls);

// What each client may send from now on (at first there is no limit); those that are connected
// follow. One thread.
void relay_set_limits(struct relay *relay, const struct server_limits *limits);

// Takes a stream that asked for DERP, on the thread of the worker that owns it. `preface` (the HTTP
// answer, may be empty) is sent in front of the first frame.
void relay_accept_client(struct relay *relay, struct stream *stream, const char *preface,
                         size_t preface_len, bool not_ideal);

// The answer to config.admission->ask, from one thread, the one that calls relay_stop, and before
// that.
void relay_admit(struct relay *relay, const struct client_handle *client,
                 enum admission_verdict verdict);

// Clients that are up are asked about once more within that time, whatever config.recheck_ms is.
// The same holds for who calls it.
void relay_recheck(struct relay *relay, uint32_t within_ms);

// Tells clients, lets queues drain for a bounded time, ends the workers and waits for them. The key
// is wiped.
void relay_stop(struct relay *relay);

const struct key *relay_public_key(const struct relay *relay);
size_t relay_workers(const struct relay *relay);

// From any thread.
void relay_snapshot(struct relay *relay, struct relay_snapshot *out);
void relay_worker_snapshot(struct relay *relay, size_t index, struct worker_snapshot *out);

#endif
