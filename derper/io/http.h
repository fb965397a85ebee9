// SPDX-License-Identifier: BSD-3-Clause
//
// HTTP/1.1 server side on a stream (RFC 9112), on llhttp. Small by design: heads are bounded,
// bodies are never read (a request that announces one is answered and the connection closed),
// answers are whole and short.
#ifndef DERPER_IO_HTTP_H
#define DERPER_IO_HTTP_H

#include "io/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Request line and header fields; more: 431. Nor is there more memory for what is kept of them.
#define HTTP_HEAD_MAX_BYTES (16 * 1024)
#define HTTP_TARGET_MAX_BYTES (2 * 1024) // more: 414
#define HTTP_FIELD_MAX_BYTES 1024        // of the fields below; a longer one is cut
#define HTTP_REQUEST_LIMIT_MS 30000      // from accept to the end of the head, and between requests
#define HTTP_PIPELINED_MAX 128           // requests that one read may bring; more: closed
#define HTTP_LINGER_MS 2000              // for a peer to read our last answer

struct http_conn;

// A field's value, white space trimmed. `data` is NULL when the field is absent; not
// NUL-terminated.
struct http_text {
    const char *data;
    size_t len;
};

struct http_request {
    const char *method; // "GET", …, NUL-terminated
    bool get, head;
    struct http_text path; // without query; for absolute-form targets the path behind the authority
    struct http_text query; // behind the '?', not decoded
    struct http_text host;  // the authority of an absolute-form target, else the Host field
    struct http_text upgrade;
    struct http_text websocket_protocol; // Sec-WebSocket-Protocol
    struct http_text fast_start;         // Derp-Fast-Start
    struct http_text ideal_node;         // Ideal-Node
    struct http_text challenge;          // X-Tailscale-Challenge
    struct http_text forwarded_for; // X-Forwarded-For, several as one list; 431 when it is too long
};

// Called for each request; must answer with exactly one of http_respond and http_take_stream before
// it returns. The request's texts are valid until then.
typedef void (*http_handler)(struct http_conn *conn, const struct http_request *request);

// How the connections of one listener are served; outlives them.
struct http_service {
    http_handler handler;
    void *data; // the handler's
};

struct http_response {
    int status;
    const char *content_type; // NULL: none
    const char *fields;       // whole extra header lines, each ending in CRLF; NULL: none
    const char *body;         // NULL: none
    size_t body_len;          // at most HTTP_BODY_MAX_BYTES
    bool close;               // Connection: close, and close
};
#define HTTP_BODY_MAX_BYTES (96 * 1024)

// Of answers that wait for the sockets of one loop, in all: 40 of the largest. They do not count
// with what waits for clients, as a slow reader of a page must not cost a client its connection.
// With more, the connection is closed whose answer has waited for longest: who reads is soon
// through.
#define HTTP_UNSENT_MAX_BYTES (4 * 1024 * 1024)

// Serves `fd`, an accepted connection, until its end. Failures are counted.
void http_accept(struct io_context *io, int fd, bool tls, const struct http_service *service);

// HEAD requests get the same head and no body.
void http_respond(struct http_conn *conn, const struct http_response *response);

// Ends HTTP on this connection and gives its stream away (an upgrade). The caller must set the
// stream's new owner before it returns from the handler: what the client sent behind the request is
// then delivered to that owner.
struct stream *http_take_stream(struct http_conn *conn);

// For handlers: what they were registered with, and the connection's stream (for addresses and TLS
// version).
void *http_data(const struct http_conn *conn);
struct stream *http_stream(const struct http_conn *conn);

// Closes every connection of `io` that is between requests or in its first one (shutdown of the
// loop).
void http_close_all(struct io_context *io);

bool http_text_is(const struct http_text *text, const char *word);        // exact
bool http_text_is_nocase(const struct http_text *text, const char *word); // ASCII case ignored

#endif
