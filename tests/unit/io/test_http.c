// SPDX-License-Identifier: BSD-3-Clause
//
// io/http.c over real loopback connections and the plain engine. The handler tells what it was
// given, so each case shows what a request was understood as.
#include "http_peer.h"

#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct http_peer peer;
static struct stream *last_stream; // of the last request; valid while the client is connected
static char big[HTTP_BODY_MAX_BYTES];

// --- What an upgraded connection does: keeps all that comes. ---

static char taken[65536];
static size_t taken_len;
static int taken_streams, ended_streams;
static bool close_in_data;

static bool on_taken_data(struct stream *stream, uint8_t *data, size_t len)
{
    assert_in_range(len, 1, sizeof taken - taken_len);
    memcpy(taken + taken_len, data, len);
    taken_len += len;
    if (close_in_data) {
        stream_close(stream);
        return false;
    }
    return true;
}

static void on_taken_end(struct stream *stream, enum stream_end why)
{
    (void)why;
    ended_streams++;
    stream_close(stream);
}

static const struct stream_callbacks taken_callbacks = {
    .on_data = on_taken_data,
    .on_end = on_taken_end,
};

static void take(struct http_conn *conn, bool close_at_once)
{
    struct stream *stream = http_take_stream(conn);

    taken_streams++;
    taken_len = 0;
    stream_set_owner(stream, &taken_callbacks, NULL);
    if (close_at_once)
        stream_close(stream);
}

// --- The handler. ---

static void tell(char *out, size_t size, const char *name, const struct http_text *text)
{
    const size_t n = strlen(out);

    if (text->data)
        snprintf(out + n, size - n, " %s[%.*s]", name, (int)text->len, text->data);
}

static void echo(struct http_conn *conn, const struct http_request *r, struct http_response *out)
{
    static char body[HTTP_TARGET_MAX_BYTES + 8 * HTTP_FIELD_MAX_BYTES];

    (void)conn;
    snprintf(body, sizeof body, "%s%s%s", r->method, r->get ? " get" : "", r->head ? " head" : "");
    tell(body, sizeof body, "path", &r->path);
    tell(body, sizeof body, "query", &r->query);
    tell(body, sizeof body, "host", &r->host);
    tell(body, sizeof body, "upgrade", &r->upgrade);
    tell(body, sizeof body, "ws", &r->websocket_protocol);
    tell(body, sizeof body, "fast", &r->fast_start);
    tell(body, sizeof body, "ideal", &r->ideal_node);
    tell(body, sizeof body, "challenge", &r->challenge);
    tell(body, sizeof body, "forwarded", &r->forwarded_for);
    out->body = body;
    out->body_len = strlen(body);
}

static void handler(struct http_conn *conn, const struct http_request *request)
{
    struct http_response response = {.status = 200, .content_type = "text/plain"};

    assert_ptr_equal(http_data(conn), &peer);
    last_stream = http_stream(conn);
    if (http_text_is(&request->path, "/take") || http_text_is(&request->path, "/take-and-close")) {
        take(conn, http_text_is(&request->path, "/take-and-close"));
        return;
    }
    if (http_text_is(&request->path, "/204")) {
        response = (struct http_response){.status = 204, .fields = "X-One: 1\r\nX-Two: 2\r\n"};
    } else if (http_text_is(&request->path, "/big")) {
        response.body = big;
        response.body_len = sizeof big;
    } else {
        response.close = http_text_is(&request->path, "/close");
        echo(conn, request, &response);
    }
    http_respond(conn, &response);
}

static const struct http_service service = {.handler = handler, .data = &peer};

static int setup(void **state)
{
    (void)state;
    memset(big, 'B', sizeof big);
    taken_streams = ended_streams = 0;
    close_in_data = false;
    http_peer_start(&peer, &service, AF_INET);
    http_peer_connect(&peer);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_peer_stop(&peer);
    return 0;
}

// --- Requests and what they are understood as. ---

#define X16 "xxxxxxxxxxxxxxxx"
#define X128 X16 X16 X16 X16 X16 X16 X16 X16
#define X1024 X128 X128 X128 X128 X128 X128 X128 X128 // HTTP_FIELD_MAX_BYTES

static const struct {
    const char *request;
    int status;
    const char *body; // NULL: any
    bool closes;
} cases[] = {
    {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET get path[/] host[a]", false},
    {"GET /a/b?c=d&e HTTP/1.1\r\nHost: a:8\r\n\r\n", 200,
     "GET get path[/a/b] query[c=d&e] host[a:8]", false},
    {"GET /? HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET get path[/] query[] host[a]", false},
    {"GET /?a?b HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET get path[/] query[a?b] host[a]", false},
    {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET get path[/] host[a]", false},
    {"POST /x HTTP/1.1\r\nhost: a\r\n\r\n", 200, "POST path[/x] host[a]", false},
    {"DELETE /x HTTP/1.1\r\nHOST:a  \r\n\r\n", 200, "DELETE path[/x] host[a]", false},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200, "OPTIONS path[*] host[a]", false},
    {"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", 200, "CONNECT path[b:443] host[b:443]",
     false},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 200, "GET get path[/] host[]", false},
    {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\nSec-WebSocket-Protocol: p, q\r\n"
     "Derp-Fast-Start: 1\r\nIdeal-Node: n\r\nX-Tailscale-Challenge: c\r\nX-Forwarded-For: "
     "f\r\n\r\n",
     200,
     "GET get path[/] host[a] upgrade[DERP] ws[p, q] fast[1] ideal[n] challenge[c] forwarded[f]",
     false},
    {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: first\r\nUpgrade: second\r\nX-Forwarded-For:\r\n\r\n",
     200, "GET get path[/] host[a] upgrade[first] forwarded[]", false},
    {"GET / HTTP/1.1\r\nX-Forwarded-For: a\r\nHost: b\r\nX-Forwarded-For: c,d\r\nUpgrade: e\r\n"
     "X-Forwarded-For:f\r\n\r\n",
     200, "GET get path[/] host[b] upgrade[e] forwarded[a, c,d, f]", false},
    {"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " X1024 "\r\n\r\n", 200,
     "GET get path[/] host[a] forwarded[" X1024 "]", false},
    {"GET / HTTP/1.1\r\nHost: a\r\nX-Host: b\r\nHos: c\r\nHostt: d\r\n"
     "X-A-Name-That-Is-Longer-Than-All-That-We-Know: e\r\n\r\n",
     200, "GET get path[/] host[a]", false},

    // Absolute form: its authority takes the place of Host.
    {"POST https://1.2.3.4:443/derp HTTP/1.1\r\nhost: 1.2.3.4\r\n\r\n", 200,
     "POST path[/derp] host[1.2.3.4:443]", false},
    {"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET get path[] host[b]", false},
    {"GET http://b?q=/ HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET get path[] query[q=/] host[b]",
     false},
    {"GET /http://b/c HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET get path[/http://b/c] host[a]",
     false},

    // The end of the connection.
    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, "GET get path[/] host[a]",
     true},
    {"GET / HTTP/1.0\r\n\r\n", 200, "GET get path[/]", true},
    {"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", 200, "GET get path[/] host[a]",
     false},
    {"GET /close HTTP/1.1\r\nHost: a\r\n\r\n", 200, "GET get path[/close] host[a]", true},

    // Bodies are never read.
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 200, "POST path[/] host[a]", false},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 200, "POST path[/] host[a]",
     true},
    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n", 200, "POST path[/] host[a]",
     true},
    {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200,
     "POST path[/] host[a]", true},

    // No requests.
    {"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " X1024 "x\r\n\r\n", 431, NULL, true},
    {"GET / HTTP/1.1\r\nX-Forwarded-For: " X1024 "\r\nX-Forwarded-For:\r\n\r\n", 431, NULL, true},
    {"GET / HTTP/1.1\r\n\r\n", 400, "400 Bad Request\n", true},
    {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: a\r\nb c: d\r\n\r\n", 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: a\r\nb\x01: d\r\n\r\n", 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", 400, NULL, true},
    {"GET /\r\n\r\n", 400, NULL, true},
    {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "505 HTTP Version Not Supported\n", true},
    {"GET / HTTP/1.7\r\nHost: a\r\n\r\n", 400, NULL, true},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, NULL, true},
    {"NONSENSE / HTTP/1.1\r\nHost: a\r\n\r\n", 400, NULL, true},
    {"\x16\x03\x01\x02\x00\x01", 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400, NULL,
     true},
    {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
     NULL, true},
};

static void expect_answer(int status, const char *body, bool closes, bool keep_alive_told)
{
    struct http_answer answer;
    const char *connection;

    assert_true(http_peer_read(&peer, &answer, false));
    assert_int_equal(answer.status, status);
    if (body)
        assert_string_equal(answer.body, body);
    assert_non_null(http_answer_field(&answer, "Date"));
    connection = http_answer_field(&answer, "Connection");
    if (closes)
        assert_string_equal(connection, "close");
    else if (keep_alive_told)
        assert_string_equal(connection, "keep-alive");
    else
        assert_null(connection);
    free(answer.body);
}

static void expect_after_case(size_t i)
{
    const bool http_1_0 = strstr(cases[i].request, " HTTP/1.0\r\n") != NULL;

    expect_answer(cases[i].status, cases[i].body, cases[i].closes, http_1_0);
    if (cases[i].closes) {
        assert_true(http_peer_ends(&peer));
        return;
    }
    http_peer_send_text(&peer, "GET /204 HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_answer(204, "", false, false);
}

static void test_requests_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("%.60s\n", cases[i].request);
        http_peer_connect(&peer);
        http_peer_send_text(&peer, cases[i].request);
        expect_after_case(i);
    }
}

static void test_requests_split_at_each_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const size_t len = strlen(cases[i].request);

        for (size_t cut = 1; cut < len; cut++) {
            http_peer_connect(&peer);
            http_peer_send(&peer, cases[i].request, cut);
            http_peer_send(&peer, cases[i].request + cut, len - cut);
            expect_after_case(i);
        }
    }
}

static void test_requests_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        http_peer_connect(&peer);
        for (const char *at = cases[i].request; *at; at++)
            http_peer_send(&peer, at, 1);
        expect_after_case(i);
    }
}

static void test_counters(void **state)
{
    (void)state;
    http_peer_send_text(&peer,
                        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_answer(200, NULL, false, false);
    expect_answer(200, NULL, false, false);
    http_peer_send_text(&peer, "nonsense\r\n\r\n");
    expect_answer(400, NULL, true, false);
    assert_int_equal(counter_read(&peer.io.counters.http_requests), 2);
    assert_int_equal(counter_read(&peer.io.counters.http_bad_requests), 1);
}

// --- Answers. ---

static void test_answer_fields(void **state)
{
    struct http_answer answer;

    (void)state;
    http_peer_send_text(&peer,
                        "GET /204 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(http_peer_read(&peer, &answer, false));
    assert_memory_equal(answer.head, "HTTP/1.1 204 No Content\r\n", 25);
    assert_null(http_answer_field(&answer, "Content-Length"));
    assert_null(http_answer_field(&answer, "Content-Type"));
    assert_string_equal(http_answer_field(&answer, "X-One"), "1");
    assert_string_equal(http_answer_field(&answer, "X-Two"), "2");
    free(answer.body);
    assert_true(http_peer_read(&peer, &answer, false));
    assert_memory_equal(answer.head, "HTTP/1.1 200 OK\r\n", 17);
    assert_string_equal(http_answer_field(&answer, "Content-Type"), "text/plain");
    assert_string_equal(http_answer_field(&answer, "Content-Length"), "23");
    free(answer.body);
}

static void test_head_has_no_body(void **state)
{
    struct http_answer answer;

    (void)state;
    http_peer_send_text(&peer,
                        "HEAD /big HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(http_peer_read(&peer, &answer, true));
    assert_int_equal(answer.status, 200);
    assert_int_equal(atoi(http_answer_field(&answer, "Content-Length")), HTTP_BODY_MAX_BYTES);
    free(answer.body);
    expect_answer(200, "GET get path[/] host[a]", false, false);

    http_peer_send_text(&peer, "HEAD / HTTP/1.1\r\n\r\n"); // refused: no Host
    assert_true(http_peer_read(&peer, &answer, true));
    assert_int_equal(answer.status, 400);
    free(answer.body);
    assert_true(http_peer_ends(&peer));
}

static void test_largest_body(void **state)
{
    struct http_answer answer;

    (void)state;
    http_peer_send_text(&peer, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(http_peer_read(&peer, &answer, false));
    assert_int_equal(answer.body_len, sizeof big);
    assert_memory_equal(answer.body, big, sizeof big);
    free(answer.body);
}

// --- Bounds. ---

// A request whose head has exactly `len` bytes.
static char *request_of(size_t len)
{
    static const char start[] = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    char *request = malloc(len + 1);

    memset(request, 'x', len);
    memcpy(request, start, sizeof start - 1);
    memcpy(request + len - 4, "\r\n\r\n", 5);
    return request;
}

static void test_head_limit(void **state)
{
    (void)state;
    for (size_t len = HTTP_HEAD_MAX_BYTES - 2; len <= HTTP_HEAD_MAX_BYTES + 2; len++) {
        char *request = request_of(len);

        for (size_t cut = 0; cut <= len; cut += len / 2) {
            http_peer_connect(&peer);
            http_peer_send(&peer, request, cut);
            http_peer_send(&peer, request + cut, len - cut);
            if (len <= HTTP_HEAD_MAX_BYTES)
                expect_answer(200, NULL, false, false);
            else
                expect_answer(431, "431 Request Header Fields Too Large\n", true, false);
        }
        free(request);
    }
}

static void test_endless_heads(void **state)
{
    static const char *const starts[] = {"", "GET / HTTP/1.1\r\nHost: a\r\n",
                                         "GET / HTTP/1.1\r\nHost: a\r\nX: "};
    static const char *const pieces[] = {"\r\n", "a: b\r\n", "xxxxxxxx"};

    (void)state;
    for (size_t i = 0; i < COUNT(starts); i++) {
        http_peer_connect(&peer);
        http_peer_send_text(&peer, starts[i]);
        for (size_t sent = 0; sent < HTTP_HEAD_MAX_BYTES; sent += strlen(pieces[i]))
            http_peer_send_text(&peer, pieces[i]);
        expect_answer(431, NULL, true, false);
        assert_int_equal(counter_read(&peer.io.counters.http_long_heads), i + 1);
        assert_true(http_peer_ends(&peer));
    }
}

static void test_target_limit(void **state)
{
    (void)state;
    for (int len = HTTP_TARGET_MAX_BYTES - 1; len <= HTTP_TARGET_MAX_BYTES + 1; len++) {
        char request[HTTP_TARGET_MAX_BYTES + 64];
        const int n =
            snprintf(request, sizeof request, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", len - 1, 0);

        for (int cut = 0; cut < n; cut += 100) {
            http_peer_connect(&peer);
            http_peer_send(&peer, request, (size_t)cut);
            http_peer_send(&peer, request + cut, (size_t)(n - cut));
            if (len <= HTTP_TARGET_MAX_BYTES)
                expect_answer(200, NULL, false, false);
            else
                expect_answer(414, "414 URI Too Long\n", true, false);
        }
    }
}

static void test_long_fields_are_cut(void **state)
{
    char request[4 * HTTP_FIELD_MAX_BYTES], body[4 * HTTP_FIELD_MAX_BYTES];

    (void)state;
    for (int len = HTTP_FIELD_MAX_BYTES - 1; len < 2 * HTTP_FIELD_MAX_BYTES; len += 300) {
        snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: %0*d\r\n\r\n", len,
                 0);
        snprintf(body, sizeof body, "GET get path[/] host[a] upgrade[%0*d]",
                 len < HTTP_FIELD_MAX_BYTES ? len : HTTP_FIELD_MAX_BYTES, 0);
        http_peer_send_text(&peer, request);
        expect_answer(200, body, false, false);
    }
}

// --- Several requests on one connection. ---

static void test_pipelining(void **state)
{
    static const char requests[] = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
                                   "HEAD /2 HTTP/1.1\r\nHost: a\r\n\r\n"
                                   "GET /204 HTTP/1.1\r\nHost: a\r\n\r\n"
                                   "GET /3 HTTP/1.1\r\nHost: b\r\nUpgrade: x\r\n\r\n"
                                   "GET /4 HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n"
                                   "GET /5 HTTP/1.1\r\nHost: a\r\n\r\n";
    const size_t len = sizeof requests - 1;

    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        struct http_answer answer;

        http_peer_connect(&peer);
        http_peer_send(&peer, requests, cut);
        http_peer_send(&peer, requests + cut, len - cut);
        expect_answer(200, "GET get path[/1] host[a]", false, false);
        assert_true(http_peer_read(&peer, &answer, true));
        free(answer.body);
        expect_answer(204, "", false, false);
        expect_answer(200, "GET get path[/3] host[b] upgrade[x]", false, false);
        expect_answer(200, "GET get path[/4] host[c]", true, false);
        assert_true(http_peer_ends(&peer));
    }
}

static void test_many_pipelined(void **state)
{
    static const char request[] = "GET /204 HTTP/1.1\r\nHost: a\r\n\r\n";
    const size_t len = sizeof request - 1, count = HTTP_PIPELINED_MAX;
    char *requests = malloc(len * count);

    (void)state;
    for (size_t i = 0; i < count; i++)
        memcpy(requests + i * len, request, len);
    http_peer_send(&peer, requests, len * count);
    for (size_t i = 0; i < count; i++)
        expect_answer(204, "", false, false);
    free(requests);
}

static void test_too_many_pipelined(void **state)
{
    static const char request[] = "GET /204 HTTP/1.1\r\nHost: a\r\n\r\n";
    const size_t len = sizeof request - 1, count = 4 * HTTP_PIPELINED_MAX;
    char *requests = malloc(len * count);

    (void)state;
    for (size_t i = 0; i < count; i++)
        memcpy(requests + i * len, request, len);
    http_peer_send(&peer, requests, len * count);
    for (int i = 0; i < 1000 && counter_read(&peer.io.counters.streams) > 0; i++)
        http_peer_turn(&peer);
    assert_int_equal(counter_read(&peer.io.counters.streams), 0);
    assert_int_equal(counter_read(&peer.io.counters.http_floods), 1);
    free(requests);
}

// Asks until the socket takes no more of the answers. Returns the number of answers.
static int ask_until_blocked(void)
{
    int asked = 0;

    do {
        http_peer_send_text(&peer, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
        asked++;
        assert_in_range(asked, 1, 1000);
    } while (!stream_blocked(last_stream));
    return asked;
}

static void test_blocked_answer_is_sent_when_read(void **state)
{
    const int asked = ask_until_blocked();

    (void)state;
    for (int i = 0; i < asked; i++) {
        struct http_answer answer;

        assert_true(http_peer_read(&peer, &answer, false));
        assert_int_equal(answer.body_len, sizeof big);
        free(answer.body);
    }
    http_peer_send_text(&peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_answer(200, "GET get path[/] host[a]", false, false);
}

static void test_who_asks_on_without_reading_is_cut(void **state)
{
    (void)state;
    ask_until_blocked();
    assert_int_equal(counter_read(&peer.io.counters.streams), 1);
    http_peer_send_text(&peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(counter_read(&peer.io.counters.streams), 0);
}

#define SLOW_MAX 1000

// Each asks for one answer that is too large for its socket. Who has not read for longest goes.
static void test_answers_that_wait_are_bounded(void **state)
{
    const struct io_counters *c = &peer.io.counters;
    static int fds[SLOW_MAX];
    size_t before;
    int slow = 0;
    char bytes[4096];
    ssize_t n;

    (void)state;
    do {
        assert_in_range(slow, 0, SLOW_MAX - 1);
        before = peer.io.http_unsent_bytes;
        ask_until_blocked();
        assert_true(peer.io.http_unsent_bytes <= HTTP_UNSENT_MAX_BYTES);
        fds[slow++] = peer.fd;
        peer.fd = -1;
        http_peer_connect(&peer);
    } while (peer.io.http_unsent_bytes > before);
    assert_true(before > HTTP_UNSENT_MAX_BYTES * 9 / 10);
    assert_in_range(counter_read(&c->http_slow_closed), 1, 2);
    assert_int_equal(counter_read(&c->streams), slow + 1 - counter_read(&c->http_slow_closed));
    while ((n = recv(fds[0], bytes, sizeof bytes, 0)) > 0)
        ;
    assert_true(n == 0 || errno == ECONNRESET); // there is an end
    while ((n = recv(fds[slow - 1], bytes, sizeof bytes, 0)) > 0)
        ;
    assert_true(n < 0 && errno == EAGAIN); // there is more
    for (int i = 0; i < slow; i++)
        close(fds[i]);
    for (int i = 0; i < slow; i++) // each turn has time for some of them
        http_peer_turn(&peer);
    assert_int_equal(counter_read(&c->streams), 1);
    assert_int_equal(peer.io.http_unsent_bytes, 0);
}

static void test_who_does_not_read_is_cut_in_time(void **state)
{
    (void)state;
    ask_until_blocked();
    http_peer_pass_time(&peer, HTTP_REQUEST_LIMIT_MS - 2000);
    assert_int_equal(counter_read(&peer.io.counters.streams), 1);
    http_peer_pass_time(&peer, 3000);
    assert_int_equal(counter_read(&peer.io.counters.streams), 0);
}

static void test_last_answer_blocked_then_read(void **state)
{
    size_t received;

    (void)state;
    do
        http_peer_send_text(&peer, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    while (stream_unsent_bytes(last_stream) == 0);
    // Room for less than one answer more: the next one, the last, blocks for certain.
    do
        assert_true(http_peer_read_bytes(&peer, peer.received_len + 1));
    while (stream_blocked(last_stream));
    http_peer_send_text(&peer, "GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    http_peer_send_text(&peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); // discarded
    do
        received = peer.received_len;
    while (http_peer_read_bytes(&peer, received + 1));
    assert_true(peer.ended);
    assert_memory_equal(peer.received + received - 3, "BBB", 3);
    assert_non_null(strstr(peer.received, "Connection: close"));
    assert_int_equal(counter_read(&peer.io.counters.streams), 1); // until the peer closes
}

// --- Time. ---

static void test_slow_heads_are_cut(void **state)
{
    static const char *const starts[] = {"", "G", "GET / HTTP/1.1\r\nHost: a\r\n"};

    (void)state;
    for (size_t i = 0; i < COUNT(starts); i++) {
        http_peer_stop(&peer);
        http_peer_start(&peer, &service, AF_INET);
        http_peer_connect(&peer);
        http_peer_send_text(&peer, starts[i]);
        http_peer_pass_time(&peer, HTTP_REQUEST_LIMIT_MS - 2000);
        assert_int_equal(counter_read(&peer.io.counters.streams), 1);
        http_peer_send_text(&peer, *starts[i] ? "E" : ""); // a drip changes nothing
        http_peer_pass_time(&peer, 3000);
        assert_int_equal(counter_read(&peer.io.counters.streams), 0);
        assert_true(http_peer_ends(&peer));
    }
}

static void test_time_begins_anew_with_each_answer(void **state)
{
    (void)state;
    http_peer_send_text(&peer, "GET /204 HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_answer(204, "", false, false);
    http_peer_pass_time(&peer, HTTP_REQUEST_LIMIT_MS - 2000);
    assert_int_equal(counter_read(&peer.io.counters.streams), 1);
    http_peer_pass_time(&peer, 3000);
    assert_int_equal(counter_read(&peer.io.counters.streams), 0);
}

static void test_linger(void **state)
{
    (void)state;
    http_peer_send_text(&peer, "GET /close HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_answer(200, NULL, true, false);
    assert_true(http_peer_ends(&peer));
    assert_int_equal(counter_read(&peer.io.counters.streams), 1);
    http_peer_send_text(&peer, "GET /more HTTP/1.1\r\nHost: a\r\n\r\n"); // discarded
    assert_int_equal(counter_read(&peer.io.counters.http_requests), 1);
    http_peer_pass_time(&peer, HTTP_LINGER_MS + 500);
    assert_int_equal(counter_read(&peer.io.counters.streams), 0);
}

static void test_linger_ends_with_the_peer(void **state)
{
    (void)state;
    http_peer_send_text(&peer, "nonsense\r\n\r\n");
    expect_answer(400, NULL, true, false);
    http_peer_disconnect(&peer);
    assert_int_equal(counter_read(&peer.io.counters.streams), 0);
}

// --- Upgrades. ---

static void test_upgrade_split_at_each_byte(void **state)
{
    static const char bytes[] = "GET /204 HTTP/1.1\r\nHost: a\r\n\r\n"
                                "GET /take HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\n\r\n"
                                "\x02\x00\x00 frames GET / HTTP/1.1\r\n\r\n";
    const char *behind = strstr(bytes, "\x02");
    const size_t len = sizeof bytes - 1, behind_len = len - (size_t)(behind - bytes);

    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        http_peer_connect(&peer);
        http_peer_send(&peer, bytes, cut);
        http_peer_send(&peer, bytes + cut, len - cut);
        expect_answer(204, "", false, false);
        assert_int_equal(taken_len, behind_len);
        assert_memory_equal(taken, behind, behind_len);
        assert_int_equal(peer.io.wheel.armed, 0);
        http_peer_disconnect(&peer);
    }
    assert_int_equal(taken_streams, len);
    assert_int_equal(ended_streams, len);
}

static void test_upgrade_that_closes(void **state)
{
    (void)state;
    http_peer_send_text(&peer, "GET /take-and-close HTTP/1.1\r\nHost: a\r\n\r\nmore");
    assert_int_equal(counter_read(&peer.io.counters.streams), 0);
    assert_int_equal(taken_len, 0);

    close_in_data = true;
    http_peer_connect(&peer);
    http_peer_send_text(&peer, "GET /take HTTP/1.1\r\nHost: a\r\n\r\nmore");
    assert_int_equal(counter_read(&peer.io.counters.streams), 0);
    assert_int_equal(taken_len, 4);
}

static void test_taken_streams_outlive_close_all(void **state)
{
    (void)state;
    http_peer_send_text(&peer, "GET /take HTTP/1.1\r\nHost: a\r\n\r\n");
    http_close_all(&peer.io);
    http_peer_send_text(&peer, "still here");
    assert_int_equal(taken_len, 10);
}

// --- Ends. ---

static void test_close_all_in_each_state(void **state)
{
    static const char *const starts[] = {"", "GET /", "GET /204 HTTP/1.1\r\nHost: a\r\n\r\n",
                                         "GET /close HTTP/1.1\r\nHost: a\r\n\r\n",
                                         "nonsense\r\n\r\n"};

    (void)state;
    for (size_t i = 0; i < COUNT(starts); i++) {
        http_peer_connect(&peer);
        http_peer_send_text(&peer, starts[i]);
        http_close_all(&peer.io);
        http_peer_turn(&peer);
        assert_int_equal(counter_read(&peer.io.counters.streams), 0);
    }
    http_peer_connect(&peer);
    ask_until_blocked();
    http_close_all(&peer.io);
    http_peer_turn(&peer);
    assert_int_equal(counter_read(&peer.io.counters.streams), 0);
}

static void test_client_leaves_at_each_byte(void **state)
{
    static const char request[] =
        "POST /close?x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";

    (void)state;
    for (size_t cut = 0; cut < sizeof request; cut++) {
        http_peer_connect(&peer);
        http_peer_send(&peer, request, cut);
        http_peer_disconnect(&peer);
        assert_int_equal(counter_read(&peer.io.counters.streams), 0);
    }
}

static void test_text_comparisons(void **state)
{
    const struct http_text text = {"Derp", 4}, empty = {"", 0}, absent = {NULL, 0};

    (void)state;
    assert_true(http_text_is(&text, "Derp"));
    assert_false(http_text_is(&text, "derp"));
    assert_false(http_text_is(&text, "Derp2"));
    assert_true(http_text_is_nocase(&text, "dERP"));
    assert_false(http_text_is_nocase(&text, "der"));
    assert_true(http_text_is(&empty, ""));
    assert_false(http_text_is(&absent, ""));
    assert_false(http_text_is_nocase(&absent, ""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requests_at_once),
        TEST(test_requests_split_at_each_byte),
        TEST(test_requests_byte_by_byte),
        TEST(test_counters),
        TEST(test_answer_fields),
        TEST(test_head_has_no_body),
        TEST(test_largest_body),
        TEST(test_head_limit),
        TEST(test_endless_heads),
        TEST(test_target_limit),
        TEST(test_long_fields_are_cut),
        TEST(test_pipelining),
        TEST(test_many_pipelined),
        TEST(test_too_many_pipelined),
        TEST(test_blocked_answer_is_sent_when_read),
        TEST(test_who_asks_on_without_reading_is_cut),
        TEST(test_answers_that_wait_are_bounded),
        TEST(test_who_does_not_read_is_cut_in_time),
        TEST(test_last_answer_blocked_then_read),
        TEST(test_slow_heads_are_cut),
        TEST(test_time_begins_anew_with_each_answer),
        TEST(test_linger),
        TEST(test_linger_ends_with_the_peer),
        TEST(test_upgrade_split_at_each_byte),
        TEST(test_upgrade_that_closes),
        TEST(test_taken_streams_outlive_close_all),
        TEST(test_close_all_in_each_state),
        TEST(test_client_leaves_at_each_byte),
        cmocka_unit_test(test_text_comparisons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
