// SPDX-License-Identifier: BSD-3-Clause
#include "fleet.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define POLL_MS 20

void fleet_on_ready(struct conn *conn)
{
    struct fleet *fleet = conn->data;

    fleet->ready++;
}

void fleet_on_end(struct conn *conn, const char *why)
{
    struct fleet *fleet = conn->data;

    if (!fleet->failure)
        fleet->failure = why;
}

// The first one goes alone: it learns the server's key for the others.
static size_t allowed(const struct fleet *fleet, size_t at_once)
{
    return fleet->ready == 0 ? 1 : fleet->ready + at_once;
}

static void open_more(struct fleet *fleet, struct conn_target *target, size_t at_once,
                      const struct conn_handlers *handlers)
{
    while (fleet->opened < fleet->count && fleet->opened < allowed(fleet, at_once)) {
        struct conn *conn = &fleet->conns[fleet->opened];

        conn->data = fleet;
        if (target->port_count > 0)
            target->address.sin_port = htons(target->ports[fleet->opened % target->port_count]);
        if (conn_open(conn, target, fleet->epoll_fd, handlers) < 0) {
            fleet->failure = "a connection could not be opened (descriptors, ports?)";
            return;
        }
        fleet->opened++;
    }
}

bool fleet_open(struct fleet *fleet, struct conn_target *target, size_t count, size_t at_once,
                const struct conn_handlers *handlers, uint64_t deadline_ms)
{
    *fleet = (struct fleet){.epoll_fd = epoll_create1(EPOLL_CLOEXEC), .count = count};
    fleet->conns = memory_zeroed(count * sizeof *fleet->conns);
    while (!fleet->failure && fleet->ready < count) {
        open_more(fleet, target, at_once, handlers);
        if (!conn_poll(fleet->epoll_fd, POLL_MS))
            fleet->failure = "epoll failed";
        if (clock_ms() >= deadline_ms && fleet->ready < count && !fleet->failure)
            fleet->failure = "logins did not end in time";
    }
    return !fleet->failure;
}

void fleet_close(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->opened; i++)
        conn_close(&fleet->conns[i]);
    free(fleet->conns);
    close(fleet->epoll_fd);
    *fleet = (struct fleet){.epoll_fd = -1};
}
