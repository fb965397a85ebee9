// SPDX-License-Identifier: BSD-3-Clause
//
// A DERP map with this relay as its only node, ready to be pasted: as JSON into a Tailscale policy,
// as YAML into a file of Headscale's derp.paths. Pure.
#ifndef DERPER_SERVER_MAP_NODE_H
#define DERPER_SERVER_MAP_NODE_H

#include <stdbool.h>
#include <stddef.h>

#define MAP_NODE_REGION_ID 900
#define MAP_NODE_TEXT_BYTES 2048 // enough for either text

// Strings may be NULL or "" when there is nothing to say, but for the host name. One that is an IP
// address stands in for the addresses that are not given.
struct map_node {
    const char *hostname;
    const char *ipv4;     // "none" = clients do not try IPv4; nothing = they ask DNS
    const char *ipv6;     // the same
    const char *cert_pin; // "sha256-raw:…" of a self-signed certificate
    int derp_port;
    int stun_port; // -1 = no STUN
    bool can_port80;
    bool omit_default_regions; // JSON only: clients use no other relay
};

// Write a text of several lines, the last one ended too. Return its length, or 0 when it does not
// fit or a string has a character other than letters, digits and "-._:".
size_t map_node_json(const struct map_node *node, char *out, size_t size);
size_t map_node_yaml(const struct map_node *node, char *out, size_t size);

#endif
