// SPDX-License-Identifier: BSD-3-Clause
//
// Logins one after another on several connections, each under a fresh key, closed as soon as the
// relay's ServerInfo is there.
#include "modes.h"

#include "base/clock.h"
#include "base/memory.h"
#include "conn.h"
#include "histogram.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define POLL_MS 20
#define LIMIT_MS 300000
#define STALL_MS 15000
#define SETTLE_US 200000 // the relay still ends the last connections

struct logins;

struct slot {
    struct conn conn;
    struct logins *all;
    uint64_t opened_ns;
    bool done;
};

struct logins {
    int epoll_fd;
    struct slot *slots;
    uint64_t slot_count, wanted, opened, done;
    uint64_t progress_ms;
    const char *failure;
    struct histogram took;
};

static void on_ready(struct conn *conn)
{
    struct slot *slot = conn->data;

    slot->done = true;
    slot->all->done++;
    slot->all->progress_ms = clock_ms();
    histogram_add(&slot->all->took, clock_ns() - slot->opened_ns, 1);
}

static void on_frame(struct conn *conn, const struct frame_header *header, const uint8_t *payload)
{
    (void)conn;
    (void)header;
    (void)payload;
}

static void on_end(struct conn *conn, const char *why)
{
    struct slot *slot = conn->data;

    if (!slot->all->failure)
        slot->all->failure = why;
}

static void open_slot(struct logins *all, struct slot *slot, struct conn_target *target)
{
    static const struct conn_handlers handlers = {on_ready, on_frame, on_end};

    slot->done = false;
    slot->all = all;
    slot->conn.data = slot;
    slot->opened_ns = clock_ns();
    if (conn_open(&slot->conn, target, all->epoll_fd, &handlers) < 0)
        all->failure = "a connection could not be opened (descriptors, ports?)";
    else
        all->opened++;
}

// Closed ones and not yet opened ones get their next login.
static void turn_over(struct logins *all, struct conn_target *target)
{
    for (uint64_t i = 0; i < all->slot_count && !all->failure; i++) {
        struct slot *slot = &all->slots[i];

        if (slot->done)
            conn_close(&slot->conn);
        if (slot->conn.state == CONN_CLOSED && all->opened < all->wanted)
            open_slot(all, slot, target);
    }
}

static void run(struct logins *all, struct conn_target *target, uint64_t wanted)
{
    const uint64_t limit = clock_ms() + LIMIT_MS;

    all->wanted = wanted;
    all->opened = all->done = 0;
    all->progress_ms = clock_ms();
    while (all->done < wanted && !all->failure) {
        turn_over(all, target);
        if (!conn_poll(all->epoll_fd, POLL_MS))
            all->failure = "epoll failed";
        if (clock_ms() > limit || clock_ms() > all->progress_ms + STALL_MS)
            all->failure = "logins did not end in time";
    }
    turn_over(all, target);
}

static void measure(struct logins *all, const struct options *options, struct report *report)
{
    struct conn_target *target = (struct conn_target *)&options->target;

    run(all, target, 1); // learns the server's key
    all->took = (struct histogram){0};
    usleep(SETTLE_US);
    report_begin(report);
    run(all, target, options->logins);
    report->end_ns = clock_ns();
    report_real(report, "logins_per_s",
                (double)all->done * 1e9 / (double)(report->end_ns - report->begin_ns));
    usleep(SETTLE_US);
    report_end(report);
}

void mode_login(const struct options *options, struct report *report)
{
    struct logins *all = memory_zeroed(sizeof *all);

    all->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    all->slot_count = options->at_once;
    all->slots = memory_zeroed(all->slot_count * sizeof *all->slots);
    measure(all, options, report);
    report_count(report, "at_once", options->at_once);
    report_count(report, "logins", all->done);
    report_json(report, "took_us", histogram_json(&all->took));
    if (all->failure)
        report_invalid(report, "%s", all->failure);
    report_costs(report, "logins_per_cpu_s", all->done);
    for (uint64_t i = 0; i < all->slot_count; i++)
        conn_close(&all->slots[i].conn);
    close(all->epoll_fd);
    free(all->slots);
    free(all);
}
