// SPDX-License-Identifier: BSD-3-Clause
//
// Clients that stay: each sends one packet to its neighbour and gets one from it, so that the relay
// has whatever it keeps for a client that has seen traffic. Then nothing happens for a while.
#include "modes.h"

#include "base/clock.h"
#include "fleet.h"
#include "payload.h"

#include <signal.h>
#include <string.h>

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
    struct payload payload;

    if (header->type != FRAME_RECV_PACKET)
        return;
    if (header->payload_bytes == KEY_BYTES + idle->payload_bytes &&
        payload_check(frame + KEY_BYTES, idle->payload_bytes, &payload) &&
        &idle->fleet.conns[payload.flow ^ 1] == conn)
        idle->received++;
    else
        idle->wrong++;
}

static const struct conn_handlers handlers = {fleet_on_ready, on_frame, fleet_on_end};

static void send_to_neighbour(struct idle *idle, size_t i)
{
    static uint8_t frame[FRAME_HEADER_BYTES + KEY_BYTES + PAYLOAD_MAX_BYTES];
    const size_t payload = KEY_BYTES + idle->payload_bytes;
    const struct payload content = {.flow = (uint32_t)i};

    frame_put_header(frame, FRAME_SEND_PACKET, (uint32_t)payload);
    memcpy(frame + FRAME_HEADER_BYTES, idle->fleet.conns[i ^ 1].keys.public.bytes, KEY_BYTES);
    payload_put(frame + FRAME_HEADER_BYTES + KEY_BYTES, idle->payload_bytes, &content);
    conn_send(&idle->fleet.conns[i], frame, FRAME_HEADER_BYTES + payload);
}

static void exchange(struct idle *idle)
{
    const uint64_t deadline = clock_ms() + EXCHANGE_DEADLINE_MS;
    size_t sent = 0;

    while (idle->received < idle->fleet.count && !idle->fleet.failure) {
        for (int i = 0; i < SENDS_PER_TURN && sent < idle->fleet.count; i++)
            send_to_neighbour(idle, sent++);
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

static void report_memory(struct report *report, const char *name, uint64_t before, uint64_t after,
                          uint64_t clients)
{
    report_real(report, name, ((double)after - (double)before) / (double)clients);
}

static void measure(struct idle *idle, const struct options *options, struct report *report)
{
    const uint64_t clients = options->clients & ~1ULL;
    const uint64_t rss = process_rss(options->pid), slab = process_kernel_slab();
    uint64_t rss_after;

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
    report_count(report, "rss_before_bytes", rss);
    report_count(report, "rss_traffic_bytes", rss_after);
    if (options->pid) {
        report_memory(report, "rss_per_client_traffic", rss, rss_after, clients);
        report_memory(report, "rss_per_client", rss, process_rss(options->pid), clients);
    }
    report_memory(report, "slab_per_client_both_ends", slab, process_kernel_slab(), clients);
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
