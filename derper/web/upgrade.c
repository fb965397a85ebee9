// SPDX-License-Identifier: BSD-3-Clause
#include "web/upgrade.h"

#include "relay/relay.h"

#include <stdio.h>
#include <string.h>

static bool is_white(char c)
{
    return c == ' ' || c == '\t';
}

// `word` is an element of a comma-separated list (RFC 9110, section 5.6.1).
static bool list_has(const struct http_text *list, const char *word)
{
    const char *at = list->data;
    const char *end = at ? at + list->len : NULL;

    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        struct http_text element;

        while (at < stop && is_white(*at))
            at++;
        element = (struct http_text){at, (size_t)(stop - at)};
        while (element.len > 0 && is_white(element.data[element.len - 1]))
            element.len--;
        if (http_text_is(&element, word))
            return true;
        if (!comma)
            break;
        at = comma + 1;
    }
    return false;
}

enum upgrade upgrade_wanted(const struct http_request *request)
{
    if (request->upgrade.len == 0)
        return UPGRADE_NONE;
    if (http_text_is_nocase(&request->upgrade, "derp"))
        return UPGRADE_DERP;
    if (!http_text_is_nocase(&request->upgrade, "websocket"))
        return UPGRADE_OTHER;
    return list_has(&request->websocket_protocol, "derp") ? UPGRADE_WEBSOCKET : UPGRADE_DERP;
}

bool upgrade_fast_start(const struct http_request *request)
{
    return http_text_is(&request->fast_start, "1");
}

size_t upgrade_preface(const struct key *server, char out[static UPGRADE_PREFACE_MAX_BYTES])
{
    char hex[KEY_HEX_CHARS + 1];

    key_to_hex(server, hex);
    return (size_t)snprintf(out, UPGRADE_PREFACE_MAX_BYTES,
                            "HTTP/1.1 101 Switching Protocols\r\n"
                            "Upgrade: DERP\r\n"
                            "Connection: Upgrade\r\n"
                            "Derp-Version: %d\r\n"
                            "Derp-Public-Key: %s\r\n\r\n",
                            DERP_VERSION, hex);
}
