// SPDX-License-Identifier: BSD-3-Clause
//
// Timer wheel: many coarse deadlines for the cost of one system timer. Granularity WHEEL_TICK_MS,
// horizon WHEEL_SLOTS - 1 ticks from the last run; a later deadline is clipped to the horizon, and
// its owner, when called, looks at its own clock and arms again. One thread.
#ifndef DERPER_BASE_WHEEL_H
#define DERPER_BASE_WHEEL_H

#include "base/list.h"

#include <stdint.h>

#define WHEEL_TICK_MS 100
#define WHEEL_SLOTS 1024 // 102 s

struct wheel_timer;
// The deadline has passed (never early, at most one tick late). The timer is out of the wheel; the
// callback may arm it again, disarm others, or free its owner.
typedef void (*wheel_cb)(struct wheel_timer *timer);

// Embedded in its owner.
struct wheel_timer {
    struct list node;
    wheel_cb on_time;
};

struct wheel {
    struct list slots[WHEEL_SLOTS];
    uint64_t tick; // the last one that was run
    uint64_t start_ms;
    uint64_t armed; // timers in the wheel
    uint64_t bound; // no timer is due before this tick
};

void wheel_init(struct wheel *wheel, uint64_t now_ms);

void wheel_timer_init(struct wheel_timer *timer, wheel_cb on_time);

// Arms, or moves when armed already.
void wheel_arm(struct wheel *wheel, struct wheel_timer *timer, uint64_t deadline_ms);

// Harmless when not armed.
void wheel_disarm(struct wheel *wheel, struct wheel_timer *timer);

// No timer is due before this.
static inline uint64_t wheel_bound_ms(const struct wheel *wheel)
{
    return wheel->start_ms + wheel->bound * WHEEL_TICK_MS;
}

// When the earliest timer is due. Not for an empty wheel. Looks at the slots up to that one, but at
// none twice.
uint64_t wheel_due_ms(struct wheel *wheel);

// Moves the wheel on to `now_ms`, or to just before the earliest timer, and runs nothing: so the
// horizon counts from now for what is armed next, although nobody has run the wheel for a while.
void wheel_skip(struct wheel *wheel, uint64_t now_ms);

// Runs every timer whose tick, the first one at or after its deadline, is at or before `now_ms`:
// each once, also when its callback arms it again for a time that has passed.
void wheel_run(struct wheel *wheel, uint64_t now_ms);

#endif
