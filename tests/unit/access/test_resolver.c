// SPDX-License-Identifier: BSD-3-Clause
//
// An admission URL whose host is looked up by a resolver that hangs: clients that come and go do
// not make ever more threads that wait for it.
#include "access/access.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define URL "http://hangs.test/verify"
#define CLIENTS 300
#define PATIENCE_MS 10000
#define STEP_MS 2

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;
static bool hangs;
static atomic_int lookups, asleep;

// In front of the system's: libcurl's threads come here.
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    (void)name, (void)service, (void)hints;
    *out = NULL;
    atomic_fetch_add(&lookups, 1);
    atomic_fetch_add(&asleep, 1);
    pthread_mutex_lock(&lock);
    while (hangs)
        pthread_cond_wait(&answered, &lock);
    pthread_mutex_unlock(&lock);
    atomic_fetch_sub(&asleep, 1);
    return EAI_AGAIN;
}

static void set_hangs(bool to)
{
    pthread_mutex_lock(&lock);
    hangs = to;
    pthread_cond_broadcast(&answered);
    pthread_mutex_unlock(&lock);
}

static uv_loop_t loop;

static struct access *make(void)
{
    static const char *const urls[] = {URL};
    const struct access_config config = {.loop = &loop, .urls = urls, .url_count = 1};
    char error[256];
    struct access *access = access_new(&config, error, sizeof error);

    assert_non_null(access);
    atomic_store(&lookups, 0);
    return access;
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

static void run_for(uint64_t ms)
{
    const uint64_t until_ms = clock_ms() + ms;
    uv_timer_t timer;

    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_wake, ms, 0);
    while (clock_ms() < until_ms)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static int verdicts[ACCESS_VERDICTS];

static void on_verdict(struct access_ask *ask, enum access_verdict verdict)
{
    (void)ask;
    verdicts[verdict]++;
}

static void begin(struct access *access, struct access_ask *ask)
{
    access_ask(access, ask, &(struct key){{1}}, "192.0.2.1", NULL, on_verdict);
}

static void come_and_go(struct access *access, int clients)
{
    for (int i = 0; i < clients; i++) {
        struct access_ask ask;

        begin(access, &ask);
        run_for(STEP_MS);
        access_cancel(&ask);
    }
}

static int64_t open_now(const struct access *access)
{
    return counter_read(&access_source(access, 0)->counters.open);
}

static void await_threads(void)
{
    const uint64_t until_ms = clock_ms() + PATIENCE_MS;

    while (atomic_load(&asleep) > 0) {
        assert_true(clock_ms() < until_ms);
        usleep(1000);
    }
}

// Their places are free again as soon as the resolver has answered.
static void test_come_and_go(void **state)
{
    struct access *access = make();
    const uint64_t until_ms = clock_ms() + PATIENCE_MS;
    struct access_ask ask;

    (void)state;
    set_hangs(true);
    come_and_go(access, CLIENTS);
    assert_in_range(atomic_load(&asleep), 1, SOURCE_OPEN_MAX);
    assert_int_equal(open_now(access), SOURCE_OPEN_MAX);
    set_hangs(false);
    while (open_now(access) > 0) {
        assert_true(clock_ms() < until_ms);
        run_for(STEP_MS);
    }
    begin(access, &ask);
    while (verdicts[ACCESS_UNANSWERED] == 0) {
        assert_true(clock_ms() < until_ms);
        run_for(STEP_MS);
    }
    assert_int_equal(counter_read(&access_source(access, 0)->counters.answers[ACCESS_UNREACHABLE]),
                     1);
    access_close(access);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    await_threads();
}

// However long it hangs, no more threads wait for it. Whoever comes meanwhile is told that the
// source did not answer, as it is not others that hold him up.
static void test_hangs_for_long(void **state)
{
    struct access *access = make();
    const struct counter *answers = access_source(access, 0)->counters.answers;
    const uint64_t until_ms = clock_ms() + ACCESS_LIMIT_MS + PATIENCE_MS;
    struct access_ask *asks = calloc(2 * SOURCE_OPEN_MAX, sizeof *asks);

    (void)state;
    memset(verdicts, 0, sizeof verdicts);
    set_hangs(true);
    for (size_t i = 0; i < 2 * SOURCE_OPEN_MAX; i++)
        begin(access, &asks[i]);
    while (verdicts[ACCESS_UNANSWERED] < 2 * SOURCE_OPEN_MAX) {
        assert_true(clock_ms() < until_ms);
        run_for(STEP_MS);
    }
    assert_int_equal(counter_read(&answers[ACCESS_TIMED_OUT]), 2 * SOURCE_OPEN_MAX);
    run_for(2000);
    come_and_go(access, SOURCE_OPEN_MAX);
    assert_int_equal(atomic_load(&asleep), SOURCE_OPEN_MAX);
    assert_int_equal(open_now(access), SOURCE_OPEN_MAX);
    access_close(access);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    set_hangs(false);
    await_threads();
    free(asks);
}

// Nobody waits for the resolver at the end either.
static void test_closed_while_it_hangs(void **state)
{
    struct access *access = make();
    uint64_t began_ms;

    (void)state;
    set_hangs(true);
    come_and_go(access, 10);
    assert_true(open_now(access) > 0);
    began_ms = clock_ms();
    access_close(access);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_true(clock_ms() - began_ms < 4000);
    set_hangs(false);
    await_threads();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_come_and_go),
        cmocka_unit_test(test_hangs_for_long),
        cmocka_unit_test(test_closed_while_it_hangs),
    };
    int failed;

    unsetenv("http_proxy");
    uv_loop_init(&loop);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed == 0)
        assert_int_equal(uv_loop_close(&loop), 0);
    return failed;
}
