// SPDX-License-Identifier: BSD-3-Clause
//
// One listening TCP socket of one loop. It accepts nothing while the process has no room for
// connections, unless a newcomer of its loop can be crowded out: it then pauses for
// LISTENER_PAUSE_MS, counts and logs that, and asks again; what waits stays in the kernel's
// backlog. The same when a connection cannot be accepted, and, for LISTENER_LINE_PAUSE_MS, when the
// line of newcomers is full. What comes faster than the process may take is accepted, closed at
// once and counted: its clients know where they are, and nothing piles up.
#ifndef DERPER_IO_LISTENER_H
#define DERPER_IO_LISTENER_H

#include "io/context.h"

#include <stdbool.h>
#include <uv.h>

#define LISTENER_BACKLOG 4096
#define LISTENER_PAUSE_MS 1000
#define LISTENER_LINE_PAUSE_MS 50 // some hundred newcomers are served meanwhile
// Connections accepted before others have their turn: enough to keep the backlog short when all
// clients come at once, after a restart. A SYN that finds it full comes again a second later.
#define LISTENER_TURN_MAX 128

struct listener;

// A connection, non-blocking and the callee's. It has the socket options (no delay, keep-alive,
// user timeout) of the listening socket.
typedef void (*listener_connection_cb)(struct listener *listener, int fd);

// LISTENING --no room, failure--> PAUSED --timer--> LISTENING
// LISTENING, PAUSED --listener_close--> CLOSING
enum listener_state { LISTENER_LISTENING, LISTENER_PAUSED, LISTENER_CLOSING };

// Embedded in its owner, which lives until the loop has closed its handles. Fields are the module's
// own except the last, which the owner may set before it listens.
struct listener {
    uv_poll_t socket;
    uv_timer_t pause;
    int fd;
    struct io_context *io;
    enum listener_state state;
    listener_connection_cb on_connection;
    bool limited; // by the budget's accept_rate
};

// Listens on `fd`, a bound socket, which is the listener's from now on. 0 or a libuv error, after
// which the listener still has to be closed.
int listener_start(struct listener *listener, struct io_context *io, int fd,
                   listener_connection_cb on_connection);

// Idempotent.
void listener_close(struct listener *listener);

#endif
