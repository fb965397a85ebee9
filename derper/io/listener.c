// SPDX-License-Identifier: BSD-3-Clause
#include "io/listener.h"

#include "base/clock.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct log_limit pause_log = LOG_LIMIT_INIT;
static struct log_limit line_log = LOG_LIMIT_INIT;
static struct log_limit failure_log = LOG_LIMIT_INIT;
static struct log_limit refusal_log = LOG_LIMIT_INIT;

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

static void on_connections(uv_poll_t *socket, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    struct listener *listener = timer->data;

    set_state(listener, LISTENER_LISTENING);
    uv_poll_start(&listener->socket, UV_READABLE, on_connections);
}

static void pause_accepting(struct listener *listener, uint64_t for_ms)
{
    set_state(listener, LISTENER_PAUSED);
    uv_poll_stop(&listener->socket);
    uv_timer_start(&listener->pause, on_pause_over, for_ms, 0);
}

// The budget leaves room for what the process itself has open: these come from elsewhere.
static const char *hint(int error)
{
    if (error == EMFILE)
        return "; it waits until descriptors are free: raise the limit of open files (ulimit -n, "
               "LimitNOFILE=)";
    if (error == ENFILE)
        return "; it waits until the system has files left: raise fs.file-max";
    return "";
}

static void on_failure(struct listener *listener, int error)
{
    // Nothing waits, or what has waited is gone.
    if (error == EAGAIN || error == EINTR || error == ECONNABORTED)
        return;
    counter_add(&listener->io->counters.accept_failures, 1);
    log_limited(&failure_log, "a connection could not be accepted: %s%s", strerror(error),
                hint(error));
    pause_accepting(listener, LISTENER_PAUSE_MS);
}

// Its descriptor is free at the end of the turn.
static void on_full(struct listener *listener)
{
    if (turns_crowd_out(&listener->io->turns))
        return;
    counter_add(&listener->io->counters.accept_pauses, 1);
    log_limited(&pause_log,
                "all %d connections that the descriptor limit allows are in use: accepting pauses "
                "until some leave; raise the limit of open files (ulimit -n, LimitNOFILE=)",
                listener->io->budget->limit);
    pause_accepting(listener, LISTENER_PAUSE_MS);
}

static void on_line_full(struct listener *listener)
{
    counter_add(&listener->io->counters.line_pauses, 1);
    log_limited(&line_log,
                "%d connections wait for their handshakes and logins: accepting pauses until there "
                "are fewer",
                NEWCOMERS_LINE_MAX);
    pause_accepting(listener, LISTENER_LINE_PAUSE_MS);
}

static bool may_take(const struct listener *listener)
{
    struct io_budget *budget = listener->io->budget;

    return !listener->limited || budget->accept_rate.per_second <= 0 ||
           bucket_take_shared(&budget->accepted, &budget->accept_rate, clock_ns());
}

static void refuse(struct listener *listener, int fd)
{
    close(fd);
    counter_add(&listener->io->counters.accept_refused, 1);
    log_limited(&refusal_log,
                "a new connection was closed, as more than %g a second came and %g at once "
                "(--accept-connection-limit, --accept-connection-burst)",
                listener->io->budget->accept_rate.per_second,
                listener->io->budget->accept_rate.burst);
}

static void on_connections(uv_poll_t *socket, int status, int events)
{
    struct listener *listener = socket->data;

    (void)status, (void)events;
    if (turns_line_full(&listener->io->turns)) {
        on_line_full(listener);
        return;
    }
    if (!room(listener->io->budget)) {
        on_full(listener);
        return;
    }
    for (int n = 0; n < LISTENER_TURN_MAX && room(listener->io->budget); n++) {
        const int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            on_failure(listener, errno);
            return;
        }
        if (may_take(listener))
            listener->on_connection(listener, fd);
        else
            refuse(listener, fd);
    }
}

int listener_start(struct listener *listener, struct io_context *io, int fd,
                   listener_connection_cb cb)
{
    int err;

    listener->io = io;
    listener->fd = fd;
    listener->on_connection = cb;
    listener->socket.data = listener->pause.data = listener;
    err = uv_poll_init(io->loop, &listener->socket, fd);
    if (err) {
        listener->state = LISTENER_CLOSING; // there is no handle to close
        close(fd);
        return err;
    }
    listener->state = LISTENER_LISTENING;
    uv_timer_init(io->loop, &listener->pause);
    if (listen(fd, LISTENER_BACKLOG) != 0)
        return uv_translate_sys_error(errno);
    return uv_poll_start(&listener->socket, UV_READABLE, on_connections);
}

void listener_close(struct listener *listener)
{
    if (listener->state == LISTENER_CLOSING)
        return;
    set_state(listener, LISTENER_CLOSING);
    uv_close((uv_handle_t *)&listener->pause, NULL);
    uv_close((uv_handle_t *)&listener->socket, NULL);
    close(listener->fd);
}
