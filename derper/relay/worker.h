// SPDX-License-Identifier: BSD-3-Clause
//
// One worker: a thread with one loop and everything that its clients need, so that they share
// nothing with other workers but the directory and the inboxes. Used within this room only; others
// go through relay.h.
#ifndef DERPER_RELAY_WORKER_H
#define DERPER_RELAY_WORKER_H

#include "base/list.h"
#include "io/context.h"
#include "io/http.h"
#include "io/listener.h"
#include "relay/counters.h"
#include "relay/inbox.h"
#include "relay/queue.h"
#include "relay/relay.h"

#include <uv.h>

#define DRAIN_LIMIT_MS 3000 // for queues to empty when the relay stops

struct client;

struct slot {
    struct client *client; // NULL: free
    uint32_t generation;   // of the present or the last tenant
    uint32_t next_free;
};

// Something for a worker to do on its own thread, from another one.
struct task {
    void (*run)(struct worker *worker, struct task *task);
    struct task *next;
};

struct worker_listener {
    struct listener listener;
    const struct http_service *service;
    bool tls;
    struct worker_listener *next;
};

// RUNNING --stop--> DRAINING --no client left, or DRAIN_LIMIT_MS--> ENDED
enum worker_state { WORKER_RUNNING, WORKER_DRAINING, WORKER_ENDED };

struct worker {
    struct relay *relay;
    size_t index;
    enum worker_state state;
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t wake;       // inbox or tasks
    uv_prepare_t turn_end; // runs before the loop sleeps
    uv_timer_t tick;       // drives the wheel while something is armed
    struct wheel_timer drain;
    struct io_context io;
    struct worker_listener *listeners;

    struct slot *slots;
    uint32_t slot_count;
    uint32_t free_slot; // head of the list of free ones, slot_count = none

    struct list clients; // all of them, logged in or not
    struct list dirty;   // with something to send, or doomed
    struct chunk_pool chunks;
    struct relay_counters counters;

    struct outbox *outboxes; // one for each worker; our own stays empty
    struct inbox inbox;
    pthread_mutex_t task_lock;
    struct task *tasks, *last_task;
};

// 0 or a libuv error, after which nothing is left behind.
int worker_init(struct worker *worker, struct relay *relay, size_t index);
int worker_run(struct worker *worker); // starts the thread
void worker_deinit(struct worker *worker);

// From any thread. The task is the callee's when it runs; it runs in order with others. Must not be
// called once the worker was told to stop.
void worker_post(struct worker *worker, struct task *task);

// On the worker's thread:
void worker_stop(struct worker *worker);
struct client_handle worker_take_slot(struct worker *worker, struct client *client);
void worker_free_slot(struct worker *worker, const struct client_handle *handle);
// NULL when that tenant has gone.
struct client *worker_client(const struct worker *worker, const struct client_handle *handle);

static inline struct worker *worker_of(struct io_context *io)
{
    return list_entry(io, struct worker, io);
}

#endif
