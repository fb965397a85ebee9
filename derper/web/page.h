// SPDX-License-Identifier: BSD-3-Clause
//
// A text that grows while it is written, up to the largest body that HTTP answers take. What does
// not fit any more is left out and marked.
#ifndef DERPER_WEB_PAGE_H
#define DERPER_WEB_PAGE_H

#include <stdbool.h>
#include <stddef.h>

struct page {
    char *data; // not NUL-terminated; NULL while empty
    size_t len, capacity;
    bool overflow; // something was left out
};

void page_init(struct page *page);
void page_deinit(struct page *page);

void page_put(struct page *page, const char *data, size_t len);
void page_text(struct page *page, const char *text);
void page_format(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Escaped for an element's content or a quoted attribute.
void page_html(struct page *page, const char *text);

#endif
