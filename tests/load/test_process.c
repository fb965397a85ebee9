// SPDX-License-Identifier: BSD-3-Clause
#include "process.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORK_MS 100

static void *work(void *nothing)
{
    const uint64_t end = clock_ms() + WORK_MS;

    while (clock_ms() < end)
        ;
    return nothing;
}

static void test_own_work_is_seen(void **state)
{
    static struct process_cpu before, after;
    struct process_spent spent;

    (void)state;
    assert_true(process_cpu_read(getpid(), &before));
    work(NULL);
    assert_true(process_cpu_read(getpid(), &after));
    process_cpu_between(&before, &after, &spent);
    // Other programs may have the core for a while, so the lower bound is a loose one.
    assert_in_range(spent.ran_ns, WORK_MS * NS_PER_MS / 20, 2 * WORK_MS * NS_PER_MS);
}

static void *work_when_told(void *told)
{
    sem_wait(told);
    return work(NULL);
}

static void test_ended_threads_fall_back_to_ticks(void **state)
{
    static struct process_cpu before, after;
    struct process_spent spent;
    pthread_t thread;
    sem_t told;

    (void)state;
    sem_init(&told, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, work_when_told, &told), 0);
    assert_true(process_cpu_read(getpid(), &before));
    assert_true(before.count >= 2);
    sem_post(&told);
    pthread_join(thread, NULL);
    sem_destroy(&told);
    assert_true(process_cpu_read(getpid(), &after));
    process_cpu_between(&before, &after, &spent);
    assert_false(spent.by_schedstat);
    assert_in_range(spent.ran_ns, 0, 2 * WORK_MS * NS_PER_MS);
}

static void test_absent_process(void **state)
{
    static struct process_cpu cpu;

    (void)state;
    assert_false(process_cpu_read(0x7ffffff0, &cpu));
    assert_int_equal(process_rss(0x7ffffff0), 0);
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(process_rss(getpid()) > 100000);
}

static void test_kernel(void **state)
{
    struct process_kernel kernel;

    (void)state;
    process_kernel_read(&kernel);
    assert_true(kernel.slab_unreclaimable_bytes > 100000);
    assert_true(kernel.slab_bytes > kernel.slab_unreclaimable_bytes);
}

// The kernel counts only beyond a reserve of each CPU, so much must wait, which nobody reads.
static void test_tcp_buffers(void **state)
{
    static const char data[65536];
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    struct process_kernel kernel;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    int from[16];

    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    for (int i = 0; i < 16; i++) {
        from[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(from[i], (struct sockaddr *)&address, len), 0);
        while (send(from[i], data, sizeof data, MSG_DONTWAIT) > 0)
            ;
    }
    process_kernel_read(&kernel);
    for (int i = 0; i < 16; i++)
        close(from[i]);
    close(listener);
    assert_true(kernel.tcp_buffer_bytes > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_work_is_seen),
        cmocka_unit_test(test_ended_threads_fall_back_to_ticks),
        cmocka_unit_test(test_absent_process),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_kernel),
        cmocka_unit_test(test_tcp_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
