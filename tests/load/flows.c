// SPDX-License-Identifier: BSD-3-Clause
#include "flows.h"

#include "base/clock.h"
#include "base/memory.h"
#include "payload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

static void on_ready(struct conn *conn)
{
    (void)conn;
}

static void on_end(struct conn *conn, const char *why)
{
    struct flow *flow = conn->data;

    if (!flow->all->failure)
        flow->all->failure = why;
}

static void count_arrival(struct flow *flow, const struct payload *payload, uint64_t now)
{
    struct flows *all = flow->all;
    const uint64_t n = payload->sequence;

    if (flow->seen[n]) {
        all->duplicates++;
        return;
    }
    flow->seen[n] = 1;
    all->delivered++;
    if (n < flow->next_sequence)
        all->reordered++;
    else
        flow->next_sequence = n + 1;
    if (n < flow->all->warm_each)
        return;
    all->counted_delivered++;
    histogram_add(&all->latency, now - flow->written_ns[n], 1);
    if (all->interval_ns_x1024)
        histogram_add(&all->latency_plan, now - all->start_ns - payload->planned_ns, 1);
}

// A packet that arrives must have been written: a frame whose number is ahead is corrupt.
static void on_frame(struct conn *conn, const struct frame_header *header, const uint8_t *frame)
{
    struct flow *flow = conn->data;
    struct flows *all = flow->all;
    const size_t bytes = all->payload_bytes;
    struct payload payload;

    if (header->type != FRAME_RECV_PACKET) {
        all->strangers += header->type != FRAME_KEEP_ALIVE;
        return;
    }
    if (conn != flow->to || header->payload_bytes != KEY_BYTES + bytes ||
        memcmp(frame, flow->from->keys.public.bytes, KEY_BYTES) != 0 ||
        !payload_check(frame + KEY_BYTES, bytes, &payload) || payload.flow != flow->number ||
        payload.sequence >= flow->written) {
        all->corrupt++;
        return;
    }
    all->last_arrival_ns = clock_ns();
    count_arrival(flow, &payload, all->last_arrival_ns);
}

static size_t frame_bytes(const struct flows *flows)
{
    return FRAME_HEADER_BYTES + KEY_BYTES + flows->payload_bytes;
}

static uint64_t sealed_frame_bytes(const struct flows *flows, bool tls)
{
    return tls ? record_sealed_bytes(frame_bytes(flows)) : frame_bytes(flows);
}

static uint64_t sealed_bytes(const struct flows *flows, bool tls)
{
    return flows->count * flows->frames_each * sealed_frame_bytes(flows, tls);
}

uint64_t flows_memory(const struct flows *flows, bool tls)
{
    const uint64_t notes = flows->frames_each * (sizeof(uint64_t) + 1);

    return sealed_bytes(flows, tls) + flows->count * notes;
}

// Each frame is a record of its own (two when it is larger than one), as clients make them.
static void seal_flow(struct flow *flow)
{
    static uint8_t frame[FRAME_HEADER_BYTES + KEY_BYTES + PAYLOAD_MAX_BYTES];
    struct flows *all = flow->all;
    const size_t bytes = frame_bytes(all);

    frame_put_header(frame, FRAME_SEND_PACKET, (uint32_t)(bytes - FRAME_HEADER_BYTES));
    memcpy(frame + FRAME_HEADER_BYTES, flow->to->keys.public.bytes, KEY_BYTES);
    if (flow->from->target->bare)
        frame_send_to_recv(frame, &flow->from->keys.public);
    for (uint64_t i = 0; i < all->frames_each; i++) {
        const uint64_t burst = i / all->burst * all->count + flow->number;
        const struct payload payload = {flow->number, i, flows_due_ns(all, burst)};
        uint8_t *out = flow->sealed + i * all->frame_bytes;

        payload_put(frame + FRAME_HEADER_BYTES + KEY_BYTES, all->payload_bytes, &payload);
        if (flow->from->tls)
            record_seal_data(&flow->from->seal, frame, bytes, out);
        else
            memcpy(out, frame, bytes);
    }
}

static void prepare_flow(struct flow *flow)
{
    static const struct conn_handlers handlers = {on_ready, on_frame, on_end};
    struct flows *all = flow->all;

    flow->sealed = all->sealed + flow->number * all->frames_each * all->frame_bytes;
    flow->written_ns = memory_zeroed(all->frames_each * sizeof *flow->written_ns);
    flow->seen = memory_zeroed(all->frames_each);
    // Touched now, so that the run takes no page faults.
    memset(flow->written_ns, 1, all->frames_each * sizeof *flow->written_ns);
    flow->from->handlers = flow->to->handlers = &handlers;
    flow->from->data = flow->to->data = flow;
    seal_flow(flow);
}

bool flows_prepare(struct flows *flows, struct fleet *fleet)
{
    const bool tls = fleet->conns[0].tls;
    const size_t bytes = sealed_bytes(flows, tls);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return false;
    madvise(memory, bytes, MADV_HUGEPAGE);
    flows->sealed = memory;
    flows->flow = memory_zeroed(flows->count * sizeof *flows->flow);
    flows->frame_bytes = sealed_frame_bytes(flows, tls);
    for (uint64_t i = 0; i < flows->count; i++) {
        flows->flow[i] = (struct flow){.all = flows,
                                       .number = (uint32_t)i,
                                       .from = &fleet->conns[2 * i],
                                       .to = &fleet->conns[2 * i + 1]};
        prepare_flow(&flows->flow[i]);
    }
    return true;
}

void flows_deinit(struct flows *flows)
{
    for (uint64_t i = 0; flows->flow && i < flows->count; i++) {
        free(flows->flow[i].written_ns);
        free(flows->flow[i].seen);
    }
    if (flows->sealed)
        munmap(flows->sealed, flows->count * flows->frames_each * flows->frame_bytes);
    free(flows->flow);
    flows->sealed = NULL;
    flows->flow = NULL;
}

// `now` is from before the call that completed the frames, which may have been relayed by its end.
static void note_written(struct flow *flow, uint64_t now)
{
    struct flows *all = flow->all;
    const uint64_t whole = flow->written_bytes / all->frame_bytes;

    for (; flow->written < whole; flow->written++) {
        flow->written_ns[flow->written] = now;
        all->written++;
        all->counted_written += flow->written >= all->warm_each;
    }
}

// True when the kernel took all that was released.
static bool write_released(struct flow *flow)
{
    const uint64_t end = flow->released * flow->all->frame_bytes;

    while (flow->written_bytes < end) {
        const uint64_t now = clock_ns();
        const ssize_t n = send(flow->from->fd, flow->sealed + flow->written_bytes,
                               end - flow->written_bytes, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n < 0) {
            flow->all->failure = "a write failed";
            return true;
        }
        flow->written_bytes += (uint64_t)n;
        note_written(flow, now);
    }
    return true;
}

static bool is_blocked(const struct flow *flow)
{
    return flow->written_bytes < flow->released * flow->all->frame_bytes;
}

void flow_release(struct flow *flow)
{
    struct flows *all = flow->all;
    const bool was_blocked = is_blocked(flow);

    if (flow->from->state != CONN_READY)
        return;
    flow->released += all->burst;
    if (was_blocked) {
        all->held_back += all->burst;
    } else if (!write_released(flow)) {
        all->held_back += flow->released - flow->written;
        all->blocked++;
        conn_want_write(flow->from, true);
    }
}

// The connection stops to want writing when the kernel has told that it takes more.
void flows_retry(struct flows *flows)
{
    for (uint64_t i = 0; flows->blocked > 0 && i < flows->count; i++) {
        struct flow *flow = &flows->flow[i];

        if (!is_blocked(flow) || flow->from->wants_write || flow->from->state != CONN_READY)
            continue;
        if (write_released(flow))
            flows->blocked--;
        else
            conn_want_write(flow->from, true);
    }
}

bool flows_poll(struct flows *flows, struct fleet *fleet, int timeout_ms)
{
    if (!conn_poll(fleet->epoll_fd, timeout_ms))
        flows->failure = "epoll failed";
    return !flows->failure;
}
