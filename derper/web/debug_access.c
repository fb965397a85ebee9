// SPDX-License-Identifier: BSD-3-Clause
#include "web/debug_access.h"

#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#define DEBUG_KEY_PARAMETER "debugkey="

// Loopback and Tailscale's own ranges.
static const struct prefix always[] = {
    {AF_INET, 8, {127}},
    {AF_INET6, 128, {[15] = 1}},
    {AF_INET, 10, {100, 64}},
    {AF_INET6, 48, {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0}},
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// The file's content without white space around it. 0 when there is none, or too much.
static size_t read_key(const char *path, char key[static DEBUG_KEY_MAX_BYTES + 1])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = -1;
    size_t start = 0, end;

    if (fd >= 0) {
        n = read(fd, key, DEBUG_KEY_MAX_BYTES + 1);
        close(fd);
    }
    if (n <= 0 || n > DEBUG_KEY_MAX_BYTES)
        return 0;
    end = (size_t)n;
    while (end > 0 && is_space(key[end - 1]))
        end--;
    while (start < end && is_space(key[start]))
        start++;
    memmove(key, key + start, end - start);
    return end - start;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

// Undoes the encoding of a query's value. 0 when it is malformed or too long.
static size_t decode(const char *in, size_t len, char out[static DEBUG_KEY_MAX_BYTES])
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = in[i] == '+' ? ' ' : in[i];

        if (c == '%') {
            const int high = i + 2 < len ? hex_digit(in[i + 1]) : -1;
            const int low = i + 2 < len ? hex_digit(in[i + 2]) : -1;

            if (high < 0 || low < 0)
                return 0;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (n == DEBUG_KEY_MAX_BYTES)
            return 0;
        out[n++] = c;
    }
    return n;
}

// The first debug key of a query, decoded. 0 when there is none.
static size_t asked_key(const struct http_text *query, char out[static DEBUG_KEY_MAX_BYTES])
{
    const size_t name_len = strlen(DEBUG_KEY_PARAMETER);
    const char *at = query->data;
    const char *end = at ? at + query->len : NULL;

    while (at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        const size_t len = (size_t)((stop ? stop : end) - at);

        if (len >= name_len && memcmp(at, DEBUG_KEY_PARAMETER, name_len) == 0)
            return decode(at + name_len, len - name_len, out);
        if (!stop)
            break;
        at = stop + 1;
    }
    return 0;
}

static bool key_opens(const char *path, const struct http_text *query)
{
    char asked[DEBUG_KEY_MAX_BYTES], key[DEBUG_KEY_MAX_BYTES + 1];
    const size_t asked_len = asked_key(query, asked);
    bool equal = false;

    if (asked_len > 0) {
        const size_t key_len = read_key(path, key);

        equal = key_len == asked_len && sodium_memcmp(key, asked, key_len) == 0;
        sodium_memzero(key, sizeof key);
        sodium_memzero(asked, sizeof asked);
    }
    return equal;
}

bool debug_access_allowed(const struct debug_rule *rule, const struct http_request *request,
                          const struct sockaddr_in6 *peer)
{
    const bool has_key = rule->key_path && *rule->key_path;

    if (has_key && request->get && key_opens(rule->key_path, &request->query))
        return true;
    if (request->forwarded_for.data)
        return false;
    return prefixes_contain(always, sizeof always / sizeof always[0], &peer->sin6_addr) ||
           prefixes_contain(rule->prefixes, rule->prefix_count, &peer->sin6_addr);
}
