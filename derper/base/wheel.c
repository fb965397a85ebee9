// SPDX-License-Identifier: BSD-3-Clause
#include "base/wheel.h"

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
    for (int i = 0; i < WHEEL_SLOTS; i++)
        list_init(&wheel->slots[i]);
    wheel->tick = 0;
    wheel->armed = 0;
    wheel->bound = 0;
    wheel->start_ms = now_ms;
}

void wheel_timer_init(struct wheel_timer *timer, wheel_cb on_time)
{
    list_init(&timer->node);
    timer->on_time = on_time;
}

void wheel_arm(struct wheel *wheel, struct wheel_timer *timer, uint64_t deadline_ms)
{
    const uint64_t after_ms = deadline_ms > wheel->start_ms ? deadline_ms - wheel->start_ms : 0;
    uint64_t tick = after_ms / WHEEL_TICK_MS + (after_ms % WHEEL_TICK_MS != 0);

    wheel_disarm(wheel, timer);
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;
    if (tick > wheel->tick + WHEEL_SLOTS - 1)
        tick = wheel->tick + WHEEL_SLOTS - 1;
    list_append(&wheel->slots[tick % WHEEL_SLOTS], &timer->node);
    if (wheel->armed++ == 0 || tick < wheel->bound)
        wheel->bound = tick;
}

void wheel_disarm(struct wheel *wheel, struct wheel_timer *timer)
{
    if (list_empty(&timer->node))
        return;
    list_unlink(&timer->node);
    wheel->armed--;
}

static uint64_t tick_of(const struct wheel *wheel, uint64_t now_ms)
{
    return now_ms > wheel->start_ms ? (now_ms - wheel->start_ms) / WHEEL_TICK_MS : 0;
}

uint64_t wheel_due_ms(struct wheel *wheel)
{
    if (wheel->bound <= wheel->tick)
        wheel->bound = wheel->tick + 1;
    while (list_empty(&wheel->slots[wheel->bound % WHEEL_SLOTS]))
        wheel->bound++;
    return wheel_bound_ms(wheel);
}

void wheel_skip(struct wheel *wheel, uint64_t now_ms)
{
    uint64_t tick = tick_of(wheel, now_ms);

    if (wheel->armed > 0 && tick >= wheel->bound)
        tick = wheel->bound - 1;
    if (tick > wheel->tick)
        wheel->tick = tick;
}

// Moves the wheel on to tick `last` and what is due by then into `due`, oldest slot first.
static void collect(struct wheel *wheel, uint64_t last, struct list *due)
{
    // A process that was stopped for long has every slot due once, not once a missed tick.
    if (last > wheel->tick + WHEEL_SLOTS)
        wheel->tick = last - WHEEL_SLOTS;
    while (wheel->tick < last) {
        wheel->tick++;
        list_append_all(due, &wheel->slots[wheel->tick % WHEEL_SLOTS]);
    }
}

void wheel_run(struct wheel *wheel, uint64_t now_ms)
{
    const uint64_t last = tick_of(wheel, now_ms);
    struct list due;

    // The wheel stands at now before the first callback runs, so that what one arms again counts
    // from now: it is neither clipped to the horizon of a tick long past nor due once more in this
    // run.
    list_init(&due);
    collect(wheel, last, &due);
    while (!list_empty(&due)) {
        struct wheel_timer *timer = list_entry(due.next, struct wheel_timer, node);

        wheel_disarm(wheel, timer);
        timer->on_time(timer);
    }
}
