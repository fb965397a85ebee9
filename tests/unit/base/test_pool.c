// SPDX-License-Identifier: BSD-3-Clause
#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#define OBJECTS 3000 // several slabs

static uint8_t *objects[OBJECTS];

static bool all(const uint8_t *object, size_t bytes, uint8_t value)
{
    for (size_t i = 0; i < bytes; i++)
        if (object[i] != value)
            return false;
    return true;
}

static void take(struct pool *pool, size_t i, size_t bytes)
{
    objects[i] = pool_get(pool, bytes);
    assert_int_equal((uintptr_t)objects[i] % 8, 0);
    assert_true(all(objects[i], bytes, 0));
    memset(objects[i], (int)(i % 255 + 1), bytes);
}

// Whatever is taken and given back, in whatever order: zeroed, aligned, and nobody else's.
static void test_objects_are_apart(void **state)
{
    static const size_t sizes[] = {8, 12, 100, 232, 1000};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const size_t bytes = sizes[s];
        struct pool pool = {0};

        for (size_t i = 0; i < OBJECTS; i++)
            take(&pool, i, bytes);
        for (size_t i = 0; i < OBJECTS; i += 3)
            pool_put(&pool, objects[i]);
        for (size_t i = 0; i < OBJECTS; i += 3)
            take(&pool, i, bytes);
        for (size_t i = 0; i < OBJECTS; i++)
            assert_true(all(objects[i], bytes, (uint8_t)(i % 255 + 1)));
        for (size_t i = 0; i < OBJECTS; i++)
            pool_put(&pool, objects[i]);
        pool_deinit(&pool);
        assert_null(pool.slabs);
    }
}

// As many as there were at one time, however often they come and go.
static void test_slabs_are_used_again(void **state)
{
    struct pool pool = {0};
    const struct pool_slab *last = NULL;

    (void)state;
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < OBJECTS; i++)
            take(&pool, i, 100);
        assert_true(round == 0 || pool.slabs == last);
        last = pool.slabs;
        for (size_t i = 0; i < OBJECTS; i++)
            pool_put(&pool, objects[(i * 7) % OBJECTS]);
    }
    pool_deinit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_are_apart),
        cmocka_unit_test(test_slabs_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
