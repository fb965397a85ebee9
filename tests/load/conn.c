// SPDX-License-Identifier: BSD-3-Clause
#include "conn.h"

#include "client_login.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 65536
#define REQUEST_MAX_BYTES 512
#define HTTP_ANSWER_MAX_BYTES 8192
#define EVENTS_PER_POLL 256
#define FIRST_READ_BYTES 4096

static void shut(struct conn *conn)
{
    close(conn->fd);
    conn->fd = -1;
    conn->state = CONN_CLOSED;
    handshake_free(conn->handshake);
    conn->handshake = NULL;
    record_side_deinit(&conn->seal);
    record_side_deinit(&conn->open);
    buffer_deinit(&conn->raw);
    buffer_deinit(&conn->plain);
    buffer_deinit(&conn->unsent);
    key_pair_wipe(&conn->keys);
}

// Always false, for returning.
static bool end(struct conn *conn, const char *why)
{
    shut(conn);
    conn->handlers->on_end(conn, why);
    return false;
}

int conn_open_as(struct conn *conn, const struct key_pair *keys, struct conn_target *target,
                 int epoll_fd, const struct conn_handlers *handlers)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = conn};
    const int on = 1;

    *conn = (struct conn){.epoll_fd = epoll_fd,
                          .state = CONN_CONNECTING,
                          .target = target,
                          .handlers = handlers,
                          .tls = target->context != NULL,
                          .wants_write = true,
                          .keys = *keys,
                          .data = conn->data};
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        return -1;
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if ((connect(conn->fd, (const struct sockaddr *)&target->address, sizeof target->address) < 0 &&
         errno != EINPROGRESS) ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0) {
        shut(conn);
        return -1;
    }
    return 0;
}

int conn_open(struct conn *conn, struct conn_target *target, int epoll_fd,
              const struct conn_handlers *handlers)
{
    struct key_pair keys;
    int result;

    key_pair_generate(&keys);
    result = conn_open_as(conn, &keys, target, epoll_fd, handlers);
    key_pair_wipe(&keys);
    return result;
}

void conn_want_write(struct conn *conn, bool wanted)
{
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = conn};

    if (conn->wants_write == wanted)
        return;
    conn->wants_write = wanted;
    epoll_ctl(conn->epoll_fd, EPOLL_CTL_MOD, conn->fd, &event);
}

static bool flush(struct conn *conn)
{
    while (buffer_len(&conn->unsent) > 0) {
        const ssize_t n =
            send(conn->fd, buffer_head(&conn->unsent), buffer_len(&conn->unsent), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return end(conn, "a write failed");
        buffer_consume(&conn->unsent, (size_t)n);
    }
    conn_want_write(conn, buffer_len(&conn->unsent) > 0);
    return true;
}

static void queue(struct conn *conn, const void *data, size_t len)
{
    const size_t sealed = record_sealed_bytes(len);

    if (!conn->tls) {
        buffer_append(&conn->unsent, data, len);
        return;
    }
    record_seal_data(&conn->seal, data, len, buffer_reserve(&conn->unsent, sealed));
    buffer_commit(&conn->unsent, sealed);
}

void conn_send(struct conn *conn, const uint8_t *frame, size_t len)
{
    queue(conn, frame, len);
    flush(conn);
}

void conn_close(struct conn *conn)
{
    static const uint8_t close_notify[] = {1, 0};
    uint8_t record[sizeof close_notify + RECORD_OVERHEAD_BYTES];

    if (conn->state == CONN_CLOSED)
        return;
    if (conn->state == CONN_READY && conn->tls && buffer_len(&conn->unsent) == 0) {
        const size_t n =
            record_seal(&conn->seal, RECORD_ALERT, close_notify, sizeof close_notify, record);
        send(conn->fd, record, n, MSG_NOSIGNAL);
    }
    shut(conn);
}

static bool on_login(struct conn *conn)
{
    conn->state = CONN_READY;
    conn->handlers->on_ready(conn);
    return conn->state == CONN_READY;
}

// The request, and in a fast start to a known server ClientInfo in the same record.
static bool send_request(struct conn *conn)
{
    const struct conn_target *target = conn->target;
    uint8_t out[REQUEST_MAX_BYTES + CLIENT_INFO_FRAME_MAX_BYTES];
    size_t len = (size_t)snprintf((char *)out, REQUEST_MAX_BYTES,
                                  "GET /derp HTTP/1.1\r\nHost: %s\r\nUser-Agent: derper-load\r\n"
                                  "Upgrade: DERP\r\nConnection: Upgrade\r\n%s\r\n",
                                  target->host, target->fast_start ? "Derp-Fast-Start: 1\r\n" : "");

    if (target->fast_start && target->server_key_known) {
        len += client_login_put_info(out + len, &conn->keys, &target->server_key);
        conn->info_sent = true;
    }
    conn->state = target->fast_start ? CONN_SERVER_KEY : CONN_UPGRADE;
    queue(conn, out, len);
    return flush(conn);
}

static bool step_tls(struct conn *conn)
{
    const enum handshake_result result = handshake_step(conn->handshake, &conn->raw, &conn->unsent);

    if (result == HANDSHAKE_FAILED)
        return end(conn, "TLS handshake failed");
    if (!flush(conn) || result == HANDSHAKE_MORE)
        return false;
    if (!handshake_sides(conn->handshake, &conn->seal, &conn->open))
        return end(conn, "no traffic secrets");
    handshake_free(conn->handshake);
    conn->handshake = NULL;
    return send_request(conn);
}

static bool on_connected(struct conn *conn)
{
    int error = 0;
    socklen_t len = sizeof error;

    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0)
        return end(conn, "no connection");
    if (conn->target->bare) {
        conn_want_write(conn, false);
        return on_login(conn);
    }
    if (!conn->tls)
        return send_request(conn);
    conn->handshake = handshake_new(conn->target->context);
    if (!conn->handshake)
        return end(conn, "no TLS handshake could be made");
    conn->state = CONN_TLS;
    return step_tls(conn);
}

// Moves whole records from `raw` to `plain`.
static bool open_records(struct conn *conn)
{
    struct record_opened opened;
    enum record_result result;

    if (!conn->tls) {
        buffer_append(&conn->plain, buffer_head(&conn->raw), buffer_len(&conn->raw));
        buffer_consume(&conn->raw, buffer_len(&conn->raw));
        return true;
    }
    while ((result = record_open(&conn->open, buffer_head(&conn->raw), buffer_len(&conn->raw),
                                 buffer_reserve(&conn->plain, RECORD_BODY_MAX_BYTES), &opened)) ==
           RECORD_OPENED) {
        buffer_consume(&conn->raw, opened.used);
        if (opened.type == RECORD_DATA)
            buffer_commit(&conn->plain, opened.bytes);
        else if (opened.type == RECORD_ALERT)
            return end(conn, "the relay sent a TLS alert");
        else if (conn->plain.data[conn->plain.end] != SSL3_MT_NEWSESSION_TICKET)
            return end(conn, "the relay changes its TLS keys, which is not supported");
    }
    return result == RECORD_INCOMPLETE || end(conn, "a record does not open");
}

// True when the answer's headers are through.
static bool parse_upgrade(struct conn *conn)
{
    static const char good[] = "HTTP/1.1 101 ";
    const uint8_t *head = buffer_head(&conn->plain);
    const size_t len = buffer_len(&conn->plain);
    const uint8_t *tail = head ? memmem(head, len, "\r\n\r\n", 4) : NULL;

    if (!tail)
        return len > HTTP_ANSWER_MAX_BYTES && end(conn, "the answer to the upgrade has no end");
    if (memcmp(head, good, sizeof good - 1) != 0)
        return end(conn, "the upgrade is refused");
    buffer_consume(&conn->plain, (size_t)(tail + 4 - head));
    conn->state = CONN_SERVER_KEY;
    return true;
}

static bool on_server_key(struct conn *conn, const uint8_t *payload, size_t len)
{
    struct conn_target *target = conn->target;
    uint8_t info[CLIENT_INFO_FRAME_MAX_BYTES];
    struct key key;

    if (!client_login_server_key(payload, len, &key))
        return end(conn, "no ServerKey where it should be");
    if (target->server_key_known && !key_equal(&key, &target->server_key))
        return end(conn, "the server's key changed");
    target->server_key = key;
    target->server_key_known = true;
    conn->state = CONN_SERVER_INFO;
    if (conn->info_sent)
        return true;
    queue(conn, info, client_login_put_info(info, &conn->keys, &key));
    return flush(conn);
}

static bool on_frame(struct conn *conn, const struct frame_header *header, const uint8_t *payload)
{
    switch (conn->state) {
    case CONN_SERVER_KEY:
        if (header->type != FRAME_SERVER_KEY)
            return end(conn, "the first frame is no ServerKey");
        return on_server_key(conn, payload, header->payload_bytes);
    case CONN_SERVER_INFO:
        if (header->type != FRAME_SERVER_INFO ||
            !client_login_open_info(payload, header->payload_bytes, &conn->keys,
                                    &conn->target->server_key))
            return end(conn, "no ServerInfo that opens");
        return on_login(conn);
    default:
        conn->handlers->on_frame(conn, header, payload);
        return conn->state == CONN_READY;
    }
}

static bool parse_frames(struct conn *conn)
{
    struct frame_header header;

    while (frame_parse_header(buffer_head(&conn->plain), buffer_len(&conn->plain), &header)) {
        const size_t whole = FRAME_HEADER_BYTES + (size_t)header.payload_bytes;

        if (header.payload_bytes > FRAME_SEND_MAX_BYTES)
            return end(conn, "a frame is longer than any may be");
        if (buffer_len(&conn->plain) < whole)
            return true;
        if (!on_frame(conn, &header, buffer_head(&conn->plain) + FRAME_HEADER_BYTES))
            return false;
        buffer_consume(&conn->plain, whole);
    }
    return true;
}

static bool process(struct conn *conn)
{
    if (conn->state == CONN_TLS && !step_tls(conn))
        return false;
    if (!open_records(conn))
        return false;
    if (conn->state == CONN_UPGRADE && !parse_upgrade(conn))
        return false;
    return parse_frames(conn);
}

// One read an event: epoll tells again when more is there, and no connection starves the others.
static void read_some(struct conn *conn)
{
    const size_t room = conn->state == CONN_READY ? READ_BYTES : FIRST_READ_BYTES;
    const ssize_t n = recv(conn->fd, buffer_reserve(&conn->raw, room), room, 0);

    if (n > 0) {
        buffer_commit(&conn->raw, (size_t)n);
        process(conn);
    } else if (n == 0) {
        end(conn, "the relay ended the connection");
    } else if (errno != EAGAIN && errno != EINTR) {
        end(conn, "a read failed");
    }
}

void conn_on_events(struct conn *conn, uint32_t events)
{
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->state == CONN_CONNECTING) {
        on_connected(conn);
        return;
    }
    if (events & EPOLLOUT && !flush(conn))
        return;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_some(conn);
}

bool conn_poll(int epoll_fd, int timeout_ms)
{
    struct epoll_event events[EVENTS_PER_POLL];
    const int n = epoll_wait(epoll_fd, events, EVENTS_PER_POLL, timeout_ms);

    for (int i = 0; i < n; i++)
        conn_on_events(events[i].data.ptr, events[i].events);
    return n >= 0 || errno == EINTR;
}
