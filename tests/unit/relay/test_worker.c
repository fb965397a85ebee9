// SPDX-License-Identifier: BSD-3-Clause
//
// A worker on a system that lets it watch no descriptor.
#include "relay/worker.h"

#include "../support/loopback.h"

int uv_poll_init(uv_loop_t *loop, uv_poll_t *handle, int fd)
{
    (void)loop, (void)handle, (void)fd;
    return UV_ENOSPC;
}

static void test_init_fails_and_leaves_nothing(void **state)
{
    static struct worker worker;
    struct relay relay = {.config.workers = 1};
    const size_t descriptors = descriptors_open();

    (void)state;
    assert_int_equal(worker_init(&worker, &relay, 0), UV_ENOSPC);
    assert_int_equal(descriptors_open(), descriptors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_fails_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
