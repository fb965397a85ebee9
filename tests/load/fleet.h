// SPDX-License-Identifier: BSD-3-Clause
//
// Many connections, opened a bounded number at a time.
#ifndef LOAD_FLEET_H
#define LOAD_FLEET_H

#include "conn.h"

#include <stdbool.h>
#include <stddef.h>

// Embedded in a mode's own state.
struct fleet {
    int epoll_fd;
    struct conn *conns;
    size_t count, opened, ready;
    const char *failure; // the first one; NULL when all is well
};

// True when all `count` connections are READY. Frames that come meanwhile go to `on_frame`. Any
// failure, or `deadline_ms` on clock_ms's clock, ends it. fleet_close frees, also after false.
bool fleet_open(struct fleet *fleet, struct conn_target *target, size_t count, size_t at_once,
                const struct conn_handlers *handlers, uint64_t deadline_ms);
void fleet_close(struct fleet *fleet);

// For the owner's handlers, whose connections have the fleet as `data` while it opens.
void fleet_on_ready(struct conn *conn);
void fleet_on_end(struct conn *conn, const char *why);

#endif
