// SPDX-License-Identifier: BSD-3-Clause
//
// Many newcomers at once: few are served in each turn, in the order of their coming, none is
// forgotten, and those that keep us waiting are bounded.
#include "io/turns.h"

#include "../support/identity.h"
#include "../support/loopback.h"
#include "base/clock.h"
#include "io/engine.h"
#include "io/listener.h"

#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 100
#define HELLO_MAX_BYTES 4096

struct rig {
    uv_loop_t loop;
    struct io_budget budget;
    struct io_context io;
    struct listener listener;
    uint16_t port;
    int fds[MANY];
    bool tls, answered[MANY];
    struct stream *streams[MANY]; // in the order of their coming
    bool stays[MANY];
    int accepted, ended, ended_early; // of those, before they had a TLS object
    int delivered;
    uint8_t hello[HELLO_MAX_BYTES];
    size_t hello_len, descriptors;
};

static struct identity identity;

static bool on_data(struct stream *stream, uint8_t *data, size_t len)
{
    struct rig *rig = stream->owner;

    (void)data, (void)len;
    rig->delivered++;
    return true;
}

static void on_end(struct stream *stream, enum stream_end why)
{
    struct rig *rig = stream_owner(stream);

    (void)why;
    rig->ended++;
    rig->ended_early += stream->ssl == NULL;
    for (int i = 0; i < MANY; i++)
        if (rig->streams[i] == stream)
            rig->streams[i] = NULL;
    stream_close(stream);
}

static void on_connection(struct listener *listener, int fd)
{
    static const struct stream_callbacks callbacks = {.on_data = on_data, .on_end = on_end};
    struct rig *rig = list_entry(listener, struct rig, listener);

    rig->streams[rig->accepted++] = stream_accept(&rig->io, fd, rig->tls, &callbacks, rig);
}

static void make_hello(struct rig *rig)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    SSL_do_handshake(ssl);
    rig->hello_len = (size_t)BIO_read(out, rig->hello, sizeof rig->hello);
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void rig_start(struct rig *rig, bool tls)
{
    SSL_CTX *ctx = identity_context(&identity);

    *rig = (struct rig){.tls = tls, .budget.limit = 2 * MANY, .descriptors = descriptors_open()};
    uv_loop_init(&rig->loop);
    io_context_init(&rig->io, &rig->loop, &rig->budget);
    io_context_set_tls(&rig->io, ctx);
    SSL_CTX_free(ctx);
    make_hello(rig);
    assert_int_equal(
        listener_start(&rig->listener, &rig->io, loopback_bind(&rig->port, 0), on_connection), 0);
    for (int i = 0; i < MANY; i++)
        rig->fds[i] = loopback_connect(rig->port, 0);
    while (rig->accepted < MANY)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
}

static void rig_stop(struct rig *rig)
{
    for (int i = 0; i < MANY; i++) {
        if (rig->streams[i])
            stream_close(rig->streams[i]);
        close(rig->fds[i]);
    }
    listener_close(&rig->listener);
    assert_int_equal(uv_run(&rig->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    assert_null(rig->io.turns.idle);
    assert_int_equal(counter_read(&rig->io.counters.newcomers), 0);
    assert_int_equal(counter_read(&rig->io.counters.newcomers_in_line), 0);
    assert_int_equal(atomic_load(&rig->budget.used), 0);
    io_context_deinit(&rig->io);
    assert_int_equal(descriptors_open(), rig->descriptors);
}

static void say_hello(const struct rig *rig, int i)
{
    assert_int_equal(send(rig->fds[i], rig->hello, rig->hello_len, MSG_NOSIGNAL), rig->hello_len);
}

// They have been seen, are not served yet, and are not polled any more.
static void let_a_crowd_wait(struct rig *rig)
{
    for (int i = 0; i < MANY; i++)
        say_hello(rig, i);
    while (counter_read(&rig->io.counters.handshakes_delayed) == 0)
        uv_run(&rig->loop, UV_RUN_ONCE);
}

static int count_answered(struct rig *rig)
{
    uint8_t byte;
    int n = 0;

    for (int i = 0; i < MANY; i++) {
        if (!rig->answered[i])
            rig->answered[i] = recv(rig->fds[i], &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
        n += rig->answered[i];
    }
    return n;
}

static void test_few_in_each_turn(void **state)
{
    struct rig rig;
    int before = 0, turns = 0;

    (void)state;
    rig_start(&rig, true);
    for (int i = 0; i < MANY; i++)
        say_hello(&rig, i);
    while (before < MANY) {
        int now;

        uv_run(&rig.loop, UV_RUN_ONCE); // would sleep for ever if it could
        now = count_answered(&rig);
        assert_true(now - before <= 2 * TURN_STEPS_MAX);
        for (int i = 0; i + 2 * TURN_STEPS_MAX < now; i++)
            assert_true(rig.answered[i]);
        before = now;
        turns++;
    }
    assert_true(turns >= MANY / (2 * TURN_STEPS_MAX));
    assert_true(counter_read(&rig.io.counters.handshakes_delayed) > MANY / 2);
    assert_null(rig.io.turns.idle);
    rig_stop(&rig);
}

// Those that wait are closed, from both ends of the line and in its middle.
static void test_closed_while_they_wait(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, true);
    let_a_crowd_wait(&rig);
    for (int i = 0; i < MANY; i++) {
        if (i % 3 == 1 || !rig.streams[i])
            continue;
        stream_close(rig.streams[i]);
        rig.streams[i] = NULL;
    }
    for (int i = 0; i < MANY; i++)
        if (!rig.streams[i])
            rig.answered[i] = false;
    while (rig.io.turns.idle)
        uv_run(&rig.loop, UV_RUN_ONCE);
    for (int i = 0; i < MANY; i++)
        assert_true(!rig.streams[i] || (count_answered(&rig), rig.answered[i]));
    rig_stop(&rig);
}

static void test_all_closed_while_they_wait(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, true);
    let_a_crowd_wait(&rig);
    rig_stop(&rig);
}

// Who has hung up while it waited gets no handshake.
static void test_hung_up_while_they_wait(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, true);
    let_a_crowd_wait(&rig);
    for (int i = 0; i < MANY; i++)
        if (i % 2 == 1 && rig.streams[i]->reading == READING_MUTED)
            shutdown(rig.fds[i], SHUT_WR);
        else
            rig.stays[i] = true;
    while (rig.io.turns.idle)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_true(rig.ended > MANY / 4);
    assert_int_equal(rig.ended, rig.ended_early);
    count_answered(&rig);
    for (int i = 0; i < MANY; i++)
        assert_true(rig.answered[i] || !rig.stays[i]);
    rig_stop(&rig);
}

// A hello with a reset behind it takes its turn as well.
static void test_reset_behind_the_hello(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, true);
    for (int i = 0; i < MANY; i++) {
        say_hello(&rig, i);
        loopback_reset(rig.fds[i]);
        rig.fds[i] = -1;
    }
    while (rig.ended < MANY) {
        const int before = rig.ended;

        uv_run(&rig.loop, UV_RUN_ONCE);
        assert_true(rig.ended - before <= 2 * TURN_STEPS_MAX);
    }
    rig_stop(&rig);
}

static void test_silence_costs_no_tls(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, true);
    for (int i = 0; i < MANY; i++)
        assert_null(rig.streams[i]->ssl);
    say_hello(&rig, 0);
    while (count_answered(&rig) == 0)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_non_null(rig.streams[0]->ssl);
    assert_null(rig.streams[1]->ssl);
    rig_stop(&rig);
}

// Without TLS, what comes before the login is in the share as well; what comes after it is not.
static void test_plain_newcomers_share_and_the_established_do_not(void **state)
{
    struct rig rig;
    int before = 0;

    (void)state;
    rig_start(&rig, false);
    for (int i = 0; i < MANY; i++)
        say_hello(&rig, i);
    while (rig.delivered < MANY) {
        uv_run(&rig.loop, UV_RUN_ONCE);
        assert_true(rig.delivered - before <= TURN_STEPS_MAX);
        before = rig.delivered;
    }
    for (int i = 0; i < MANY; i++) {
        stream_establish(rig.streams[i]);
        stream_establish(rig.streams[i]); // idempotent
        say_hello(&rig, i);
    }
    assert_int_equal(counter_read(&rig.io.counters.newcomers), 0);
    uv_run(&rig.loop, UV_RUN_ONCE);
    assert_int_equal(rig.delivered, 2 * MANY);
    rig_stop(&rig);
}

static void test_established_while_it_waits(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, false);
    let_a_crowd_wait(&rig);
    for (int i = 0; i < MANY; i++)
        stream_establish(rig.streams[i]);
    assert_null(rig.io.turns.idle);
    uv_run(&rig.loop, UV_RUN_ONCE);
    assert_int_equal(rig.delivered, MANY);
    rig_stop(&rig);
}

// The rest without sockets.

#define CROWD (NEWCOMERS_SILENT_MAX + 8)

static struct crowd {
    uv_loop_t loop;
    struct wheel wheel;
    struct turns turns;
    struct newcomer newcomers[CROWD];
    size_t count;
    size_t served[CROWD], served_count;
    size_t crowded_out[CROWD], crowded_out_count;
} crowd;

static void on_serve(struct newcomer *newcomer)
{
    crowd.served[crowd.served_count++] = (size_t)(newcomer - crowd.newcomers);
}

static void on_crowd_out(struct newcomer *newcomer)
{
    crowd.crowded_out[crowd.crowded_out_count++] = (size_t)(newcomer - crowd.newcomers);
    turns_leave(&crowd.turns, newcomer);
}

static void more_enter(size_t count)
{
    static const struct newcomer_callbacks callbacks = {.serve = on_serve,
                                                        .crowd_out = on_crowd_out};

    while (count-- > 0)
        turns_enter(&crowd.turns, &crowd.newcomers[crowd.count++], &callbacks);
}

static void crowd_start(size_t count)
{
    memset(&crowd, 0, sizeof crowd);
    uv_loop_init(&crowd.loop);
    wheel_init(&crowd.wheel, clock_ms());
    turns_init(&crowd.turns, &crowd.loop, &crowd.wheel);
    more_enter(count);
}

static void crowd_stop(void)
{
    for (size_t i = 0; i < CROWD; i++)
        turns_leave(&crowd.turns, &crowd.newcomers[i]);
    assert_null(crowd.turns.idle);
    assert_int_equal(uv_run(&crowd.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&crowd.loop), 0);
}

static void line_up(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        turns_line_up(&crowd.turns, &crowd.newcomers[i]);
}

static void serve(size_t from, size_t to)
{
    line_up(from, to);
    while (crowd.turns.idle)
        uv_run(&crowd.loop, UV_RUN_NOWAIT);
    crowd.served_count = 0;
}

// Those that go on come first, but cannot keep out those that begin.
static void test_who_goes_on_comes_first(void **state)
{
    static const size_t order[] = {0, 1, 20, 21, 22, 23, 24, 25, 2, 3, 26, 27, 4, 5, 6, 7};

    (void)state;
    crowd_start(30);
    serve(20, 28);
    line_up(0, 28);
    uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_int_equal(crowd.served_count, TURN_STEPS_MAX);
    uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_int_equal(crowd.served_count, 2 * TURN_STEPS_MAX);
    assert_memory_equal(crowd.served, order, sizeof order);
    while (crowd.turns.idle)
        uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_int_equal(crowd.served_count, 28);
    crowd_stop();
}

static void test_one_silent_too_many(void **state)
{
    (void)state;
    crowd_start(NEWCOMERS_SILENT_MAX);
    line_up(0, 1);
    more_enter(1); // who is in line does not count
    assert_int_equal(crowd.crowded_out_count, 0);
    more_enter(2);
    assert_int_equal(crowd.crowded_out_count, 2);
    assert_int_equal(crowd.crowded_out[0], 1);
    assert_int_equal(crowd.crowded_out[1], 2);
    crowd_stop();
}

static void pass_time(uint64_t ms)
{
    for (size_t i = 0; i < crowd.count; i++)
        crowd.newcomers[i].since_ms -= (uint32_t)ms;
    wheel_run(&crowd.wheel, clock_ms() + ms);
    uv_run(&crowd.loop, UV_RUN_NOWAIT);
}

// Whoever keeps a place by saying a little now and then loses it when others wait to begin.
static void test_long_under_way(void **state)
{
    const size_t max = NEWCOMERS_UNDER_WAY_MAX;

    (void)state;
    crowd_start(max + 1);
    serve(0, max);
    for (size_t i = 0; i < 3; i++)
        crowd.newcomers[i].begun -= NEWCOMER_UNDER_WAY_LIMIT_MS / 10; // in units of 16 ms
    line_up(0, 1);                                                    // nobody waits yet
    uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_int_equal(crowd.crowded_out_count, 0);

    line_up(max, max + 1);
    line_up(2, 4); // only the first of them is under way for long
    uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_int_equal(crowd.crowded_out_count, 1);
    assert_int_equal(crowd.newcomers[2].place, NEWCOMER_GONE);
    uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_int_equal(crowd.newcomers[max].place, NEWCOMER_QUIET); // has begun
    crowd_stop();
}

// All that are late lose their places, not one a turn: who has lost its place does not save others.
static void test_many_long_under_way(void **state)
{
    const size_t max = NEWCOMERS_UNDER_WAY_MAX, end = max + 2 * TURN_STEPS_MAX;

    (void)state;
    crowd_start(end);
    serve(0, max);
    for (size_t i = 0; i < TURN_STEPS_MAX; i++)
        crowd.newcomers[i].begun -= NEWCOMER_UNDER_WAY_LIMIT_MS / 10; // in units of 16 ms
    line_up(max, end);
    line_up(0, TURN_STEPS_MAX);
    uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_int_equal(crowd.crowded_out_count, TURN_STEPS_MAX - 1);
    assert_int_equal(crowd.served_count, 1); // begins where the first has gone
    uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_int_equal(crowd.crowded_out_count, TURN_STEPS_MAX);
    crowd_stop();
}

// Nobody begins, and the loop sleeps, until there is room: by one that goes, or by those that are
// quiet for long.
static void test_too_many_under_way(void **state)
{
    const size_t max = NEWCOMERS_UNDER_WAY_MAX;

    (void)state;
    crowd_start(max + 20);
    serve(0, max);
    line_up(max, max + 20);
    uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_false(uv_is_active((uv_handle_t *)crowd.turns.idle));
    assert_int_equal(crowd.served_count, 0);

    turns_leave(&crowd.turns, &crowd.newcomers[5]);
    pass_time(200);
    assert_int_equal(crowd.served_count, 1);
    assert_int_equal(crowd.served[0], max);
    assert_false(uv_is_active((uv_handle_t *)crowd.turns.idle));

    line_up(0, 1); // goes on, and is not quiet for long
    uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_int_equal(crowd.served_count, 2);
    assert_int_equal(crowd.crowded_out_count, 0);

    pass_time(NEWCOMER_QUIET_LIMIT_MS - 200);
    while (crowd.turns.idle && uv_is_active((uv_handle_t *)crowd.turns.idle))
        uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_int_equal(crowd.served_count, 2 + 19);
    assert_int_equal(crowd.crowded_out_count, 19);
    assert_int_equal(crowd.crowded_out[0], 1);
    crowd_stop();
}

static void test_room_is_made_by_who_was_quiet_for_long(void **state)
{
    (void)state;
    crowd_start(4);

    const uint64_t began = crowd.loop.time;

    serve(3, 4); // by then the loop's time may have gone on

    const uint64_t served = crowd.loop.time;

    assert_false(turns_crowd_out(&crowd.turns));
    crowd.loop.time = began + NEWCOMER_QUIET_LIMIT_MS - 1;
    assert_false(turns_crowd_out(&crowd.turns));
    line_up(0, 1);
    crowd.loop.time = served + NEWCOMER_QUIET_LIMIT_MS;
    for (int i = 0; i < 3; i++)
        assert_true(turns_crowd_out(&crowd.turns));
    assert_false(turns_crowd_out(&crowd.turns)); // the other one is in line
    assert_int_equal(crowd.crowded_out[0], 1);
    assert_int_equal(crowd.crowded_out[1], 2);
    assert_int_equal(crowd.crowded_out[2], 3);
    crowd_stop();
}

static void test_full_line(void **state)
{
    (void)state;
    crowd_start(NEWCOMERS_LINE_MAX);
    serve(0, 10);
    line_up(0, NEWCOMERS_LINE_MAX - 1);
    assert_false(turns_line_full(&crowd.turns));
    line_up(NEWCOMERS_LINE_MAX - 1, NEWCOMERS_LINE_MAX);
    assert_true(turns_line_full(&crowd.turns));
    uv_run(&crowd.loop, UV_RUN_NOWAIT);
    assert_false(turns_line_full(&crowd.turns));
    crowd_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_in_each_turn),
        cmocka_unit_test(test_closed_while_they_wait),
        cmocka_unit_test(test_all_closed_while_they_wait),
        cmocka_unit_test(test_hung_up_while_they_wait),
        cmocka_unit_test(test_reset_behind_the_hello),
        cmocka_unit_test(test_silence_costs_no_tls),
        cmocka_unit_test(test_plain_newcomers_share_and_the_established_do_not),
        cmocka_unit_test(test_established_while_it_waits),
        cmocka_unit_test(test_who_goes_on_comes_first),
        cmocka_unit_test(test_one_silent_too_many),
        cmocka_unit_test(test_long_under_way),
        cmocka_unit_test(test_many_long_under_way),
        cmocka_unit_test(test_too_many_under_way),
        cmocka_unit_test(test_room_is_made_by_who_was_quiet_for_long),
        cmocka_unit_test(test_full_line),
    };
    int failed;

    signal(SIGPIPE, SIG_IGN);
    identity_make(&identity, "EC", "relay.example", NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    identity_free(&identity);
    return failed;
}
