// SPDX-License-Identifier: BSD-3-Clause
//
// Clients that stay: each sends one packet to its neighbour and gets one from it, so that the relay
// has whatever it keeps for a client that has seen traffic. Then nothing happens for a while.
#include "modes.h"

#include "base/clock.h"
#include "neighbours.h"

#include <signal.h>

#define LOGIN_DEADLINE_MS 120000
#define EXCHANGE_DEADLINE_MS 60000
#define POLL_MS 50
#define SENDS_PER_TURN 64

static volatile sig_atomic_t told_to_end;

struct idle {
    struct fleet fleet;
    uint64_t payload_bytes;
    uint64_t received, wrong;
};

static void on_signal(int number)
{
    (void)number;
    told_to_end = 1;
}

// The fleet is the first member, and its connections keep it as their data.
static void on_frame(struct conn *conn, const struct frame_header *header, const uint8_t *frame)
{
    struct idle *idle = conn->data;
    const size_t i = (size_t)(conn - idle->fleet.conns);

    if (header->type != FRAME_RECV_PACKET)
        return;
    if (neighbours_check(header, frame, i, idle->payload_bytes))
        idle->received++;
    else
        idle->wrong++;
}

static const struct conn_handlers handlers = {fleet_on_ready, on_frame, fleet_on_end};

static void exchange(struct idle *idle)
{
    const uint64_t deadline = clock_ms() + EXCHANGE_DEADLINE_MS;
    size_t sent = 0;

    while (idle->received < idle->fleet.count && !idle->fleet.failure) {
        for (int i = 0; i < SENDS_PER_TURN && sent < idle->fleet.count; i++)
            neighbours_send(&idle->fleet, sent++, idle->payload_bytes);
        conn_poll(idle->fleet.epoll_fd, sent < idle->fleet.count ? 0 : POLL_MS);
        if (clock_ms() > deadline)
            idle->fleet.failure = "the packets did not all arrive in time";
    }
}

static void hold(struct idle *idle, double seconds)
{
    const uint64_t end = clock_ms() + (uint64_t)(seconds * MS_PER_SECOND);

    while (clock_ms() < end && !told_to_end && !idle->fleet.failure)
        conn_poll(idle->fleet.epoll_fd, POLL_MS);
}

static void report_growth(struct report *report, const char *name, uint64_t before, uint64_t after,
                          uint64_t clients)
{
    report_real(report, name, ((double)after - (double)before) / (double)clients);
}

static void report_kernel(struct report *report, const struct process_kernel *before,
                          uint64_t clients)
{
    struct process_kernel after;

    process_kernel_read(&after);
    report_growth(report, "slab_per_client_both_ends", before->slab_bytes, after.slab_bytes,
                  clients);
    report_growth(report, "slab_unreclaimable_per_client_both_ends",
                  before->slab_unreclaimable_bytes, after.slab_unreclaimable_bytes, clients);
    report_growth(report, "socket_memory_per_client_both_ends", before->tcp_buffer_bytes,
                  after.tcp_buffer_bytes, clients);
}

static void measure(struct idle *idle, const struct options *options, struct report *report)
{
    const uint64_t clients = options->clients & ~1ULL, rss = process_rss(options->pid);
    struct process_kernel kernel;
    uint64_t rss_after;

    process_kernel_read(&kernel);
    report_begin(report);
    if (!fleet_open(&idle->fleet, (struct conn_target *)&options->target, clients, options->at_once,
                    &handlers, clock_ms() + LOGIN_DEADLINE_MS))
        return;
    exchange(idle);
    rss_after = process_rss(options->pid);
    if (!idle->fleet.failure)
        fprintf(stderr, "ready\n");
    hold(idle, options->hold_s);
    report_end(report);
    if (options->pid) {
        report_count(report, "rss_before_bytes", rss);
        report_count(report, "rss_traffic_bytes", rss_after);
        report_growth(report, "rss_per_client_traffic", rss, rss_after, clients);
        report_growth(report, "rss_per_client", rss, process_rss(options->pid), clients);
    }
    report_kernel(report, &kernel, clients);
}

void mode_idle(const struct options *options, struct report *report)
{
    struct idle idle = {.payload_bytes = options->payload_bytes, .fleet.epoll_fd = -1};

    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    measure(&idle, options, report);
    report_count(report, "clients", idle.fleet.ready);
    report_count(report, "received", idle.received);
    report_real(report, "hold_s", options->hold_s);
    if (idle.fleet.failure)
        report_invalid(report, "%s", idle.fleet.failure);
    if (idle.wrong)
        report_invalid(report, "the relay sent frames that it should not");
    if (!idle.fleet.failure)
        report_costs(report, "clients_per_cpu_s", idle.fleet.ready);
    fleet_close(&idle.fleet);
}
