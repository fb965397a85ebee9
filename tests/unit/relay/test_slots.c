// SPDX-License-Identifier: BSD-3-Clause
#include "relay/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

#define CLIENTS 300 // more than one growth

static char clients[CLIENTS]; // only their addresses matter

static struct client *client_of(size_t i)
{
    return (struct client *)&clients[i];
}

// Random comings and goings: each present tenant is found, and no earlier one is.
static void test_tenants(void **state)
{
    struct slots slots = {0};
    static struct client_handle handles[CLIENTS], before[CLIENTS];
    static bool present[CLIENTS];

    (void)state;
    srand(3);
    for (int n = 0; n < 20000; n++) {
        const size_t i = (size_t)rand() % CLIENTS;

        if (present[i]) {
            slots_give_back(&slots, &handles[i]);
            before[i] = handles[i];
        } else {
            handles[i] = slots_take(&slots, 7, client_of(i));
            assert_int_equal(handles[i].worker, 7);
            assert_int_not_equal(handles[i].generation, 0);
        }
        present[i] = !present[i];
        for (size_t j = 0; j < CLIENTS && n % 50 == 0; j++) {
            if (present[j])
                assert_ptr_equal(slots_find(&slots, &handles[j]), client_of(j));
            if (before[j].generation)
                assert_null(slots_find(&slots, &before[j]));
        }
    }
    for (size_t i = 0; i < CLIENTS; i++)
        if (present[i])
            slots_give_back(&slots, &handles[i]);
    slots_deinit(&slots);
}

static void test_not_there(void **state)
{
    struct slots slots = {0};
    struct client_handle handle = {.slot = 0, .generation = 1}, mine;

    (void)state;
    assert_null(slots_find(&slots, &handle));
    handle = mine = slots_take(&slots, 0, client_of(0));
    handle.slot = 1u << 31;
    assert_null(slots_find(&slots, &handle));
    handle = (struct client_handle){.slot = 5}; // never had a tenant
    assert_null(slots_find(&slots, &handle));
    slots_give_back(&slots, &mine);
    slots_deinit(&slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tenants),
        cmocka_unit_test(test_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
