// SPDX-License-Identifier: BSD-3-Clause
#include "web/answer.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

void answer_line(struct http_conn *conn, int status, const char *fields, const char *line)
{
    char body[256];
    const int n = snprintf(body, sizeof body, "%s\n", line);

    http_respond(conn, &(struct http_response){.status = status,
                                               .content_type = TYPE_TEXT,
                                               .fields = fields,
                                               .body = body,
                                               .body_len = (size_t)n});
}

void answer_body(struct http_conn *conn, const char *type, const char *body, size_t len)
{
    http_respond(conn, &(struct http_response){.status = 200,
                                               .content_type = type,
                                               .fields = BROWSER_FIELDS,
                                               .body = body,
                                               .body_len = len});
}

void answer_page(struct http_conn *conn, const char *type, struct page *page)
{
    static struct log_limit limit = LOG_LIMIT_INIT;

    if (page->overflow) {
        log_limited(&limit, "a page of %s is larger than %d bytes and was not served", type,
                    HTTP_BODY_MAX_BYTES);
        answer_line(conn, 500, NULL, "this page has become too large to be served");
    } else {
        answer_body(conn, type, page->data, page->len);
    }
    page_deinit(page);
}

void answer_redirect(struct http_conn *conn, int status, const char *location)
{
    char fields[sizeof BROWSER_FIELDS + ANSWER_LOCATION_MAX_BYTES + 16];

    snprintf(fields, sizeof fields, "%sLocation: %.*s\r\n", BROWSER_FIELDS,
             ANSWER_LOCATION_MAX_BYTES, location);
    http_respond(conn, &(struct http_response){.status = status, .fields = fields});
}
