// SPDX-License-Identifier: BSD-3-Clause
#include "web/redirect.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HOST_MAX_BYTES 255
#define PORT_HTTP 80
#define PORT_HTTPS 443
#define PORT_MAX 65535

struct url {
    char *out;
    size_t len;
    bool overflow;
};

static void __attribute__((format(printf, 2, 3))) put(struct url *url, const char *format, ...)
{
    const size_t room = REDIRECT_MAX_BYTES - url->len;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(url->out + url->len, room, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room)
        url->overflow = true;
    else
        url->len += (size_t)n;
}

static bool is_host_char(char c, const char *others)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr(others, c));
}

// How many bytes of `text` are a host: a name, an IPv4 address or an IPv6 address in brackets.
static size_t host_len(const struct http_text *text)
{
    const bool bracket = text->len > 0 && text->data[0] == '[';
    size_t n = bracket;

    while (n < text->len && is_host_char(text->data[n], bracket ? ":." : "-._"))
        n++;
    if (!bracket)
        return n;
    return n > 1 && n < text->len && text->data[n] == ']' ? n + 1 : 0;
}

// ":123", ":" or nothing. -1 for anything else; 0 when no port is named.
static int parse_port(const char *text, size_t len)
{
    int port = 0;

    if (len == 0)
        return 0;
    if (text[0] != ':' || len > 6)
        return -1;
    for (size_t i = 1; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        port = port * 10 + text[i] - '0';
    }
    return port <= PORT_MAX && (port > 0 || len == 1) ? port : -1;
}

static bool put_host(struct url *url, const struct redirect_rule *rule,
                     const struct http_text *host)
{
    const size_t len = host_len(host);
    int port;

    if (len == 0 || len > HOST_MAX_BYTES)
        return false;
    port = parse_port(host->data + len, host->len - len);
    if (port < 0)
        return false;
    if (port == 0 || port == PORT_HTTP || port == rule->http_port)
        port = rule->https_port;
    put(url, "https://%.*s", (int)len, host->data);
    if (port != PORT_HTTPS)
        put(url, ":%d", port);
    return true;
}

static bool put_host_or_ours(struct url *url, const struct redirect_rule *rule,
                             const struct http_text *host)
{
    char ours[HOST_MAX_BYTES + 3];
    const bool v6 = strchr(rule->hostname, ':') != NULL;
    int n;

    if (host->len > 0)
        return put_host(url, rule, host);
    n = snprintf(ours, sizeof ours, v6 ? "[%s]" : "%s", rule->hostname);
    return (size_t)n < sizeof ours && put_host(url, rule, &(struct http_text){ours, (size_t)n});
}

// Bytes that have no place in a URL are percent-encoded.
static void put_encoded(struct url *url, const struct http_text *text)
{
    for (size_t i = 0; i < text->len && !url->overflow; i++) {
        const unsigned char c = (unsigned char)text->data[i];

        if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}", c))
            put(url, "%%%02X", c);
        else
            put(url, "%c", c);
    }
}

bool redirect_target(const struct redirect_rule *rule, const struct http_request *request,
                     char out[static REDIRECT_MAX_BYTES])
{
    struct url url = {.out = out};

    if (!put_host_or_ours(&url, rule, &request->host))
        return false;
    if (request->path.len == 0)
        put(&url, "/");
    else if (request->path.data[0] != '/')
        return false;
    put_encoded(&url, &request->path);
    if (request->query.data) {
        put(&url, "?");
        put_encoded(&url, &request->query);
    }
    return !url.overflow;
}
