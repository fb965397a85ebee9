// SPDX-License-Identifier: BSD-3-Clause
//
// The head of a request (RFC 9112, sections 2 to 5), parsed as it comes by llhttp. Kept are the
// target and the fields that anybody here looks at; the rest is passed over. For http.c.
#ifndef DERPER_IO_HTTP_HEAD_H
#define DERPER_IO_HTTP_HEAD_H

#include "io/http.h"

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_FIELD_NAME_BYTES 32 // the longest name that we look at is shorter

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

struct span {
    size_t start, len;
    bool present;
};

// Embedded in its owner, which does not move; zeroed memory at first.
struct http_head {
    llhttp_t parser;
    size_t bytes;
    bool complete;
    bool keep_alive;
    bool has_body;
    int error_status; // that refuses it; 0: none
    char name[HTTP_FIELD_NAME_BYTES];
    size_t name_len;
    int field;  // where the value in hand goes; -1: nowhere
    char *text; // the spans' bytes
    size_t text_len, text_capacity;
    struct span spans[FIELDS];
};

// Awaits the first head, or the next one. The memory of the last one stays for it.
void http_head_begin(struct http_head *head);

// Parses up to the end of the head, and returns the bytes that it has used. Then the head is
// complete, or has an error_status, or wants more.
size_t http_head_feed(struct http_head *head, const uint8_t *data, size_t len);

// Of a complete head: 0 when it may be handled, else the status that refuses it.
int http_head_judge(const struct http_head *head);

// What a complete head asks for. Its texts are good until the next begins.
void http_head_request(const struct http_head *head, struct http_request *request);

void http_head_free(struct http_head *head);

#endif
