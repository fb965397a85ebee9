// SPDX-License-Identifier: BSD-3-Clause
#include "http_peer.h"

#include "base/clock.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

#define TURNS 4 // accept, read, write, close

static void demand(bool held, const char *what)
{
    if (!held) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void on_connection(uv_poll_t *listening, int status, int events)
{
    struct http_peer *peer = listening->data;
    const int fd = accept4(peer->listening_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    demand(status == 0 && fd >= 0, "connection");
    http_accept(&peer->io, fd, false, peer->service);
}

static int bound_socket(struct http_peer *peer, int family)
{
    const struct sockaddr_in any = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const sa_family_t unnamed = AF_UNIX; // the system finds a name
    const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int err;

    demand(fd >= 0, "socket");
    if (family == AF_INET)
        err = bind(fd, (const struct sockaddr *)&any, sizeof any);
    else
        err = bind(fd, (const struct sockaddr *)&unnamed, sizeof unnamed);
    demand(err == 0, "bind");
    peer->address_len = sizeof peer->address;
    demand(getsockname(fd, (struct sockaddr *)&peer->address, &peer->address_len) == 0, "name");
    return fd;
}

void http_peer_start(struct http_peer *peer, const struct http_service *service, int family)
{
    memset(peer, 0, sizeof *peer);
    peer->service = service;
    peer->fd = -1;
    peer->budget.limit = 1000;
    demand(uv_loop_init(&peer->loop) == 0, "loop");
    io_context_init(&peer->io, &peer->loop, &peer->budget);
    peer->listening_fd = bound_socket(peer, family);
    peer->listening.data = peer;
    demand(listen(peer->listening_fd, 16) == 0 &&
               uv_poll_init(&peer->loop, &peer->listening, peer->listening_fd) == 0 &&
               uv_poll_start(&peer->listening, UV_READABLE, on_connection) == 0,
           "listen");
}

void http_peer_turn(struct http_peer *peer)
{
    for (int i = 0; i < TURNS; i++)
        uv_run(&peer->loop, UV_RUN_NOWAIT);
    if (peer->io.wheel.armed > 0)
        wheel_run(&peer->io.wheel, clock_ms() + peer->skipped_ms);
}

void http_peer_pass_time(struct http_peer *peer, uint64_t ms)
{
    peer->skipped_ms += ms;
    http_peer_turn(peer);
    http_peer_turn(peer);
}

void http_peer_disconnect(struct http_peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
    http_peer_turn(peer);
}

void http_peer_connect(struct http_peer *peer)
{
    http_peer_disconnect(peer);
    peer->fd = socket(peer->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    demand(peer->fd >= 0, "socket");
    demand(connect(peer->fd, (struct sockaddr *)&peer->address, peer->address_len) == 0, "connect");
    fcntl(peer->fd, F_SETFL, O_NONBLOCK);
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    peer->ended = false;
    peer->received_len = 0;
    http_peer_turn(peer);
}

void http_peer_stop(struct http_peer *peer)
{
    http_peer_disconnect(peer);
    http_close_all(&peer->io);
    uv_close((uv_handle_t *)&peer->listening, NULL);
    close(peer->listening_fd);
    uv_run(&peer->loop, UV_RUN_DEFAULT);
    demand(uv_loop_close(&peer->loop) == 0, "the loop does not close");
    demand(counter_read(&peer->io.counters.streams) == 0, "a stream is left");
    demand(atomic_load(&peer->budget.used) == 0, "the budget is not given back");
    demand(peer->io.wheel.armed == 0, "a timer is left");
    io_context_deinit(&peer->io);
    free(peer->received);
}

void http_peer_send(struct http_peer *peer, const void *data, size_t len)
{
    const uint64_t until_ms = clock_ms() + HTTP_PEER_WAIT_MS;
    const char *at = data;

    while (len > 0 && clock_ms() < until_ms) {
        const ssize_t n = send(peer->fd, at, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            break;
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
        http_peer_turn(peer);
    }
    http_peer_turn(peer);
}

void http_peer_send_text(struct http_peer *peer, const char *text)
{
    http_peer_send(peer, text, strlen(text));
}

static void receive_some(struct http_peer *peer)
{
    char piece[65536];
    ssize_t n;

    http_peer_turn(peer);
    n = recv(peer->fd, piece, sizeof piece, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        peer->ended = true;
        return;
    }
    if (n < 0)
        return;
    if (peer->received_len + (size_t)n + 1 > peer->received_capacity) {
        peer->received_capacity = 2 * (peer->received_len + (size_t)n + 1);
        peer->received = memory_resize(peer->received, peer->received_capacity);
    }
    memcpy(peer->received + peer->received_len, piece, (size_t)n);
    peer->received_len += (size_t)n;
    peer->received[peer->received_len] = '\0';
}

bool http_peer_read_bytes(struct http_peer *peer, size_t len)
{
    const uint64_t until_ms = clock_ms() + HTTP_PEER_WAIT_MS;

    while (peer->received_len < len && !peer->ended && clock_ms() < until_ms)
        receive_some(peer);
    return peer->received_len >= len;
}

bool http_peer_ends(struct http_peer *peer)
{
    const uint64_t until_ms = clock_ms() + HTTP_PEER_WAIT_MS;

    while (peer->received_len == 0 && !peer->ended && clock_ms() < until_ms)
        receive_some(peer);
    return peer->ended && peer->received_len == 0;
}

static void drop_received(struct http_peer *peer, size_t len)
{
    peer->received_len -= len;
    memmove(peer->received, peer->received + len, peer->received_len + 1);
}

static char *head_end(struct http_peer *peer)
{
    const uint64_t until_ms = clock_ms() + HTTP_PEER_WAIT_MS;
    char *end = NULL;

    for (;;) {
        if (peer->received_len > 0)
            end = strstr(peer->received, "\r\n\r\n");
        if (end || peer->ended || clock_ms() > until_ms)
            return end;
        receive_some(peer);
    }
}

bool http_peer_read(struct http_peer *peer, struct http_answer *answer, bool to_head)
{
    const char *end = head_end(peer);
    const char *length;
    size_t head_len;

    if (!end)
        return false;
    head_len = (size_t)(end - peer->received) + 4;
    demand(head_len < sizeof answer->head, "head of an answer too long");
    memcpy(answer->head, peer->received, head_len);
    answer->head[head_len] = '\0';
    demand(sscanf(answer->head, "HTTP/1.1 %3d ", &answer->status) == 1, "status line");
    length = http_answer_field(answer, "Content-Length");
    answer->body_len = length && !to_head ? strtoul(length, NULL, 10) : 0;
    drop_received(peer, head_len);
    if (!http_peer_read_bytes(peer, answer->body_len))
        return false;
    answer->body = memory_resize(NULL, answer->body_len + 1);
    if (answer->body_len > 0)
        memcpy(answer->body, peer->received, answer->body_len);
    answer->body[answer->body_len] = '\0';
    if (answer->body_len > 0)
        drop_received(peer, answer->body_len);
    return true;
}

const char *http_answer_field(const struct http_answer *answer, const char *name)
{
    static char value[4096];
    const size_t len = strlen(name);

    for (const char *line = strstr(answer->head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) == 0 && strncmp(line + 2 + len, ": ", 2) == 0) {
            const char *from = line + 2 + len + 2;
            const size_t n = (size_t)(strstr(from, "\r\n") - from);

            demand(n < sizeof value, "field too long");
            memcpy(value, from, n);
            value[n] = '\0';
            return value;
        }
    }
    return NULL;
}
