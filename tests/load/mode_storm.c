// SPDX-License-Identifier: BSD-3-Clause
//
// All clients lose their relay at once, and come back under their keys when it listens again. Until
// then one of them knocks; when it is let in, the others dial at once, or --at-once of them at a
// time. A client is back when it has got its neighbour's packet. Someone else kills the relay and
// starts it again, once "ready" is said.
#include "modes.h"

#include "base/clock.h"
#include "base/memory.h"
#include "histogram.h"
#include "neighbours.h"

#include <errno.h>
#include <stdlib.h>

#define DEADLINE_MS 120000 // of each of: logins, the relay's end, its return, everybody's
#define POLL_MS 1
#define GATHER_AT_ONCE 32
#define KNOCK_MS 1  // between tries before the relay listens
#define REDIAL_MS 5 // after a connection that failed later

enum member_state { MEMBER_AWAY, MEMBER_DIALLING, MEMBER_IN };

struct member {
    struct key_pair keys;
    enum member_state state;
    bool fed; // has got its packet
};

struct storm {
    struct fleet fleet;
    const struct options *options;
    struct member *members;
    size_t *away; // stack of members to dial
    size_t away_count, dialling, in, fed, at_once;
    bool calm; // before "ready": no connection may be lost
    size_t knocker;
    uint64_t knocks, redials, wrong; // connections that failed before it listened, and after
    const char *why_redialled;       // the first reason
    uint64_t not_before_ms;          // the next dial
    uint64_t let_in_ns;              // when the connection was made that knocks; 0: none
    uint64_t listens_ns;             // 0: not yet
    uint64_t all_in_ns, fed_ns;      // the last one
    struct histogram took;           // from listening to each one's packet
};

static void set_away(struct storm *storm, size_t i)
{
    storm->members[i].state = MEMBER_AWAY;
    storm->away[storm->away_count++] = i;
}

static void feed(struct storm *storm, size_t i)
{
    if (storm->members[i].fed)
        return;
    storm->members[i].fed = true;
    storm->fed++;
    storm->fed_ns = clock_ns();
    if (!storm->calm)
        histogram_add(&storm->took, storm->fed_ns - storm->listens_ns, 1);
}

// The fleet is the first member, and its connections keep it as their data.
static void on_frame(struct conn *conn, const struct frame_header *header, const uint8_t *frame)
{
    struct storm *storm = conn->data;
    const size_t i = (size_t)(conn - storm->fleet.conns);

    if (header->type != FRAME_RECV_PACKET)
        return;
    if (neighbours_check(header, frame, i, storm->options->payload_bytes))
        feed(storm, i);
    else
        storm->wrong++;
}

// Whoever comes second of two has both of them send.
static void on_back(struct conn *conn)
{
    struct storm *storm = conn->data;
    const size_t i = (size_t)(conn - storm->fleet.conns);

    if (storm->listens_ns == 0)
        storm->listens_ns = storm->let_in_ns;
    storm->members[i].state = MEMBER_IN;
    storm->dialling--;
    storm->in++;
    storm->all_in_ns = clock_ns();
    if (storm->members[i ^ 1].state != MEMBER_IN)
        return;
    neighbours_send(&storm->fleet, i, storm->options->payload_bytes);
    if (conn->state == CONN_READY && neighbours_of(&storm->fleet, i)->state == CONN_READY)
        neighbours_send(&storm->fleet, i ^ 1, storm->options->payload_bytes);
}

static void note_failed_dial(struct storm *storm, const char *why)
{
    if (storm->listens_ns == 0) {
        storm->let_in_ns = 0;
        storm->knocks++;
        storm->not_before_ms = clock_ms() + KNOCK_MS;
        return;
    }
    if (storm->redials++ == 0)
        storm->why_redialled = why;
    storm->not_before_ms = clock_ms() + REDIAL_MS;
}

static void on_end(struct conn *conn, const char *why)
{
    struct storm *storm = conn->data;
    const size_t i = (size_t)(conn - storm->fleet.conns);

    if (storm->calm) {
        storm->fleet.failure = why;
        return;
    }
    if (storm->members[i].state == MEMBER_DIALLING) {
        storm->dialling--;
        note_failed_dial(storm, why);
    } else {
        storm->in--;
    }
    set_away(storm, i);
}

static const struct conn_handlers before = {fleet_on_ready, on_frame, on_end};
static const struct conn_handlers after = {on_back, on_frame, on_end};

static void dial(struct storm *storm, size_t i)
{
    struct conn *conn = &storm->fleet.conns[i];

    storm->members[i].state = MEMBER_DIALLING;
    storm->dialling++;
    storm->knocker = i;
    if (conn_open_as(conn, &storm->members[i].keys, (struct conn_target *)&storm->options->target,
                     storm->fleet.epoll_fd, &after) == 0)
        return;
    if (errno == ECONNREFUSED)
        on_end(conn, "refused");
    else
        storm->fleet.failure = "a connection could not be opened (descriptors, ports?)";
}

static void dial_more(struct storm *storm)
{
    const size_t most = storm->listens_ns ? storm->at_once : 1;

    while (storm->away_count > 0 && storm->dialling < most && !storm->fleet.failure &&
           clock_ms() >= storm->not_before_ms)
        dial(storm, storm->away[--storm->away_count]);
}

// Everybody is in, and has got a packet.
static bool gather(struct storm *storm)
{
    const uint64_t deadline = clock_ms() + DEADLINE_MS;
    struct fleet *fleet = &storm->fleet;

    if (!fleet_open(fleet, (struct conn_target *)&storm->options->target, storm->in, GATHER_AT_ONCE,
                    &before, deadline))
        return false;
    for (size_t i = 0; i < fleet->count; i++) {
        storm->members[i].keys = fleet->conns[i].keys;
        storm->members[i].state = MEMBER_IN;
        neighbours_send(fleet, i, storm->options->payload_bytes);
    }
    while (storm->fed < fleet->count && !fleet->failure) {
        conn_poll(fleet->epoll_fd, POLL_MS);
        if (clock_ms() > deadline)
            fleet->failure = "the packets did not all arrive in time";
    }
    return !fleet->failure;
}

// It counts when the login behind it succeeds, too: a process that is killed closes its listener
// last, and until then the kernel takes connections for it.
static void see_whether_it_listens(struct storm *storm, struct report *report)
{
    const struct conn *conn = &storm->fleet.conns[storm->knocker];

    if (storm->let_in_ns == 0 && storm->dialling > 0 && conn->state > CONN_CONNECTING) {
        report_begin(report);
        storm->let_in_ns = report->begin_ns;
    }
}

static void come_back(struct storm *storm, struct report *report)
{
    const uint64_t deadline = clock_ms() + DEADLINE_MS;
    struct fleet *fleet = &storm->fleet;

    for (size_t i = 0; i < fleet->count; i++) {
        fleet->conns[i].handlers = &after;
        storm->members[i].fed = false;
    }
    storm->fed = 0;
    storm->calm = false;
    fprintf(stderr, "ready\n");
    while (storm->fed < fleet->count && !fleet->failure) {
        dial_more(storm);
        conn_poll(fleet->epoll_fd, POLL_MS);
        see_whether_it_listens(storm, report);
        if (clock_ms() > deadline)
            fleet->failure = storm->listens_ns ? "not all were back in time" : "no restart";
    }
    report_end(report);
}

static void report_return(struct storm *storm, struct report *report)
{
    report_count(report, "clients", storm->fleet.count);
    report_count(report, "at_once", storm->at_once);
    report_count(report, "back", storm->in);
    report_count(report, "fed", storm->fed);
    report_count(report, "knocks", storm->knocks);
    report_count(report, "redials", storm->redials);
    if (storm->why_redialled)
        report_json(report, "why_redialled", json_string(storm->why_redialled));
    report_json(report, "took_us", histogram_json(&storm->took));
    if (storm->fleet.failure)
        report_invalid(report, "%s", storm->fleet.failure);
    if (storm->wrong)
        report_invalid(report, "the relay sent frames that it should not");
    if (storm->fleet.failure)
        return;
    report_real(report, "back_s", (double)(storm->all_in_ns - storm->listens_ns) / 1e9);
    report_real(report, "flowing_s", (double)(storm->fed_ns - storm->listens_ns) / 1e9);
    report_costs(report, "clients_per_cpu_s", storm->fleet.count);
}

void mode_storm(const struct options *options, struct report *report)
{
    struct storm *storm = memory_zeroed(sizeof *storm);
    const size_t clients = options->clients & ~1ULL;

    *storm = (struct storm){.options = options,
                            .fleet.epoll_fd = -1,
                            .members = memory_zeroed(clients * sizeof *storm->members),
                            .away = memory_zeroed(clients * sizeof *storm->away),
                            .in = clients,
                            .at_once = options->at_once,
                            .calm = true};
    if (gather(storm))
        come_back(storm, report);
    report_return(storm, report);
    fleet_close(&storm->fleet);
    free(storm->members);
    free(storm->away);
    free(storm);
}
