// SPDX-License-Identifier: BSD-3-Clause
#include "proto/proxy.h"

#include "base/address.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#define V1_PREFIX "PROXY "
#define V1_PREFIX_BYTES (sizeof V1_PREFIX - 1)
#define V1_UNKNOWN "UNKNOWN"

#define V2_SIGNATURE_BYTES 12
#define V2_FIXED_BYTES 16
#define V2_VERSION 2
#define V2_TCP4 0x11
#define V2_TCP6 0x21
#define V2_FAMILY_MAX 3    // AF_UNIX
#define V2_TRANSPORT_MAX 2 // datagrams
#define V2_TCP4_BYTES 12   // two addresses, two ports
#define V2_TCP6_BYTES 36
#define V2_UNIX_BYTES 216

enum v2_command { V2_LOCAL, V2_PROXY };

static const uint8_t v2_signature[V2_SIGNATURE_BYTES] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                                         '\n', 'Q',  'U',  'I',  'T', '\n'};

static void set_peer(struct proxy_header *out, int family, const void *address, uint16_t port)
{
    out->has_peer = true;
    out->port = port;
    if (family == AF_INET6)
        memcpy(&out->address, address, sizeof out->address);
    else
        address_map(&out->address, address);
}

// The next word of a version 1 line, behind which one space is taken as well. Empty at the line's
// end and where there are two spaces.
static const char *next_word(char **at)
{
    char *word = *at;
    const size_t len = strcspn(word, " ");

    *at += len + (word[len] != '\0');
    word[len] = '\0';
    return word;
}

// Decimal, without sign or leading zeros.
static bool parse_port(const char *text, uint16_t *out)
{
    uint32_t port = 0;

    if (!*text || (text[0] == '0' && text[1]))
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (uint32_t)(*text - '0');
        if (port > UINT16_MAX)
            return false;
    }
    *out = (uint16_t)port;
    return true;
}

// "TCP4 <source> <destination> <source port> <destination port>"
static enum proxy_result parse_v1_words(char *line, struct proxy_header *out)
{
    const char *const protocol = next_word(&line);
    uint16_t source_port, destination_port;
    struct in6_addr source, destination;
    int family;

    if (strcmp(protocol, V1_UNKNOWN) == 0)
        return PROXY_OK; // whatever follows
    if (strcmp(protocol, "TCP4") != 0 && strcmp(protocol, "TCP6") != 0)
        return PROXY_BAD;
    family = protocol[3] == '4' ? AF_INET : AF_INET6;
    if (inet_pton(family, next_word(&line), &source) != 1 ||
        inet_pton(family, next_word(&line), &destination) != 1 ||
        !parse_port(next_word(&line), &source_port) || !parse_port(line, &destination_port))
        return PROXY_BAD;
    set_peer(out, family, &source, source_port);
    return PROXY_OK;
}

static enum proxy_result parse_v1(const uint8_t *data, size_t len, struct proxy_header *out)
{
    const size_t seen = len < PROXY_V1_MAX_BYTES ? len : PROXY_V1_MAX_BYTES;
    const uint8_t *end = memmem(data, seen, "\r\n", 2);
    char line[PROXY_V1_MAX_BYTES];
    size_t line_len;

    if (!end) {
        out->bytes = len + 1;
        return len < PROXY_V1_MAX_BYTES ? PROXY_MORE : PROXY_BAD;
    }
    out->bytes = (size_t)(end - data) + 2;
    line_len = out->bytes - 2 - V1_PREFIX_BYTES;
    memcpy(line, data + V1_PREFIX_BYTES, line_len);
    line[line_len] = '\0';
    return strlen(line) == line_len ? parse_v1_words(line, out) : PROXY_BAD;
}

// The family is the high half of `kind`, the transport the low one.
static bool v2_kind_fits(uint8_t kind, size_t rest)
{
    static const size_t address_bytes[] = {0, V2_TCP4_BYTES, V2_TCP6_BYTES, V2_UNIX_BYTES};

    return kind >> 4 <= V2_FAMILY_MAX && (kind & 0xf) <= V2_TRANSPORT_MAX &&
           rest >= address_bytes[kind >> 4];
}

static enum proxy_result parse_v2(const uint8_t *data, size_t len, struct proxy_header *out)
{
    const uint8_t *addresses = data + V2_FIXED_BYTES;
    size_t rest;
    uint8_t version, command, kind;

    out->bytes = V2_FIXED_BYTES;
    if (len < V2_FIXED_BYTES)
        return PROXY_MORE;
    version = data[12] >> 4;
    command = data[12] & 0xf;
    kind = data[13];
    rest = (size_t)data[14] << 8 | data[15];
    out->bytes += rest;
    out->own = command == V2_LOCAL;
    if (version != V2_VERSION || command > V2_PROXY || out->bytes > PROXY_HEADER_MAX_BYTES ||
        (command == V2_PROXY && !v2_kind_fits(kind, rest)))
        return PROXY_BAD;
    if (len < out->bytes)
        return PROXY_MORE;
    // Ports follow both addresses, the source's first.
    if (command == V2_PROXY && kind == V2_TCP4)
        set_peer(out, AF_INET, addresses, (uint16_t)(addresses[8] << 8 | addresses[9]));
    else if (command == V2_PROXY && kind == V2_TCP6)
        set_peer(out, AF_INET6, addresses, (uint16_t)(addresses[32] << 8 | addresses[33]));
    return PROXY_OK;
}

static bool begins_with(const uint8_t *data, size_t len, const void *prefix, size_t prefix_len)
{
    return memcmp(data, prefix, len < prefix_len ? len : prefix_len) == 0;
}

enum proxy_result proxy_parse(const uint8_t *data, size_t len, struct proxy_header *out)
{
    *out = (struct proxy_header){.bytes = len + 1};
    if (len == 0)
        return PROXY_MORE;
    if (begins_with(data, len, v2_signature, V2_SIGNATURE_BYTES))
        return parse_v2(data, len, out);
    if (!begins_with(data, len, V1_PREFIX, V1_PREFIX_BYTES))
        return PROXY_BAD;
    return len < V1_PREFIX_BYTES ? PROXY_MORE : parse_v1(data, len, out);
}
