// SPDX-License-Identifier: BSD-3-Clause
#include "io/turns.h"

#include "base/clock.h"
#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>

#define AGAIN_MS 10
#define TICK_MS 16 // so that 16 bits hold 17 minutes

static struct newcomer *first_of(const struct turns *turns, enum newcomer_place place)
{
    if (turns->counts[place] == 0)
        return NULL;
    return list_entry(turns->places[place].next, struct newcomer, node);
}

static size_t count_in_line(const struct turns *turns)
{
    return turns->counts[NEWCOMER_BEGINNING] + turns->counts[NEWCOMER_GOING_ON];
}

static void take_out(struct turns *turns, struct newcomer *newcomer)
{
    list_unlink(&newcomer->node);
    turns->counts[newcomer->place]--;
    newcomer->place = NEWCOMER_GONE;
}

static void put_last(struct turns *turns, struct newcomer *newcomer, enum newcomer_place place)
{
    assert(newcomer->place == NEWCOMER_GONE);
    newcomer->place = (uint8_t)place;
    newcomer->since_ms = (uint32_t)uv_now(turns->loop);
    list_append(&turns->places[place], &newcomer->node);
    turns->counts[place]++;
}

static bool crowd_out_from(struct turns *turns, enum newcomer_place place)
{
    struct newcomer *first = first_of(turns, place);

    if (!first || (uint32_t)uv_now(turns->loop) - first->since_ms < NEWCOMER_QUIET_LIMIT_MS)
        return false;
    turns->callbacks->crowd_out(first);
    return true;
}

bool turns_crowd_out(struct turns *turns)
{
    return crowd_out_from(turns, NEWCOMER_SILENT) || crowd_out_from(turns, NEWCOMER_QUIET);
}

static size_t count_under_way(const struct turns *turns)
{
    return turns->counts[NEWCOMER_QUIET] + turns->counts[NEWCOMER_GOING_ON];
}

static bool may_begin(struct turns *turns)
{
    return count_under_way(turns) < NEWCOMERS_UNDER_WAY_MAX ||
           crowd_out_from(turns, NEWCOMER_QUIET);
}

static uint16_t ticks(const struct turns *turns)
{
    return (uint16_t)(uv_now(turns->loop) / TICK_MS);
}

// Has kept its place for long enough by a byte now and then, while others wait for one. Those who
// lost theirs in the same turn do not save it.
static bool is_overdue(const struct turns *turns, const struct newcomer *newcomer)
{
    return newcomer->place == NEWCOMER_GOING_ON && turns->counts[NEWCOMER_BEGINNING] > 0 &&
           count_under_way(turns) + TURN_STEPS_MAX > NEWCOMERS_UNDER_WAY_MAX &&
           (uint16_t)(ticks(turns) - newcomer->begun) > NEWCOMER_UNDER_WAY_LIMIT_MS / TICK_MS;
}

// The `n`th of this turn; NULL when nobody is in line who may be served.
static struct newcomer *next_in_line(struct turns *turns, int n)
{
    struct newcomer *beginner = first_of(turns, NEWCOMER_BEGINNING);
    struct newcomer *going_on = first_of(turns, NEWCOMER_GOING_ON);

    if (beginner && (!going_on || n < TURN_BEGINNERS_MIN) && may_begin(turns))
        return beginner;
    return going_on;
}

static void on_idle_closed(uv_handle_t *handle)
{
    free(handle);
}

static void end_line(struct turns *turns)
{
    wheel_disarm(turns->wheel, &turns->again);
    uv_close((uv_handle_t *)turns->idle, on_idle_closed);
    turns->idle = NULL;
}

// Only beginners are in line, and too many are under way, who may be quiet for long.
static void hold_line(struct turns *turns)
{
    const uint64_t now_ms = clock_ms();

    uv_idle_stop(turns->idle);
    wheel_skip(turns->wheel, now_ms);
    wheel_arm(turns->wheel, &turns->again, now_ms + AGAIN_MS);
}

static void serve(struct turns *turns, struct newcomer *newcomer)
{
    const bool overdue = is_overdue(turns, newcomer);

    if (newcomer->place == NEWCOMER_BEGINNING)
        newcomer->begun = ticks(turns);
    take_out(turns, newcomer);
    put_last(turns, newcomer, NEWCOMER_QUIET);
    if (overdue)
        turns->callbacks->crowd_out(newcomer);
    else
        turns->callbacks->serve(newcomer);
}

static void on_idle(uv_idle_t *idle)
{
    struct turns *turns = idle->data;

    for (int n = 0; n < TURN_STEPS_MAX; n++) {
        struct newcomer *newcomer = next_in_line(turns, n);

        if (!newcomer) {
            if (turns->idle)
                hold_line(turns);
            return;
        }
        serve(turns, newcomer);
        if (turns->idle && count_in_line(turns) == 0)
            end_line(turns);
    }
}

static void serve_line(struct turns *turns)
{
    wheel_disarm(turns->wheel, &turns->again);
    if (!turns->idle) {
        turns->idle = memory_get(sizeof *turns->idle);
        uv_idle_init(turns->loop, turns->idle);
        turns->idle->data = turns;
    }
    uv_idle_start(turns->idle, on_idle);
}

static void on_again(struct wheel_timer *timer)
{
    serve_line(list_entry(timer, struct turns, again));
}

void turns_init(struct turns *turns, uv_loop_t *loop, struct wheel *wheel)
{
    *turns = (struct turns){.loop = loop, .wheel = wheel};
    for (int i = 0; i < NEWCOMER_PLACES; i++)
        list_init(&turns->places[i]);
    wheel_timer_init(&turns->again, on_again);
}

void turns_enter(struct turns *turns, struct newcomer *newcomer,
                 const struct newcomer_callbacks *callbacks)
{
    turns->callbacks = callbacks;
    list_init(&newcomer->node);
    put_last(turns, newcomer, NEWCOMER_SILENT);
    if (turns->counts[NEWCOMER_SILENT] > NEWCOMERS_SILENT_MAX)
        callbacks->crowd_out(first_of(turns, NEWCOMER_SILENT));
}

void turns_line_up(struct turns *turns, struct newcomer *newcomer)
{
    const bool begins = newcomer->place == NEWCOMER_SILENT;

    assert(begins || newcomer->place == NEWCOMER_QUIET);
    take_out(turns, newcomer);
    put_last(turns, newcomer, begins ? NEWCOMER_BEGINNING : NEWCOMER_GOING_ON);
    serve_line(turns);
}

bool turns_in_line(const struct newcomer *newcomer)
{
    return newcomer->place > NEWCOMER_QUIET;
}

void turns_leave(struct turns *turns, struct newcomer *newcomer)
{
    if (newcomer->place == NEWCOMER_GONE)
        return;
    take_out(turns, newcomer);
    if (turns->idle && count_in_line(turns) == 0)
        end_line(turns);
}

bool turns_line_full(const struct turns *turns)
{
    return count_in_line(turns) >= NEWCOMERS_LINE_MAX;
}
