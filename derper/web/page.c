// SPDX-License-Identifier: BSD-3-Clause
#include "web/page.h"

#include "base/memory.h"
#include "io/http.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_FIRST_BYTES 4096
#define PAGE_PIECE_BYTES 1024 // one page_format; a longer result counts as overflow

void page_init(struct page *page)
{
    *page = (struct page){0};
}

void page_deinit(struct page *page)
{
    free(page->data);
    page_init(page);
}

static void reserve(struct page *page, size_t len)
{
    size_t capacity = page->capacity ? page->capacity : PAGE_FIRST_BYTES;

    while (capacity < page->len + len)
        capacity *= 2;
    if (capacity > page->capacity) {
        page->data = memory_resize(page->data, capacity);
        page->capacity = capacity;
    }
}

void page_put(struct page *page, const char *data, size_t len)
{
    if (page->overflow || len > HTTP_BODY_MAX_BYTES - page->len) {
        page->overflow = true;
        return;
    }
    if (len == 0)
        return;
    reserve(page, len);
    memcpy(page->data + page->len, data, len);
    page->len += len;
}

void page_text(struct page *page, const char *text)
{
    page_put(page, text, strlen(text));
}

void page_format(struct page *page, const char *format, ...)
{
    char piece[PAGE_PIECE_BYTES];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof piece)
        page->overflow = true;
    else
        page_put(page, piece, (size_t)n);
}

static const char *html_entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void page_html(struct page *page, const char *text)
{
    for (; *text; text++) {
        const char *entity = html_entity(*text);

        if (entity)
            page_text(page, entity);
        else
            page_put(page, text, 1);
    }
}
