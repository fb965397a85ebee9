// SPDX-License-Identifier: BSD-3-Clause
#include "relay/routes.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static struct key key_of(uint32_t n)
{
    struct key key = {{0}};

    memcpy(key.bytes, &n, sizeof n);
    return key;
}

static struct client_handle handle_of(uint32_t n)
{
    return (struct client_handle){.slot = n, .generation = n + 1, .worker = (uint16_t)(n % 7)};
}

static bool add(struct routes *routes, uint32_t n, uint32_t epoch)
{
    const struct key key = key_of(n);
    const struct client_handle handle = handle_of(n);

    return routes_add(routes, &key, key_hash(&key), &handle, epoch) != NULL;
}

static struct route *find(struct routes *routes, uint32_t n)
{
    const struct key key = key_of(n);
    uint64_t hash = 0;
    struct route *route = routes_find(routes, &key, &hash);

    assert_true(hash == key_hash(&key)); // told whether it is found or not
    return route;
}

static void count_one(const struct route *r, void *data)
{
    struct routes *seen = data;

    assert_true(r->hash == key_hash(&r->destination));
    assert_non_null(routes_add(seen, &r->destination, r->hash, &r->handle, r->epoch));
}

static size_t count_each(const struct routes *routes)
{
    struct routes seen = {0};
    size_t count;

    routes_each(routes, count_one, &seen);
    count = seen.count;
    routes_deinit(&seen);
    return count;
}

static void test_find(void **state)
{
    struct routes routes = {0};

    (void)state;
    assert_null(find(&routes, 1));
    for (uint32_t n = 0; n < 1000; n++) {
        assert_null(find(&routes, n));
        assert_true(add(&routes, n, n * 3));
        assert_int_equal(find(&routes, n)->epoch, n * 3);
    }
    for (uint32_t n = 0; n < 1000; n++) {
        const struct client_handle handle = handle_of(n);
        const struct key key = key_of(n);

        assert_true(client_handle_equal(&find(&routes, n)->handle, &handle));
        assert_true(key_equal(&find(&routes, n)->destination, &key));
        assert_int_equal(find(&routes, n)->epoch, n * 3);
    }
    assert_null(find(&routes, 1000));
    assert_int_equal(count_each(&routes), 1000);
    routes_deinit(&routes);
}

static const struct route *last(const struct routes *routes)
{
    return &routes->entries[routes->last];
}

// The last one is only ever a short cut.
static void test_last(void **state)
{
    struct routes routes = {0};

    (void)state;
    assert_null(find(&routes, 0)); // the key of an entry that is free
    add(&routes, 1, 0);
    assert_int_equal(last(&routes)->handle.slot, 1);
    add(&routes, 2, 0);
    assert_int_equal(last(&routes)->handle.slot, 2);
    assert_non_null(find(&routes, 1));
    assert_int_equal(last(&routes)->handle.slot, 1);
    assert_null(find(&routes, 3));
    assert_int_equal(last(&routes)->handle.slot, 1);
    routes_forget(&routes, find(&routes, 1));
    assert_null(find(&routes, 1));
    assert_null(find(&routes, 0));
    routes_forget(&routes, find(&routes, 2));
    assert_null(find(&routes, 2));
    routes_deinit(&routes);
    assert_null(find(&routes, 1));
}

// Against a model: comings and goings around the sizes at which the table is full or grows.
static void test_random(void **state)
{
    static const uint32_t sizes[] = {1, 2, 3, 4, 5, 8, 13, 40, 400};

    (void)state;
    srand(5);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct routes routes = {0};
        bool there[400] = {false};
        size_t count = 0;

        for (int step = 0; step < 4000; step++) {
            const uint32_t n = (uint32_t)rand() % sizes[s];
            struct route *route = find(&routes, n);

            assert_int_equal(route != NULL, there[n]);
            if (route) {
                assert_int_equal(route->epoch, n);
                routes_forget(&routes, route);
            } else {
                assert_true(add(&routes, n, n));
            }
            there[n] = !route;
            count += route ? (size_t)-1 : 1;
            assert_int_equal(routes.count, count);
        }
        assert_int_equal(count_each(&routes), count);
        routes_deinit(&routes);
    }
}

// What the memory of an idle client is reckoned by.
static void test_few_cost_little(void **state)
{
    struct routes routes = {0};

    (void)state;
    assert_int_equal(routes.capacity, 0);
    for (uint32_t n = 0; n < 4; n++) {
        add(&routes, n, 0);
        assert_true(routes.capacity <= (n < 2 ? n + 1 : 4));
    }
    assert_int_equal(sizeof(struct route), 72);
    routes_deinit(&routes);
}

static void test_bound(void **state)
{
    struct routes routes = {0};

    (void)state;
    for (uint32_t n = 0; n < ROUTES_MAX; n++)
        assert_true(add(&routes, n, 0));
    assert_false(add(&routes, ROUTES_MAX, 0));
    assert_null(find(&routes, ROUTES_MAX));
    assert_non_null(find(&routes, ROUTES_MAX - 1));
    assert_int_equal(count_each(&routes), ROUTES_MAX);
    routes_deinit(&routes);
}

static struct routes *heap_routes(uint32_t from, uint32_t to, uint32_t epoch)
{
    struct routes *routes = memory_zeroed(sizeof *routes);

    for (uint32_t n = from; n < to; n++)
        assert_true(add(routes, n, epoch));
    return routes;
}

static void test_merge(void **state)
{
    static const struct {
        uint32_t from, to, other_from, other_to, count;
    } cases[] = {
        {0, 0, 0, 0, 0},
        {0, 10, 0, 0, 10},
        {0, 0, 0, 10, 10},
        {0, 10, 10, 20, 20},
        {0, 10, 5, 20, 20},
        {0, 10, 0, 10, 10},
        {0, ROUTES_MAX, ROUTES_MAX, ROUTES_MAX + 10, ROUTES_MAX},
        {0, ROUTES_MAX - 3, ROUTES_MAX, 2 * ROUTES_MAX, ROUTES_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct routes into = {0};

        for (uint32_t n = cases[i].from; n < cases[i].to; n++)
            add(&into, n, 1);
        routes_merge(&into, heap_routes(cases[i].other_from, cases[i].other_to, 2));
        assert_int_equal(count_each(&into), cases[i].count);
        for (uint32_t n = cases[i].from; n < cases[i].to; n++)
            assert_int_equal(find(&into, n)->epoch, 1); // what was there stays
        for (uint32_t n = cases[i].to; n < cases[i].other_to && cases[i].count < ROUTES_MAX; n++)
            assert_int_equal(find(&into, n)->epoch, 2);
        routes_deinit(&into);
    }
}

static bool is_even(const struct route *route, void *data)
{
    (*(size_t *)data)++;
    return route->handle.slot % 2 == 0;
}

static void test_sweep_and_forget(void **state)
{
    struct routes routes = {0};
    size_t asked = 0;

    (void)state;
    for (uint32_t n = 0; n < ROUTES_MAX; n++)
        assert_true(add(&routes, n, 1));
    assert_false(add(&routes, ROUTES_MAX, 1));
    routes_sweep(&routes, is_even, &asked);
    assert_int_equal(asked, ROUTES_MAX);
    assert_int_equal(count_each(&routes), ROUTES_MAX / 2);
    for (uint32_t n = 0; n < 100; n++)
        assert_int_equal(find(&routes, n) != NULL, n % 2 == 0);
    assert_true(add(&routes, ROUTES_MAX, 1));

    routes_forget(&routes, find(&routes, ROUTES_MAX)); // the last one used
    assert_null(find(&routes, ROUTES_MAX));
    routes_forget(&routes, find(&routes, 2));
    assert_null(find(&routes, 2));
    assert_non_null(find(&routes, 4));
    assert_int_equal(count_each(&routes), ROUTES_MAX / 2 - 1);
    routes_deinit(&routes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_last),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_few_cost_little),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_sweep_and_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
