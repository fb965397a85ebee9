// SPDX-License-Identifier: BSD-3-Clause
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

struct item {
    int number;
    struct list node;
};

// Walks both ways, so that a wrong link of either kind shows.
static void assert_numbers(const struct list *head, int first, int count)
{
    const struct list *node = head->next;

    for (int i = 0; i < count; i++, node = node->next)
        assert_int_equal(list_entry(node, struct item, node)->number, first + i);
    assert_ptr_equal(node, head);
    node = head->prev;
    for (int i = count - 1; i >= 0; i--, node = node->prev)
        assert_int_equal(list_entry(node, struct item, node)->number, first + i);
    assert_ptr_equal(node, head);
    assert_int_equal(list_empty(head), count == 0);
}

static void fill(struct list *head, struct item *items, int first, int count)
{
    list_init(head);
    for (int i = 0; i < count; i++) {
        items[i].number = first + i;
        list_append(head, &items[i].node);
    }
}

static void test_append_and_unlink(void **state)
{
    struct item items[3];
    struct list head;

    (void)state;
    fill(&head, items, 0, 3);
    assert_numbers(&head, 0, 3);
    list_unlink(&items[0].node);
    assert_numbers(&head, 1, 2);
    list_unlink(&items[0].node);
    assert_true(list_empty(&items[0].node));
    list_unlink(&items[2].node);
    assert_numbers(&head, 1, 1);
    list_unlink(&items[1].node);
    assert_numbers(&head, 0, 0);
}

static void test_append_all_and_take(void **state)
{
    (void)state;
    for (int first = 0; first <= 3; first++) {
        for (int second = 0; second <= 3; second++) {
            struct item a[3], b[3];
            struct list to, from, taken;

            fill(&to, a, 0, first);
            fill(&from, b, first, second);
            list_append_all(&to, &from);
            assert_numbers(&to, 0, first + second);
            assert_numbers(&from, 0, 0);
            list_take(&taken, &to);
            assert_numbers(&taken, 0, first + second);
            assert_numbers(&to, 0, 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_unlink),
        cmocka_unit_test(test_append_all_and_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
