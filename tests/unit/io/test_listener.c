// SPDX-License-Identifier: BSD-3-Clause
#include "io/listener.h"

#include "../support/loopback.h"
#include "base/clock.h"
#include "io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000

struct rig {
    uv_loop_t loop;
    struct io_budget budget;
    struct io_context io;
    struct listener listener;
    uint16_t port;
    struct stream *streams[4];
    int count;
    size_t descriptors;
};

static bool on_data(struct stream *stream, uint8_t *data, size_t len)
{
    (void)stream, (void)data, (void)len;
    return true;
}

static void on_end(struct stream *stream, enum stream_end why)
{
    (void)why;
    stream_close(stream);
}

static const struct stream_callbacks callbacks = {.on_data = on_data, .on_end = on_end};

static void on_connection(struct listener *listener, int fd)
{
    struct rig *rig = list_entry(listener, struct rig, listener);

    assert_true(rig->count < 4);
    rig->streams[rig->count++] = stream_accept(&rig->io, fd, false, &callbacks, NULL);
}

static void rig_start(struct rig *rig, int limit)
{
    *rig = (struct rig){.budget.limit = limit, .descriptors = descriptors_open()};
    uv_loop_init(&rig->loop);
    io_context_init(&rig->io, &rig->loop, &rig->budget);
    assert_int_equal(
        listener_start(&rig->listener, &rig->io, loopback_bind(&rig->port, 0), on_connection), 0);
}

static void rig_stop(struct rig *rig)
{
    listener_close(&rig->listener);
    listener_close(&rig->listener); // idempotent
    assert_int_equal(rig->listener.state, LISTENER_CLOSING);
    assert_int_equal(uv_run(&rig->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    assert_int_equal(atomic_load(&rig->budget.used), 0);
    assert_int_equal(counter_read(&rig->io.counters.streams), 0);
    io_context_deinit(&rig->io);
    assert_int_equal(descriptors_open(), rig->descriptors);
}

#define WAIT(rig, condition)                              \
    do {                                                  \
        const uint64_t until_ = clock_ms() + PATIENCE_MS; \
        while (!(condition)) {                            \
            assert_true(clock_ms() < until_);             \
            uv_run(&(rig)->loop, UV_RUN_NOWAIT);          \
        }                                                 \
    } while (0)

static void run_for(struct rig *rig, uint64_t ms)
{
    const uint64_t until = clock_ms() + ms;

    WAIT(rig, clock_ms() >= until);
}

static void test_accepts_within_the_budget(void **state)
{
    struct rig rig;
    int fds[3];

    (void)state;
    rig_start(&rig, 3);
    for (int i = 0; i < 3; i++)
        fds[i] = loopback_connect(rig.port, 0);
    WAIT(&rig, rig.count == 3);
    assert_int_equal(counter_read(&rig.io.counters.plain_accepted), 3);
    assert_int_equal(counter_read(&rig.io.counters.accept_pauses), 0);
    assert_int_equal(atomic_load(&rig.budget.used), 3);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    WAIT(&rig, atomic_load(&rig.budget.used) == 0);
    rig_stop(&rig);
}

static void test_pauses_when_full_and_comes_back(void **state)
{
    struct rig rig;
    int first, second, third;
    uint64_t paused_ms;

    (void)state;
    rig_start(&rig, 1);
    first = loopback_connect(rig.port, 0);
    WAIT(&rig, rig.count == 1);
    paused_ms = clock_ms();
    second = loopback_connect(rig.port, 0);
    WAIT(&rig, rig.listener.state == LISTENER_PAUSED);
    third = loopback_connect(rig.port, 0); // waits in the backlog
    assert_int_equal(counter_read(&rig.io.counters.accept_pauses), 1);
    WAIT(&rig, counter_read(&rig.io.counters.accept_pauses) == 2); // still full
    assert_true(clock_ms() - paused_ms >= LISTENER_PAUSE_MS - 10);
    assert_int_equal(rig.count, 1);
    rig.budget.limit = 3;
    WAIT(&rig, rig.count == 3);
    assert_true(clock_ms() - paused_ms >= 2 * LISTENER_PAUSE_MS - 20);
    assert_int_equal(rig.listener.state, LISTENER_LISTENING);
    assert_int_equal(counter_read(&rig.io.counters.accept_pauses), 2);
    assert_int_equal(counter_read(&rig.io.counters.plain_accepted), 3);
    close(first);
    close(second);
    close(third);
    WAIT(&rig, atomic_load(&rig.budget.used) == 0);
    rig_stop(&rig);
}

static void test_room_that_comes_free_during_a_pause(void **state)
{
    struct rig rig;
    int first, second;

    (void)state;
    rig_start(&rig, 1);
    first = loopback_connect(rig.port, 0);
    WAIT(&rig, rig.count == 1);
    second = loopback_connect(rig.port, 0);
    WAIT(&rig, rig.listener.state == LISTENER_PAUSED);
    close(first);
    run_for(&rig, 100);
    assert_int_equal(atomic_load(&rig.budget.used), 0);
    assert_int_equal(rig.count, 1); // the pause is not cut short
    WAIT(&rig, rig.count == 2);
    close(second);
    WAIT(&rig, atomic_load(&rig.budget.used) == 0);
    rig_stop(&rig);
}

static void test_closed_while_paused(void **state)
{
    struct rig rig;
    int fd;
    char byte;

    (void)state;
    rig_start(&rig, 0);
    fd = loopback_connect(rig.port, 0);
    WAIT(&rig, rig.listener.state == LISTENER_PAUSED);
    listener_close(&rig.listener);
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    assert_true(recv(fd, &byte, 1, 0) <= 0); // what waited is gone
    close(fd);
    assert_int_equal(rig.count, 0);
    rig_stop(&rig);
}

// They are used up by others than the connections that the budget counts.
static void test_no_descriptor_left(void **state)
{
    struct rlimit before, none;
    struct rig rig;
    int fd, lowest_free;

    (void)state;
    rig_start(&rig, 100);
    fd = loopback_connect(rig.port, 0);
    lowest_free = dup(fd);
    close(lowest_free);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){(rlim_t)lowest_free, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    WAIT(&rig, rig.listener.state == LISTENER_PAUSED);
    run_for(&rig, 2 * LISTENER_PAUSE_MS + LISTENER_PAUSE_MS / 2);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_in_range(counter_read(&rig.io.counters.accept_failures), 2, 3); // once in a pause
    assert_int_equal(rig.count, 0);
    WAIT(&rig, rig.count == 1); // it has waited
    close(fd);
    WAIT(&rig, atomic_load(&rig.budget.used) == 0);
    rig_stop(&rig);
}

// No file can be polled, as no socket can when the system's limit of watches is reached.
static void test_what_cannot_be_polled(void **state)
{
    struct rig rig;
    struct listener second = {0};
    int fd;

    (void)state;
    rig_start(&rig, 100);
    fd = memfd_create("connection", MFD_CLOEXEC);
    assert_null(stream_accept(&rig.io, fd, false, &callbacks, NULL));
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(counter_read(&rig.io.counters.accept_failures), 1);
    assert_int_equal(counter_read(&rig.io.counters.plain_accepted), 0);
    fd = memfd_create("listener", MFD_CLOEXEC);
    assert_int_equal(listener_start(&second, &rig.io, fd, on_connection), UV_EPERM);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    listener_close(&second);
    rig_stop(&rig);
}

static bool is_closed(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

// The first two are taken, the third is closed at once; a token comes in every 100 ms.
static void test_limit_of_new_connections(void **state)
{
    struct rig rig;
    int fds[4];

    (void)state;
    rig_start(&rig, 10);
    rig.budget.accept_rate = (struct bucket_rate){.per_second = 1, .burst = 2};
    rig.listener.limited = true;
    for (int i = 0; i < 3; i++)
        fds[i] = loopback_connect(rig.port, 0);
    WAIT(&rig, counter_read(&rig.io.counters.accept_refused) == 1);
    assert_int_equal(rig.count, 2);
    WAIT(&rig, is_closed(fds[2]));
    assert_false(is_closed(fds[0]) || is_closed(fds[1]));
    assert_int_equal(rig.listener.state, LISTENER_LISTENING);
    run_for(&rig, 1010);
    fds[3] = loopback_connect(rig.port, 0);
    WAIT(&rig, rig.count == 3);
    assert_int_equal(counter_read(&rig.io.counters.accept_refused), 1);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    WAIT(&rig, atomic_load(&rig.budget.used) == 0);
    rig_stop(&rig);
}

static void test_limit_is_for_limited_listeners(void **state)
{
    struct rig rig;
    int fds[4];

    (void)state;
    rig_start(&rig, 10);
    rig.budget.accept_rate = (struct bucket_rate){.per_second = 0.01, .burst = 1};
    for (int i = 0; i < 4; i++)
        fds[i] = loopback_connect(rig.port, 0);
    WAIT(&rig, rig.count == 4);
    assert_int_equal(counter_read(&rig.io.counters.accept_refused), 0);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    WAIT(&rig, atomic_load(&rig.budget.used) == 0);
    rig_stop(&rig);
}

// Two sockets share a port until one of them listens.
static int bind_again(const struct sockaddr *address, socklen_t len)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    assert_int_equal(bind(fd, address, len), 0);
    return fd;
}

static void test_cannot_listen(void **state)
{
    struct rig rig;
    struct listener second = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int busy, free_one;

    (void)state;
    free_one = bind_again((struct sockaddr *)&address, sizeof address);
    getsockname(free_one, (struct sockaddr *)&address, &len);
    busy = bind_again((struct sockaddr *)&address, sizeof address);
    listen(free_one, 1);
    rig_start(&rig, 1);
    assert_int_equal(listener_start(&second, &rig.io, busy, on_connection), UV_EADDRINUSE);
    listener_close(&second);
    rig.descriptors--; // the one that was busy is closed
    rig_stop(&rig);
    close(free_one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts_within_the_budget),
        cmocka_unit_test(test_pauses_when_full_and_comes_back),
        cmocka_unit_test(test_room_that_comes_free_during_a_pause),
        cmocka_unit_test(test_closed_while_paused),
        cmocka_unit_test(test_no_descriptor_left),
        cmocka_unit_test(test_what_cannot_be_polled),
        cmocka_unit_test(test_limit_of_new_connections),
        cmocka_unit_test(test_limit_is_for_limited_listeners),
        cmocka_unit_test(test_cannot_listen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
