// SPDX-License-Identifier: BSD-3-Clause
//
// What all workers of the relay share: its configuration, which never changes, the directory, and
// the doors of the other workers.
#ifndef DERPER_RELAY_SHARED_H
#define DERPER_RELAY_SHARED_H

#include "base/key.h"
#include "io/context.h"
#include "proto/login.h"
#include "relay/directory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RELAY_WORKERS_MAX 256

// Per client and kind of packet; the oldest is dropped from a full queue. For bursts only, as CoDel
// keeps queues short: TCP at 200 Mbit/s over 40 ms loses hundreds of packets in a few seconds by
// the original's 32, and still a hundred and more by 256 packets or 256 KiB.
#define RELAY_QUEUE_PACKETS_DEFAULT 1024
#define RELAY_QUEUE_BYTES_DEFAULT (1024 * 1024)

// Memory that waits on one worker before each client has an equal part of it only, so that
// thousands of slow readers cannot take a full queue each: see outgoing.h's enum waiting_level.
#define RELAY_WAITING_BYTES_DEFAULT (64 * 1024 * 1024)

struct worker;

// Who is asked whether a client may connect. Both are called on workers' threads and must not
// block.
struct admission {
    void *data;
    // relay_admit follows once, unless the question is cancelled. `address` is the client's.
    void (*ask)(void *data, const struct client_handle *client, const struct key *key,
                const char *address);
    // Harmless when the answer is under way.
    void (*cancel)(void *data, const struct client_handle *client);
};

enum admission_verdict {
    ADMISSION_ALLOWED,
    ADMISSION_REFUSED,
    ADMISSION_UNANSWERED, // nobody said no: a client that is up stays
};

struct relay_config {
    struct key_pair key;
    size_t workers;
    size_t queue_packets;         // per client and kind
    size_t queue_bytes;           // per client and kind
    size_t waiting_bytes;         // per worker
    uint64_t write_timeout_ms;    // 0 = none
    int connections_max;          // of the process
    bool openssl_records;         // TLS 1.3 connections stay with OpenSSL after the handshake
    const struct prefix *proxies; // io/context.h; they outlive the relay
    size_t proxy_count;
    const struct admission *admission; // NULL: everybody may connect
    uint32_t recheck_ms;               // clients that stay are asked about so often; 0 = never
    struct bucket_rate accept_rate;    // of listeners that are limited; 0 a second = none
};

// What each packet reads stands in front, on lines that nobody writes to; each shard of the
// directory has lines of its own.
struct relay {
    struct relay_config config;
    struct worker **workers; // config.workers of them
    _Atomic bool stopping;
    struct directory directory;
    struct io_budget budget; // written to with each connection
    // What relay_set_limits was told last, for snapshots.
    _Atomic int64_t bytes_per_second, burst_bytes;
};

#endif
