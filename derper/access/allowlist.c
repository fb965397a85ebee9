// SPDX-License-Identifier: BSD-3-Clause
#include "access/allowlist.h"

#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS_MIN 16
#define QUOTED_BYTES 48
#define PREFIX "nodekey:"
#define PREFIX_CHARS (sizeof PREFIX - 1)

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

static bool read_key(struct key *out, const char *text, size_t len)
{
    return len == KEY_NAME_CHARS && memcmp(text, PREFIX, PREFIX_CHARS) == 0 &&
           key_from_hex(out, text + PREFIX_CHARS, len - PREFIX_CHARS) && !key_is_zero(out);
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

        if (line_len > 0 && !read_key(&key, word, line_len)) {
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

// The file's bytes, or NULL with what is wrong.
static char *read_all(int fd, size_t *len, char *error, size_t size)
{
    struct stat file;
    char *text;
    ssize_t n = 1;

    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) {
        snprintf(error, size, "is no file");
        return NULL;
    }
    if (file.st_size > ALLOWLIST_FILE_MAX_BYTES) {
        snprintf(error, size, "is larger than the %d MiB that are read",
                 ALLOWLIST_FILE_MAX_BYTES / 1024 / 1024);
        return NULL;
    }
    text = memory_get((size_t)file.st_size + 1);
    for (*len = 0; n > 0 && *len < (size_t)file.st_size; *len += (size_t)n) {
        n = read(fd, text + *len, (size_t)file.st_size - *len);
        if (n < 0) {
            snprintf(error, size, "cannot be read: %s", strerror(errno));
            free(text);
            return NULL;
        }
    }
    return text;
}

bool allowlist_load(struct allowlist *out, const char *path, char *error, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char why[ALLOWLIST_ERROR_BYTES] = "";
    char *text = NULL;
    size_t len = 0;
    bool ok;

    *out = (struct allowlist){0};
    if (fd < 0)
        snprintf(why, sizeof why, "cannot be opened: %s", strerror(errno));
    else
        text = read_all(fd, &len, why, sizeof why);
    ok = text && allowlist_parse(out, text, len, why, sizeof why);
    if (!ok)
        snprintf(error, size, "--allow-keys %s: %s", path, why);
    free(text);
    if (fd >= 0)
        close(fd);
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
