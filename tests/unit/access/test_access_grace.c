// SPDX-License-Identifier: BSD-3-Clause
//
// Who gets in, and who stays, while what is asked has no answer.
#include "access/access.h"

#include "access_rig.h"

static void test_grace(void **state)
{
    static struct fake_server server;
    struct access *access;

    (void)state;
    serve_agent(&server, "graced", &member);
    access = make_agent(server.path, 3000);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    assert_int_equal(ask(access, 3), ACCESS_ALLOWED);
    server.data = &stranger;
    assert_int_equal(ask(access, 3), ACCESS_REFUSED);
    fake_server_stop(&server);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);    // the outage
    assert_int_equal(ask(access, 2), ACCESS_UNANSWERED); // never seen
    assert_int_equal(ask(access, 3), ACCESS_UNANSWERED); // refused meanwhile
    run_for(600);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    run_for(2500); // being let in by grace has not renewed it
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    assert_int_equal(counter_read(&access_counters(access)->graced), 2);
    end(access);
}

static void test_no_grace(void **state)
{
    static struct fake_server server;
    struct access *access;

    (void)state;
    serve_agent(&server, "strict", &member);
    access = make_agent(server.path, 0);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    fake_server_stop(&server);
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    end(access);
}

// One agent's silence does not vouch for what another one let in, and now refuses.
static void test_grace_is_of_the_source(void **state)
{
    struct pair *pair = pair_start(60000);

    (void)state;
    pair_answer(pair, &member, &stranger);
    assert_int_equal(ask(pair->access, 1), ACCESS_ALLOWED);
    pair_answer(pair, &stranger, &stranger);
    pair_stop_one(pair, 1);
    assert_int_equal(ask(pair->access, 1), ACCESS_UNANSWERED);
    pair_stop(pair);
}

// Nor what one has taken back, whatever another one's silence made of the verdict.
static void test_grace_ends_with_the_no_of_its_source(void **state)
{
    struct pair *pair = pair_start(60000);

    (void)state;
    pair_answer(pair, &member, &stranger);
    assert_int_equal(ask(pair->access, 1), ACCESS_ALLOWED);
    pair_stop_one(pair, 1);
    pair_answer(pair, &stranger, NULL);
    assert_int_equal(ask(pair->access, 1), ACCESS_UNANSWERED);
    pair_stop_one(pair, 0);
    assert_int_equal(ask(pair->access, 1), ACCESS_UNANSWERED);
    pair_stop(pair);
}

// Let in by fail-open is not let in by the source.
static void test_fail_open_gives_no_grace(void **state)
{
    static struct fake_server server;
    struct access *access;

    (void)state;
    serve_url(&server, "");
    access = make_url(server.url, true, 60000);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    server.data = EMPTY("500 Oops");
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    server.data = ALLOW;
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    server.data = EMPTY("500 Oops");
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    end(access);
    fake_server_stop(&server);
}

// Nor do the others that were asked then: fail-open renews nobody's grace.
static void test_fail_open_renews_no_grace(void **state)
{
    struct pair *pair =
        pair_start_checks((struct access_config){.fail_open = true, .grace_ms = 60000});

    (void)state;
    pair_answer(pair, &member, "");
    assert_int_equal(ask(pair->access, 1), ACCESS_ALLOWED);
    pair_answer(pair, &out_of_order, "");
    assert_int_equal(ask(pair->access, 1), ACCESS_UNANSWERED);
    pair_stop(pair);
}

// --- Who is in

// One that never knew the client keeps nobody by having no answer.
static void test_withdrawn_by_who_vouched(void **state)
{
    struct pair *pair = pair_start(0);
    struct access_past past = {0};

    (void)state;
    pair_answer(pair, &member, &stranger);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_ALLOWED);
    pair_answer(pair, &out_of_order, &out_of_order);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_UNANSWERED); // silence closes nobody
    pair_answer(pair, &out_of_order, &stranger);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_UNANSWERED);
    pair_answer(pair, &stranger, &out_of_order);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_REFUSED);
    assert_int_equal(ask(pair->access, 1), ACCESS_UNANSWERED); // at the door
    pair_stop(pair);
}

// Two have, one after the other: both must take it back, and need not at once.
static void test_withdrawn_by_both(void **state)
{
    struct pair *pair = pair_start(0);
    struct access_past past = {0};

    (void)state;
    pair_answer(pair, &member, &stranger);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_ALLOWED);
    pair_answer(pair, &out_of_order, &member);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_ALLOWED);
    pair_answer(pair, &stranger, &out_of_order);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_UNANSWERED);
    pair_answer(pair, &out_of_order, &stranger);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_REFUSED);
    pair_stop(pair);
}

// Grace counts as the word of whom it is of.
static void test_grace_vouches(void **state)
{
    struct pair *pair = pair_start(60000);
    struct access_past past = {0};

    (void)state;
    pair_answer(pair, &member, &stranger);
    assert_int_equal(ask(pair->access, 1), ACCESS_ALLOWED);
    pair_answer(pair, &out_of_order, &stranger);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_ALLOWED);
    pair_answer(pair, &stranger, &out_of_order);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_REFUSED);
    pair_stop(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grace),
        cmocka_unit_test(test_no_grace),
        cmocka_unit_test(test_grace_is_of_the_source),
        cmocka_unit_test(test_grace_ends_with_the_no_of_its_source),
        cmocka_unit_test(test_withdrawn_by_who_vouched),
        cmocka_unit_test(test_withdrawn_by_both),
        cmocka_unit_test(test_grace_vouches),
        cmocka_unit_test(test_fail_open_gives_no_grace),
        cmocka_unit_test(test_fail_open_renews_no_grace),
    };
    return cmocka_run_group_tests(tests, access_group_setup, access_group_teardown);
}
