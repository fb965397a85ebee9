// SPDX-License-Identifier: BSD-3-Clause
#include "relay/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static const struct client_handle sender = {.slot = 5, .generation = 1};

static struct key key_of(uint32_t n)
{
    struct key key = {{0}};

    memcpy(key.bytes, &n, sizeof n);
    return key;
}

static struct route *add(struct routes *routes, const struct client_handle *from, uint32_t n,
                         uint16_t *last)
{
    const struct key key = key_of(n);
    struct route *route = routes_add(routes, from, &key, last, key_hash(&key));

    assert_ptr_equal(route, &routes->entries[*last]);
    route->epoch = n;
    return route;
}

static struct route *find(const struct routes *routes, const struct client_handle *from, uint32_t n,
                          uint16_t *last)
{
    const struct key key = key_of(n);
    uint64_t hash = 0;
    struct route *route = routes_find(routes, from, &key, last, &hash);

    assert_true(hash == key_hash(&key)); // told whether it is found or not
    if (route) {
        assert_true(key_equal(&route->destination, &key));
        assert_int_equal(route->epoch, n);
        assert_ptr_equal(route, &routes->entries[*last]);
    }
    return route;
}

static size_t count_used(const struct routes *routes)
{
    size_t count = 0;

    for (size_t i = 0; i < ROUTES_MAX; i++)
        count += routes->entries[i].from_generation != 0;
    return count;
}

static void test_find(void **state)
{
    struct routes routes;
    uint16_t last = 0;

    (void)state;
    routes_init(&routes);
    assert_null(find(&routes, &sender, 0, &last)); // the key of a free place
    for (uint32_t n = 1; n <= 100; n++) {
        assert_null(find(&routes, &sender, n, &last));
        add(&routes, &sender, n, &last);
        assert_non_null(find(&routes, &sender, n, &last));
    }
    for (uint32_t n = 1; n <= 100; n++)
        assert_non_null(find(&routes, &sender, n, &last));
    assert_null(find(&routes, &sender, 101, &last));
    routes_deinit(&routes);
}

// What one remembers is nobody else's, nor that of a later tenant of its slot; wherever they say
// that their last one is.
static void test_senders_are_told_apart(void **state)
{
    const struct client_handle others[] = {{.slot = 6, .generation = 1},
                                           {.slot = 5, .generation = 2}};
    struct routes routes;
    uint16_t last = 0, others_last;

    (void)state;
    routes_init(&routes);
    add(&routes, &sender, 1, &last);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        others_last = last;
        assert_null(find(&routes, &others[i], 1, &others_last));
        add(&routes, &others[i], 1, &others_last);
        assert_int_not_equal(others_last, last);
        others_last = UINT16_MAX;
        assert_non_null(find(&routes, &others[i], 1, &others_last));
    }
    assert_non_null(find(&routes, &sender, 1, &last));
    assert_int_equal(count_used(&routes), 3);
    routes_deinit(&routes);
}

// The last one pushes out at most one other, and is there itself.
static void test_full(void **state)
{
    struct routes routes;
    uint16_t last = 0;
    size_t left = 0;

    (void)state;
    routes_init(&routes);
    for (uint32_t n = 1; n <= 4 * ROUTES_MAX; n++) {
        const size_t used = n % 64 == 0 ? count_used(&routes) : 0;

        add(&routes, &sender, n, &last);
        assert_non_null(find(&routes, &sender, n, &last));
        if (used > 0)
            assert_true(count_used(&routes) - used <= 1);
    }
    assert_true(count_used(&routes) > ROUTES_MAX * 95 / 100);
    for (uint32_t n = 3 * ROUTES_MAX; n <= 4 * ROUTES_MAX; n++)
        left += find(&routes, &sender, n, &last) != NULL;
    assert_true(left > ROUTES_MAX / 2); // the older ones make room
    routes_deinit(&routes);
}

// As many as fill half of it have all but a few of their routes.
static void test_spread(void **state)
{
    struct routes routes;
    uint16_t last = 0;
    size_t found = 0;

    (void)state;
    routes_init(&routes);
    for (uint32_t n = 0; n < ROUTES_MAX / 2; n++)
        add(&routes, &(struct client_handle){.slot = n, .generation = 1}, 1, &last);
    for (uint32_t n = 0; n < ROUTES_MAX / 2; n++)
        found += find(&routes, &(struct client_handle){.slot = n, .generation = 1}, 1, &last) != 0;
    assert_true(found > ROUTES_MAX / 2 * 9 / 10);
    routes_deinit(&routes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_senders_are_told_apart),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
