// SPDX-License-Identifier: BSD-3-Clause
//
// A connection's bytes, from the first request to an upgrade or a refusal. The first two bytes say
// where the rest is split into two sends. The handler's view of each request must keep its bounds,
// and what stands behind an upgrade must reach the new owner as it was.
#include "http_peer.h"

#include <stdlib.h>
#include <string.h>

#define INPUT_MAX_BYTES 65536
#define CUT_BYTES 2

static struct http_peer peer;
static const uint8_t *input;
static size_t input_len;
static bool taken;
static uint8_t taken_bytes[INPUT_MAX_BYTES]; // what came behind an upgrade
static size_t taken_len;

static void demand(bool held)
{
    if (!held)
        abort();
}

static bool on_taken_data(struct stream *stream, uint8_t *data, size_t len)
{
    (void)stream;
    demand(taken && len <= input_len - taken_len);
    memcpy(taken_bytes + taken_len, data, len);
    taken_len += len;
    return true;
}

static void on_taken_end(struct stream *stream, enum stream_end why)
{
    (void)why;
    stream_close(stream);
}

static const struct stream_callbacks taken_callbacks = {
    .on_data = on_taken_data,
    .on_end = on_taken_end,
};

// Absent, or a copy of bytes of the request, without what ends a line.
static void check_text(const struct http_text *text, size_t max_len)
{
    demand(text->len <= max_len);
    demand(text->data || text->len == 0);
    for (size_t i = 0; i < text->len; i++)
        demand(text->data[i] != '\r' && text->data[i] != '\n' && text->data[i] != '\0');
}

static void check_request(const struct http_request *r)
{
    const struct http_text *const fields[] = {
        &r->upgrade,    &r->websocket_protocol, &r->fast_start,
        &r->ideal_node, &r->challenge,          &r->forwarded_for,
    };

    demand(r->method && *r->method && r->path.data);
    demand(r->get == (strcmp(r->method, "GET") == 0));
    demand(r->head == (strcmp(r->method, "HEAD") == 0));
    demand(r->path.len + r->query.len <= HTTP_TARGET_MAX_BYTES);
    check_text(&r->path, HTTP_TARGET_MAX_BYTES);
    check_text(&r->query, HTTP_TARGET_MAX_BYTES);
    check_text(&r->host, HTTP_TARGET_MAX_BYTES);
    demand(!memchr(r->path.data, '?', r->path.len));
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        check_text(fields[i], HTTP_FIELD_MAX_BYTES);
}

static void handler(struct http_conn *conn, const struct http_request *request)
{
    static char body[HTTP_BODY_MAX_BYTES];

    check_request(request);
    if (request->upgrade.len > 0) {
        taken = true;
        stream_set_owner(http_take_stream(conn), &taken_callbacks, NULL);
        return;
    }
    http_respond(conn, &(struct http_response){
                           .status = request->path.len % 3 == 0 ? 204 : 200,
                           .body = request->path.len % 3 == 1 ? body : NULL,
                           .body_len = request->path.len % 3 == 1 ? sizeof body : 0,
                           .close = request->query.len == 1,
                       });
}

static const struct http_service service = {.handler = handler};

static void stop(void)
{
    http_peer_stop(&peer);
}

static void start_once(void)
{
    if (peer.service)
        return;
    http_peer_start(&peer, &service, AF_UNIX);
    atexit(stop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t cut;

    if (size < CUT_BYTES || size > INPUT_MAX_BYTES)
        return 0;
    start_once();
    input = data + CUT_BYTES;
    input_len = size - CUT_BYTES;
    taken_len = 0;
    taken = false;
    cut = input_len > 0 ? (size_t)(data[0] << 8 | data[1]) % (input_len + 1) : 0;
    http_peer_connect(&peer);
    http_peer_send(&peer, input, cut);
    http_peer_send(&peer, input + cut, input_len - cut);
    demand(memcmp(taken_bytes, input + input_len - taken_len, taken_len) == 0);
    http_peer_disconnect(&peer);
    demand(counter_read(&peer.io.counters.streams) == 0);
    return 0;
}
