// SPDX-License-Identifier: BSD-3-Clause
#include "server/renewal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define START_S INT64_C(1800000000)
#define STEP_MAX_S 60 // the thread looks at the clock at least so often
#define DAYS_MAX 400
#define MINUTE RENEWAL_MINUTE_S
#define HOUR RENEWAL_HOUR_S
#define DAY RENEWAL_DAY_S

// A world that moves on by itself: an authority, and what is served.
struct world {
    struct renewal renewal;
    struct renewal_now now;
    uint32_t seed;
    int64_t life_s; // of the certificates that the authority makes
    // What comes of a try at this time.
    enum acme_outcome (*outcome)(const struct world *world);
    int64_t retry_after_s;
    bool windows;  // the authority suggests
    bool unserved; // what it makes is not found good here
    int64_t begin_s, end_s;

    // What was seen.
    int tries[DAYS_MAX], asks[DAYS_MAX];
    int done, restarts;
    int64_t last_s, least_gap_s, least_left_s;
};

static uint32_t next_random(struct world *world)
{
    world->seed = world->seed * 1664525 + 1013904223;
    return world->seed;
}

static enum acme_outcome always_done(const struct world *world)
{
    (void)world;
    return ACME_DONE;
}

static enum acme_outcome always_unreachable(const struct world *world)
{
    (void)world;
    return ACME_UNREACHABLE;
}

static enum acme_outcome always_limited(const struct world *world)
{
    (void)world;
    return ACME_LIMITED;
}

static enum acme_outcome always_unproven(const struct world *world)
{
    (void)world;
    return ACME_UNPROVEN;
}

static enum acme_outcome always_refused(const struct world *world)
{
    (void)world;
    return ACME_REFUSED;
}

static enum acme_outcome always_cancelled(const struct world *world)
{
    (void)world;
    return ACME_CANCELLED;
}

static int64_t steady_day(const struct world *world)
{
    return world->now.steady_s / DAY;
}

static void serve(struct world *world)
{
    if (world->begin_s && world->end_s - world->now.wall_s < world->least_left_s)
        world->least_left_s = world->end_s - world->now.wall_s;
    world->done++;
    if (world->unserved)
        return;
    world->begin_s = world->now.wall_s - HOUR; // as Let's Encrypt does
    if (world->life_s < 2 * HOUR)
        world->begin_s = world->now.wall_s;
    world->end_s = world->begin_s + world->life_s;
    renewal_serves(&world->renewal, world->now, world->begin_s, world->end_s, next_random(world));
}

static void try_once(struct world *world)
{
    const enum acme_outcome outcome = world->outcome(world);

    if (world->last_s && world->now.steady_s - world->last_s < world->least_gap_s)
        world->least_gap_s = world->now.steady_s - world->last_s;
    world->last_s = world->now.steady_s;
    world->tries[steady_day(world)]++;
    renewal_begin(&world->renewal, world->now);
    if (outcome == ACME_DONE)
        serve(world);
    renewal_end(&world->renewal, world->now, outcome, world->retry_after_s, next_random(world));
}

static void ask(struct world *world)
{
    const int64_t life = world->end_s - world->begin_s;
    const struct acme_window window = {world->begin_s + life / 2, world->begin_s + life * 3 / 5,
                                       6 * HOUR};

    world->asks[steady_day(world)]++;
    if (world->windows)
        renewal_window(&world->renewal, world->now, &window, next_random(world));
    else
        renewal_no_window(&world->renewal, world->now, ACME_REFUSED);
}

static void pass(struct world *world, int64_t seconds)
{
    world->now.wall_s += seconds;
    world->now.steady_s += seconds;
}

static void run(struct world *world, int64_t until_steady_s)
{
    while (world->now.steady_s < until_steady_s) {
        const int64_t wait_s = renewal_wait(&world->renewal, world->now);

        assert_true(wait_s >= 0);
        if (renewal_ask_wait(&world->renewal, world->now) == 0)
            ask(world);
        else if (wait_s == 0)
            try_once(world);
        else
            pass(world, wait_s < STEP_MAX_S ? wait_s : STEP_MAX_S);
    }
}

// A process that starts: what is kept is all that it knows.
static void restart(struct world *world)
{
    struct renewal_kept kept;

    renewal_keep(&world->renewal, world->now, &kept);
    renewal_init(&world->renewal);
    renewal_restore(&world->renewal, world->now, &kept);
    renewal_serves(&world->renewal, world->now, world->begin_s, world->end_s, next_random(world));
    world->restarts++;
}

static void begin(struct world *world, int64_t life_s,
                  enum acme_outcome (*outcome)(const struct world *world))
{
    *world = (struct world){.now = {START_S, 0},
                            .seed = 7,
                            .life_s = life_s,
                            .outcome = outcome,
                            .least_gap_s = INT64_MAX,
                            .least_left_s = INT64_MAX};
    renewal_init(&world->renewal);
}

static int most_tries(const struct world *world)
{
    int most = 0;

    for (size_t i = 0; i < DAYS_MAX; i++)
        if (world->tries[i] > most)
            most = world->tries[i];
    return most;
}

static const struct {
    const char *name;
    int64_t life_s;
    bool windows;
    int days, least_done, most_done;
} working[] = {
    {"90 days", 90 * DAY, false, 390, 6, 8},
    {"90 days and a window", 90 * DAY, true, 390, 7, 9},
    {"45 days", 45 * DAY, false, 390, 12, 15},
    {"6 days", 6 * DAY + 16 * HOUR, false, 100, 21, 26},
    {"6 days and a window", 6 * DAY + 16 * HOUR, true, 100, 23, 32},
    {"7 hours", 7 * HOUR, false, 20, 80, 140},
    {"one hour", HOUR, false, 5, 160, 200},
    {"five minutes", 5 * MINUTE, false, 2, 700, 1000},
};

// Never late, never early, and one try for each.
static void test_an_authority_that_works(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(working); i++) {
        struct world world;

        begin(&world, working[i].life_s, always_done);
        world.windows = working[i].windows;
        print_message("%s\n", working[i].name);
        run(&world, working[i].days * DAY);
        assert_in_range(world.done, working[i].least_done, working[i].most_done);
        assert_true(world.least_left_s >=
                    working[i].life_s / RENEWAL_MARGIN_LIFE_PARTS - STEP_MAX_S);
        assert_true(world.asks[3] <= 5 + world.tries[3]);
    }
}

static const struct {
    const char *name;
    enum acme_outcome (*outcome)(const struct world *world);
    int64_t retry_after_s;
    int first_day, most, least; // tries on the first day, and on any later one
    int64_t least_gap_s;
} failing[] = {
    {"unreachable", always_unreachable, 0, 32, 25, 18, MINUTE},
    {"unreachable, in three hours please", always_unreachable, 3 * HOUR, 9, 9, 7, 3 * HOUR},
    {"limited", always_limited, 0, 5, 2, 0, HOUR},
    {"limited for 36 hours", always_limited, 36 * HOUR, 1, 1, 0, 36 * HOUR},
    {"unproven", always_unproven, 0, 9, 5, 3, 5 * MINUTE},
    {"refused", always_refused, 0, 5, 2, 0, HOUR},
};

static void test_failures_are_bounded(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(failing); i++) {
        struct world world;

        begin(&world, 90 * DAY, failing[i].outcome);
        world.retry_after_s = failing[i].retry_after_s;
        print_message("%s\n", failing[i].name);
        run(&world, 120 * DAY);
        assert_in_range(world.tries[0], 1, failing[i].first_day);
        world.tries[0] = 0;
        assert_true(most_tries(&world) <= failing[i].most);
        for (int day = 2; day < 119; day++)
            assert_true(world.tries[day] + world.tries[day + 1] >= failing[i].least);
        assert_true(world.least_gap_s >= failing[i].least_gap_s);
    }
}

// The first tries come soon, as somebody sits there and wonders.
static void test_unproven_first_hour(void **state)
{
    struct world world;
    int64_t at_s[3];

    (void)state;
    begin(&world, 90 * DAY, always_unproven);
    for (int i = 0; i < 3; i++) {
        try_once(&world);
        at_s[i] = renewal_wait(&world.renewal, world.now);
        pass(&world, at_s[i]);
    }
    assert_in_range(at_s[0], 5 * MINUTE, 6 * MINUTE + 15);
    assert_in_range(at_s[1], 10 * MINUTE, 12 * MINUTE + 30);
    assert_in_range(at_s[2], 20 * MINUTE, 25 * MINUTE);
}

// A failure that is another does not wait as long as the one before it had come to.
static void test_an_outage_does_not_count_for_proofs(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 90 * DAY, always_unreachable);
    run(&world, 2 * DAY);
    world.outcome = always_unproven;
    pass(&world, renewal_wait(&world.renewal, world.now));
    try_once(&world);
    assert_in_range(renewal_wait(&world.renewal, world.now), 5 * MINUTE, 6 * MINUTE + 15);
    world.outcome = always_unreachable;
    pass(&world, renewal_wait(&world.renewal, world.now));
    try_once(&world);
    assert_in_range(renewal_wait(&world.renewal, world.now), MINUTE, MINUTE + 15);
}

// No name was looked at, so it does not count as a try.
static void test_an_outage_is_not_counted(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 90 * DAY, always_unreachable);
    run(&world, 20 * MINUTE);
    assert_int_equal(world.tries[0], 5);
}

static enum acme_outcome ill_for_a_while(const struct world *world)
{
    return world->now.steady_s < 87 * DAY && world->done > 0 ? ACME_UNREACHABLE : ACME_DONE;
}

// Down from the first renewal's moment until shortly before the end: renewed within an hour and a
// quarter of its return.
static void test_an_authority_that_comes_back(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 90 * DAY, ill_for_a_while);
    run(&world, 87 * DAY + 75 * MINUTE + STEP_MAX_S);
    assert_int_equal(world.done, 2);
    assert_true(world.least_left_s > DAY);
}

// Somebody's container dies at once and is started again, for days.
static void test_a_crash_loop(void **state)
{
    static const struct {
        const char *name;
        enum acme_outcome (*outcome)(const struct world *world);
        int64_t retry_after_s;
        int most;
    } loops[] = {
        {"unproven", always_unproven, 0, 4 + 48},
        {"refused", always_refused, 0, 4 + 48},
        {"killed amid a try", always_cancelled, 0, 4 + 48},
        {"limited", always_limited, 20 * HOUR, 2},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(loops); i++) {
        struct world world;

        begin(&world, 90 * DAY, loops[i].outcome);
        world.retry_after_s = loops[i].retry_after_s;
        print_message("%s\n", loops[i].name);
        for (int64_t until_s = 30; until_s < 3 * DAY; until_s += 30) {
            run(&world, until_s);
            restart(&world);
        }
        assert_true(most_tries(&world) <= loops[i].most);
        assert_true(world.tries[1] + world.tries[2] > 0);
    }
}

// Within any hour, whatever somebody does to the process.
static void test_validations_an_hour(void **state)
{
    int64_t tried_s[500];
    size_t count = 0;
    struct world world;

    (void)state;
    begin(&world, 90 * DAY, always_unproven);
    for (int64_t s = 0; s < 2 * DAY; s += 20) {
        if (s % 60)
            restart(&world);
        else
            renewal_hurry(&world.renewal);
        if (renewal_wait(&world.renewal, world.now) == 0) {
            try_once(&world);
            tried_s[count++] = s;
        }
        pass(&world, 20);
    }
    assert_true(count > 48);
    for (size_t i = 5; i < count; i++) // Let's Encrypt refuses the sixth
        assert_true(tried_s[i] - tried_s[i - 5] >= HOUR);
}

// What is fetched is not found good, such as with a wrong clock: five certificates, and then as
// Let's Encrypt gives them back.
static void test_certificates_that_do_not_serve(void **state)
{
    struct world world;
    int week = 0;

    (void)state;
    begin(&world, 90 * DAY, always_done);
    world.unserved = true;
    for (int64_t until_s = 60; until_s < 7 * DAY; until_s += 60) {
        run(&world, until_s);
        restart(&world);
    }
    assert_in_range(world.done, 5, 10);
    for (int i = 1; i < 7; i++)
        week += world.tries[i];
    assert_true(week <= 5);
}

// The present certificate stays as it is, and so does the moment.
static void test_the_moment_is_drawn_once(void **state)
{
    struct renewal_now now = {START_S, 1000};
    struct acme_window window = {START_S + 10 * DAY, START_S + 20 * DAY, 6 * HOUR};
    struct renewal renewal;
    int64_t wait_s;

    (void)state;
    renewal_init(&renewal);
    assert_true(renewal_ask_wait(&renewal, now) == INT64_MAX);
    renewal_serves(&renewal, now, START_S, START_S + 90 * DAY, 0x80000000);
    wait_s = renewal_wait(&renewal, now);
    assert_int_equal(wait_s, 60 * DAY + 90 * DAY / RENEWAL_SPREAD_LIFE_PARTS / 2);

    assert_int_equal(renewal_ask_wait(&renewal, now), 0);
    renewal_window(&renewal, now, &window, 0x80000000);
    assert_int_equal(renewal_wait(&renewal, now), 15 * DAY);
    assert_int_equal(renewal_ask_wait(&renewal, now), 6 * HOUR);
    now.steady_s += 6 * HOUR;
    now.wall_s += 6 * HOUR;
    assert_int_equal(renewal_ask_wait(&renewal, now), 0);
    renewal_window(&renewal, now, &window, 0);
    assert_int_equal(renewal_wait(&renewal, now), 15 * DAY - 6 * HOUR);
    renewal_no_window(&renewal, now, ACME_UNREACHABLE);
    assert_int_equal(renewal_wait(&renewal, now), 15 * DAY - 6 * HOUR);
}

// As after a revocation: the window has gone by.
static void test_a_window_in_the_past_is_now(void **state)
{
    const struct renewal_now now = {START_S, 0};
    const struct acme_window window = {START_S - 2 * DAY, START_S - DAY, 6 * HOUR};
    struct renewal renewal;

    (void)state;
    renewal_init(&renewal);
    renewal_serves(&renewal, now, START_S - 3 * DAY, START_S + 87 * DAY, 1);
    renewal_window(&renewal, now, &window, UINT32_MAX);
    assert_int_equal(renewal_wait(&renewal, now), 0);
}

static void test_a_window_behind_the_end_is_not_waited_for(void **state)
{
    const struct renewal_now now = {START_S, 0};
    const struct acme_window window = {START_S + 100 * DAY, START_S + 200 * DAY, 6 * HOUR};
    struct renewal renewal;

    (void)state;
    renewal_init(&renewal);
    renewal_serves(&renewal, now, START_S, START_S + 80 * DAY, 1);
    renewal_window(&renewal, now, &window, 5);
    assert_int_equal(renewal_wait(&renewal, now), 70 * DAY);
}

// The wall clock is set by years: a wait after a failure is none the longer, and the certificate's
// end is where it is.
static void test_a_clock_that_is_set(void **state)
{
    static const int64_t jumps_s[] = {-10 * 365 * DAY, -DAY, -HOUR, HOUR, DAY, 10 * 365 * DAY};

    (void)state;
    for (size_t i = 0; i < COUNT(jumps_s); i++) {
        struct world world;

        begin(&world, 90 * DAY, always_unproven);
        try_once(&world);
        world.now.wall_s += jumps_s[i];
        assert_in_range(renewal_wait(&world.renewal, world.now), 5 * MINUTE, 6 * MINUTE + 15);
        restart(&world);
        assert_int_equal(renewal_wait(&world.renewal, world.now), 0);

        begin(&world, 90 * DAY, always_done);
        try_once(&world);
        world.now.wall_s += jumps_s[i];
        world.now.wall_s -= jumps_s[i];
        assert_in_range(renewal_wait(&world.renewal, world.now), 59 * DAY, 65 * DAY);
    }
}

// A limit that was written down under a clock that was wrong then, or is now.
static void test_kept_limits_end(void **state)
{
    static const int64_t at_s[] = {0,           1,         START_S - HOUR, START_S,
                                   START_S * 3, INT64_MAX, INT64_MIN};
    const struct renewal_now now = {START_S, 50};

    (void)state;
    for (size_t i = 0; i < COUNT(at_s); i++) {
        const struct renewal_kept kept = {at_s[i], INT64_MAX, 2 * HOUR, INT64_MAX, INT64_MIN};
        struct renewal renewal;

        renewal_init(&renewal);
        renewal_restore(&renewal, now, &kept);
        assert_in_range(renewal_wait(&renewal, now), 0, 31 * DAY);
        renewal_begin(&renewal, now);
        renewal_end(&renewal, now, ACME_UNPROVEN, 0, UINT32_MAX);
    }
}

static void test_who_may_be_hurried(void **state)
{
    struct world world;

    (void)state;
    begin(&world, 90 * DAY, always_refused);
    assert_false(renewal_may_hurry(&world.renewal, world.now));
    try_once(&world);
    assert_true(renewal_may_hurry(&world.renewal, world.now));
    renewal_hurry(&world.renewal);
    assert_int_equal(renewal_wait(&world.renewal, world.now), 0);

    begin(&world, 90 * DAY, always_limited);
    world.retry_after_s = HOUR;
    try_once(&world);
    assert_false(renewal_may_hurry(&world.renewal, world.now));
    renewal_hurry(&world.renewal);
    assert_int_equal(renewal_wait(&world.renewal, world.now), HOUR);

    begin(&world, 90 * DAY, always_done);
    try_once(&world);
    assert_false(renewal_may_hurry(&world.renewal, world.now));
    renewal_hurry(&world.renewal);
    assert_true(renewal_wait(&world.renewal, world.now) > 59 * DAY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_authority_that_works),
        cmocka_unit_test(test_failures_are_bounded),
        cmocka_unit_test(test_unproven_first_hour),
        cmocka_unit_test(test_an_outage_does_not_count_for_proofs),
        cmocka_unit_test(test_an_outage_is_not_counted),
        cmocka_unit_test(test_an_authority_that_comes_back),
        cmocka_unit_test(test_a_crash_loop),
        cmocka_unit_test(test_validations_an_hour),
        cmocka_unit_test(test_certificates_that_do_not_serve),
        cmocka_unit_test(test_the_moment_is_drawn_once),
        cmocka_unit_test(test_a_window_in_the_past_is_now),
        cmocka_unit_test(test_a_window_behind_the_end_is_not_waited_for),
        cmocka_unit_test(test_a_clock_that_is_set),
        cmocka_unit_test(test_kept_limits_end),
        cmocka_unit_test(test_who_may_be_hurried),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
