// SPDX-License-Identifier: BSD-3-Clause
#include "server/announce.h"

#include "base/log.h"
#include "certgen/check.h"
#include "server/map_node.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

void announce_address(const struct sockaddr_storage *address, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "?";

    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
        snprintf(out, size, "[%s]:%d", text, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;

        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        snprintf(out, size, "%s:%d", text, ntohs(in->sin_port));
    }
}

// As `-a` was written, so that the line is the one that people look for.
static void put_listen(const struct announcement *a, char *out, size_t size)
{
    const char *host = a->options->listen_host;

    snprintf(out, size, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, a->main_port);
}

static void put_url(const struct announcement *a, char *out, size_t size)
{
    const char *scheme = a->options->serve_tls ? "https" : "http";
    const char *host = a->options->serve_tls ? a->options->hostname : a->options->listen_host;
    const int usual = a->options->serve_tls ? 443 : 80;
    int n;

    if (!*host)
        host = "localhost";
    n = snprintf(out, size, strchr(host, ':') ? "%s://[%s]" : "%s://%s", scheme, host);
    if (a->main_port == usual)
        snprintf(out + n, size - (size_t)n, "/");
    else
        snprintf(out + n, size - (size_t)n, ":%d/", a->main_port);
}

// The first address of a family; "" = none.
static const char *address_of(const struct options *options, int family)
{
    struct in6_addr address;

    for (size_t i = 0; i < options->hostname_count; i++)
        if (inet_pton(family, options->hostnames[i], &address) == 1)
            return options->hostnames[i];
    return "";
}

// To standard output, whole, between lines that say where it goes.
static void print_map(const struct announcement *a)
{
    char json[MAP_NODE_TEXT_BYTES], yaml[MAP_NODE_TEXT_BYTES];
    const bool by_address = a->options->hostname_is_ip;
    char when[CERT_TIME_TEXT_BYTES];
    const struct map_node node = {
        .hostname = a->options->hostname,
        .ipv4 = by_address ? address_of(a->options, AF_INET) : "",
        .ipv6 = by_address ? address_of(a->options, AF_INET6) : "",
        .cert_pin = by_address ? a->pin : "",
        .derp_port = a->main_port,
        .stun_port = a->stun_port,
        .can_port80 = a->http_port == 80,
    };

    if (map_node_json(&node, json, sizeof json) == 0 ||
        map_node_yaml(&node, yaml, sizeof yaml) == 0)
        return;
    printf("\nDERP map for Tailscale (access controls, as JSON):\n\n%s\n"
           "DERP map for Headscale (a file named in derp.paths, as YAML):\n\n%s\n",
           json, yaml);
    if (by_address && a->renewal)
        printf("Renewal of the certificate: from %s on, the map needs another pin,\n"
               "CertName (certname) \"%s\"\n\n",
               cert_time_text(a->renewal->switch_at, when), a->renewal->next_pin);
    fflush(stdout);
}

void announce_access(const struct options *options)
{
    const bool list = *options->allow_keys, agents = options->verify_clients;
    const bool urls = options->verify_client_urls.count > 0;

    if (!options->derp)
        return;
    if (!list && !agents && !urls) {
        log_info("who may connect: everybody that finds this relay (--verify-clients, "
                 "--verify-client-url and --allow-keys let in members only)");
        return;
    }
    log_info("who may connect: %s%s%s%s%s%s", list ? "keys in the file of --allow-keys" : "",
             list && agents ? ", of those " : "",
             agents ? "nodes that tailscaled knows (--verify-clients)" : "",
             (list || agents) && urls ? ", of those " : "",
             urls ? "nodes that --verify-client-url allows" : "",
             urls && options->verify_client_url_fail_open
                 ? ", and while it does not answer, all (--verify-client-url-fail-open=false: none)"
                 : "");
}

void announce_start(const struct announcement *a)
{
    char listen[INET6_ADDRSTRLEN + 8], url[OPTIONS_HOSTNAME_CHARS + 32];

    put_listen(a, listen, sizeof listen);
    put_url(a, url, sizeof url);
    if (a->http_port >= 0)
        log_info("HTTP port %d answers /generate_204 and leads the rest to %s", a->http_port, url);
    log_info("derper: serving on %s%s", listen, a->options->serve_tls ? " with TLS" : "");
    log_info("landing page: %s", url);
    announce_access(a->options);
    if (a->options->serve_tls && a->options->derp)
        print_map(a);
}
