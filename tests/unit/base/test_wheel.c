// SPDX-License-Identifier: BSD-3-Clause
#include "base/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

#define START_MS UINT64_C(1000000007) // no multiple of a tick
#define HORIZON_MS ((uint64_t)(WHEEL_SLOTS - 1) * WHEEL_TICK_MS)
#define NEVER UINT64_MAX
#define TIMERS 1000

struct alarm {
    struct wheel_timer timer;
    uint64_t deadline_ms;
    int calls;
    uint64_t called_ms; // the last time
    struct alarm *victim;
};

static struct wheel wheel;
static uint64_t now;

static struct alarm *alarm_of(struct wheel_timer *timer)
{
    return list_entry(timer, struct alarm, timer);
}

static void on_time(struct wheel_timer *timer)
{
    alarm_of(timer)->calls++;
    alarm_of(timer)->called_ms = now;
}

static void arm(struct alarm *alarm, uint64_t deadline_ms)
{
    alarm->deadline_ms = deadline_ms;
    wheel_arm(&wheel, &alarm->timer, deadline_ms);
}

static void start(struct alarm *alarm, wheel_cb cb, uint64_t deadline_ms)
{
    *alarm = (struct alarm){0};
    wheel_timer_init(&alarm->timer, cb);
    arm(alarm, deadline_ms);
}

static void run_at(uint64_t ms)
{
    now = ms;
    wheel_run(&wheel, now);
}

static int setup(void **state)
{
    (void)state;
    now = START_MS;
    wheel_init(&wheel, now);
    return 0;
}

static const struct {
    const char *name;
    uint64_t now_ms; // since the start, when it is armed
    int64_t deadline_ms;
    uint64_t called_ms; // with a run each millisecond
} deadlines[] = {
    {"at now, at the start", 0, 0, 100},
    {"before the start", 0, -5000, 100},
    {"one after now", 0, 1, 100},
    {"just before a tick", 0, 99, 100},
    {"on a tick", 0, 100, 100},
    {"just behind a tick", 0, 101, 200},
    {"at now, on a tick", 1000, 1000, 1100},
    {"before now, on a tick", 1000, 1, 1100},
    {"at now, between ticks", 1050, 1050, 1100},
    {"before now, between ticks", 1050, 1049, 1100},
    {"after now, next tick", 1050, 1101, 1200},
    {"a second on", 1099, 2099, 2100},
    {"a second on, over the wheel's end", 102350, 103350, 103400},
    {"the last tick within the horizon", 0, HORIZON_MS, HORIZON_MS},
    {"later turns of the wheel", 1000000, 1000250, 1000300},
};

static void test_deadlines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof deadlines / sizeof deadlines[0]; i++) {
        const uint64_t expected = START_MS + deadlines[i].called_ms;
        struct alarm alarm;

        print_message("%s\n", deadlines[i].name);
        wheel_init(&wheel, START_MS);
        run_at(START_MS + deadlines[i].now_ms);
        start(&alarm, on_time, START_MS + (uint64_t)deadlines[i].deadline_ms);
        assert_int_equal(wheel.armed, 1);
        while (now < expected + 2000) {
            run_at(now + 1);
            assert_int_equal(alarm.calls, now >= expected);
        }
        assert_int_equal(alarm.called_ms, expected);
        assert_int_equal(wheel.armed, 0);
    }
}

static void test_deadlines_before_the_start_of_time(void **state)
{
    struct alarm alarm;

    (void)state;
    wheel_init(&wheel, 50);
    now = 50;
    start(&alarm, on_time, 0);
    run_at(10); // a clock that would go back runs nothing and breaks nothing
    assert_int_equal(alarm.calls, 0);
    run_at(150);
    assert_int_equal(alarm.calls, 1);
}

// What lies beyond the horizon is called at it, whatever the size of the number.
static void test_horizon_clips(void **state)
{
    static const uint64_t beyond[] = {
        START_MS + HORIZON_MS + 1,
        START_MS + HORIZON_MS + WHEEL_TICK_MS,
        START_MS + 10 * HORIZON_MS,
        NEVER / 2,
        NEVER - START_MS,
        NEVER - WHEEL_TICK_MS,
        NEVER - 1,
        NEVER,
    };
    struct alarm alarms[sizeof beyond / sizeof beyond[0]];

    (void)state;
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++)
        start(&alarms[i], on_time, beyond[i]);
    for (uint64_t ms = 0; ms < HORIZON_MS; ms += WHEEL_TICK_MS / 2)
        run_at(START_MS + ms);
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++)
        assert_int_equal(alarms[i].calls, 0);
    run_at(START_MS + HORIZON_MS);
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++)
        assert_int_equal(alarms[i].calls, 1);
}

static void test_never_on_a_young_clock(void **state)
{
    struct alarm alarm;

    (void)state;
    wheel_init(&wheel, 0);
    start(&alarm, on_time, NEVER);
    run_at(HORIZON_MS - 1);
    assert_int_equal(alarm.calls, 0);
    run_at(HORIZON_MS);
    assert_int_equal(alarm.calls, 1);
}

// An owner with a far deadline: looks at its clock, and arms again until it has come.
static void on_time_look_at_clock(struct wheel_timer *timer)
{
    on_time(timer);
    if (now < alarm_of(timer)->deadline_ms)
        arm(alarm_of(timer), alarm_of(timer)->deadline_ms);
}

static void test_far_deadline_by_arming_again(void **state)
{
    const uint64_t deadline = START_MS + 5 * HORIZON_MS / 2;
    struct alarm alarm;

    (void)state;
    start(&alarm, on_time_look_at_clock, deadline);
    while (now < deadline + 2 * HORIZON_MS)
        run_at(now + 30);
    assert_int_equal(alarm.calls, 3);
    assert_in_range(alarm.called_ms, deadline, deadline + WHEEL_TICK_MS + 30);
}

static void on_time_arm_for_now(struct wheel_timer *timer)
{
    on_time(timer);
    arm(alarm_of(timer), now);
}

static void on_time_arm_in_a_minute(struct wheel_timer *timer)
{
    on_time(timer);
    arm(alarm_of(timer), now + 60000);
}

static void test_armed_again_in_callback(void **state)
{
    struct alarm at_once, slow;

    (void)state;
    start(&at_once, on_time_arm_for_now, START_MS);
    start(&slow, on_time_arm_in_a_minute, START_MS);
    for (int tick = 1; tick <= 700; tick++) {
        run_at(START_MS + (uint64_t)tick * WHEEL_TICK_MS);
        assert_int_equal(at_once.calls, tick); // once a run, never in circles
        assert_int_equal(slow.calls, tick >= 601 ? 2 : 1);
    }
    assert_int_equal(wheel.armed, 2);
}

static void on_time_disarm_victim(struct wheel_timer *timer)
{
    on_time(timer);
    wheel_disarm(&wheel, &alarm_of(timer)->victim->timer);
}

static void on_time_move_victim(struct wheel_timer *timer)
{
    on_time(timer);
    arm(alarm_of(timer)->victim, now + 5000);
}

// Two timers due in the same run, in the same slot or not; the first one takes or moves the second.
static void check_victim(wheel_cb cb, uint64_t first_ms, uint64_t second_ms, int calls_later)
{
    struct alarm first, second;

    wheel_init(&wheel, START_MS);
    start(&first, cb, START_MS + first_ms);
    start(&second, on_time, START_MS + second_ms);
    first.victim = &second;
    run_at(START_MS + 1000);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 0);
    assert_int_equal(wheel.armed, calls_later);
    run_at(START_MS + 5900);
    assert_int_equal(second.calls, 0);
    run_at(START_MS + 6000);
    assert_int_equal(second.calls, calls_later);
    assert_int_equal(wheel.armed, 0);
}

static void test_callback_takes_another_that_is_due(void **state)
{
    (void)state;
    check_victim(on_time_disarm_victim, 100, 100, 0);
    check_victim(on_time_disarm_victim, 100, 900, 0);
    check_victim(on_time_move_victim, 100, 100, 1);
    check_victim(on_time_move_victim, 100, 900, 1);
}

static int freed;

static void on_time_free(struct wheel_timer *timer)
{
    free(alarm_of(timer));
    freed++;
}

static void test_callback_frees_its_owner(void **state)
{
    (void)state;
    freed = 0;
    for (uint64_t i = 0; i < 20; i++)
        start(malloc(sizeof(struct alarm)), on_time_free, START_MS + i / 2 * 50);
    run_at(START_MS + 10000);
    assert_int_equal(freed, 20);
    assert_int_equal(wheel.armed, 0);
}

static void test_arming_moves_and_disarming_is_idempotent(void **state)
{
    struct alarm alarm;

    (void)state;
    start(&alarm, on_time, START_MS + 1000);
    arm(&alarm, START_MS + 300);
    arm(&alarm, START_MS + 2000);
    assert_int_equal(wheel.armed, 1);
    run_at(START_MS + 1999);
    assert_int_equal(alarm.calls, 0);
    run_at(START_MS + 2000);
    assert_int_equal(alarm.calls, 1);
    wheel_disarm(&wheel, &alarm.timer);
    arm(&alarm, START_MS + 3000);
    wheel_disarm(&wheel, &alarm.timer);
    wheel_disarm(&wheel, &alarm.timer);
    assert_int_equal(wheel.armed, 0);
    run_at(START_MS + 200000);
    assert_int_equal(alarm.calls, 1);
}

// Stops of up to an hour, from well within the horizon to far beyond it.
static void test_long_stop_of_the_process(void **state)
{
    static const uint64_t stops_ms[] = {5000, 50000, HORIZON_MS, HORIZON_MS + WHEEL_TICK_MS,
                                        3600000};

    (void)state;
    for (size_t i = 0; i < sizeof stops_ms / sizeof stops_ms[0]; i++) {
        const uint64_t woken = START_MS + stops_ms[i];
        struct alarm once, at_once, minute, ahead;

        print_message("%d ms\n", (int)stops_ms[i]);
        wheel_init(&wheel, START_MS);
        start(&once, on_time, START_MS + 4000);
        start(&at_once, on_time_arm_for_now, START_MS + 200);
        start(&minute, on_time_arm_in_a_minute, START_MS + 3000);
        start(&ahead, on_time, START_MS + HORIZON_MS);
        run_at(woken);
        assert_int_equal(once.calls, 1);
        assert_int_equal(at_once.calls, 1);
        assert_int_equal(minute.calls, 1);
        assert_int_equal(ahead.calls, woken >= START_MS + HORIZON_MS);
        while (now < woken + 70000)
            run_at(now + WHEEL_TICK_MS);
        assert_int_equal(once.calls, 1);
        assert_int_equal(minute.calls, 2);
        assert_in_range(minute.called_ms, woken + 60000, woken + 60000 + WHEEL_TICK_MS);
        assert_int_equal(at_once.calls, 701);
    }
}

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

// Random arming, moving and disarming between runs at random distances: never early, late by a tick
// and the distance between two runs at most, once each.
// The wheel is run only when it says that something is due, as a worker does it.
static void test_run_only_when_due(void **state)
{
    struct alarm soon, later, gone;

    (void)state;
    start(&later, on_time, START_MS + 65000);
    start(&soon, on_time, START_MS + 250);
    start(&gone, on_time, START_MS + 200);
    assert_int_equal(wheel_due_ms(&wheel), START_MS + 200);
    wheel_disarm(&wheel, &gone.timer);
    assert_int_equal(wheel_bound_ms(&wheel), START_MS + 200);
    assert_int_equal(wheel_due_ms(&wheel), START_MS + 300);
    run_at(START_MS + 300);
    assert_int_equal(soon.calls, 1);
    assert_int_equal(wheel_due_ms(&wheel), START_MS + 65000);

    // A minute later, with nothing run since, the horizon counts from then.
    now = START_MS + 60000;
    wheel_skip(&wheel, now);
    start(&soon, on_time, now + 65000);
    assert_int_equal(wheel_due_ms(&wheel), START_MS + 65000);

    // What is due is not passed over, however late it is.
    now = START_MS + 90000;
    wheel_skip(&wheel, now);
    assert_int_equal(wheel_due_ms(&wheel), START_MS + 65000);
    start(&gone, on_time, now + 100);
    run_at(now);
    assert_int_equal(later.calls, 1);
    assert_int_equal(later.called_ms, now);
    assert_int_equal(gone.calls, 0);
    assert_int_equal(wheel_due_ms(&wheel), now + 100);
    run_at(START_MS + 125000);
    assert_int_equal(gone.calls + soon.calls, 2);

    // Empty, it goes on to now.
    wheel_skip(&wheel, now + 500000);
    start(&later, on_time, now + 500001);
    assert_int_equal(wheel_due_ms(&wheel), now + 500100);
    wheel_disarm(&wheel, &later.timer);
}

static void test_random_timers(void **state)
{
    static struct alarm alarms[TIMERS];
    static bool armed[TIMERS];
    uint64_t step;

    (void)state;
    for (size_t i = 0; i < TIMERS; i++) {
        start(&alarms[i], on_time, now + next_random(HORIZON_MS));
        armed[i] = true;
    }
    for (int round = 0; round < 4000; round++) {
        const size_t any = next_random(TIMERS);

        armed[any] = next_random(4) != 0;
        if (armed[any])
            arm(&alarms[any], now + next_random(HORIZON_MS - WHEEL_TICK_MS));
        else
            wheel_disarm(&wheel, &alarms[any].timer);
        alarms[any].calls = 0;
        step = next_random(150);
        run_at(now + step);
        for (size_t i = 0; i < TIMERS; i++) {
            const uint64_t deadline = alarms[i].deadline_ms;

            assert_true(!alarms[i].calls || (armed[i] && alarms[i].calls == 1));
            assert_true(!alarms[i].calls || alarms[i].called_ms >= deadline);
            assert_true(!armed[i] || alarms[i].calls || now < deadline + WHEEL_TICK_MS);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_deadlines, setup),
        cmocka_unit_test_setup(test_deadlines_before_the_start_of_time, setup),
        cmocka_unit_test_setup(test_horizon_clips, setup),
        cmocka_unit_test_setup(test_never_on_a_young_clock, setup),
        cmocka_unit_test_setup(test_far_deadline_by_arming_again, setup),
        cmocka_unit_test_setup(test_armed_again_in_callback, setup),
        cmocka_unit_test_setup(test_callback_takes_another_that_is_due, setup),
        cmocka_unit_test_setup(test_callback_frees_its_owner, setup),
        cmocka_unit_test_setup(test_arming_moves_and_disarming_is_idempotent, setup),
        cmocka_unit_test_setup(test_long_stop_of_the_process, setup),
        cmocka_unit_test_setup(test_run_only_when_due, setup),
        cmocka_unit_test_setup(test_random_timers, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
