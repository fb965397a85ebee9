// SPDX-License-Identifier: BSD-3-Clause
//
// The table against a model that cannot be wrong: one flag a value that says whether it is in.
#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#define VALUES 2000
#define OPERATIONS 100000
#define CHECK_EVERY 5000
#define CAPACITY_START 4
#define WRAP_CAPACITY 16

struct value {
    char before[24]; // the key is not at the start
    struct key key;
    bool in; // the model
    int seen;
};

static struct value values[VALUES];
static uint64_t seed;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void draw_key(struct key *key)
{
    for (size_t i = 0; i < KEY_BYTES; i++)
        key->bytes[i] = (uint8_t)(next_random() >> 32);
}

static int setup(void **state)
{
    (void)state;
    seed = UINT64_C(0x9e3779b97f4a7c15);
    memset(values, 0, sizeof values);
    for (size_t i = 0; i < VALUES; i++)
        draw_key(&values[i].key);
    return 0;
}

static void count_value(void *value, void *data)
{
    ((struct value *)value)->seen++;
    ++*(size_t *)data;
}

static void check_shape(const struct table *table)
{
    assert_int_equal(table->capacity & (table->capacity - 1), 0);
    assert_true(table->count < table->capacity);
}

static void check_all(const struct table *table, size_t expected)
{
    size_t visited = 0;

    assert_int_equal(table->count, expected);
    for (size_t i = 0; i < VALUES; i++)
        values[i].seen = 0;
    table_each(table, count_value, &visited);
    assert_int_equal(visited, expected);
    for (size_t i = 0; i < VALUES; i++) {
        const struct key key = values[i].key; // a copy: found by content, not by address

        assert_int_equal(values[i].seen, values[i].in);
        assert_ptr_equal(table_find(table, &key), values[i].in ? &values[i] : NULL);
        assert_ptr_equal(table_find_hashed(table, &key, key_hash(&key)),
                         values[i].in ? &values[i] : NULL);
        assert_ptr_equal(table_find_hash(table, key_hash(&key)), values[i].in ? &values[i] : NULL);
    }
}

// Insertions win while the phase is even, removals while it is odd, so the table grows and shrinks
// many times.
static void one_operation(struct table *table, size_t step, size_t *count)
{
    struct value *value = &values[next_random() % VALUES];
    const bool growing = step / (OPERATIONS / 10) % 2 == 0;
    const bool insert = next_random() % 10 < (growing ? 8 : 2);

    if (insert && !value->in) {
        assert_null(table_find(table, &value->key));
        table_insert(table, value);
        value->in = true;
        ++*count;
    } else if (!insert) {
        assert_ptr_equal(table_remove(table, &value->key), value->in ? value : NULL);
        *count -= value->in;
        value->in = false;
    }
    assert_ptr_equal(table_find(table, &value->key), value->in ? value : NULL);
    assert_int_equal(table->count, *count);
}

static void test_random_operations(void **state)
{
    struct table table;
    size_t count = 0, largest = 0;

    (void)state;
    table_init(&table, offsetof(struct value, key));
    for (size_t step = 0; step < OPERATIONS; step++) {
        one_operation(&table, step, &count);
        largest = count > largest ? count : largest;
        if (step % CHECK_EVERY == 0)
            check_all(&table, count);
        if (table.capacity)
            check_shape(&table);
    }
    check_all(&table, count);
    assert_true(largest > VALUES / 2);
    table_deinit(&table);
}

static void test_grows_and_gives_back(void **state)
{
    struct table table;

    (void)state;
    table_init(&table, offsetof(struct value, key));
    assert_int_equal(table.capacity, 0);
    for (size_t i = 0; i < VALUES; i++) {
        table_insert(&table, &values[i]);
        values[i].in = true;
        assert_true(table.capacity <= CAPACITY_START || table.capacity <= 4 * table.count);
        check_shape(&table);
    }
    check_all(&table, VALUES);
    for (size_t i = 0; i < VALUES; i++) {
        assert_ptr_equal(table_remove(&table, &values[i].key), &values[i]);
        values[i].in = false;
        assert_true(table.capacity <= CAPACITY_START || table.capacity <= 8 * table.count);
        if (i % 100 == 0)
            check_all(&table, VALUES - i - 1);
    }
    check_all(&table, 0);
    assert_int_equal(table.capacity, CAPACITY_START);
    table_deinit(&table);
}

// A key whose home in a table of WRAP_CAPACITY is one of the last two or the first slot.
static void draw_key_near_the_end(struct key *key)
{
    do
        draw_key(key);
    while (((key_hash(key) + 2) & (WRAP_CAPACITY - 1)) > 2);
}

static void shuffle(struct value **order, size_t n)
{
    for (size_t i = n - 1; i > 0; i--) {
        const size_t j = next_random() % (i + 1);
        struct value *swap = order[i];

        order[i] = order[j];
        order[j] = swap;
    }
}

// Up to the load limit of that table, all in one run of slots that passes over the end.
static void test_removal_where_probes_wrap_around(void **state)
{
    enum { N = WRAP_CAPACITY / 2 };

    (void)state;
    for (int round = 0; round < 500; round++) {
        struct value *order[N];
        struct table table;

        table_init(&table, offsetof(struct value, key));
        for (size_t i = 0; i < N; i++) {
            order[i] = &values[i];
            draw_key_near_the_end(&values[i].key);
            values[i].in = true;
            table_insert(&table, &values[i]);
        }
        assert_int_equal(table.capacity, WRAP_CAPACITY);
        shuffle(order, N);
        for (size_t i = 0; i < N; i++) {
            assert_ptr_equal(table_remove(&table, &order[i]->key), order[i]);
            order[i]->in = false;
            assert_null(table_remove(&table, &order[i]->key));
            for (size_t k = 0; k < N; k++)
                assert_ptr_equal(table_find(&table, &order[k]->key),
                                 order[k]->in ? order[k] : NULL);
        }
        table_deinit(&table);
    }
}

static void test_empty(void **state)
{
    struct table table;
    size_t visited = 0;

    (void)state;
    table_init(&table, offsetof(struct value, key));
    assert_null(table_find(&table, &values[0].key));
    assert_null(table_find_hashed(&table, &values[0].key, 7));
    assert_null(table_find_hash(&table, 7));
    assert_null(table_remove(&table, &values[0].key));
    table_each(&table, count_value, &visited);
    assert_int_equal(visited, 0);
    assert_null(table.slots);
    table_deinit(&table);
    table_insert(&table, &values[0]); // usable again after deinit
    assert_ptr_equal(table_find(&table, &values[0].key), &values[0]);
    assert_null(table_find(&table, &values[1].key));
    table_deinit(&table);
    assert_null(table_find(&table, &values[0].key));
}

static void *hash_in_thread(void *out)
{
    *(uint64_t *)out = key_hash(&values[0].key);
    return NULL;
}

static void test_hash(void **state)
{
    pthread_t threads[8];
    uint64_t hashes[8];
    struct key key = values[0].key;
    const uint64_t hash = key_hash(&key);

    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_in_thread, &hashes[i]), 0);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_true(hashes[i] == hash);
    }
    for (size_t bit = 0; bit < 8 * KEY_BYTES; bit++) { // the whole key counts
        key = values[0].key;
        key.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(key_hash(&key) != hash);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_hash, setup),
        cmocka_unit_test_setup(test_empty, setup),
        cmocka_unit_test_setup(test_random_operations, setup),
        cmocka_unit_test_setup(test_grows_and_gives_back, setup),
        cmocka_unit_test_setup(test_removal_where_probes_wrap_around, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
