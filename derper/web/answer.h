// SPDX-License-Identifier: BSD-3-Clause
//
// The forms that our HTTP answers have, and the header lines that browsers heed.
#ifndef DERPER_WEB_ANSWER_H
#define DERPER_WEB_ANSWER_H

#include "io/http.h"
#include "web/page.h"

#define TYPE_HTML "text/html; charset=utf-8"
#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_CSS "text/css; charset=utf-8"
#define TYPE_SVG "image/svg+xml"
#define TYPE_JSON "application/json; charset=utf-8"

#define BROWSER_FIELDS                                                                          \
    "Strict-Transport-Security: max-age=63072000; includeSubDomains\r\n"                        \
    "Content-Security-Policy: default-src 'self'; frame-ancestors 'none'; form-action 'self'; " \
    "base-uri 'self'; block-all-mixed-content; object-src 'none'\r\n"                           \
    "X-Frame-Options: DENY\r\n"                                                                 \
    "X-Content-Type-Options: nosniff\r\n"

// One line of plain text for programs and people; no browser fields. `fields` may be NULL.
void answer_line(struct http_conn *conn, int status, const char *fields, const char *line);

// Something for browsers, with their fields.
void answer_body(struct http_conn *conn, const char *type, const char *body, size_t len);

// The same of a page, which is then freed; an overflow becomes an error.
void answer_page(struct http_conn *conn, const char *type, struct page *page);

#define ANSWER_LOCATION_MAX_BYTES 2560

// `location` has no line ends and at most ANSWER_LOCATION_MAX_BYTES.
void answer_redirect(struct http_conn *conn, int status, const char *location);

#endif
