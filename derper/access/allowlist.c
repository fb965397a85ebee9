// SPDX-License-Identifier: BSD-3-Clause
#include "access/allowlist.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MIN 16
#define QUOTED_BYTES 48
#define QUOTED_PATH_BYTES 480

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

// Without its comment and the white space around.
static const char *trim(const char *line, size_t *len)
{
    const char *comment = memchr(line, '#', *len);

    if (comment)
        *len = (size_t)(comment - line);
    while (*len > 0 && is_blank(line[*len - 1]))
        --*len;
    while (*len > 0 && is_blank(*line)) {
        line++;
        --*len;
    }
    return line;
}

static void append(struct allowlist *list, size_t *capacity, const struct key *key)
{
    if (list->count == *capacity) {
        *capacity = *capacity > 0 ? *capacity * 2 : KEYS_MIN;
        list->keys = memory_resize(list->keys, *capacity * sizeof *list->keys);
    }
    list->keys[list->count++] = *key;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct key));
}

bool allowlist_parse(struct allowlist *out, const char *text, size_t len, char *error, size_t size)
{
    size_t capacity = 0, line = 1;

    *out = (struct allowlist){0};
    for (const char *end = text + len; text < end; line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t line_len = (size_t)((newline ? newline : end) - text);
        const char *word = trim(text, &line_len);
        char quoted[QUOTED_BYTES];
        struct key key;

        if (line_len > 0 && (!key_from_name(&key, word, line_len) || key_is_zero(&key))) {
            snprintf(
                error, size,
                "line %zu is no node key: \"%s\"; write nodekey: and 64 hexadecimal digits, as "
                "\"tailscale status --json\" shows it, or a # in front",
                line, text_escape(quoted, sizeof quoted, word, line_len));
            allowlist_free(out);
            return false;
        }
        if (line_len > 0)
            append(out, &capacity, &key);
        text = newline ? newline + 1 : end;
    }
    if (out->count > 0)
        qsort(out->keys, out->count, sizeof *out->keys, compare);
    return true;
}

// More often a disk that is full than somebody who wants nobody to connect.
static bool is_truncated(const struct file_text *text, char *why, size_t size)
{
    if (text->len == 0)
        snprintf(why, size,
                 "is empty, like a file that is half-written; write a # into it if nobody is to "
                 "connect");
    return text->len == 0;
}

bool allowlist_load(struct allowlist *out, const char *path, char *error, size_t size)
{
    char why[ALLOWLIST_ERROR_BYTES / 2], quoted[QUOTED_PATH_BYTES];
    struct file_text text;
    bool ok;

    *out = (struct allowlist){0};
    ok = file_read(&text, path, ALLOWLIST_FILE_MAX_BYTES, why, sizeof why) == FILE_READ &&
         !is_truncated(&text, why, sizeof why) &&
         allowlist_parse(out, text.bytes, text.len, why, sizeof why);
    if (!ok)
        snprintf(error, size, "--allow-keys %s: %s",
                 text_escape(quoted, sizeof quoted, path, strlen(path)), why);
    file_forget(&text);
    return ok;
}

bool allowlist_has(const struct allowlist *list, const struct key *key)
{
    return list->count > 0 &&
           bsearch(key, list->keys, list->count, sizeof *list->keys, compare) != NULL;
}

void allowlist_free(struct allowlist *list)
{
    free(list->keys);
    *list = (struct allowlist){0};
}
