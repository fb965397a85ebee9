// SPDX-License-Identifier: BSD-3-Clause
#include "proto/forwarded.h"

#include "base/address.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

// "192.0.2.1", "192.0.2.1:4711", "2001:db8::1", "[2001:db8::1]" or "[2001:db8::1]:4711". The port
// is not looked at.
static bool parse_address(const char *text, size_t len, struct in6_addr *out)
{
    char copy[INET6_ADDRSTRLEN];
    const char *colon = memchr(text, ':', len);

    if (len > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', len);

        if (!end || (end + 1 < text + len && end[1] != ':'))
            return false;
        text++;
        len = (size_t)(end - text);
    } else if (colon && memchr(text, '.', len) && colon > (char *)memchr(text, '.', len)) {
        len = (size_t)(colon - text);
    }
    if (len >= sizeof copy || memchr(text, '\0', len))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return address_from_text(out, copy);
}

bool forwarded_client(const char *field, size_t len, const struct prefix *proxies, size_t count,
                      struct in6_addr *out)
{
    struct in6_addr address;

    for (;;) {
        const char *comma = memrchr(field, ',', len);
        const char *start = comma ? comma + 1 : field, *end = field + len;

        while (start < end && is_space(*start))
            start++;
        while (end > start && is_space(end[-1]))
            end--;
        if (!parse_address(start, (size_t)(end - start), &address))
            return false;
        if (!prefixes_contain(proxies, count, &address)) {
            *out = address;
            return true;
        }
        if (!comma)
            return false;
        len = (size_t)(comma - field);
    }
}
