// SPDX-License-Identifier: BSD-3-Clause
//
// Both services as a client sees them, over real connections. The relay is made of numbers only:
// its two snapshot functions are defined here.
#include "http_peer.h"
#include "prometheus.h"
#include "web/web.h"

#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define CSP                                                                             \
    "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; " \
    "block-all-mixed-content; object-src 'none'"

static struct relay relay;
static int64_t each_counter; // the value of every counter of every worker
static struct web web;
static struct http_peer peer;
static struct prometheus prometheus;

const struct key *relay_public_key(const struct relay *of)
{
    return &of->config.key.public;
}

size_t relay_workers(const struct relay *of)
{
    return of->config.workers;
}

void relay_snapshot(struct relay *of, struct relay_snapshot *out)
{
    assert_ptr_equal(of, &relay);
    *out = (struct relay_snapshot){11, 2, 5, 9};
}

void relay_worker_snapshot(struct relay *of, size_t index, struct worker_snapshot *out)
{
    struct counter *counters = (struct counter *)out;

    assert_ptr_equal(of, &relay);
    assert_in_range(index, 0, relay.config.workers - 1);
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof *out / sizeof *counters; i++)
        counter_add(&counters[i], each_counter);
}

// --- The upgrade: remembers what it was given. ---

static char preface[512];
static size_t preface_len;
static bool not_ideal;
static int upgrades;

static bool on_derp_data(struct stream *stream, uint8_t *data, size_t len)
{
    const struct stream_buf pieces[] = {{data, len}};

    return stream_write(stream, pieces, 1) == 0;
}

static void on_derp_end(struct stream *stream, enum stream_end why)
{
    (void)why;
    stream_close(stream);
}

static const struct stream_callbacks derp_callbacks = {.on_data = on_derp_data,
                                                       .on_end = on_derp_end};

static void on_upgrade(struct http_conn *conn, const struct web_upgrade *upgrade, void *data)
{
    assert_ptr_equal(data, &upgrades);
    assert_in_range(upgrade->preface_len, 0, sizeof preface);
    memcpy(preface, upgrade->preface, upgrade->preface_len);
    preface_len = upgrade->preface_len;
    not_ideal = upgrade->not_ideal;
    upgrades++;
    stream_set_owner(http_take_stream(conn), &derp_callbacks, NULL);
}

// --- Setup. ---

static void write_source(struct metrics *metrics, void *data)
{
    metrics_counter(metrics, data, 77);
}

static const struct metric_source sources[] = {
    {write_source, "stun_one"},
    {write_source, "stun_two"},
};

static struct web_config usual_config(void)
{
    return (struct web_config){
        .relay = &relay,
        .hostname = "derp.example.com",
        .version = "1.2.3-\"test\"",
        .derp = true,
        .upgrade = on_upgrade,
        .upgrade_data = &upgrades,
        .https_port = 443,
        .http_port = 80,
        .sources = sources,
        .source_count = COUNT(sources),
    };
}

static void serve(const struct web_config *config, bool http_port)
{
    upgrades = 0;
    web_init(&web, config);
    http_peer_start(&peer, http_port ? &web.http_port_service : &web.service, AF_INET);
    http_peer_connect(&peer);
}

static void stop(void)
{
    http_peer_stop(&peer);
    web_deinit(&web);
}

static int setup_main(void **state)
{
    const struct web_config config = usual_config();

    (void)state;
    relay.config.workers = 3;
    each_counter = 5;
    memset(&relay.config.key.public, 0xcd, KEY_BYTES);
    serve(&config, false);
    return 0;
}

static int setup_http_port(void **state)
{
    const struct web_config config = usual_config();

    (void)state;
    relay.config.workers = 3;
    serve(&config, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stop();
    return 0;
}

static void ask(struct http_answer *answer, const char *method, const char *path,
                const char *fields)
{
    char request[4096];

    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: asked.example\r\n%s\r\n", method,
             path, fields);
    http_peer_send_text(&peer, request);
    assert_true(http_peer_read(&peer, answer, strcmp(method, "HEAD") == 0));
}

static bool has_browser_fields(const struct http_answer *answer)
{
    const char *policy = http_answer_field(answer, "Content-Security-Policy");
    const bool has = policy != NULL;

    if (has)
        assert_string_equal(policy, CSP);
    assert_int_equal(has, http_answer_field(answer, "Strict-Transport-Security") != NULL);
    assert_int_equal(has, http_answer_field(answer, "X-Frame-Options") != NULL);
    assert_int_equal(has, http_answer_field(answer, "X-Content-Type-Options") != NULL);
    return has;
}

// --- A table of questions and answers. ---

struct question {
    const char *method, *path, *fields;
    int status;
    const char *type; // NULL: none
    bool browser;
    const char *field, *value; // one more field; value NULL: absent
    const char *body;          // NULL: any
};

#define HTML "text/html; charset=utf-8"
#define PLAIN "text/plain; charset=utf-8"
#define ORIGIN "Access-Control-Allow-Origin"
#define XFF "X-Forwarded-For: 1.2.3.4\r\n"
#define WS "Upgrade: websocket\r\nSec-WebSocket-Protocol: derp\r\n"

static void check_question(const struct question *q)
{
    struct http_answer answer;
    const char *type;

    print_message("%s %s %s\n", q->method, q->path, q->fields);
    ask(&answer, q->method, q->path, q->fields);
    assert_int_equal(answer.status, q->status);
    type = http_answer_field(&answer, "Content-Type");
    assert_int_equal(type != NULL, q->type != NULL);
    if (type)
        assert_string_equal(type, q->type);
    assert_int_equal(has_browser_fields(&answer), q->browser);
    if (q->field && q->value)
        assert_string_equal(http_answer_field(&answer, q->field), q->value);
    else if (q->field)
        assert_null(http_answer_field(&answer, q->field));
    if (q->body)
        assert_string_equal(answer.body, q->body);
    free(answer.body);
}

static void test_main_port(void **state)
{
    static const struct question questions[] = {
        {"GET", "/", "", 200, HTML, true, NULL, NULL, NULL},
        {"HEAD", "/", "", 200, HTML, true, NULL, NULL, ""},
        {"POST", "/", "", 200, HTML, true, NULL, NULL, NULL},
        {"GET", "/no/such/page?x=y", "", 200, HTML, true, NULL, NULL, NULL},
        {"GET", "/derp/", "", 200, HTML, true, NULL, NULL, NULL},
        {"GET", "/derpx", "", 200, HTML, true, NULL, NULL, NULL},
        {"GET", "/debugx", "", 200, HTML, true, NULL, NULL, NULL},
        {"GET", "/.well-known/acme-challenge/x", "", 200, HTML, true, NULL, NULL, NULL},
        {"GET", "/%64erp", "", 200, HTML, true, NULL, NULL, NULL},
        {"OPTIONS", "*", "", 200, HTML, true, NULL, NULL, NULL},
        {"CONNECT", "a.example:443", "", 405, PLAIN, false, "Allow", "GET, HEAD", NULL},
        {"GET", "/style.css", "", 200, "text/css; charset=utf-8", true, NULL, NULL, NULL},
        {"GET", "/favicon.svg", "", 200, "image/svg+xml", true, NULL, NULL, NULL},
        {"GET", "/robots.txt", "", 200, PLAIN, true, NULL, NULL, "User-agent: *\nDisallow: /\n"},

        {"GET", "/derp/probe", "", 200, NULL, false, ORIGIN, "*", ""},
        {"HEAD", "/derp/probe", "", 200, NULL, false, ORIGIN, "*", ""},
        {"GET", "/derp/latency-check", "", 200, NULL, false, "Content-Length", "0", ""},
        {"GET", "/derp/latency-check?x", "", 200, NULL, false, "Connection", NULL, ""},
        {"POST", "/derp/latency-check", "", 405, PLAIN, false, ORIGIN, NULL,
         "bogus probe method\n"},

        {"GET", "/generate_204", "", 204, NULL, false, "Cache-Control",
         "no-cache, no-store, must-revalidate, no-transform, max-age=0", ""},
        {"GET", "/generate_204", "X-Tailscale-Challenge: ts_1.2:3-4\r\n", 204, NULL, false,
         "X-Tailscale-Response", "response ts_1.2:3-4", ""},
        {"GET", "/generate_204", "X-Tailscale-Challenge: a b\r\n", 204, NULL, false,
         "X-Tailscale-Response", NULL, ""},

        {"GET", "/derp", "", 426, PLAIN, false, "Upgrade", "DERP",
         "DERP requires connection upgrade\n"},
        {"GET", "/derp", "Upgrade: h2c\r\n", 426, PLAIN, false, "Connection", "Upgrade",
         "DERP requires connection upgrade\n"},
        {"GET", "/derp", WS, 426, PLAIN, false, "Upgrade", "DERP",
         "DERP over WebSocket is not served here\n"},

        {"GET", "/debug", "", 307, NULL, true, "Location", "/debug/", ""},
        {"GET", "/debug/", "", 200, HTML, true, NULL, NULL, NULL},
        {"GET", "/debug/varz", "", 200, PLAIN, true, NULL, NULL, NULL},
        {"GET", "/debug/vars", "", 200, "application/json; charset=utf-8", true, NULL, NULL, NULL},
        {"GET", "/debug/check", "", 200, PLAIN, true, NULL, NULL,
         "derp.Server ConsistencyCheck okay"},
        {"GET", "/debug/nope", "", 404, PLAIN, false, NULL, NULL, NULL},
        {"GET", "/debug/varz/", "", 404, PLAIN, false, NULL, NULL, NULL},
        {"GET", "/debug/traffic", "", 404, PLAIN, false, NULL, NULL, NULL},
        {"GET", "/debug/varz", XFF, 403, PLAIN, false, NULL, NULL, "debug access denied\n"},
        {"GET", "/debug/nope", XFF, 403, PLAIN, false, NULL, NULL, "debug access denied\n"},
        {"GET", "/", XFF, 200, HTML, true, NULL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(questions); i++)
        check_question(&questions[i]);
}

static void test_http_port(void **state)
{
    static const struct question questions[] = {
        {"GET", "/", "", 302, NULL, true, "Location", "https://asked.example/", ""},
        {"HEAD", "/a?b", "", 302, NULL, true, "Location", "https://asked.example/a?b", ""},
        {"GET", "/derp", "Upgrade: DERP\r\n", 302, NULL, true, "Location",
         "https://asked.example/derp", ""},
        {"GET", "http://other.example/x", "", 302, NULL, true, "Location",
         "https://other.example/x", ""},
        {"GET", "http://user@other.example/x", "", 400, PLAIN, false, "Location", NULL, NULL},
        {"POST", "/", "", 400, PLAIN, false, "Location", NULL, NULL},
        {"GET", "/generate_204", "X-Tailscale-Challenge: x\r\n", 204, NULL, false,
         "X-Tailscale-Response", "response x", ""},
        {"GET", "/debug", "", 307, NULL, true, "Location", "/debug/", ""},
        {"GET", "/debug/varz", "", 200, PLAIN, true, NULL, NULL, NULL},
        {"GET", "/debug/nope", "", 404, PLAIN, false, NULL, NULL, NULL},
        {"GET", "/debug/", XFF, 403, PLAIN, false, NULL, NULL, "debug access denied\n"},
        {"GET", "/debugx", "", 302, NULL, true, "Location", "https://asked.example/debugx", ""},
        {"GET", "/.well-known/acme-challenge/x", "", 302, NULL, true, "Location",
         "https://asked.example/.well-known/acme-challenge/x", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(questions); i++)
        check_question(&questions[i]);
}

// --- The way in. ---

static void check_upgrade(const char *request, bool fast, bool ideal)
{
    http_peer_connect(&peer);
    http_peer_send_text(&peer, request);
    http_peer_send_text(&peer, "behind");
    assert_int_equal(upgrades, 1);
    assert_int_equal(not_ideal, !ideal);
    assert_int_equal(preface_len == 0, fast);
    if (!fast)
        assert_memory_equal(preface, "HTTP/1.1 101 Switching Protocols\r\n", 34);
    assert_true(http_peer_read_bytes(&peer, 6));
    assert_memory_equal(peer.received, "behind", 6);
    upgrades = 0;
}

static void test_upgrades(void **state)
{
    (void)state;
    check_upgrade("GET /derp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n",
                  false, true);
    check_upgrade("GET /derp?x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", false, true);
    check_upgrade("POST https://a/derp HTTP/1.1\r\nhost: a\r\nupgrade: derp\r\n\r\n", false, true);
    check_upgrade("GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n",
                  true, true);
    check_upgrade("GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\nIdeal-Node: 1b\r\n\r\n", false,
                  false);
    check_upgrade("GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\nIdeal-Node:\r\n\r\n", false,
                  true);
    assert_non_null(memmem(preface, preface_len, "\r\nDerp-Public-Key: cdcd", 23));
}

static void test_without_derp(void **state)
{
    static const struct question questions[] = {
        {"GET", "/derp", "", 404, PLAIN, false, NULL, NULL, "derp server disabled\n"},
        {"GET", "/derp", "Upgrade: DERP\r\n", 404, PLAIN, false, NULL, NULL,
         "derp server disabled\n"},
        {"GET", "/derp/probe", "", 200, NULL, false, ORIGIN, "*", ""},
        {"GET", "/", "", 200, HTML, true, NULL, NULL, NULL},
    };
    struct web_config config = usual_config();

    (void)state;
    config.derp = false;
    serve(&config, false);
    for (size_t i = 0; i < COUNT(questions); i++)
        check_question(&questions[i]);
    stop();
}

// A stranger's Upgrade field: one line, cut and escaped, whatever the number of requests.
static void test_refused_upgrades_are_logged_once(void **state)
{
    char log[8192], request[2048];
    const int real = dup(STDERR_FILENO);
    ssize_t n;
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    dup2(ends[1], STDERR_FILENO);
    for (int i = 0; i < 50; i++) {
        struct http_answer answer;

        snprintf(request, sizeof request, "Upgrade: a\"\xff%01000d\r\n", i);
        ask(&answer, "GET", "/derp", request);
        assert_int_equal(answer.status, 426);
        free(answer.body);
    }
    n = read(ends[0], log, sizeof log - 1);
    dup2(real, STDERR_FILENO);
    close(real);
    close(ends[0]);
    close(ends[1]);
    // test_main_port may have been the first to write this line.
    assert_true(n < 300);
    if (n > 0) {
        log[n] = '\0';
        assert_ptr_equal(strchr(log, '\n'), log + n - 1);
        assert_non_null(strstr(log, "a\\x22\\xff0000"));
    }
}

// --- Home. ---

static void test_landing_page(void **state)
{
    struct web_config config = usual_config();
    struct http_answer answer;

    (void)state;
    config.hostname = "<script>&\"x\"";
    serve(&config, false);
    ask(&answer, "GET", "/", "");
    assert_in_range(answer.body_len, 500, 10000);
    assert_non_null(strstr(answer.body, "<html lang=\"en\">"));
    assert_non_null(strstr(answer.body, "name=\"viewport\""));
    assert_non_null(strstr(answer.body, "&lt;script&gt;&amp;&quot;x&quot;"));
    assert_null(strstr(answer.body, "<script"));
    assert_null(strstr(answer.body, "{{"));
    assert_null(strstr(answer.body, "style=")); // the policy forbids it
    assert_null(strstr(answer.body, "<style"));
    assert_string_equal(answer.body + answer.body_len - 8, "</html>\n");
    free(answer.body);
    stop();

    config.hostname = "";
    serve(&config, false);
    ask(&answer, "GET", "/", "");
    assert_non_null(strstr(answer.body, "this server"));
    free(answer.body);
    stop();
}

static void test_other_homes(void **state)
{
    static const struct question blank[] = {
        {"GET", "/", "", 200, NULL, true, "Content-Length", "0", ""},
        {"GET", "/x", "", 200, NULL, true, NULL, NULL, ""},
        {"GET", "/robots.txt", "", 200, PLAIN, true, NULL, NULL, NULL},
    };
    static const struct question redirect[] = {
        {"GET", "/", "", 302, NULL, true, "Location", "https://example.com/x?y", ""},
        {"POST", "/x", "", 302, NULL, true, "Location", "https://example.com/x?y", ""},
        {"GET", "/derp/probe", "", 200, NULL, false, ORIGIN, "*", ""},
    };
    struct web_config config = usual_config();

    (void)state;
    config.home = WEB_HOME_BLANK;
    serve(&config, false);
    for (size_t i = 0; i < COUNT(blank); i++)
        check_question(&blank[i]);
    stop();
    config.home = WEB_HOME_REDIRECT;
    config.home_url = "https://example.com/x?y";
    serve(&config, false);
    for (size_t i = 0; i < COUNT(redirect); i++)
        check_question(&redirect[i]);
    stop();
}

// --- Debug pages. ---

static void test_debug_index(void **state)
{
    static const char *const pages[] = {"/debug/varz", "/debug/vars", "/debug/check"};
    struct http_answer answer;

    (void)state;
    ask(&answer, "GET", "/debug/", "");
    for (size_t i = 0; i < COUNT(pages); i++)
        assert_non_null(strstr(answer.body, pages[i]));
    assert_non_null(strstr(answer.body, "derp.example.com"));
    assert_non_null(strstr(answer.body, "1.2.3-&quot;test&quot;"));
    assert_non_null(strstr(answer.body, "<dt>Clients</dt><dd>11</dd>"));
    assert_null(strstr(answer.body, "style="));
    free(answer.body);
}

static void read_varz(void)
{
    struct http_answer answer;

    ask(&answer, "GET", "/debug/varz", "");
    assert_int_equal(answer.status, 200);
    if (!prometheus_read(&prometheus, answer.body, answer.body_len))
        fail_msg("%s: %s", prometheus.fault, prometheus.line);
    free(answer.body);
}

static void assert_series(const char *series, double value)
{
    const double have = prometheus_value(&prometheus, series);

    if (have != value)
        fail_msg("%s is %g, not %g", series, have, value);
}

static void assert_types(const char *type, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *have = prometheus_type(&prometheus, names[i]);

        if (!have || strcmp(have, type) != 0)
            fail_msg("%s is %s, not %s", names[i], have ? have : "absent", type);
    }
}

// Names that dashboards for Tailscale's derper use.
static void test_varz_names(void **state)
{
    static const char *const gauges[] = {
        "derp_current_connections",
        "derp_current_home_connections",
        "derp_current_notideal_connections",
        "derp_clients_total",
        "derp_clients_local",
        "derp_clients_remote",
        "derp_watchers",
        "derp_current_file_descriptors",
        "derp_current_dup_client_keys",
        "derp_current_dup_client_conns",
        "derp_memstats_sys0",
        "derp_average_queue_duration_ms",
        "process_start_unix_time",
        "version",
        "derper_tls_active_version",
        "derper_worker_connections",
        "derper_waiting_bytes",
    };
    static const char *const counters[] = {
        "derp_accepts",
        "derp_bytes_received",
        "derp_bytes_sent",
        "derp_packets_sent",
        "derp_packets_received",
        "derp_packets_received_kind",
        "derp_packets_dropped",
        "derp_bytes_dropped",
        "derp_packets_forwarded_in",
        "derp_packets_forwarded_out",
        "derp_multiforwarder_created",
        "derp_multiforwarder_deleted",
        "derp_packet_forwarder_delete_other_value",
        "derp_unknown_frames",
        "derp_home_moves_in",
        "derp_home_moves_out",
        "derp_got_ping",
        "derp_sent_pong",
        "derp_peer_gone_disconnected_frames",
        "derp_peer_gone_not_here_frames",
        "derp_sclient_write_timeouts",
        "derp_rate_limit_per_client_waited",
        "derp_total_dup_client_conns",
        "derp_websocket_accepts",
        "derp_tcp_rtt",
        "derper_tls_request_version",
        "tls_listener_accepted_connections",
        "tls_listener_rejected_connections",
        "uptime_sec",
        "stun_one",
        "stun_two",
        "derper_tls_handshake_failures",
        "derper_login_refused",
        "derper_client_ends",
        "derper_accept_pauses",
        "derper_accept_failures",
        "derper_line_pauses",
        "derper_newcomers_crowded_out",
        "derper_proxy_refusals",
        "derper_handshakes_delayed",
        "derper_tls_record_faults",
        "derper_http_requests",
        "derper_http_bad_requests",
        "derper_http_long_heads",
        "derper_http_slow_closed",
        "derper_worker_packets_received",
        "derper_worker_inbox_packets",
        "derper_worker_inbox_wakeups",
    };
    static const char *const histograms[] = {
        "derp_buffered_write_frames", "derp_mesh_update_batch_size", "derp_mesh_update_loop_count"};

    (void)state;
    read_varz();
    assert_types("gauge", gauges, COUNT(gauges));
    assert_types("counter", counters, COUNT(counters));
    assert_types("histogram", histograms, COUNT(histograms));
    assert_null(prometheus_type(&prometheus, "derper_certificate_not_after_unix"));
}

static void test_varz_values(void **state)
{
    (void)state;
    read_varz();
    assert_series("derp_current_connections", 15); // 5 in each of 3 workers
    assert_series("derp_bytes_sent", 15);
    assert_series("derp_packets_dropped{reason=\"queue_head\",kind=\"disco\"}", 15);
    assert_series("derp_bytes_dropped{reason=\"dup_client\",kind=\"other\"}", 15);
    assert_series("derp_packets_received_kind{kind=\"disco\"}", 15);
    assert_series("derp_tcp_rtt{le=\"10ms\"}", 15);
    assert_series("derp_tcp_rtt{le=\"500ms\"}", 15);
    assert_series("derp_tcp_rtt{le=\"inf\"}", 15);
    assert_series("derp_average_queue_duration_ms", 1);
    assert_series("derp_buffered_write_frames_bucket{le=\"1\"}", 15);
    assert_series("derp_buffered_write_frames_bucket{le=\"+Inf\"}", 15 * WRITE_FRAMES_BUCKETS);
    assert_series("derp_buffered_write_frames_sum", 15);
    assert_series("derp_clients_total", 11);
    assert_series("derp_clients_local", 11);
    assert_series("derp_current_dup_client_keys", 2);
    assert_series("derp_current_dup_client_conns", 5);
    assert_series("derp_total_dup_client_conns", 9);
    assert_series("derper_worker_connections{worker=\"0\"}", 5);
    assert_series("derper_worker_connections{worker=\"2\"}", 5);
    assert_series("derper_worker_connections{worker=\"3\"}", -1);
    assert_series("derper_tls_request_version{version=\"1.3\"}", 15);
    assert_series("derper_login_refused{reason=\"zero_key\"}", 15);
    assert_series("derper_login_refused{reason=\"ok\"}", -1);
    assert_series("derper_client_ends{reason=\"write_timeout\"}", 15);
    assert_series("derper_tls_handshake_failures{reason=\"sni\"}", 15);
    assert_series("derper_tls_record_faults", 15);
    assert_series("derper_waiting_bytes", 15);
    assert_series("version{version=\"1.2.3-\\\"test\\\"\",binary=\"derper\"}", 1);
    assert_series("stun_two", 77);
    assert_true(prometheus_value(&prometheus, "derp_current_file_descriptors") > 5);
    assert_true(prometheus_value(&prometheus, "derp_memstats_sys0") > 1e6);
    assert_true(prometheus_value(&prometheus, "process_start_unix_time") > 1.7e9);
    each_counter = 0;
    read_varz();
    assert_series("derp_average_queue_duration_ms", 0);
}

static void test_vars(void **state)
{
    struct http_answer answer;
    json_error_t error;
    json_t *root, *derp;

    (void)state;
    ask(&answer, "GET", "/debug/vars", "");
    root = json_loadb(answer.body, answer.body_len, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        fail_msg("line %d: %s", error.line, error.text);
    derp = json_object_get(root, "derp");
    assert_int_equal(json_integer_value(json_object_get(derp, "bytes_sent")), 15);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(derp, "packets_dropped"),
                                                        "queue_head disco")),
                     15);
    assert_int_equal(json_integer_value(json_object_get(root, "stun_one")), 77);
    json_decref(root);
    free(answer.body);
}

// As many workers as there may be, with numbers larger than any that a century brings.
static void test_largest_pages_fit(void **state)
{
    struct http_answer answer;

    (void)state;
    relay.config.workers = RELAY_WORKERS_MAX;
    each_counter = INT64_MAX / RELAY_WORKERS_MAX / (2 * WRITE_FRAMES_BUCKETS);
    read_varz();
    assert_series("derp_accepts", (double)each_counter * RELAY_WORKERS_MAX);
    ask(&answer, "GET", "/debug/varz", "");
    print_message("varz of %d workers: %zu bytes\n", RELAY_WORKERS_MAX, answer.body_len);
    assert_in_range(answer.body_len, 1, HTTP_BODY_MAX_BYTES - 8192); // room for other sources
    free(answer.body);
    ask(&answer, "GET", "/debug/vars", "");
    print_message("vars of %d workers: %zu bytes\n", RELAY_WORKERS_MAX, answer.body_len);
    assert_in_range(answer.body_len, 1, HTTP_BODY_MAX_BYTES - 8192);
    free(answer.body);
}

static void write_too_much(struct metrics *metrics, void *data)
{
    (void)data;
    metrics_family(metrics, METRIC_GAUGE, "too_much");
    for (int i = 0; i < HTTP_BODY_MAX_BYTES; i++) {
        char text[16];

        snprintf(text, sizeof text, "%d", i);
        metrics_sample(metrics, "i", text, i);
    }
}

static void test_too_large_page_is_an_error(void **state)
{
    const struct metric_source source = {write_too_much, NULL};
    struct web_config config = usual_config();

    (void)state;
    config.sources = &source;
    config.source_count = 1;
    serve(&config, false);
    check_question(
        &(struct question){"GET", "/debug/varz", "", 500, PLAIN, false, NULL, NULL, NULL});
    check_question(&(struct question){"GET", "/debug/", "", 200, HTML, true, NULL, NULL, NULL});
    stop();
}

static void test_certificate_end(void **state)
{
    static _Atomic int64_t not_after = 1893456000;
    struct web_config config = usual_config();
    struct http_answer answer;

    (void)state;
    config.certificate_not_after = &not_after;
    serve(&config, false);
    read_varz();
    assert_series("derper_certificate_not_after_unix", 1893456000);
    ask(&answer, "GET", "/debug/", "");
    assert_non_null(strstr(answer.body, "2030-01-01 00:00:00 UTC"));
    free(answer.body);
    not_after = 0; // not known yet
    read_varz();
    assert_null(prometheus_type(&prometheus, "derper_certificate_not_after_unix"));
    stop();
}

// --- Before the first certificate that is fetched. ---

// The page that says so stands on both ports, and the relay on neither in the clear.
static void test_waiting_for_a_certificate(void **state)
{
    static _Atomic int64_t not_after;
    static struct challenges challenges;
    struct web_config config = usual_config();
    struct http_answer answer;

    (void)state;
    challenges_init(&challenges);
    config.certificate_not_after = &not_after;
    config.challenges = &challenges;
    not_after = 0;
    serve(&config, true);
    ask(&answer, "GET", "/", "");
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body, "Waiting for its first TLS certificate"));
    assert_null(strstr(answer.body, "{{"));
    free(answer.body);
    ask(&answer, "GET", "/style.css", "");
    assert_int_equal(answer.status, 200);
    free(answer.body);
    ask(&answer, "GET", "/derp", "Connection: Upgrade\r\nUpgrade: DERP\r\n");
    assert_int_equal(answer.status, 200);
    assert_int_equal(upgrades, 0);
    free(answer.body);

    not_after = 1893456000;
    ask(&answer, "GET", "/", "");
    assert_int_equal(answer.status, 302);
    free(answer.body);
    stop();
    challenges_deinit(&challenges);
}

// --- http-01. ---

#define PROOF "/.well-known/acme-challenge/"

// On either port; what stands beside the path is as ever.
static void check_proofs(bool http_port)
{
    static const struct question questions[] = {
        {"GET", PROOF "to-ken_1", "", 200, PLAIN, false, "Location", NULL, "to-ken_1.print"},
        {"HEAD", PROOF "to-ken_1", "", 200, PLAIN, false, "Content-Length", "14", ""},
        {"GET", PROOF "to-ken_1?x", "", 200, PLAIN, false, NULL, NULL, "to-ken_1.print"},
        {"GET", "http://other.example" PROOF "to-ken_1", "", 200, PLAIN, false, NULL, NULL,
         "to-ken_1.print"},
        {"GET", PROOF "to-ken_1", XFF, 200, PLAIN, false, NULL, NULL, "to-ken_1.print"},
        {"GET", PROOF "to-ken_2", "", 404, PLAIN, false, "Location", NULL, "no such challenge\n"},
        {"HEAD", PROOF "to-ken_2", "", 404, PLAIN, false, NULL, NULL, ""},
        {"GET", PROOF "to-ken_", "", 404, PLAIN, false, NULL, NULL, NULL},
        {"GET", PROOF "to-ken_1/", "", 404, PLAIN, false, NULL, NULL, NULL},
        {"GET", PROOF "../acme-challenge/to-ken_1", "", 404, PLAIN, false, NULL, NULL, NULL},
        {"GET", PROOF, "", 404, PLAIN, false, NULL, NULL, NULL},
        {"POST", PROOF "to-ken_1", "", 405, PLAIN, false, "Allow", "GET, HEAD", NULL},
    };
    static struct challenges challenges;
    struct web_config config = usual_config();

    challenges_init(&challenges);
    config.challenges = &challenges;
    serve(&config, http_port);
    assert_true(challenges_show_http(&challenges, "to-ken_1", "to-ken_1.print"));
    for (size_t i = 0; i < COUNT(questions); i++)
        check_question(&questions[i]);
    check_question(&(struct question){"GET", "/.well-known/acme-challenge", "",
                                      http_port ? 302 : 200, http_port ? NULL : HTML, true, NULL,
                                      NULL, NULL});
    read_varz();
    assert_series("derper_acme_challenges{kind=\"http-01\",result=\"answered\"}", 5);
    assert_series("derper_acme_challenges{kind=\"http-01\",result=\"unknown\"}", 6);
    assert_series("derper_acme_challenges{kind=\"tls-alpn-01\",result=\"answered\"}", 0);
    stop();
    challenges_deinit(&challenges);
}

static void test_proofs(void **state)
{
    (void)state;
    check_proofs(true);
    check_proofs(false);
}

#define MAIN(name) cmocka_unit_test_setup_teardown(name, setup_main, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MAIN(test_main_port),
        cmocka_unit_test_setup_teardown(test_http_port, setup_http_port, teardown),
        MAIN(test_upgrades),
        cmocka_unit_test(test_without_derp),
        MAIN(test_refused_upgrades_are_logged_once),
        cmocka_unit_test(test_landing_page),
        cmocka_unit_test(test_other_homes),
        MAIN(test_debug_index),
        MAIN(test_varz_names),
        MAIN(test_varz_values),
        MAIN(test_vars),
        MAIN(test_largest_pages_fit),
        cmocka_unit_test(test_too_large_page_is_an_error),
        cmocka_unit_test(test_certificate_end),
        cmocka_unit_test(test_waiting_for_a_certificate),
        cmocka_unit_test(test_proofs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
