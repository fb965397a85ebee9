// SPDX-License-Identifier: BSD-3-Clause
#include "server/map_node.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define REGION_CODE "derper"
#define REGION_NAME "derper"
#define NODE_NAME "900a"
#define PLAIN_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:"

struct writer {
    char *out;
    size_t size;
    size_t len;
    bool full;
};

__attribute__((format(printf, 2, 3))) static void put(struct writer *writer, const char *format,
                                                      ...)
{
    va_list args;
    int n;

    if (writer->full)
        return;
    va_start(args, format);
    n = vsnprintf(writer->out + writer->len, writer->size - writer->len, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= writer->size - writer->len)
        writer->full = true;
    else
        writer->len += (size_t)n;
}

static bool said(const char *text)
{
    return text && text[0] != '\0';
}

static bool plain(const char *text)
{
    return !text || text[strspn(text, PLAIN_CHARS)] == '\0';
}

static bool node_valid(const struct map_node *node)
{
    return said(node->hostname) && plain(node->hostname) && plain(node->ipv4) &&
           plain(node->ipv6) && plain(node->cert_pin);
}

// An IP address as host name says which family there is.
static struct map_node with_addresses(const struct map_node *node)
{
    struct map_node result = *node;
    struct in6_addr address;
    const bool ip4 = inet_pton(AF_INET, node->hostname, &address) == 1;
    const bool ip6 = inet_pton(AF_INET6, node->hostname, &address) == 1;

    if (!said(node->ipv4) && (ip4 || ip6))
        result.ipv4 = ip4 ? node->hostname : "none";
    if (!said(node->ipv6) && (ip4 || ip6))
        result.ipv6 = ip6 ? node->hostname : "none";
    return result;
}

static size_t finish(const struct writer *writer)
{
    return writer->full ? 0 : writer->len;
}

// One line of a node; nothing when there is nothing to say.
static void put_json(struct writer *writer, const char *name, const char *value)
{
    if (said(value))
        put(writer, "            \"%s\": \"%s\",\n", name, value);
}

static void put_yaml(struct writer *writer, const char *name, const char *value)
{
    if (said(value))
        put(writer, "        %s: \"%s\"\n", name, value);
}

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

size_t map_node_json(const struct map_node *node, char *out, size_t size)
{
    struct writer writer = {.out = out, .size = size};
    struct map_node full;

    if (!node_valid(node))
        return 0;
    full = with_addresses(node);
    put(&writer,
        "{\n"
        "  \"derpMap\": {\n"
        "    \"OmitDefaultRegions\": %s,\n"
        "    \"Regions\": {\n"
        "      \"%d\": {\n"
        "        \"RegionID\": %d,\n"
        "        \"RegionCode\": \"" REGION_CODE "\",\n"
        "        \"RegionName\": \"" REGION_NAME "\",\n"
        "        \"Nodes\": [\n"
        "          {\n"
        "            \"Name\": \"" NODE_NAME "\",\n"
        "            \"RegionID\": %d,\n"
        "            \"HostName\": \"%s\",\n",
        truth(full.omit_default_regions), MAP_NODE_REGION_ID, MAP_NODE_REGION_ID,
        MAP_NODE_REGION_ID, full.hostname);
    put_json(&writer, "IPv4", full.ipv4);
    put_json(&writer, "IPv6", full.ipv6);
    put(&writer, "            \"DERPPort\": %d,\n            \"STUNPort\": %d,\n", full.derp_port,
        full.stun_port);
    put_json(&writer, "CertName", full.cert_pin);
    put(&writer,
        "            \"CanPort80\": %s\n"
        "          }\n        ]\n      }\n    }\n  }\n}\n",
        truth(full.can_port80));
    return finish(&writer);
}

size_t map_node_yaml(const struct map_node *node, char *out, size_t size)
{
    struct writer writer = {.out = out, .size = size};
    struct map_node full;

    if (!node_valid(node))
        return 0;
    full = with_addresses(node);
    put(&writer,
        "regions:\n"
        "  %d:\n"
        "    regionid: %d\n"
        "    regioncode: \"" REGION_CODE "\"\n"
        "    regionname: \"" REGION_NAME "\"\n"
        "    nodes:\n"
        "      - name: \"" NODE_NAME "\"\n"
        "        regionid: %d\n"
        "        hostname: \"%s\"\n",
        MAP_NODE_REGION_ID, MAP_NODE_REGION_ID, MAP_NODE_REGION_ID, full.hostname);
    put_yaml(&writer, "certname", full.cert_pin);
    put_yaml(&writer, "ipv4", full.ipv4);
    put_yaml(&writer, "ipv6", full.ipv6);
    put(&writer, "        stunport: %d\n        derpport: %d\n        canport80: %s\n",
        full.stun_port, full.derp_port, truth(full.can_port80));
    return finish(&writer);
}
