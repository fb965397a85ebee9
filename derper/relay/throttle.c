// SPDX-License-Identifier: BSD-3-Clause
#include "relay/throttle.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdlib.h>

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

void throttle_forget(struct client *client)
{
    if (client->throttle_timer)
        uv_close((uv_handle_t *)client->throttle_timer, on_closed);
    client->throttle_timer = NULL;
}

static void resume(struct client *client)
{
    if (!client->throttle_timer)
        return;
    throttle_forget(client);
    stream_resume(client->stream);
}

static void on_pause_over(uv_timer_t *timer)
{
    resume(timer->data);
}

static void pause_reading(struct client *client)
{
    client->throttle_timer = memory_get(sizeof *client->throttle_timer);
    uv_timer_init(&client->worker->loop, client->throttle_timer);
    client->throttle_timer->data = client;
    stream_throttle(client->stream);
    count(&client->worker->counters.rate_pauses);
}

void throttle_charge(struct client *client, size_t bytes)
{
    const struct server_limits *limits = &client->worker->limits;
    const struct bucket_rate rate = {(double)limits->bytes_per_second, (double)limits->burst_bytes};
    const uint64_t owed_ns = bucket_charge(&client->sent, &rate, bytes, clock_ns());

    if (owed_ns == 0)
        return;
    // TLS delivers one read in records, each of which is charged: the last one knows all of it.
    if (!client->throttle_timer)
        pause_reading(client);
    uv_update_time(&client->worker->loop);
    uv_timer_start(client->throttle_timer, on_pause_over, owed_ns / NS_PER_MS + 1, 0);
}

void throttle_set_limits(struct worker *worker, const struct server_limits *limits)
{
    worker->limits = *limits;
    for (struct list *node = worker->clients.next; node != &worker->clients; node = node->next) {
        struct client *client = list_entry(node, struct client, node);

        client->sent = (struct bucket){0};
        client->hint_is_old = client->state == CLIENT_UP && client->can_ack_pings;
        resume(client);
    }
}
