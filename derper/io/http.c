// SPDX-License-Identifier: BSD-3-Clause
#include "io/http.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/text.h"
#include "proto/forwarded.h"

#include <assert.h>
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIELD_NAME_MAX_BYTES 32 // the longest name that we look at is shorter

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

enum field {
    FIELD_HOST,
    FIELD_UPGRADE,
    FIELD_WEBSOCKET_PROTOCOL,
    FIELD_FAST_START,
    FIELD_IDEAL_NODE,
    FIELD_CHALLENGE,
    FIELD_FORWARDED_FOR,
    FIELD_TARGET, // not a header field, kept like one
    FIELDS
};

static const char *const field_names[] = {
    [FIELD_HOST] = "Host",
    [FIELD_UPGRADE] = "Upgrade",
    [FIELD_WEBSOCKET_PROTOCOL] = "Sec-WebSocket-Protocol",
    [FIELD_FAST_START] = "Derp-Fast-Start",
    [FIELD_IDEAL_NODE] = "Ideal-Node",
    [FIELD_CHALLENGE] = "X-Tailscale-Challenge",
    [FIELD_FORWARDED_FOR] = "X-Forwarded-For",
};

struct span {
    size_t start, len;
    bool present;
};

struct http_conn {
    struct stream *stream;
    const struct http_service *service;
    struct list node;    // in io->http_conns or io->http_slow
    size_t unsent_bytes; // of the answer, when its write blocked
    struct wheel_timer timer;
    enum http_state state;
    llhttp_t parser;
    size_t head_bytes;
    bool head_complete;
    bool keep_alive;
    bool has_body;
    bool is_head;
    int error_status; // set by a parser callback that refuses
    char name[FIELD_NAME_MAX_BYTES];
    size_t name_len;
    int field;  // where the value in hand goes; -1: nowhere
    char *text; // the spans' bytes
    size_t text_len, text_capacity;
    struct span spans[FIELDS];
};

static struct http_conn *conn_of(llhttp_t *parser)
{
    return parser->data;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void append(struct http_conn *conn, struct span *span, const char *data, size_t len)
{
    if (conn->text_len + len > conn->text_capacity) {
        conn->text_capacity = least((conn->text_len + len) * 2, HTTP_HEAD_MAX_BYTES);
        conn->text = memory_resize(conn->text, conn->text_capacity);
    }
    memcpy(conn->text + conn->text_len, data, len);
    conn->text_len += len;
    span->len += len;
}

static int on_url(llhttp_t *parser, const char *data, size_t len)
{
    struct http_conn *conn = conn_of(parser);
    struct span *target = &conn->spans[FIELD_TARGET];

    target->present = true;
    if (target->len + len > HTTP_TARGET_MAX_BYTES) {
        conn->error_status = 414;
        return HPE_USER;
    }
    append(conn, target, data, len);
    return 0;
}

// RFC 9110, section 5.6.2. The parser lets spaces through.
static bool is_token(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)data[i];

        if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return true;
}

static int on_field_name(llhttp_t *parser, const char *data, size_t len)
{
    struct http_conn *conn = conn_of(parser);
    const size_t room = sizeof conn->name - conn->name_len;

    if (!is_token(data, len))
        return HPE_USER;
    // A name that fills the buffer is none of ours.
    len = len < room ? len : room;
    memcpy(conn->name + conn->name_len, data, len);
    conn->name_len += len;
    return 0;
}

static int refuse_field(struct http_conn *conn)
{
    conn->error_status = 431;
    return HPE_USER;
}

// The field whose name is in hand; -1: none of ours.
static int find_field(const struct http_conn *conn)
{
    for (int i = 0; i < FIELD_TARGET; i++)
        if (text_equals_nocase(conn->name, conn->name_len, field_names[i]))
            return i;
    return -1;
}

// A field goes on where it is given again (RFC 9110, section 5.3), and so has to be the last text.
static int go_on_with(struct http_conn *conn, struct span *span)
{
    char *text = conn->text + span->start;
    const size_t behind = conn->text_len - span->start - span->len;
    char moved[HTTP_FIELD_MAX_BYTES];

    if (span->len + 2 > HTTP_FIELD_MAX_BYTES)
        return refuse_field(conn);
    if (span->len > 0) {
        memcpy(moved, text, span->len);
        memmove(text, text + span->len, behind);
        memcpy(text + behind, moved, span->len);
    }
    for (int i = 0; i < FIELDS; i++)
        if (conn->spans[i].start > span->start)
            conn->spans[i].start -= span->len;
    span->start = conn->text_len - span->len;
    append(conn, span, ", ", 2);
    return 0;
}

static int on_field_name_complete(llhttp_t *parser)
{
    struct http_conn *conn = conn_of(parser);
    const int field = find_field(conn);

    conn->name_len = 0;
    conn->field = -1;
    if (field < 0)
        return 0;
    if (conn->spans[field].present && field == FIELD_HOST) {
        conn->error_status = 400; // RFC 9112, section 3.2
        return HPE_USER;
    }
    // The first of several counts, but those that proxies add are one list.
    if (conn->spans[field].present && field != FIELD_FORWARDED_FOR)
        return 0;
    conn->field = field;
    if (conn->spans[field].present)
        return go_on_with(conn, &conn->spans[field]);
    conn->spans[field] = (struct span){.start = conn->text_len, .present = true};
    return 0;
}

static int on_field_value(llhttp_t *parser, const char *data, size_t len)
{
    struct http_conn *conn = conn_of(parser);

    if (conn->field < 0)
        return 0;

    struct span *span = &conn->spans[conn->field];
    const size_t room = HTTP_FIELD_MAX_BYTES - span->len;

    // Whoever is named behind a cut is not who the proxy has named.
    if (len > room && conn->field == FIELD_FORWARDED_FOR)
        return refuse_field(conn);
    append(conn, span, data, least(len, room));
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http_conn *conn = conn_of(parser);

    conn->keep_alive = llhttp_should_keep_alive(parser);
    conn->has_body = parser->content_length > 0 || (parser->flags & F_TRANSFER_ENCODING);
    return 2; // no body is read: the parser stops right behind the head
}

static int on_message_complete(llhttp_t *parser)
{
    conn_of(parser)->head_complete = true;
    return 0;
}

static llhttp_settings_t settings;

static void make_settings(void)
{
    llhttp_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_header_field = on_field_name;
    settings.on_header_field_complete = on_field_name_complete;
    settings.on_header_value = on_field_value;
    settings.on_headers_complete = on_headers_complete;
    settings.on_message_complete = on_message_complete;
}

static void expect_head(struct http_conn *conn)
{
    conn->state = HTTP_READING;
    conn->head_bytes = conn->text_len = conn->name_len = 0;
    conn->head_complete = conn->is_head = false;
    conn->field = -1;
    memset(conn->spans, 0, sizeof conn->spans);
    llhttp_init(&conn->parser, HTTP_REQUEST, &settings);
    conn->parser.data = conn;
}

static void arm(struct http_conn *conn, uint64_t after_ms)
{
    io_context_arm(stream_context(conn->stream), &conn->timer, after_ms);
}

static void conn_free(struct http_conn *conn)
{
    free(conn->text);
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
    return conn->parser.http_minor == 0 ? "Connection: keep-alive\r\n"
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
    if (response->close || conn->has_body)
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

static struct http_text get_text(const struct http_conn *conn, enum field field)
{
    const struct span *span = &conn->spans[field];
    struct http_text text = {NULL, 0};

    if (!span->present)
        return text;
    text.data = conn->text ? conn->text + span->start : "";
    text.len = span->len;
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

// Where the authority of a target in absolute form begins; NULL for other forms.
static const char *find_authority(struct http_text target)
{
    const char *scheme_end;

    if (!target.data || target.len == 0 || *target.data == '/')
        return NULL;
    scheme_end = memmem(target.data, target.len, "://", 3);
    return scheme_end ? scheme_end + 3 : NULL;
}

// Splits a target in origin or absolute form (RFC 9112, section 3.2). The authority of an absolute
// one takes the place of the Host field (section 3.2.2).
static void split_target(struct http_text target, struct http_request *request)
{
    const char *const end = target.data + target.len;
    const char *const authority = find_authority(target);
    const char *path = target.data;
    const char *question;

    if (authority) {
        for (path = authority; path < end && *path != '/' && *path != '?'; path++)
            ;
        request->host = (struct http_text){authority, (size_t)(path - authority)};
    }
    question = memchr(path, '?', (size_t)(end - path));
    request->path = (struct http_text){path, (size_t)((question ? question : end) - path)};
    if (question)
        request->query = (struct http_text){question + 1, (size_t)(end - question) - 1};
}

static void fill_request(struct http_conn *conn, struct http_request *request)
{
    *request = (struct http_request){
        .method = llhttp_method_name(llhttp_get_method(&conn->parser)),
        .get = llhttp_get_method(&conn->parser) == HTTP_GET,
        .head = llhttp_get_method(&conn->parser) == HTTP_HEAD,
        .host = get_text(conn, FIELD_HOST),
        .upgrade = get_text(conn, FIELD_UPGRADE),
        .websocket_protocol = get_text(conn, FIELD_WEBSOCKET_PROTOCOL),
        .fast_start = get_text(conn, FIELD_FAST_START),
        .ideal_node = get_text(conn, FIELD_IDEAL_NODE),
        .challenge = get_text(conn, FIELD_CHALLENGE),
        .forwarded_for = get_text(conn, FIELD_FORWARDED_FOR),
    };
    split_target(get_text(conn, FIELD_TARGET), request);
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

// 0 for a head that may be handled, else the status that refuses it.
static int judge_head(const struct http_conn *conn)
{
    const llhttp_t *parser = &conn->parser;

    if (parser->http_major != 1)
        return parser->http_major == 0 ? 400 : 505;
    // RFC 9112, section 3.2
    return parser->http_minor == 1 && !conn->spans[FIELD_HOST].present ? 400 : 0;
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
    const int refusal = judge_head(conn);
    struct http_request request;

    fill_request(conn, &request);
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

// Feeds the parser up to the end of the head. Returns the bytes that it used; an error is answered.
static size_t parse(struct http_conn *conn, const uint8_t *data, size_t len)
{
    const size_t room = HTTP_HEAD_MAX_BYTES - conn->head_bytes;
    const size_t n = least(len, room);
    const enum llhttp_errno err = llhttp_execute(&conn->parser, (const char *)data, n);

    conn->head_bytes += n;
    if (conn->head_complete && err == HPE_PAUSED_UPGRADE)
        return (size_t)(llhttp_get_error_pos(&conn->parser) - (const char *)data);
    if (err != HPE_OK)
        conn->error_status = conn->error_status ? conn->error_status : 400;
    else if (conn->head_bytes >= HTTP_HEAD_MAX_BYTES)
        conn->error_status = 431;
    return n;
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

        const size_t used = parse(conn, data, len);

        data += used;
        len -= used;
        if (conn->error_status)
            refuse(conn, conn->error_status);
        else if (conn->head_complete)
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
    static uv_once_t once = UV_ONCE_INIT;
    struct http_conn *conn = memory_zeroed(sizeof *conn);

    uv_once(&once, make_settings);
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
