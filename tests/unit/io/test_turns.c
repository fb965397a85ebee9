// SPDX-License-Identifier: BSD-3-Clause
//
// Many handshakes at once: few in each turn, in the order of their coming, and none forgotten.
#include "io/turns.h"

#include "../support/identity.h"
#include "../support/loopback.h"
#include "io/engine.h"
#include "io/listener.h"
#include "io/tls.h"

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
    bool answered[MANY];
    struct stream *streams[MANY]; // in the order of their coming
    bool stays[MANY];
    int accepted, ended, ended_early; // of those, before they had a TLS object
    uint8_t hello[HELLO_MAX_BYTES];
    size_t hello_len, descriptors;
};

static struct identity identity;

static bool on_data(struct stream *stream, uint8_t *data, size_t len)
{
    (void)stream, (void)data, (void)len;
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
    struct rig *rig = listener->data;

    rig->streams[rig->accepted++] = stream_accept(&rig->io, fd, true, &callbacks, rig);
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

static void rig_start(struct rig *rig)
{
    SSL_CTX *ctx =
        tls_context_new(&(struct tls_identity){.leaf = identity.cert, .key = identity.key});

    *rig = (struct rig){.budget.limit = 2 * MANY, .descriptors = descriptors_open()};
    uv_loop_init(&rig->loop);
    io_context_init(&rig->io, &rig->loop, &rig->budget);
    io_context_set_tls(&rig->io, ctx);
    SSL_CTX_free(ctx);
    make_hello(rig);
    rig->listener.data = rig;
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
    assert_null(rig->io.turns.waiting);
    assert_null(rig->io.turns.idle);
    assert_int_equal(atomic_load(&rig->budget.used), 0);
    io_context_deinit(&rig->io);
    assert_int_equal(descriptors_open(), rig->descriptors);
}

static void say_hello(const struct rig *rig, int i)
{
    assert_int_equal(send(rig->fds[i], rig->hello, rig->hello_len, MSG_NOSIGNAL), rig->hello_len);
}

static void let_a_crowd_wait(struct rig *rig)
{
    for (int i = 0; i < MANY; i++)
        say_hello(rig, i);
    while (!rig->io.turns.waiting)
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
    rig_start(&rig);
    for (int i = 0; i < MANY; i++)
        say_hello(&rig, i);
    while (before < MANY) {
        int now;

        uv_run(&rig.loop, UV_RUN_ONCE); // would sleep for ever if it could
        now = count_answered(&rig);
        assert_true(now - before <= 2 * TURN_HANDSHAKES_MAX);
        for (int i = 0; i + 2 * TURN_HANDSHAKES_MAX < now; i++)
            assert_true(rig.answered[i]);
        before = now;
        turns++;
    }
    assert_true(turns >= MANY / (2 * TURN_HANDSHAKES_MAX));
    assert_true(counter_read(&rig.io.counters.handshakes_delayed) > MANY / 2);
    assert_null(rig.io.turns.waiting);
    rig_stop(&rig);
}

// Those that wait are closed, from both ends of the line and in its middle.
static void test_closed_while_they_wait(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig);
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
    while (rig.io.turns.waiting)
        uv_run(&rig.loop, UV_RUN_ONCE);
    for (int i = 0; i < MANY; i++)
        assert_true(!rig.streams[i] || (count_answered(&rig), rig.answered[i]));
    rig_stop(&rig);
}

static void test_all_closed_while_they_wait(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig);
    let_a_crowd_wait(&rig);
    rig_stop(&rig);
}

static size_t count_waiting(const struct rig *rig)
{
    const struct turns *turns = &rig->io.turns;
    size_t n = 0;

    for (int i = 0; i < MANY; i++) {
        const struct stream *stream = rig->streams[i];

        if (!stream || !stream->waiting)
            continue;
        assert_in_range(stream->place, turns->first, turns->end - 1);
        assert_ptr_equal(turns->waiting[stream->place], stream);
        n++;
    }
    return n;
}

// A line that never ends does not grow: there is always somebody in it here. Some go while they
// wait, and the others are still found when they have moved up.
static void test_line_does_not_grow(void **state)
{
    struct rig rig;
    size_t most = 0;

    (void)state;
    rig_start(&rig);
    for (int round = 0; round < 40; round++) {
        // One byte of a record each: a step that wants more.
        for (int i = 0; i < MANY; i++)
            send(rig.fds[i], rig.hello + round, 1, MSG_NOSIGNAL);
        for (int turn = 0; turn < 8; turn++)
            uv_run(&rig.loop, UV_RUN_NOWAIT);
        stream_close(rig.streams[round * 2]);
        rig.streams[round * 2] = NULL;
        assert_int_equal(count_waiting(&rig), rig.io.turns.count);
        if (rig.io.turns.capacity > most)
            most = rig.io.turns.capacity;
    }
    assert_true(most > 0 && most <= 4 * MANY);
    assert_int_equal(rig.ended, 0);
    rig_stop(&rig);
}

// Who has hung up while it waited gets no handshake.
static void test_hung_up_while_they_wait(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig);
    let_a_crowd_wait(&rig);
    for (int i = 0; i < MANY; i++)
        if (i % 2 == 1 && rig.streams[i]->waiting)
            shutdown(rig.fds[i], SHUT_WR);
        else
            rig.stays[i] = true;
    while (rig.io.turns.waiting)
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
    rig_start(&rig);
    for (int i = 0; i < MANY; i++) {
        say_hello(&rig, i);
        loopback_reset(rig.fds[i]);
        rig.fds[i] = -1;
    }
    while (rig.ended < MANY) {
        const int before = rig.ended;

        uv_run(&rig.loop, UV_RUN_ONCE);
        assert_true(rig.ended - before <= 2 * TURN_HANDSHAKES_MAX);
    }
    rig_stop(&rig);
}

static void test_silence_costs_no_tls(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig);
    for (int i = 0; i < MANY; i++)
        assert_null(rig.streams[i]->ssl);
    say_hello(&rig, 0);
    while (count_answered(&rig) == 0)
        uv_run(&rig.loop, UV_RUN_ONCE);
    assert_non_null(rig.streams[0]->ssl);
    assert_null(rig.streams[1]->ssl);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_in_each_turn),
        cmocka_unit_test(test_closed_while_they_wait),
        cmocka_unit_test(test_all_closed_while_they_wait),
        cmocka_unit_test(test_line_does_not_grow),
        cmocka_unit_test(test_hung_up_while_they_wait),
        cmocka_unit_test(test_reset_behind_the_hello),
        cmocka_unit_test(test_silence_costs_no_tls),
    };
    int failed;

    signal(SIGPIPE, SIG_IGN);
    identity_make(&identity, "EC", "relay.example", NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    identity_free(&identity);
    return failed;
}
