// SPDX-License-Identifier: BSD-3-Clause
#include "io/http.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/http_head.h"
#include "proto/forwarded.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// READING --head complete--> HANDLING --answered--> READING
// HANDLING --answer not taken whole--> BLOCKED --drained--> READING
// HANDLING, BLOCKED --last answer--> ENDING
// HANDLING --http_take_stream--> TAKEN; any --conn_close--> CLOSED
enum http_state {
    HTTP_READING,
    HTTP_HANDLING,
    HTTP_BLOCKED,
    HTTP_ENDING, // what still comes is discarded
    HTTP_TAKEN,
    HTTP_CLOSED,
};

struct http_conn {
    struct stream *stream;
    const struct http_service *service;
    struct list node;    // in io->http_conns or io->http_slow
    size_t unsent_bytes; // of the answer, when its write blocked
    struct wheel_timer timer;
    enum http_state state;
    struct http_head head;
    bool keep_alive;
    bool is_head; // the request in hand is HEAD
};

static void expect_head(struct http_conn *conn)
{
    conn->state = HTTP_READING;
    conn->is_head = false;
    http_head_begin(&conn->head);
}

static void arm(struct http_conn *conn, uint64_t after_ms)
{
    io_context_arm(stream_context(conn->stream), &conn->timer, after_ms);
}

static void conn_free(struct http_conn *conn)
{
    http_head_free(&conn->head);
    free(conn);
}

// An answer waits for the peer, or does so no longer.
static void set_unsent(struct http_conn *conn, size_t bytes)
{
    struct io_context *io = stream_context(conn->stream);

    io->http_unsent_bytes += bytes - conn->unsent_bytes;
    conn->unsent_bytes = bytes;
    list_unlink(&conn->node);
    list_append(bytes > 0 ? &io->http_slow : &io->http_conns, &conn->node);
}

// The connection is freed at once, unless its handler is running: then by whoever called that.
static void conn_detach(struct http_conn *conn, enum http_state to)
{
    const bool handling = conn->state == HTTP_HANDLING;

    set_unsent(conn, 0);
    list_unlink(&conn->node);
    wheel_disarm(&stream_context(conn->stream)->wheel, &conn->timer);
    conn->state = to;
    if (!handling)
        conn_free(conn);
}

static void conn_close(struct http_conn *conn)
{
    struct stream *stream = conn->stream;

    conn_detach(conn, HTTP_CLOSED);
    stream_close(stream);
}

static void on_timer(struct wheel_timer *timer)
{
    struct http_conn *conn = list_entry(timer, struct http_conn, timer);
    struct stream *stream = conn->stream;

    if (!stream_ready(stream))
        counter_add(&stream_context(stream)->counters.tls_failures[TLS_FAILURE_TIMEOUT], 1);
    conn_close(conn);
}

static_assert(HTTP_UNSENT_MAX_BYTES > IO_WRITE_BYTES, "no answer is too much alone");

static void await_peer(struct http_conn *conn)
{
    struct io_context *io = stream_context(conn->stream);

    arm(conn, HTTP_REQUEST_LIMIT_MS);
    set_unsent(conn, stream_unsent_bytes(conn->stream));
    while (io->http_unsent_bytes > HTTP_UNSENT_MAX_BYTES) {
        counter_add(&io->counters.http_slow_closed, 1);
        conn_close(list_entry(io->http_slow.next, struct http_conn, node));
    }
}

// The last answer is on its way: half-close behind it, and leave the peer time to read it, as a
// reset by unread bytes would take it away.
static void linger(struct http_conn *conn)
{
    stream_shutdown(conn->stream);
    arm(conn, HTTP_LINGER_MS);
}

static void on_drained(struct stream *stream)
{
    struct http_conn *conn = stream_owner(stream);

    set_unsent(conn, 0);
    if (conn->state == HTTP_ENDING) {
        linger(conn);
    } else if (conn->state == HTTP_BLOCKED) {
        expect_head(conn);
        arm(conn, HTTP_REQUEST_LIMIT_MS);
    }
}

static void on_end(struct stream *stream, enum stream_end why)
{
    (void)why;
    conn_close(stream_owner(stream));
}

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {204, "No Content"},
        {302, "Found"},
        {307, "Temporary Redirect"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {414, "URI Too Long"},
        {426, "Upgrade Required"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return ""; // may be empty (RFC 9112, section 4)
}

static const char *connection_field(const struct http_conn *conn)
{
    if (!conn->keep_alive)
        return "Connection: close\r\n";
    return conn->head.parser.http_minor == 0 ? "Connection: keep-alive\r\n"
                                             : ""; // HTTP/1.0 asked for it
}

static size_t put_head(const struct http_conn *conn, const struct http_response *response,
                       char *out, size_t size)
{
    char date[64], length[64] = "", type[160] = "";
    const time_t now = time(NULL);
    struct tm t;
    int n;

    gmtime_r(&now, &t);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &t);
    if (response->status != 204)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", response->body_len);
    if (response->content_type)
        snprintf(type, sizeof type, "Content-Type: %s\r\n", response->content_type);
    n = snprintf(out, size, "HTTP/1.1 %d %s\r\nDate: %s\r\n%s%s%s%s\r\n", response->status,
                 reason_phrase(response->status), date, type, length,
                 response->fields ? response->fields : "", connection_field(conn));
    assert(n > 0 && (size_t)n < size);
    return (size_t)n;
}

void http_respond(struct http_conn *conn, const struct http_response *response)
{
    char head[HTTP_TARGET_MAX_BYTES + 4096];
    struct stream_buf pieces[2];

    assert(conn->state == HTTP_HANDLING && response->body_len <= HTTP_BODY_MAX_BYTES);
    if (response->close || conn->head.has_body)
        conn->keep_alive = false;
    pieces[0] = (struct stream_buf){(uint8_t *)head, put_head(conn, response, head, sizeof head)};
    pieces[1] = (struct stream_buf){(const uint8_t *)response->body,
                                    conn->is_head ? 0 : response->body_len};
    if (stream_write(conn->stream, pieces, 2) < 0) {
        conn_close(conn);
        return;
    }
    conn->state = conn->keep_alive ? HTTP_BLOCKED : HTTP_ENDING;
    if (!stream_blocked(conn->stream))
        on_drained(conn->stream);
    else
        await_peer(conn);
}

static void refuse(struct http_conn *conn, int status)
{
    char body[64];
    const int n = snprintf(body, sizeof body, "%d %s\n", status, reason_phrase(status));
    struct io_counters *counters = &stream_context(conn->stream)->counters;

    counter_add(&counters->http_bad_requests, 1);
    if (status == 414 || status == 431)
        counter_add(&counters->http_long_heads, 1);
    conn->state = HTTP_HANDLING;
    http_respond(conn, &(struct http_response){.status = status,
                                               .content_type = "text/plain; charset=utf-8",
                                               .body = body,
                                               .body_len = (size_t)n,
                                               .close = true});
}

// Whose request it is, behind a proxy that we know. A connection of a proxy brings those of many.
static void find_peer(struct stream *stream, const struct http_text *forwarded_for)
{
    struct io_context *io = stream_context(stream);
    struct sockaddr_in6 peer;
    struct in6_addr client = in6addr_any; // nobody knows who, and it is not to pass for the proxy

    if (io->proxy_count == 0 || !stream_is_plain(stream))
        return;
    stream_set_peer(stream, NULL, 0);
    stream_peer(stream, &peer);
    if (!forwarded_for->data || !prefixes_contain(io->proxies, io->proxy_count, &peer.sin6_addr))
        return;
    forwarded_client(forwarded_for->data, forwarded_for->len, io->proxies, io->proxy_count,
                     &client);
    stream_set_peer(stream, &client, 0);
}

static void handle(struct http_conn *conn)
{
    const int refusal = http_head_judge(&conn->head);
    struct http_request request;

    http_head_request(&conn->head, &request);
    conn->keep_alive = conn->head.keep_alive;
    conn->is_head = request.head;
    if (refusal) {
        refuse(conn, refusal);
        return;
    }
    find_peer(conn->stream, &request.forwarded_for);
    counter_add(&stream_context(conn->stream)->counters.http_requests, 1);
    conn->state = HTTP_HANDLING;
    conn->service->handler(conn, &request);
    assert(conn->state != HTTP_HANDLING);
}

// What follows after a request was handled: true when the connection reads on.
static bool after_handling(struct http_conn *conn)
{
    const bool gone = conn->state == HTTP_CLOSED || conn->state == HTTP_TAKEN;

    if (gone)
        conn_free(conn);
    return !gone;
}

static bool on_data(struct stream *stream, uint8_t *data, size_t len)
{
    struct http_conn *conn = stream_owner(stream);
    int handled = 0;

    while (len > 0 && conn->state != HTTP_ENDING) {
        // Asks on without reading the answers, or keeps the loop from everybody else.
        if (conn->state == HTTP_BLOCKED || handled == HTTP_PIPELINED_MAX) {
            counter_add(&stream_context(stream)->counters.http_floods, 1);
            conn_close(conn);
            return false;
        }

        const size_t used = http_head_feed(&conn->head, data, len);

        data += used;
        len -= used;
        if (conn->head.error_status)
            refuse(conn, conn->head.error_status);
        else if (conn->head.complete)
            handle(conn);
        else
            break;
        handled++;
        if (!after_handling(conn))
            return stream_pass_on(stream, data, len);
    }
    return true;
}

static const struct stream_callbacks callbacks = {
    .on_data = on_data,
    .on_drained = on_drained,
    .on_end = on_end,
};

void http_accept(struct io_context *io, int fd, bool tls, const struct http_service *service)
{
    struct http_conn *conn = memory_zeroed(sizeof *conn);

    conn->service = service;
    conn->stream = stream_accept(io, fd, tls, &callbacks, conn);
    if (!conn->stream) {
        free(conn);
        return;
    }
    list_init(&conn->node);
    list_append(&io->http_conns, &conn->node);
    wheel_timer_init(&conn->timer, on_timer);
    expect_head(conn);
    arm(conn, HTTP_REQUEST_LIMIT_MS);
}

struct stream *http_take_stream(struct http_conn *conn)
{
    struct stream *stream = conn->stream;

    assert(conn->state == HTTP_HANDLING);
    conn_detach(conn, HTTP_TAKEN);
    return stream;
}

void *http_data(const struct http_conn *conn)
{
    return conn->service->data;
}

struct stream *http_stream(const struct http_conn *conn)
{
    return conn->stream;
}

void http_close_all(struct io_context *io)
{
    list_append_all(&io->http_conns, &io->http_slow);
    while (!list_empty(&io->http_conns))
        conn_close(list_entry(io->http_conns.next, struct http_conn, node));
}

bool http_text_is(const struct http_text *text, const char *word)
{
    return text->data && strlen(word) == text->len && memcmp(text->data, word, text->len) == 0;
}

bool http_text_is_nocase(const struct http_text *text, const char *word)
{
    return text->data && text_equals_nocase(text->data, text->len, word);
}
