// SPDX-License-Identifier: BSD-3-Clause
#include "server/server.h"

#include "base/log.h"
#include "base/memory.h"
#include "io/tls.h"
#include "proto/frame.h"
#include "relay/relay.h"
#include "server/admission_desk.h"
#include "server/admission_metrics.h"
#include "server/announce.h"
#include "server/certificate.h"
#include "server/cpus.h"
#include "server/folder.h"
#include "server/go_duration.h"
#include "server/keyfile.h"
#include "server/rate_config.h"
#include "server/renewer.h"
#include "server/sockets.h"
#include "stun/responder.h"
#include "version.h"
#include "web/web.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

static_assert(OPTIONS_WORKERS_MAX == RELAY_WORKERS_MAX, "--workers promises what the relay has");
static_assert(OPTIONS_LIST_MAX <= ACCESS_SOURCES_MAX, "access has room for all that may be given");

#define ERROR_BYTES 2048
#define DESCRIPTORS_LOW 4096
#define DESCRIPTORS_RESERVED 24   // log, STUN, signals, files that are read now and then
#define DESCRIPTORS_PER_WORKER 10 // its loop and listeners
#define SOURCES_WITHOUT_TLS 2     // the first ones
#define SOURCES_MAX 4
#define DEBUG_PREFIXES_MAX (OPTIONS_RANGES_MAX + 1)

struct server {
    const struct options *options;
    size_t workers;
    uv_loop_t loop;
    uv_signal_t terminate, interrupt, hangup;
    bool stopping;

    struct certificate certificate;  // when TLS is served
    struct challenges challenges;    // when certificates are fetched
    struct renewer renewer;          // likewise
    struct admission_desk admission; // when clients are asked about
    struct relay relay;
    struct server_limits limits; // of --rate-config
    struct stun_responder stun;
    struct web web;
    struct metric_source sources[SOURCES_MAX];
    struct debug_section section;
    struct prefix debug_prefixes[DEBUG_PREFIXES_MAX];

    int *main_fds, *http_fds;
    int main_port, http_port;
    char error[ERROR_BYTES];
};

static bool raise_descriptor_limit(struct server *server, int *connections)
{
    struct rlimit limit;
    const long reserved = DESCRIPTORS_RESERVED + DESCRIPTORS_PER_WORKER * (long)server->workers +
                          desk_descriptors(server->options);

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        snprintf(server->error, sizeof server->error, "the limit of open files cannot be read: %s",
                 strerror(errno));
        return false;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    if ((long)limit.rlim_cur <= reserved) {
        snprintf(server->error, sizeof server->error,
                 "the limit of open files is %ld, and the relay alone needs %ld: raise it (ulimit "
                 "-n, LimitNOFILE=, --ulimit nofile=)",
                 (long)limit.rlim_cur, reserved + 1);
        return false;
    }
    *connections = (int)((long)limit.rlim_cur - reserved);
    if (limit.rlim_cur < DESCRIPTORS_LOW)
        log_warnx("the limit of open files allows %d connections only: raise it (ulimit -n, "
                  "LimitNOFILE=, --ulimit nofile=)",
                  *connections);
    return true;
}

static bool load_key(struct server *server, struct key_pair *pair)
{
    const struct options *options = server->options;

    if (!*options->key_path) {
        key_pair_generate(pair);
        return true;
    }
    if (options->key_path_is_default)
        log_info("no config path specified; using %s", options->key_path);
    if (keyfile_load_or_create(pair, options->key_path, server->error, sizeof server->error) ==
        KEYFILE_FAILED)
        return false;
    if (*server->error)
        log_warnx("%s", server->error);
    return true;
}

static bool bind_ports(struct server *server)
{
    const struct options *options = server->options;
    const struct socket_options socket_options = {
        .keepalive_ms = options->tcp_keepalive_time_ns < 0
                            ? -1
                            : duration_ms_up(options->tcp_keepalive_time_ns),
        .user_timeout_ms = duration_ms_up(options->tcp_user_timeout_ns),
    };

    server->main_port = options->listen_port;
    server->http_port = options->http_port;
    server->main_fds = memory_get(server->workers * sizeof *server->main_fds);
    server->http_fds = memory_get(server->workers * sizeof *server->http_fds);
    if (!sockets_listen("-a", options->listen_host, &server->main_port, server->workers,
                        &socket_options, server->main_fds, server->error, sizeof server->error))
        return false;
    return server->http_port < 0 ||
           sockets_listen("--http-port", options->listen_host, &server->http_port, server->workers,
                          &socket_options, server->http_fds, server->error, sizeof server->error);
}

static void on_private_stun_source(struct stun_responder *responder,
                                   const struct stun_address *source)
{
    char text[STUN_ADDRESS_TEXT_CHARS + 1];

    (void)responder;
    stun_address_text(source, text);
    log_warnx("a STUN request came from the private address %s: if your clients are not on that "
              "network, a container gateway or NAT hides their addresses and they are told a wrong "
              "one; run the relay on the host's network (docker run --network host)",
              text);
}

static bool start_stun(struct server *server)
{
    const struct options *options = server->options;
    struct sockaddr_storage address;
    socklen_t len;
    char text[INET6_ADDRSTRLEN + 8];
    int err;

    stun_responder_init(&server->stun, options->stun_any ? STUN_ANY : STUN_TAILSCALE);
    server->stun.on_private_source = on_private_stun_source;
    if (options->stun_port < 0)
        return true;
    sockets_address(options->listen_host, options->stun_port, &address, &len);
    err = stun_responder_start(&server->stun, (struct sockaddr *)&address);
    if (err) {
        sockets_bind_error("--stun-port", "UDP", options->listen_host, options->stun_port, -err,
                           server->error, sizeof server->error);
        return false;
    }
    stun_responder_address(&server->stun, &address);
    announce_address(&address, text, sizeof text);
    log_info("STUN server listening on %s", text);
    return true;
}

static void write_stun_metrics(struct metrics *metrics, void *data)
{
    const struct server *server = data;
    struct stun_counts counts;

    stun_responder_counts(&server->stun, &counts);
    metrics_family(metrics, METRIC_COUNTER, "stun_requests");
    metrics_sample(metrics, "disposition", "success", counts.success);
    metrics_sample(metrics, "disposition", "not_stun", counts.not_stun);
    metrics_sample(metrics, "disposition", "read_error", counts.read_error);
    metrics_sample(metrics, "disposition", "write_error", counts.write_error);
    metrics_sample(metrics, "disposition", "refused", counts.refused);
    metrics_family(metrics, METRIC_COUNTER, "stun_addrfamily");
    metrics_sample(metrics, "family", "ipv4", counts.ipv4);
    metrics_sample(metrics, "family", "ipv6", counts.ipv6);
    metrics_counter(metrics, "derper_stun_private_sources", counts.private_sources);
}

static void on_upgrade(struct http_conn *conn, const struct web_upgrade *upgrade, void *data)
{
    struct server *server = data;

    relay_accept_client(&server->relay, http_take_stream(conn), upgrade->preface,
                        upgrade->preface_len, upgrade->not_ideal);
}

static void fill_debug_rule(struct server *server, struct debug_rule *rule)
{
    const struct options *options = server->options;

    *rule = (struct debug_rule){.prefixes = server->debug_prefixes,
                                .key_path = options->debug_key_path};
    if (options->has_allow_debug_ip)
        server->debug_prefixes[rule->prefix_count++] = options->allow_debug_ip;
    for (size_t i = 0; i < options->debug_cidr_count; i++)
        server->debug_prefixes[rule->prefix_count++] = options->debug_cidrs[i];
}

static void start_web(struct server *server)
{
    static const enum web_home homes[] = {
        [HOME_PAGE_DEFAULT] = WEB_HOME_PAGE,
        [HOME_PAGE_BLANK] = WEB_HOME_BLANK,
        [HOME_PAGE_REDIRECT] = WEB_HOME_REDIRECT,
    };
    const struct options *options = server->options;
    struct web_config config = {
        .relay = &server->relay,
        .hostname = options->hostname_given ? options->hostname : "",
        .version = DERPER_VERSION,
        .derp = options->derp,
        .upgrade = on_upgrade,
        .upgrade_data = server,
        .home = homes[options->home_page],
        .home_url = options->home,
        .https_port = server->main_port,
        .http_port = server->http_port,
        .sources = server->sources,
        .source_count = options->serve_tls ? SOURCES_MAX : SOURCES_WITHOUT_TLS,
        .check = desk_health,
        .check_data = &server->admission,
        .sections = options->serve_tls ? &server->section : NULL,
        .section_count = options->serve_tls ? 1 : 0,
        .certificate_not_after = options->serve_tls ? &server->certificate.not_after : NULL,
        .challenges = renewer_wanted(options) ? &server->challenges : NULL,
    };

    server->sources[0] = (struct metric_source){write_stun_metrics, server};
    server->sources[1] = (struct metric_source){admission_write_metrics, server->admission.access};
    server->sources[2] = (struct metric_source){state_write_metrics, &server->certificate.state};
    server->sources[3] = (struct metric_source){renewer_write_metrics, &server->renewer};
    server->section = (struct debug_section){state_write_page, &server->certificate.state};
    fill_debug_rule(server, &config.debug);
    web_init(&server->web, &config);
}

static bool reload_limits(struct server *server)
{
    const struct server_limits before = server->limits;
    char error[RATE_CONFIG_ERROR_BYTES], was[RATE_CONFIG_TEXT_BYTES], is[RATE_CONFIG_TEXT_BYTES];
    struct server_limits fresh;

    if (!*server->options->rate_config)
        return false;
    if (!rate_config_load(&fresh, server->options->rate_config, error, sizeof error)) {
        log_warnx("SIGHUP: each client may still send %s: %s", rate_config_text(&before, was),
                  error);
        return true;
    }
    if (memcmp(&fresh, &before, sizeof fresh) == 0) {
        log_info("SIGHUP: each client may send %s, as before", rate_config_text(&fresh, is));
        return true;
    }
    server->limits = fresh;
    relay_set_limits(&server->relay, &fresh);
    log_info("SIGHUP: each client may now send %s (before: %s)", rate_config_text(&fresh, is),
             rate_config_text(&before, was));
    return true;
}

static void on_hangup(uv_signal_t *signal, int number)
{
    struct server *server = signal->data;
    bool any;

    (void)number;
    any = reload_limits(server);
    any = certificate_reload(&server->certificate) || any;
    any = renewer_hurry(&server->renewer) || any;
    any = desk_reload(&server->admission) || any;
    if (!any)
        log_info("SIGHUP: there is nothing to reload");
}

static void stop(struct server *server)
{
    if (server->stopping)
        return;
    server->stopping = true;
    // A second signal ends the process as it would any other.
    uv_signal_stop(&server->terminate);
    uv_signal_stop(&server->interrupt);
    renewer_stop(&server->renewer);
    stun_responder_stop(&server->stun);
    relay_stop(&server->relay);
    desk_close(&server->admission);
    uv_close((uv_handle_t *)&server->terminate, NULL);
    uv_close((uv_handle_t *)&server->interrupt, NULL);
    uv_close((uv_handle_t *)&server->hangup, NULL);
    certificate_close(&server->certificate);
}

static void on_stop_signal(uv_signal_t *signal, int number)
{
    log_info("derper: %s, telling clients and stopping",
             number == SIGTERM ? "terminated" : "interrupted");
    stop(signal->data);
}

static void start_signals(struct server *server)
{
    uv_loop_t *loop = &server->loop;

    signal(SIGPIPE, SIG_IGN);
    uv_signal_init(loop, &server->terminate);
    uv_signal_init(loop, &server->interrupt);
    uv_signal_init(loop, &server->hangup);
    server->terminate.data = server->interrupt.data = server->hangup.data = server;
    uv_signal_start(&server->terminate, on_stop_signal, SIGTERM);
    uv_signal_start(&server->interrupt, on_stop_signal, SIGINT);
    uv_signal_start(&server->hangup, on_hangup, SIGHUP);
}

static struct bucket_rate accept_rate(const struct options *options)
{
    const bool limited =
        isfinite(options->accept_connection_limit) && options->accept_connection_burst < INT64_MAX;

    return (struct bucket_rate){limited ? options->accept_connection_limit : 0,
                                (double)options->accept_connection_burst};
}

static bool load_limits(struct server *server)
{
    const char *path = server->options->rate_config;
    char text[RATE_CONFIG_TEXT_BYTES];

    if (!*path)
        return true;
    if (!rate_config_load(&server->limits, path, server->error, sizeof server->error))
        return false;
    log_info("each client may send %s", rate_config_text(&server->limits, text));
    return true;
}

static bool start_relay(struct server *server, struct key_pair *key, int connections)
{
    const struct options *options = server->options;
    struct relay_config config = {
        .key = *key,
        .workers = server->workers,
        .queue_packets = options->send_queue_depth > 0 ? (size_t)options->send_queue_depth
                                                       : RELAY_QUEUE_PACKETS_DEFAULT,
        .queue_bytes = RELAY_QUEUE_BYTES_DEFAULT,
        .waiting_bytes = RELAY_WAITING_BYTES_DEFAULT,
        .write_timeout_ms = (uint64_t)duration_ms_up(options->tcp_write_timeout_ns),
        .connections_max = connections,
        .proxies = options->proxies,
        .proxy_count = options->proxy_count,
        .admission = server->admission.access ? &server->admission.admission : NULL,
        .recheck_ms = (uint32_t)duration_ms_up(options->recheck_ns),
        .accept_rate = accept_rate(options),
        .openssl_records = strcmp(options->tls_engine, "openssl") == 0,
    };
    const int err = relay_start(&server->relay, &config);

    sodium_memzero(&config, sizeof config);
    if (err)
        snprintf(server->error, sizeof server->error, "the worker threads could not be started: %s",
                 uv_strerror(err));
    else
        relay_set_limits(&server->relay, &server->limits);
    return err == 0;
}

static bool start_admission(struct server *server)
{
    return !desk_wanted(server->options) ||
           desk_open(&server->admission, server->options, &server->relay, server->workers,
                     &server->loop, server->error, sizeof server->error);
}

static void listen_all(struct server *server)
{
    const struct relay_port main_port = {
        .service = &server->web.service,
        .tls = server->options->serve_tls,
        .limited = true,
    };
    const struct relay_port http_port = {.service = &server->web.http_port_service};

    for (size_t i = 0; i < server->workers; i++) {
        relay_listen(&server->relay, i, server->main_fds[i], &main_port);
        if (server->http_port >= 0)
            relay_listen(&server->relay, i, server->http_fds[i], &http_port);
    }
}

static void announce(struct server *server)
{
    const struct announcement announcement = {
        .options = server->options,
        .main_port = server->main_port,
        .http_port = server->http_port,
        .stun_port = server->options->stun_port,
        .pin = certificate_pin(&server->certificate),
        .renewal = certificate_announced(&server->certificate),
    };

    announce_start(&announcement);
}

// --- Certificates that are fetched ---

static X509 *leaf_served(size_t slot, void *data)
{
    struct server *server = data;
    X509 *leaf = NULL;

    return certificate_leaf(&server->certificate, slot, &leaf) ? leaf : NULL;
}

static void look_for_certificates(void *data)
{
    struct server *server = data;

    certificate_look(&server->certificate);
}

static void note_renewal(size_t slot, const char *sentence, int64_t when, int64_t next, void *data)
{
    struct server *server = data;

    certificate_note_renewal(&server->certificate, slot, sentence, when, next);
}

// Once the ports listen: that is where the authority asks.
static bool start_renewer(struct server *server)
{
    struct renewer_names slots[RENEWER_SLOTS_MAX];
    const struct renewer_config config = {
        .options = server->options,
        .main_port = server->main_port,
        .http_port = server->http_port,
        .challenges = &server->challenges,
        .slots = slots,
        .slot_count = certificate_slots(&server->certificate),
        .host = {leaf_served, look_for_certificates, note_renewal, server},
        .seams = &renewer_world,
    };

    if (!renewer_wanted(server->options))
        return true;
    for (size_t i = 0; i < config.slot_count; i++)
        slots[i].count = certificate_slot_names(&server->certificate, i, &slots[i].names);
    return renewer_start(&server->renewer, &config, &server->loop, server->error,
                         sizeof server->error);
}

// Everything that can fail, in an order in which nothing needs to be undone: a fault ends the
// process.
static bool start(struct server *server)
{
    const struct options *options = server->options;
    struct key_pair key;
    int connections;
    bool ok;

    if (!raise_descriptor_limit(server, &connections) || !load_key(server, &key))
        return false;
    ok = !options->serve_tls ||
         certificate_load(&server->certificate, options, server->error, sizeof server->error);
    ok = ok && load_limits(server) && start_admission(server) && bind_ports(server) &&
         start_stun(server) && start_relay(server, &key, connections);
    key_pair_wipe(&key);
    if (!ok)
        return false;
    start_web(server);
    if (renewer_wanted(options)) {
        challenges_init(&server->challenges);
        server->certificate.challenges = &server->challenges;
    }
    if (options->serve_tls &&
        !certificate_serve(&server->certificate, &server->relay, &server->loop, server->error,
                           sizeof server->error))
        return false;
    listen_all(server);
    return start_renewer(server);
}

static int fault(const char *error)
{
    fprintf(stderr, "derper: %s\n", error);
    return SERVER_FAULT_EXIT;
}

static void start_log(const struct options *options)
{
    if (options->debug)
        log_set_level(LOG_DEBUG);
    for (size_t i = 0; i < options->warning_count; i++)
        log_warnx("%s", options->warnings[i]);
}

int server_run(const struct options *options)
{
    struct server *server = memory_zeroed_aligned(sizeof *server, _Alignof(struct server));

    server->options = options;
    server->workers = options->workers > 0 ? (size_t)options->workers : cpus_usable();
    if (server->workers > RELAY_WORKERS_MAX)
        server->workers = RELAY_WORKERS_MAX;
    start_log(options);
    if (!tls_init())
        log_warnx("OpenSSL is in use already: TLS secrets cannot be wiped");
    uv_loop_init(&server->loop);
    start_signals(server);
    if (!start(server))
        return fault(server->error); // the process ends: the system takes everything back
    announce(server);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&server->loop) != 0)
        log_warnx("a handle of the main loop was left open");
    web_deinit(&server->web);
    if (renewer_wanted(options))
        challenges_deinit(&server->challenges);
    free(server->main_fds);
    free(server->http_fds);
    free(server);
    log_info("derper: stopped");
    return 0;
}

static bool check_key(const struct options *options, char *error, size_t size)
{
    struct key_pair pair;
    enum keyfile_result result;

    if (!*options->key_path)
        return true;
    result = keyfile_load(&pair, options->key_path, error, size);
    key_pair_wipe(&pair);
    if (result == KEYFILE_ABSENT && !folder_may_create(options->key_path, error, size))
        return false;
    if (result == KEYFILE_ABSENT)
        log_info("%s does not exist yet: it is made at the first start", options->key_path);
    else if (result == KEYFILE_LOADED && *error)
        log_warnx("%s", error);
    return result != KEYFILE_FAILED;
}

int server_check(const struct options *options)
{
    char error[ERROR_BYTES];
    struct server_limits limits;

    start_log(options);
    if (!check_key(options, error, sizeof error) || !desk_check(options, error, sizeof error) ||
        (*options->rate_config &&
         !rate_config_load(&limits, options->rate_config, error, sizeof error)) ||
        (options->serve_tls && !certificate_check(options, error, sizeof error)) ||
        (renewer_wanted(options) && !renewer_check(options, error, sizeof error)))
        return fault(error);
    announce_access(options);
    printf("derper: the configuration is good\n");
    return 0;
}
