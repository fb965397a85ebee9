// SPDX-License-Identifier: BSD-3-Clause
//
// Pairs of clients. The loop spins rather than sleeps: it has a core of its own, and a generator
// that wakes up late measures itself. Its lateness is how long after the planned moment it came to
// a write; what a full socket held back is told apart.
#include "modes.h"

#include "base/clock.h"
#include "flows.h"

#include <stdlib.h>

#define NS_PER_SECOND 1000000000ULL
#define LOGIN_DEADLINE_MS 60000
#define SLACK_NS (30 * NS_PER_SECOND)
#define QUIET_NS (1 * NS_PER_SECOND) // nothing more comes: the rest is lost, not held up
#define DRAIN_NS (5 * NS_PER_SECOND)
#define WRITES_PER_TURN 32
#define LATE_P50_MAX_NS 100000
#define LATE_P99_MAX_NS 1000000

struct run {
    const struct options *options;
    struct report *report;
    struct fleet fleet;
    struct flows flows;
    uint64_t bursts, warm_bursts, next; // over all flows
    uint64_t delivered_before;          // when the window began
    uint64_t limit_ns;                  // on clock_ns's clock
    struct histogram late;
};

static uint64_t round_up(double frames, uint64_t step)
{
    const uint64_t n = (uint64_t)frames;

    return (n + step - 1) / step;
}

static void plan(struct run *run)
{
    const struct options *options = run->options;
    const uint64_t step = options->pairs * options->burst;
    const double rate = (double)options->rate;
    uint64_t each, warm;

    if (options->rate > 0) {
        warm = round_up(options->warmup_s * rate, step);
        each = warm + round_up(options->seconds * rate, step);
    } else {
        each = round_up((double)options->frames, step);
        warm = each / 10;
    }
    run->flows = (struct flows){.count = options->pairs,
                                .burst = options->burst,
                                .payload_bytes = options->payload_bytes,
                                .frames_each = each * options->burst,
                                .warm_each = warm * options->burst};
    if (options->rate > 0)
        run->flows.interval_ns_x1024 = options->burst * NS_PER_SECOND * 1024 / options->rate;
    run->bursts = each * options->pairs;
    run->warm_bursts = warm * options->pairs;
}

static bool prepare(struct run *run)
{
    static const struct conn_handlers handlers = {fleet_on_ready, NULL, fleet_on_end};
    const struct options *options = run->options;
    struct conn_target *target = (struct conn_target *)&options->target;

    if ((double)flows_memory(&run->flows, !options->plain) >
        options->memory_gib * 1024 * 1024 * 1024) {
        report_invalid(run->report, "%.2f GiB are needed for the records: --memory allows %.2f",
                       (double)flows_memory(&run->flows, !options->plain) / (1024.0 * 1024 * 1024),
                       options->memory_gib);
        return false;
    }
    if (!fleet_open(&run->fleet, target, 2 * options->pairs, options->at_once, &handlers,
                    clock_ms() + LOGIN_DEADLINE_MS)) {
        report_invalid(run->report, "logins: %s", run->fleet.failure);
        return false;
    }
    if (!flows_prepare(&run->flows, &run->fleet)) {
        report_invalid(run->report, "no memory for the records");
        return false;
    }
    return true;
}

static void release_next(struct run *run)
{
    if (run->next == run->warm_bursts) {
        report_begin(run->report);
        run->delivered_before = run->flows.delivered;
    }
    flow_release(&run->flows.flow[run->next % run->flows.count]);
    run->next++;
}

static void release_due(struct run *run)
{
    for (int i = 0; i < WRITES_PER_TURN && run->next < run->bursts; i++) {
        const uint64_t due = run->flows.start_ns + flows_due_ns(&run->flows, run->next);
        const uint64_t now = clock_ns();

        if (now < due)
            return;
        if (run->next >= run->warm_bursts)
            histogram_add(&run->late, now - due, run->flows.burst);
        release_next(run);
    }
}

// As fast as possible: the turn of a flow whose socket is full waits.
static void release_any(struct run *run)
{
    for (int i = 0; i < WRITES_PER_TURN && run->next < run->bursts; i++) {
        if (run->flows.flow[run->next % run->flows.count].from->wants_write)
            return;
        release_next(run);
    }
}

static void send_all(struct run *run)
{
    while (run->next < run->bursts && !run->flows.failure) {
        if (run->flows.interval_ns_x1024)
            release_due(run);
        else
            release_any(run);
        flows_retry(&run->flows);
        flows_poll(&run->flows, &run->fleet, 0);
        if (clock_ns() > run->limit_ns)
            run->flows.failure = "the frames were not sent in time";
    }
}

static void drain(struct run *run)
{
    struct flows *flows = &run->flows;
    const uint64_t limit = clock_ns() + DRAIN_NS;

    flows->last_arrival_ns = clock_ns();
    while (flows->delivered < run->bursts * flows->burst && !flows->failure) {
        const uint64_t now = clock_ns();

        flows_retry(flows);
        if (!flows_poll(flows, &run->fleet, 0) || now > limit ||
            (flows->blocked == 0 && now > flows->last_arrival_ns + QUIET_NS))
            break;
    }
}

static void report_validity(struct run *run)
{
    const struct flows *flows = &run->flows;
    const uint64_t p50 = histogram_at(&run->late, 0.5), p99 = histogram_at(&run->late, 0.99);

    if (flows->failure)
        report_invalid(run->report, "%s", flows->failure);
    if (p50 > LATE_P50_MAX_NS || p99 > LATE_P99_MAX_NS)
        report_invalid(run->report, "late generator: p50 %.0f us, p99 %.0f us", (double)p50 / 1000,
                       (double)p99 / 1000);
    if (flows->corrupt || flows->duplicates || flows->strangers)
        report_invalid(run->report, "the relay sent frames that it should not");
    if (flows->counted_delivered == 0)
        report_invalid(run->report, "nothing arrived");
}

static void report_frames(struct run *run)
{
    const struct flows *flows = &run->flows;
    struct report *report = run->report;
    const double lost = (double)(flows->counted_written - flows->counted_delivered);
    const double taken_s =
        (double)(flows->last_arrival_ns - report->begin_ns) / (double)NS_PER_SECOND;

    report_count(report, "sent_total", flows->written);
    report_count(report, "delivered_total", flows->delivered);
    report_count(report, "sent", flows->counted_written);
    report_count(report, "delivered", flows->counted_delivered);
    report_real(report, "loss", flows->counted_written ? lost / (double)flows->counted_written : 0);
    report_real(report, "delivered_per_s",
                taken_s > 0 ? (double)(flows->delivered - run->delivered_before) / taken_s : 0);
    report_count(report, "held_back", flows->held_back);
    report_count(report, "corrupt", flows->corrupt);
    report_count(report, "duplicates", flows->duplicates);
    report_count(report, "reordered", flows->reordered);
    report_count(report, "other_frames", flows->strangers);
    report_json(report, "latency_us", histogram_json(&flows->latency));
    report_json(report, "latency_from_plan_us", histogram_json(&flows->latency_plan));
    report_json(report, "late_us", histogram_json(&run->late));
}

static void report_plan(const struct run *run)
{
    report_count(run->report, "pairs", run->options->pairs);
    report_count(run->report, "payload_bytes", run->options->payload_bytes);
    report_count(run->report, "rate", run->options->rate);
    report_count(run->report, "burst", run->options->burst);
}

void mode_relay(const struct options *options, struct report *report)
{
    struct run *run = calloc(1, sizeof *run);

    if (!run) {
        report_invalid(report, "out of memory");
        return;
    }
    run->options = options;
    run->report = report;
    plan(run);
    report_plan(run);
    if (prepare(run)) {
        run->flows.start_ns = clock_ns();
        run->limit_ns = run->flows.start_ns +
                        (uint64_t)((options->warmup_s + options->seconds) * NS_PER_SECOND) +
                        SLACK_NS;
        send_all(run);
        drain(run);
        report_end(report);
        report_frames(run);
        report_validity(run);
        report_costs(report, "frames_per_cpu_s", run->flows.delivered - run->delivered_before);
    }
    flows_deinit(&run->flows);
    fleet_close(&run->fleet);
    free(run);
}
