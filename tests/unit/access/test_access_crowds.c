// SPDX-License-Identifier: BSD-3-Clause
//
// Servers that hang or are slow, and the crowds in front of them.
#include "access/access.h"

#include "access_rig.h"

// A crowd in front of servers that hang: 64 have been asked about, the rest has not, and nobody is
// in for that, fail-open or not.
#define CROWD 1000

static void test_hanging(void **state)
{
    static struct fake_server agent, url;
    static struct asker at_agent[CROWD], at_url[CROWD];
    struct access *strict, *open;
    int allowed = 0;

    (void)state;
    agent = (struct fake_server){.respond = respond_never};
    url = (struct fake_server){.respond = respond_never};
    fake_server_start_unix(&agent, in_folder("hanging"));
    fake_server_start_tcp(&url);
    strict = make_agent(agent.path, 60000);
    open = make_url(url.url, true, 60000);
    for (uint32_t i = 0; i < CROWD; i++) {
        begin(strict, &at_agent[i], i);
        begin(open, &at_url[i], i);
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        await(&at_agent[i]);
        await(&at_url[i]);
        assert_int_equal(at_agent[i].verdict, ACCESS_UNANSWERED);
        assert_in_range(at_agent[i].took_ms, ACCESS_LIMIT_MS - 20, LATE_MS);
        allowed += at_url[i].verdict == ACCESS_ALLOWED;
    }
    assert_int_equal(allowed, SOURCE_OPEN_MAX);
    assert_int_equal(url.requests, SOURCE_OPEN_MAX);
    assert_int_equal(counter_read(&access_source(strict, 0)->counters.answers[ACCESS_TIMED_OUT]),
                     SOURCE_OPEN_MAX);
    assert_int_equal(counter_read(&access_source(strict, 0)->counters.answers[ACCESS_BUSY]),
                     CROWD - SOURCE_OPEN_MAX);
    // Whoever was in line is not asked about when its time ends, too, in the next moment.
    assert_int_equal(counter_read(&access_source(strict, 0)->counters.durations), SOURCE_OPEN_MAX);
    assert_int_equal(counter_read(&access_source(open, 0)->counters.durations), SOURCE_OPEN_MAX);
    end(strict);
    end(open);
    fake_server_stop(&agent);
    fake_server_stop(&url);
}

// Each counts once, the one that has answered with its answer; and who was asked in vain has taken
// time, too.
static void test_one_of_two_hangs(void **state)
{
    struct pair *pair = pair_start(0);
    const struct source_counters *first = &access_source(pair->access, 0)->counters;
    const struct source_counters *second = &access_source(pair->access, 1)->counters;

    (void)state;
    pair_answer(pair, &stranger, &hung);
    assert_int_equal(ask(pair->access, 1), ACCESS_UNANSWERED);
    assert_answered(pair->access, ACCESS_NOT_MEMBER, 1);
    assert_int_equal(counter_read(&second->answers[ACCESS_TIMED_OUT]), 1);
    assert_int_equal(counter_read(&first->durations), 1);
    assert_int_equal(counter_read(&second->durations), 1);
    assert_true(counter_read(&second->duration_ms_sum) > ACCESS_LIMIT_MS - 500);
    pair_stop(pair);
}

// An agent that hangs takes all the time: the URL behind it is neither asked nor blamed.
static void test_no_time_left(void **state)
{
    struct pair *pair =
        pair_start_checks((struct access_config){.fail_open = true, .grace_ms = 60000});
    const struct source_counters *url = &access_source(pair->access, 1)->counters;

    (void)state;
    assert_int_equal(ask(pair->access, 1), ACCESS_ALLOWED);
    pair_answer(pair, &hung, ALLOW);
    assert_int_equal(ask(pair->access, 1), ACCESS_ALLOWED); // both have vouched for it
    assert_int_equal(counter_read(&url->answers[ACCESS_BUSY]), 0);
    assert_int_equal(counter_read(&url->answers[ACCESS_MEMBER]), 1);
    assert_int_equal(pair->servers[1].requests, 1);
    assert_int_equal(counter_read(&access_counters(pair->access)->graced), 1);
    pair_stop(pair);
}

// A crowd in front of a slow agent: as many as it can, in the order of their coming, and no more
// than it was asked about.
#define SLOW_CROWD 3000

static void test_slow_agent(void **state)
{
    static struct fake_server server;
    static struct asker askers[SLOW_CROWD];
    struct access *access;
    int allowed = 0;

    (void)state;
    server = (struct fake_server){.respond = respond_agent, .data = &member, .delay_ms = 300};
    fake_server_start_unix(&server, in_folder("slow"));
    access = make_agent(server.path, 60000);
    for (uint32_t i = 0; i < SLOW_CROWD; i++)
        begin(access, &askers[i], i);
    for (uint32_t i = 0; i < SLOW_CROWD; i++) {
        await(&askers[i]);
        assert_true(askers[i].took_ms < LATE_MS);
        allowed += askers[i].verdict == ACCESS_ALLOWED;
    }
    print_message("%d of %d in time, %d open at once\n", allowed, SLOW_CROWD, server.most_open);
    assert_in_range(allowed, SOURCE_OPEN_MAX, SLOW_CROWD - 1);
    assert_true(allowed <= server.requests);
    assert_true(server.most_open <= SOURCE_OPEN_MAX);
    assert_int_equal(askers[0].verdict, ACCESS_ALLOWED);
    assert_int_equal(askers[SLOW_CROWD - 1].verdict, ACCESS_UNANSWERED);
    end(access);
    fake_server_stop(&server);
}

// Those who are in and are asked about again leave the line to who comes.
static void test_newcomers_go_first(void **state)
{
    static struct fake_server server;
    static struct asker stayers[4 * SOURCE_OPEN_MAX], newcomer;
    const struct access_past past = {.admitted = true};
    struct access *access;
    size_t answered = 0;

    (void)state;
    server = (struct fake_server){.respond = respond_agent, .data = &member, .delay_ms = 300};
    fake_server_start_unix(&server, in_folder("crowded"));
    access = make_agent(server.path, 0);
    for (uint32_t i = 0; i < COUNT(stayers); i++)
        begin_with(access, &stayers[i], i, &past);
    begin(access, &newcomer, COUNT(stayers));
    await(&newcomer);
    for (size_t i = 0; i < COUNT(stayers); i++)
        answered += stayers[i].verdict >= 0;
    assert_true(answered <= 3 * SOURCE_OPEN_MAX);
    for (size_t i = 0; i < COUNT(stayers); i++) {
        await(&stayers[i]);
        assert_int_equal(stayers[i].verdict, ACCESS_ALLOWED);
    }
    end(access);
    fake_server_stop(&server);
}

static void test_cancel(void **state)
{
    static struct fake_server server;
    static struct asker askers[200];
    struct access *access;

    (void)state;
    server = (struct fake_server){.respond = respond_never};
    fake_server_start_unix(&server, in_folder("cancelled"));
    access = make_agent(server.path, 0);
    for (uint32_t i = 0; i < COUNT(askers); i++)
        begin(access, &askers[i], i);
    run_for(100);
    for (uint32_t i = COUNT(askers); i > 0; i--) {
        access_cancel(&askers[i - 1].ask);
        access_cancel(&askers[i - 1].ask);
    }
    run_for(100);
    for (uint32_t i = 0; i < COUNT(askers); i++)
        assert_int_equal(askers[i].verdict, -1);
    assert_int_equal(counter_read(&access_counters(access)->cancelled), COUNT(askers));
    end(access);
    fake_server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hanging),
        cmocka_unit_test(test_one_of_two_hangs),
        cmocka_unit_test(test_no_time_left),
        cmocka_unit_test(test_slow_agent),
        cmocka_unit_test(test_newcomers_go_first),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, access_group_setup, access_group_teardown);
}
