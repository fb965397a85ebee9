// SPDX-License-Identifier: BSD-3-Clause
#include "relay/relay.h"

#include "base/log.h"
#include "base/memory.h"
#include "relay/client.h"
#include "relay/throttle.h"
#include "relay/worker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void free_workers(struct relay *relay, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        worker_deinit(relay->workers[i]);
        free(relay->workers[i]);
    }
    free(relay->workers);
}

static void stop_task(struct worker *worker, struct task *task)
{
    free(task);
    worker_stop(worker);
}

static void post_stop(struct worker *worker)
{
    struct task *task = memory_get(sizeof *task);

    task->run = stop_task;
    worker_post(worker, task);
}

int relay_start(struct relay *relay, const struct relay_config *config)
{
    int err = 0;

    assert(config->workers > 0 && config->workers <= RELAY_WORKERS_MAX);
    memset(relay, 0, sizeof *relay);
    relay->config = *config;
    relay->budget.limit = config->connections_max;
    relay->budget.accept_rate = config->accept_rate;
    directory_init(&relay->directory);
    relay->workers = memory_zeroed(config->workers * sizeof *relay->workers);
    for (size_t i = 0; i < config->workers && !err; i++) {
        relay->workers[i] =
            memory_zeroed_aligned(sizeof *relay->workers[i], _Alignof(struct worker));
        err = worker_init(relay->workers[i], relay, i);
    }
    for (size_t i = 0; i < config->workers && !err; i++)
        err = worker_run(relay->workers[i]);
    // A process that cannot start its few threads is about to end with a message: nothing is undone
    // here.
    return err;
}

struct listen_task {
    struct task task;
    struct worker_listener *listener;
    int fd;
};

static void on_connection(struct listener *listener, int fd)
{
    struct worker_listener *mine = list_entry(listener, struct worker_listener, listener);

    http_accept(listener->io, fd, mine->port.tls, mine->port.service);
}

static void run_listen_task(struct worker *worker, struct task *task)
{
    struct listen_task *listen_task = (struct listen_task *)task;
    struct worker_listener *listener = listen_task->listener;
    const int err =
        listener_start(&listener->listener, &worker->io, listen_task->fd, on_connection);

    if (err) {
        log_warnx("worker %zu cannot listen: %s", worker->index, uv_strerror(err));
        listener_close(&listener->listener); // the others' sockets get its share
    }
    listener->next = worker->listeners;
    worker->listeners = listener;
    free(listen_task);
}

void relay_listen(struct relay *relay, size_t index, int fd, const struct relay_port *port)
{
    struct listen_task *task = memory_get(sizeof *task);

    task->task.run = run_listen_task;
    task->listener = memory_zeroed(sizeof *task->listener);
    task->listener->port = *port;
    task->listener->listener.limited = port->limited;
    task->fd = fd;
    worker_post(relay->workers[index], &task->task);
}

struct tls_task {
    struct task task;
    SSL_CTX *tls;
};

static void run_tls_task(struct worker *worker, struct task *task)
{
    struct tls_task *tls_task = (struct tls_task *)task;

    io_context_set_tls(&worker->io, tls_task->tls);
    SSL_CTX_free(tls_task->tls);
    free(tls_task);
}

void relay_set_tls(struct relay *relay, size_t index, SSL_CTX *tls)
{
    struct tls_task *task = memory_get(sizeof *task);

    SSL_CTX_up_ref(tls);
    task->task.run = run_tls_task;
    task->tls = tls;
    worker_post(relay->workers[index], &task->task);
}

struct verdict_task {
    struct task task;
    struct client_handle client;
    enum admission_verdict verdict;
};

static void run_verdict_task(struct worker *worker, struct task *task)
{
    struct verdict_task *verdict_task = (struct verdict_task *)task;
    struct client *client = slots_find(&worker->slots, &verdict_task->client);

    if (client)
        client_admit(client, verdict_task->verdict);
    free(verdict_task);
}

void relay_admit(struct relay *relay, const struct client_handle *client,
                 enum admission_verdict verdict)
{
    struct verdict_task *task = memory_get(sizeof *task);

    task->task.run = run_verdict_task;
    task->client = *client;
    task->verdict = verdict;
    worker_post(relay->workers[client->worker], &task->task);
}

struct recheck_task {
    struct task task;
    uint32_t within_ms;
};

static void run_recheck_task(struct worker *worker, struct task *task)
{
    struct recheck_task *recheck_task = (struct recheck_task *)task;

    clients_recheck(worker, recheck_task->within_ms);
    free(recheck_task);
}

void relay_recheck(struct relay *relay, uint32_t within_ms)
{
    for (size_t i = 0; i < relay->config.workers; i++) {
        struct recheck_task *task = memory_get(sizeof *task);

        task->task.run = run_recheck_task;
        task->within_ms = within_ms;
        worker_post(relay->workers[i], &task->task);
    }
}

struct limits_task {
    struct task task;
    struct server_limits limits;
};

static void run_limits_task(struct worker *worker, struct task *task)
{
    struct limits_task *limits_task = (struct limits_task *)task;

    throttle_set_limits(worker, &limits_task->limits);
    free(limits_task);
}

static void note_limits(struct relay *relay, const struct server_limits *limits)
{
    atomic_store_explicit(&relay->bytes_per_second, (int64_t)limits->bytes_per_second,
                          memory_order_relaxed);
    atomic_store_explicit(&relay->burst_bytes, (int64_t)limits->burst_bytes, memory_order_relaxed);
}

void relay_set_limits(struct relay *relay, const struct server_limits *limits)
{
    note_limits(relay, limits);
    for (size_t i = 0; i < relay->config.workers; i++) {
        struct limits_task *task = memory_get(sizeof *task);

        task->task.run = run_limits_task;
        task->limits = *limits;
        worker_post(relay->workers[i], &task->task);
    }
}

void relay_accept_client(struct relay *relay, struct stream *stream, const char *preface,
                         size_t preface_len, bool not_ideal)
{
    struct worker *worker = worker_of(stream_context(stream));

    assert(worker->relay == relay);
    client_start(worker, stream, preface, preface_len, not_ideal);
}

void relay_stop(struct relay *relay)
{
    const size_t count = relay->config.workers;

    atomic_store(&relay->stopping, true);
    for (size_t i = 0; i < count; i++)
        post_stop(relay->workers[i]);
    for (size_t i = 0; i < count; i++)
        uv_thread_join(&relay->workers[i]->thread);
    free_workers(relay, count);
    directory_deinit(&relay->directory);
    key_pair_wipe(&relay->config.key);
}

const struct key *relay_public_key(const struct relay *relay)
{
    return &relay->config.key.public;
}

size_t relay_workers(const struct relay *relay)
{
    return relay->config.workers;
}

void relay_snapshot(struct relay *relay, struct relay_snapshot *out)
{
    struct directory *directory = &relay->directory;

    out->clients = atomic_load_explicit(&directory->keys, memory_order_relaxed);
    out->dup_client_keys = atomic_load_explicit(&directory->dup_keys, memory_order_relaxed);
    out->dup_client_conns = atomic_load_explicit(&directory->dup_conns, memory_order_relaxed);
    out->bytes_per_second = atomic_load_explicit(&relay->bytes_per_second, memory_order_relaxed);
    out->burst_bytes = atomic_load_explicit(&relay->burst_bytes, memory_order_relaxed);
    out->dup_client_total = atomic_load_explicit(&directory->dup_total, memory_order_relaxed);
}

// Both structs hold nothing but counters, each of which is read as one number.
static void copy_counters(void *out, const void *in, size_t size)
{
    struct counter *to = out;
    const struct counter *from = in;

    for (size_t i = 0; i < size / sizeof *from; i++)
        atomic_store_explicit(&to[i].value, counter_read(&from[i]), memory_order_relaxed);
}

void relay_worker_snapshot(struct relay *relay, size_t index, struct worker_snapshot *out)
{
    const struct worker *worker = relay->workers[index];

    copy_counters(&out->io, &worker->io.counters, sizeof out->io);
    copy_counters(&out->relay, &worker->counters, sizeof out->relay);
}
