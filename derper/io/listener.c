// SPDX-License-Identifier: BSD-3-Clause
#include "io/listener.h"

#include "base/log.h"

#include <assert.h>

static struct log_limit pause_log = LOG_LIMIT_INIT;
static struct log_limit failure_log = LOG_LIMIT_INIT;

static void set_state(struct listener *listener, enum listener_state to)
{
    static const unsigned legal[] = {
        [LISTENER_LISTENING] = 1u << LISTENER_PAUSED | 1u << LISTENER_CLOSING,
        [LISTENER_PAUSED] = 1u << LISTENER_LISTENING | 1u << LISTENER_CLOSING,
        [LISTENER_CLOSING] = 0,
    };
    assert(legal[listener->state] & 1u << to);
    listener->state = to;
}

static bool room(const struct io_budget *budget)
{
    return atomic_load_explicit(&budget->used, memory_order_relaxed) < budget->limit;
}

static void on_pause_over(uv_timer_t *timer);

static void offer(struct listener *listener)
{
    struct io_budget *budget = listener->io->budget;

    if (!listener->waiting)
        return;
    if (room(budget)) {
        listener->waiting = false;
        listener->on_connection(listener);
        return;
    }
    counter_add(&listener->io->counters.accept_pauses, 1);
    log_limited(&pause_log,
                "all %d connections that the descriptor limit allows are in use: accepting pauses "
                "until some leave; raise the limit of open files (ulimit -n, LimitNOFILE=)",
                budget->limit);
    set_state(listener, LISTENER_PAUSED);
    uv_timer_start(&listener->pause, on_pause_over, LISTENER_PAUSE_MS, 0);
}

static void on_pause_over(uv_timer_t *timer)
{
    struct listener *listener = timer->data;

    set_state(listener, LISTENER_LISTENING);
    offer(listener);
}

static void on_connection(uv_stream_t *socket, int status)
{
    struct listener *listener = socket->data;

    if (status < 0) {
        counter_add(&listener->io->counters.accept_failures, 1);
        log_limited(&failure_log, "a connection could not be accepted: %s", uv_strerror(status));
        return;
    }
    listener->waiting = true;
    if (listener->state == LISTENER_LISTENING)
        offer(listener);
}

int listener_start(struct listener *listener, struct io_context *io, int fd,
                   listener_connection_cb cb)
{
    int err;

    listener->io = io;
    listener->state = LISTENER_LISTENING;
    listener->waiting = false;
    listener->on_connection = cb;
    uv_timer_init(io->loop, &listener->pause);
    uv_tcp_init(io->loop, &listener->socket);
    listener->socket.data = listener->pause.data = listener;
    err = uv_tcp_open(&listener->socket, fd);
    return err ? err : uv_listen((uv_stream_t *)&listener->socket, LISTENER_BACKLOG, on_connection);
}

void listener_close(struct listener *listener)
{
    if (listener->state == LISTENER_CLOSING)
        return;
    set_state(listener, LISTENER_CLOSING);
    uv_close((uv_handle_t *)&listener->pause, NULL);
    uv_close((uv_handle_t *)&listener->socket, NULL);
}
