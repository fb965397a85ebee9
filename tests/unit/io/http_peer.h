// SPDX-License-Identifier: BSD-3-Clause
//
// A loop that serves HTTP on a real socket, and the client at its other end, both on one thread:
// whoever waits runs the loop. Everything that goes wrong ends the program.
#ifndef DERPER_TESTS_HTTP_PEER_H
#define DERPER_TESTS_HTTP_PEER_H

#include "io/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define HTTP_PEER_WAIT_MS 10000

struct http_peer {
    uv_loop_t loop;
    struct io_budget budget;
    struct io_context io;
    const struct http_service *service;
    uv_poll_t listening;
    int listening_fd;
    struct sockaddr_storage address;
    socklen_t address_len;
    uint64_t skipped_ms; // how far the wheel's clock is ahead of the real one
    int fd;              // the client's, -1 when not connected
    bool ended;          // the server has closed, in order or not
    char *received;      // NUL-terminated
    size_t received_len, received_capacity;
};

struct http_answer {
    int status;
    char head[8192]; // status line and fields, NUL-terminated
    char *body;      // NUL-terminated; the reader's to free
    size_t body_len;
};

// `family` AF_INET (loopback) or AF_UNIX (no ports, no names: for many connections in a short
// time).
void http_peer_start(struct http_peer *peer, const struct http_service *service, int family);

// Closes the client, then every connection, and demands that the loop then closes clean.
void http_peer_stop(struct http_peer *peer);

// A new connection; the old one, if any, is closed first.
void http_peer_connect(struct http_peer *peer);
void http_peer_disconnect(struct http_peer *peer);

// Runs the loop until there is nothing to do at once.
void http_peer_turn(struct http_peer *peer);

// The client sends; the loop runs meanwhile and after it. Bytes that cannot be sent any more are
// left out.
void http_peer_send(struct http_peer *peer, const void *data, size_t len);
void http_peer_send_text(struct http_peer *peer, const char *text);

// Reads one answer. `to_head`: it has no body, whatever its length field says. False when the
// connection ended before.
bool http_peer_read(struct http_peer *peer, struct http_answer *answer, bool to_head);

// Reads `len` bytes of whatever comes. False when the connection ended before.
bool http_peer_read_bytes(struct http_peer *peer, size_t len);

// Waits for the end of the connection; false when there is something else to read, or no end.
bool http_peer_ends(struct http_peer *peer);

// Lets the wheel's clock jump ahead.
void http_peer_pass_time(struct http_peer *peer, uint64_t ms);

// The value of a field, in a buffer that the next call overwrites; NULL when the answer lacks it.
const char *http_answer_field(const struct http_answer *answer, const char *name);

#endif
