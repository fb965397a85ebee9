// SPDX-License-Identifier: BSD-3-Clause
//
// One client connection, driven by epoll: TCP, TLS 1.3 (or plain), HTTP upgrade, DERP login, then
// frames. Errors end it; nothing is tried again.
#ifndef LOAD_CONN_H
#define LOAD_CONN_H

#include "base/key.h"
#include "buffer.h"
#include "handshake.h"
#include "proto/frame.h"
#include "record.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct conn;

#define CONN_PORTS_MAX 32

// Whom to load, and how. The server's key is learnt from the first login and must stay the same;
// once it is known, a fast start sends ClientInfo right behind the request, as real clients do.
struct conn_target {
    struct sockaddr_in address;
    uint16_t ports[CONN_PORTS_MAX]; // fleets only: of connections in turn, instead of that one's
    size_t port_count;
    char host[64];    // for the Host header
    SSL_CTX *context; // NULL: plain
    bool bare;        // no login either: ready when connected
    bool fast_start;  // no answer to the upgrade request is wanted
    bool server_key_known;
    struct key server_key;
};

// All run from conn_on_events; none may free the connection. on_end comes once, for any end but
// conn_close, and the descriptor is closed by then.
struct conn_handlers {
    void (*on_ready)(struct conn *conn);
    void (*on_frame)(struct conn *conn, const struct frame_header *header, const uint8_t *payload);
    void (*on_end)(struct conn *conn, const char *why);
};

// CONNECTING -> TLS -> UPGRADE (unless fast start) -> SERVER_KEY -> SERVER_INFO -> READY; all of
// these -> CLOSED
enum conn_state {
    CONN_CLOSED,
    CONN_CONNECTING,
    CONN_TLS,
    CONN_UPGRADE,
    CONN_SERVER_KEY,
    CONN_SERVER_INFO,
    CONN_READY,
};

// Embedded in an array of its owner, who may change `handlers` and `data` and read the rest.
struct conn {
    int fd; // -1 when closed
    int epoll_fd;
    enum conn_state state;
    bool tls;
    bool info_sent;
    bool wants_write;
    struct conn_target *target;
    const struct conn_handlers *handlers;
    struct handshake *handshake; // in CONN_TLS
    struct record_side seal, open;
    struct buffer raw;    // read, not yet opened
    struct buffer plain;  // opened, not yet parsed
    struct buffer unsent; // sealed
    struct key_pair keys;
    void *data; // the owner's, kept by conn_open
};

// Starts to connect under a fresh key. 0, or -1 with errno.
int conn_open(struct conn *conn, struct conn_target *target, int epoll_fd,
              const struct conn_handlers *handlers);

// The same under a key that the caller chose.
int conn_open_as(struct conn *conn, const struct key_pair *keys, struct conn_target *target,
                 int epoll_fd, const struct conn_handlers *handlers);

// Idempotent. Says close_notify when READY.
void conn_close(struct conn *conn);

void conn_on_events(struct conn *conn, uint32_t events);

// Seals and sends one whole frame; what the kernel does not take is sent later. Only when READY.
void conn_send(struct conn *conn, const uint8_t *frame, size_t len);

// For owners that write sealed records to `fd` themselves: whether EPOLLOUT is watched.
void conn_want_write(struct conn *conn, bool wanted);

// Waits at most `timeout_ms` for events and handles them. False at an error of epoll itself.
bool conn_poll(int epoll_fd, int timeout_ms);

#endif
