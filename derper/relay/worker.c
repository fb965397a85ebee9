// SPDX-License-Identifier: BSD-3-Clause
#include "relay/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/http.h"
#include "relay/client.h"
#include "relay/forward.h"
#include "relay/outgoing.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void set_state(struct worker *worker, enum worker_state to)
{
    assert((worker->state == WORKER_RUNNING && to == WORKER_DRAINING) ||
           (worker->state == WORKER_DRAINING && to == WORKER_ENDED));
    worker->state = to;
}

// Not uv_async_send: the thread that it wakes spins until the sender has run on, which it has often
// just pushed off their core. That more than doubled the cost of a packet between two workers.
static void wake(const struct worker *worker)
{
    eventfd_write(worker->wake_fd, 1);
}

static void hand_over(struct worker *worker)
{
    for (size_t i = 0; i < worker->relay->config.workers; i++) {
        struct worker *other = worker->relay->workers[i];

        if (worker->outboxes[i].head && inbox_receive(&other->inbox, &worker->outboxes[i])) {
            wake(other);
            counter_add(&worker->counters.inbox_wakeups, 1);
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct worker *worker = timer->data;

    wheel_run(&worker->io.wheel, clock_ms());
}

// An idle worker is never woken, one with idle clients only for their keep-alives. A timer that is
// disarmed leaves the system timer as it is: one turn too many is cheaper than a search for the
// next one each time.
static void update_tick(struct worker *worker)
{
    struct wheel *wheel = &worker->io.wheel;
    const bool set = uv_is_active((uv_handle_t *)&worker->tick) != 0;
    uint64_t now_ms;

    if (wheel->armed == 0) {
        uv_timer_stop(&worker->tick);
        return;
    }
    if (set && wheel_bound_ms(wheel) >= worker->tick_ms)
        return;
    now_ms = clock_ms();
    uv_update_time(&worker->loop);
    worker->tick_ms = wheel_due_ms(wheel);
    uv_timer_start(&worker->tick, on_tick, worker->tick_ms > now_ms ? worker->tick_ms - now_ms : 0,
                   0);
}

static void bound_waiting(struct worker *worker)
{
    if (outgoing_reaches(worker, WAITING_RELIEVED) && worker->client_count > 0) {
        clients_relieve(worker);
        clients_flush(worker); // peers were told of those who left
    }
    counter_set(&worker->counters.waiting_bytes, (int64_t)outgoing_waiting_bytes(worker));
}

static void end_loop(struct worker *worker)
{
    set_state(worker, WORKER_ENDED);
    wheel_disarm(&worker->io.wheel, &worker->drain);
    inbox_close(&worker->inbox);
    uv_close((uv_handle_t *)&worker->wake, NULL);
    uv_close((uv_handle_t *)&worker->turn_end, NULL);
    uv_close((uv_handle_t *)&worker->tick, NULL);
}

static void on_turn_end(uv_prepare_t *prepare)
{
    struct worker *worker = prepare->data;

    clients_flush(worker);
    bound_waiting(worker);
    hand_over(worker);
    if (worker->state == WORKER_DRAINING && list_empty(&worker->clients)) {
        end_loop(worker);
        return;
    }
    update_tick(worker);
}

static void run_tasks(struct worker *worker)
{
    struct task *task;

    if (!atomic_load_explicit(&worker->tasks, memory_order_acquire))
        return;
    pthread_mutex_lock(&worker->task_lock);
    task = worker->tasks;
    worker->tasks = worker->last_task = NULL;
    pthread_mutex_unlock(&worker->task_lock);
    while (task) {
        struct task *next = task->next;

        task->run(worker, task);
        task = next;
    }
}

static void on_wake(uv_poll_t *poll, int status, int events)
{
    struct worker *worker = poll->data;
    struct batch *batches;
    eventfd_t times;

    (void)status, (void)events;
    eventfd_read(worker->wake_fd, &times); // before the inbox: what comes later wakes again
    batches = inbox_take(&worker->inbox);
    for (const struct batch *batch = batches; batch; batch = batch->next) {
        const struct message *message;
        size_t offset = 0;

        while ((message = batch_next(batch, &offset)))
            forward_deliver(worker, message);
        clients_flush_early(worker);
    }
    batch_pool_put(&worker->batches, batches);
    run_tasks(worker);
}

void worker_post(struct worker *worker, struct task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&worker->task_lock);
    if (worker->last_task)
        worker->last_task->next = task;
    else
        worker->tasks = task;
    worker->last_task = task;
    pthread_mutex_unlock(&worker->task_lock);
    wake(worker);
}

static void on_drain_limit(struct wheel_timer *timer)
{
    struct worker *worker = list_entry(timer, struct worker, drain);

    while (!list_empty(&worker->clients))
        client_close(list_entry(worker->clients.next, struct client, node), CLIENT_END_SHUTDOWN);
}

void worker_stop(struct worker *worker)
{
    struct worker_listener *listener;

    set_state(worker, WORKER_DRAINING);
    for (listener = worker->listeners; listener; listener = listener->next)
        listener_close(&listener->listener);
    http_close_all(&worker->io);
    for (struct list *node = worker->clients.next; node != &worker->clients; node = node->next)
        client_drain(list_entry(node, struct client, node));
    io_context_arm(&worker->io, &worker->drain, DRAIN_LIMIT_MS);
}

int worker_init(struct worker *worker, struct relay *relay, size_t index)
{
    int err;

    *worker = (struct worker){.relay = relay, .index = index, .state = WORKER_RUNNING};
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (worker->wake_fd < 0)
        return uv_translate_sys_error(errno);
    err = uv_loop_init(&worker->loop);
    if (err)
        goto no_loop;
    err = uv_poll_init(&worker->loop, &worker->wake, worker->wake_fd);
    if (err)
        goto no_poll;
    uv_poll_start(&worker->wake, UV_READABLE, on_wake);
    uv_prepare_init(&worker->loop, &worker->turn_end);
    uv_timer_init(&worker->loop, &worker->tick);
    worker->wake.data = worker->turn_end.data = worker->tick.data = worker;
    uv_prepare_start(&worker->turn_end, on_turn_end);
    io_context_init(&worker->io, &worker->loop, &relay->budget);
    worker->io.proxies = relay->config.proxies;
    worker->io.proxy_count = relay->config.proxy_count;
    worker->io.detach = !relay->config.openssl_records;
    wheel_timer_init(&worker->drain, on_drain_limit);
    list_init(&worker->clients);
    list_init(&worker->dirty);
    inbox_init(&worker->inbox);
    routes_init(&worker->routes);
    pthread_mutex_init(&worker->task_lock, NULL);
    worker->outboxes = memory_zeroed(relay->config.workers * sizeof *worker->outboxes);
    return 0;

no_poll:
    uv_loop_close(&worker->loop);
no_loop:
    close(worker->wake_fd);
    return err;
}

static void run_loop(void *data)
{
    struct worker *worker = data;

    uv_run(&worker->loop, UV_RUN_DEFAULT);
}

int worker_run(struct worker *worker)
{
    return uv_thread_create(&worker->thread, run_loop, worker);
}

void worker_deinit(struct worker *worker)
{
    const int err = uv_loop_close(&worker->loop);

    assert(err == 0);
    (void)err;
    close(worker->wake_fd);
    for (size_t i = 0; i < worker->relay->config.workers; i++)
        batch_free_all(worker->outboxes[i].head);
    while (worker->listeners) {
        struct worker_listener *next = worker->listeners->next;

        free(worker->listeners);
        worker->listeners = next;
    }
    inbox_deinit(&worker->inbox);
    pthread_mutex_destroy(&worker->task_lock);
    chunk_pool_deinit(&worker->chunks);
    pool_deinit(&worker->client_pool);
    io_context_deinit(&worker->io);
    batch_free_all(worker->batches.head);
    routes_deinit(&worker->routes);
    free(worker->outboxes);
    slots_deinit(&worker->slots);
}
