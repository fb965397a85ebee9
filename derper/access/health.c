// SPDX-License-Identifier: BSD-3-Clause
#include "access/health.h"

#include "access/agent.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

static void on_time(uv_timer_t *timer);

static void set_sentence(struct health *health, enum access_reason reason)
{
    pthread_mutex_lock(&health->lock);
    if (reason == ACCESS_MEMBER)
        health->sentence[0] = '\0';
    else if (reason == ACCESS_NOT_MEMBER)
        snprintf(health->sentence, sizeof health->sentence,
                 "tailscaled (%s) does not know its own key: see \"tailscale status\"",
                 health->socket);
    else
        agent_explain(health->sentence, sizeof health->sentence, reason, health->socket,
                      &health->fetch.result);
    pthread_mutex_unlock(&health->lock);
}

static void finish(struct health *health, enum access_reason reason)
{
    set_sentence(health, reason);
    fetch_end(&health->fetch);
    if (reason != health->reason && reason == ACCESS_MEMBER)
        log_info("--verify-clients: tailscaled (%s) is asked who may connect", health->socket);
    else if (reason != health->reason)
        log_warnx("--verify-clients: %s", health->sentence);
    health->reason = reason;
    health->asking = false;
    uv_timer_start(&health->timer, on_time, HEALTH_INTERVAL_MS, 0);
}

static void on_whois(struct fetch *fetch)
{
    struct health *health = list_entry(fetch, struct health, fetch);

    finish(health, agent_judge(&fetch->result));
}

static void on_status(struct fetch *fetch)
{
    struct health *health = list_entry(fetch, struct health, fetch);
    enum access_reason reason = agent_judge(&fetch->result);

    if (reason == ACCESS_MEMBER)
        reason = agent_judge_status(&fetch->result, &health->self);
    else if (reason == ACCESS_NOT_MEMBER) // 404: it has no such page
        reason = ACCESS_BAD_STATUS;
    if (reason != ACCESS_NOT_MEMBER || key_is_zero(&health->self)) {
        finish(health, reason);
        return;
    }
    agent_ask(&fetch->request, health->socket, &health->self);
    fetch_start(health->fetcher, fetch, on_whois);
}

static void on_time(uv_timer_t *timer)
{
    struct health *health = timer->data;

    if (health->asking) {
        finish(health, ACCESS_TIMED_OUT);
        return;
    }
    health->asking = true;
    uv_timer_start(timer, on_time, HEALTH_LIMIT_MS, 0);
    agent_ask_status(&health->fetch.request, health->socket);
    fetch_start(health->fetcher, &health->fetch, on_status);
}

void health_start(struct health *health, uv_loop_t *loop, struct fetcher *fetcher,
                  const char *socket)
{
    *health = (struct health){.socket = socket, .fetcher = fetcher, .reason = ACCESS_REASONS};
    pthread_mutex_init(&health->lock, NULL);
    snprintf(health->sentence, sizeof health->sentence, "tailscaled (%s) has not answered yet",
             socket);
    uv_timer_init(loop, &health->timer);
    health->timer.data = health;
    on_time(&health->timer);
}

bool health_read(struct health *health, char *out, size_t size)
{
    pthread_mutex_lock(&health->lock);
    snprintf(out, size, "%s", health->sentence);
    pthread_mutex_unlock(&health->lock);
    return *out == '\0';
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct health *health = handle->data;

    pthread_mutex_destroy(&health->lock);
    health->on_closed(health);
}

void health_close(struct health *health, void (*on_closed)(struct health *health))
{
    health->on_closed = on_closed;
    fetch_end(&health->fetch);
    uv_close((uv_handle_t *)&health->timer, on_timer_closed);
}
