// SPDX-License-Identifier: BSD-3-Clause
//
// One worker: a thread with one loop and everything that its clients need, so that they share
// nothing with other workers but the directory and the inboxes. Used by relay.c only.
#ifndef DERPER_RELAY_WORKER_H
#define DERPER_RELAY_WORKER_H

#include "io/listener.h"
#include "relay/relay.h"
#include "relay/state.h"

#define DRAIN_LIMIT_MS 3000 // for queues to empty when the relay stops

// Something for a worker to do on its own thread, from another one.
struct task {
    void (*run)(struct worker *worker, struct task *task);
    struct task *next;
};

struct worker_listener {
    struct listener listener;
    struct relay_port port;
    struct worker_listener *next;
};

// 0 or a libuv error, after which nothing is left behind.
int worker_init(struct worker *worker, struct relay *relay, size_t index);

// Starts the thread. 0 or a libuv error.
int worker_run(struct worker *worker);

// After the thread has ended, and those of all other workers.
void worker_deinit(struct worker *worker);

// From any thread. The task is the callee's when it runs; tasks run in order. Must not be called
// once the worker was told to stop.
void worker_post(struct worker *worker, struct task *task);

// On the worker's thread: tells clients, drains their queues for DRAIN_LIMIT_MS at most, ends the
// loop.
void worker_stop(struct worker *worker);

static inline struct worker *worker_of(struct io_context *io)
{
    return list_entry(io, struct worker, io);
}

#endif
