// SPDX-License-Identifier: BSD-3-Clause
#include "web/numbers.h"

#include "web/process.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

// What is told of each worker by itself.
struct worker_numbers {
    int64_t connections, packets, inbox_packets, inbox_wakeups;
};

struct totals {
    struct worker_snapshot all; // the sum over the workers
    size_t workers;
    struct worker_numbers each[RELAY_WORKERS_MAX];
};

// A snapshot is nothing but counters, so it is added up as an array of them.
static void add_snapshot(struct worker_snapshot *sum, const struct worker_snapshot *one)
{
    static_assert(sizeof *sum % sizeof(struct counter) == 0, "a snapshot holds counters only");
    struct counter *to = (struct counter *)sum;
    const struct counter *from = (const struct counter *)one;

    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        counter_add(&to[i], counter_read(&from[i]));
}

static void collect(struct relay *relay, struct totals *totals)
{
    struct worker_snapshot one;

    memset(totals, 0, sizeof *totals);
    totals->workers = relay_workers(relay);
    for (size_t i = 0; i < totals->workers; i++) {
        relay_worker_snapshot(relay, i, &one);
        add_snapshot(&totals->all, &one);
        totals->each[i] = (struct worker_numbers){
            .connections = counter_read(&one.relay.connections),
            .packets = counter_read(&one.relay.packets_received),
            .inbox_packets = counter_read(&one.relay.inbox_packets),
            .inbox_wakeups = counter_read(&one.relay.inbox_wakeups),
        };
    }
}

// A table of families without labels: name, type, and where the number stands in a snapshot.
struct entry {
    const char *name;
    enum metric_type type;
    size_t offset;
};

#define RELAY(field) offsetof(struct worker_snapshot, relay.field)
#define IO(field) offsetof(struct worker_snapshot, io.field)

static const struct entry relay_entries[] = {
    {"derp_current_connections", METRIC_GAUGE, RELAY(connections)},
    {"derp_current_home_connections", METRIC_GAUGE, RELAY(home_connections)},
    {"derp_current_notideal_connections", METRIC_GAUGE, RELAY(notideal_connections)},
    {"derp_accepts", METRIC_COUNTER, RELAY(accepts)},
    {"derp_bytes_received", METRIC_COUNTER, RELAY(bytes_received)},
    {"derp_bytes_sent", METRIC_COUNTER, RELAY(bytes_sent)},
    {"derp_packets_received", METRIC_COUNTER, RELAY(packets_received)},
    {"derp_packets_sent", METRIC_COUNTER, RELAY(packets_sent)},
    {"derp_unknown_frames", METRIC_COUNTER, RELAY(unknown_frames)},
    {"derp_home_moves_in", METRIC_COUNTER, RELAY(home_moves_in)},
    {"derp_home_moves_out", METRIC_COUNTER, RELAY(home_moves_out)},
    {"derp_got_ping", METRIC_COUNTER, RELAY(got_ping)},
    {"derp_sent_pong", METRIC_COUNTER, RELAY(sent_pong)},
    {"derp_peer_gone_disconnected_frames", METRIC_COUNTER, RELAY(peer_gone_disconnected_frames)},
    {"derp_peer_gone_not_here_frames", METRIC_COUNTER, RELAY(peer_gone_not_here_frames)},
    {"derp_sclient_write_timeouts", METRIC_COUNTER, RELAY(write_timeouts)},
    {"derp_rate_limit_per_client_waited", METRIC_COUNTER, RELAY(rate_pauses)},
};

static const struct entry own_entries[] = {
    {"tls_listener_accepted_connections", METRIC_COUNTER, IO(tls_accepted)},
    {"derper_plain_accepted_connections", METRIC_COUNTER, IO(plain_accepted)},
    {"tls_listener_rejected_connections", METRIC_COUNTER, IO(accept_refused)},
    {"derper_accept_failures", METRIC_COUNTER, IO(accept_failures)},
    {"derper_accept_pauses", METRIC_COUNTER, IO(accept_pauses)},
    {"derper_line_pauses", METRIC_COUNTER, IO(line_pauses)},
    {"derper_newcomers", METRIC_GAUGE, IO(newcomers)},
    {"derper_newcomers_in_line", METRIC_GAUGE, IO(newcomers_in_line)},
    {"derper_newcomers_crowded_out", METRIC_COUNTER, IO(newcomers_crowded_out)},
    {"derper_proxy_refusals", METRIC_COUNTER, IO(proxy_refusals)},
    {"derper_handshakes_delayed", METRIC_COUNTER, IO(handshakes_delayed)},
    {"derper_streams", METRIC_GAUGE, IO(streams)},
    {"derper_tls_record_faults", METRIC_COUNTER, IO(tls_record_faults)},
    {"derper_logins_pending", METRIC_GAUGE, RELAY(logins_pending)},
    {"derper_http_requests", METRIC_COUNTER, IO(http_requests)},
    {"derper_http_bad_requests", METRIC_COUNTER, IO(http_bad_requests)},
    {"derper_http_long_heads", METRIC_COUNTER, IO(http_long_heads)},
    {"derper_http_floods", METRIC_COUNTER, IO(http_floods)},
    {"derper_http_slow_closed", METRIC_COUNTER, IO(http_slow_closed)},
    {"derper_queue_duration_ms_sum", METRIC_COUNTER, RELAY(queue_ms_sum)},
    {"derper_queue_duration_samples", METRIC_COUNTER, RELAY(queue_samples)},
    {"derper_peer_gone_limited", METRIC_COUNTER, RELAY(peer_gone_limited)},
    {"derper_waiting_bytes", METRIC_GAUGE, RELAY(waiting_bytes)},
    {"derper_control_frames_dropped", METRIC_COUNTER, RELAY(control_dropped)},
    {"derper_sent_to_full", METRIC_COUNTER, RELAY(sent_to_full)},
};

static void put_entries(struct metrics *metrics, const struct entry *entries, size_t count,
                        const struct worker_snapshot *all)
{
    for (size_t i = 0; i < count; i++) {
        const char *at = (const char *)all + entries[i].offset;
        const int64_t value = counter_read((const struct counter *)at);

        if (entries[i].type == METRIC_COUNTER)
            metrics_counter(metrics, entries[i].name, value);
        else
            metrics_gauge(metrics, entries[i].name, value);
    }
}

static void put_clients(struct metrics *metrics, struct relay *relay)
{
    struct relay_snapshot snapshot;

    relay_snapshot(relay, &snapshot);
    metrics_gauge(metrics, "derp_clients_total", snapshot.clients);
    metrics_gauge(metrics, "derp_clients_local", snapshot.clients);
    metrics_gauge(metrics, "derp_clients_remote", 0);
    metrics_gauge(metrics, "derp_current_dup_client_keys", snapshot.dup_client_keys);
    metrics_gauge(metrics, "derp_current_dup_client_conns", snapshot.dup_client_conns);
    metrics_counter(metrics, "derp_total_dup_client_conns", snapshot.dup_client_total);
    metrics_gauge(metrics, "derp_rate_limit_per_client_bytes_per_second",
                  snapshot.bytes_per_second);
    metrics_gauge(metrics, "derp_rate_limit_per_client_burst_bytes", snapshot.burst_bytes);
}

static void put_drops(struct metrics *metrics, const char *name,
                      const struct counter counts[DROP_REASONS][PACKET_KINDS])
{
    metrics_family(metrics, METRIC_COUNTER, name);
    for (int reason = 0; reason < DROP_REASONS; reason++)
        for (int kind = 0; kind < PACKET_KINDS; kind++)
            metrics_sample2(metrics, "reason", drop_reason_name(reason), "kind",
                            packet_kind_name(kind), counter_read(&counts[reason][kind]));
}

static void put_packets(struct metrics *metrics, const struct relay_counters *relay)
{
    metrics_family(metrics, METRIC_COUNTER, "derp_packets_received_kind");
    for (int kind = 0; kind < PACKET_KINDS; kind++)
        metrics_sample(metrics, "kind", packet_kind_name(kind),
                       counter_read(&relay->packets_received_kind[kind]));
    put_drops(metrics, "derp_packets_dropped", relay->packets_dropped);
    put_drops(metrics, "derp_bytes_dropped", relay->bytes_dropped);
}

static void put_round_trips(struct metrics *metrics, const struct relay_counters *relay)
{
    static const char *const bounds[RTT_BUCKETS] = {"10ms",  "20ms",  "50ms",  "100ms",
                                                    "150ms", "250ms", "500ms", "inf"};

    metrics_family(metrics, METRIC_COUNTER, "derp_tcp_rtt");
    for (int i = 0; i < RTT_BUCKETS; i++)
        metrics_sample(metrics, "le", bounds[i], counter_read(&relay->tcp_rtt[i]));
}

static void put_queues(struct metrics *metrics, const struct relay_counters *relay)
{
    static const int64_t bounds[] = WRITE_FRAMES_BOUNDS;
    const int64_t samples = counter_read(&relay->queue_samples);
    const double sum = (double)counter_read(&relay->queue_ms_sum);
    int64_t counts[WRITE_FRAMES_BUCKETS];

    static_assert(sizeof bounds / sizeof bounds[0] + 1 == WRITE_FRAMES_BUCKETS, "one above all");
    metrics_gauge_real(metrics, "derp_average_queue_duration_ms",
                       samples > 0 ? sum / (double)samples : 0);
    for (int i = 0; i < WRITE_FRAMES_BUCKETS; i++)
        counts[i] = counter_read(&relay->write_frames[i]);
    metrics_histogram(metrics, "derp_buffered_write_frames", bounds, WRITE_FRAMES_BUCKETS - 1,
                      counts, counter_read(&relay->write_frames_sum));
}

// What a relay without a mesh and without WebSocket has none of: dashboards look for the names.
static void put_absent(struct metrics *metrics)
{
    static const char *const counters[] = {
        "derp_packets_forwarded_in",   "derp_packets_forwarded_out",
        "derp_multiforwarder_created", "derp_multiforwarder_deleted",
        "derp_websocket_accepts",      "derp_packet_forwarder_delete_other_value",
    };
    static const int64_t bounds[] = {1, 10, 100, 1000};
    static const int64_t counts[sizeof bounds / sizeof bounds[0] + 1];

    metrics_gauge(metrics, "derp_watchers", 0);
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        metrics_counter(metrics, counters[i], 0);
    metrics_histogram(metrics, "derp_mesh_update_batch_size", bounds,
                      sizeof bounds / sizeof bounds[0], counts, 0);
    metrics_histogram(metrics, "derp_mesh_update_loop_count", bounds,
                      sizeof bounds / sizeof bounds[0], counts, 0);
}

// The same for bootstrap DNS.
static void put_absent_dns(struct metrics *metrics)
{
    static const char *const counters[] = {
        "bootstrap_dns_requests",           "bootstrap_dns_published_hits",
        "bootstrap_dns_published_misses",   "bootstrap_dns_unpublished_hits",
        "bootstrap_dns_unpublished_misses", "bootstrap_dns_unpublished_percent_misses",
        "bootstrap_dns_queried_domains",
    };

    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        metrics_counter(metrics, counters[i], 0);
}

static void put_tls(struct metrics *metrics, const struct io_counters *io)
{
    metrics_family(metrics, METRIC_COUNTER, "derper_tls_request_version");
    metrics_sample(metrics, "version", "1.2", counter_read(&io->tls12_handshakes));
    metrics_sample(metrics, "version", "1.3", counter_read(&io->tls13_handshakes));
    metrics_family(metrics, METRIC_GAUGE, "derper_tls_active_version");
    metrics_sample(metrics, "version", "1.2", counter_read(&io->tls12_active));
    metrics_sample(metrics, "version", "1.3", counter_read(&io->tls13_active));
    metrics_family(metrics, METRIC_COUNTER, "derper_tls_handshake_failures");
    for (int i = 0; i < TLS_FAILURES; i++)
        metrics_sample(metrics, "reason", tls_failure_name(i), counter_read(&io->tls_failures[i]));
}

// Those of tls-alpn-01 that were not answered are among the failed handshakes.
static void put_challenges(struct metrics *metrics, const struct challenges *challenges)
{
    metrics_family(metrics, METRIC_COUNTER, "derper_acme_challenges");
    metrics_sample2(metrics, "kind", "http-01", "result", "answered", challenges->http_answered);
    metrics_sample2(metrics, "kind", "http-01", "result", "unknown", challenges->http_unknown);
    metrics_sample2(metrics, "kind", "tls-alpn-01", "result", "answered", challenges->tls_answered);
}

static void put_ends(struct metrics *metrics, const struct relay_counters *relay)
{
    metrics_family(metrics, METRIC_COUNTER, "derper_login_refused");
    for (int i = LOGIN_OK + 1; i < LOGIN_RESULTS; i++)
        metrics_sample(metrics, "reason", login_result_name(i),
                       counter_read(&relay->login_refused[i]));
    metrics_family(metrics, METRIC_COUNTER, "derper_client_ends");
    for (int i = 0; i < CLIENT_ENDS; i++)
        metrics_sample(metrics, "reason", client_end_name(i), counter_read(&relay->client_ends[i]));
}

static void put_of_workers(struct metrics *metrics, const struct totals *totals,
                           enum metric_type type, const char *name, size_t offset)
{
    metrics_family(metrics, type, name);
    for (size_t i = 0; i < totals->workers; i++) {
        int64_t value;
        char worker[24];

        memcpy(&value, (const char *)&totals->each[i] + offset, sizeof value);
        snprintf(worker, sizeof worker, "%zu", i);
        metrics_sample(metrics, "worker", worker, value);
    }
}

static void put_workers(struct metrics *metrics, const struct totals *totals)
{
    put_of_workers(metrics, totals, METRIC_GAUGE, "derper_worker_connections",
                   offsetof(struct worker_numbers, connections));
    put_of_workers(metrics, totals, METRIC_COUNTER, "derper_worker_packets_received",
                   offsetof(struct worker_numbers, packets));
    put_of_workers(metrics, totals, METRIC_COUNTER, "derper_worker_inbox_packets",
                   offsetof(struct worker_numbers, inbox_packets));
    put_of_workers(metrics, totals, METRIC_COUNTER, "derper_worker_inbox_wakeups",
                   offsetof(struct worker_numbers, inbox_wakeups));
}

static void put_process(struct metrics *metrics, const struct numbers *numbers)
{
    metrics_gauge(metrics, "process_start_unix_time", numbers->start_unix);
    metrics_counter(metrics, "uptime_sec", numbers->uptime_s);
    metrics_family(metrics, METRIC_GAUGE, "version");
    metrics_sample2(metrics, "version", numbers->version, "binary", "derper", 1);
    if (numbers->certificate_not_after > 0)
        metrics_gauge(metrics, "derper_certificate_not_after_unix", numbers->certificate_not_after);
}

void numbers_write(struct metrics *metrics, const struct numbers *numbers)
{
    struct totals totals;

    collect(numbers->relay, &totals);
    put_entries(metrics, relay_entries, sizeof relay_entries / sizeof relay_entries[0],
                &totals.all);
    put_clients(metrics, numbers->relay);
    put_packets(metrics, &totals.all.relay);
    put_round_trips(metrics, &totals.all.relay);
    put_queues(metrics, &totals.all.relay);
    put_absent(metrics);
    metrics_gauge(metrics, "derp_current_file_descriptors", process_descriptors());
    metrics_gauge(metrics, "derp_memstats_sys0", process_memory_bytes());
    put_entries(metrics, own_entries, sizeof own_entries / sizeof own_entries[0], &totals.all);
    put_tls(metrics, &totals.all.io);
    if (numbers->challenges)
        put_challenges(metrics, numbers->challenges);
    put_ends(metrics, &totals.all.relay);
    put_workers(metrics, &totals);
    put_absent_dns(metrics);
    put_process(metrics, numbers);
}
