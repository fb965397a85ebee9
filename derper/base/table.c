// SPDX-License-Identifier: BSD-3-Clause
#include "base/table.h"

#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#define CAPACITY_MIN 4

static uint8_t secret[crypto_shorthash_KEYBYTES];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void draw_secret(void)
{
    randombytes_buf(secret, sizeof secret);
}

uint64_t key_hash(const struct key *key)
{
    uint64_t hash;

    pthread_once(&secret_once, draw_secret);
    crypto_shorthash((uint8_t *)&hash, key->bytes, KEY_BYTES, secret);
    return hash;
}

static const struct key *key_of(const struct table *table, const void *value)
{
    return (const struct key *)((const char *)value + table->key_offset);
}

void table_init(struct table *table, size_t key_offset)
{
    *table = (struct table){.key_offset = key_offset};
}

void table_deinit(struct table *table)
{
    free(table->slots);
    *table = (struct table){.key_offset = table->key_offset};
}

static size_t find_slot(const struct table *table, const struct key *key, uint64_t hash)
{
    size_t i = hash & (table->capacity - 1);

    while (table->slots[i] && !key_equal(key_of(table, table->slots[i]), key))
        i = (i + 1) & (table->capacity - 1);
    return i;
}

void *table_find_hashed(const struct table *table, const struct key *key, uint64_t hash)
{
    return table->capacity ? table->slots[find_slot(table, key, hash)] : NULL;
}

void *table_find(const struct table *table, const struct key *key)
{
    return table->capacity ? table_find_hashed(table, key, key_hash(key)) : NULL;
}

void *table_find_hash(const struct table *table, uint64_t hash)
{
    size_t i = hash;

    if (table->capacity == 0)
        return NULL;
    while (table->slots[i &= table->capacity - 1] &&
           key_hash(key_of(table, table->slots[i])) != hash)
        i++;
    return table->slots[i];
}

static void resize(struct table *table, size_t capacity)
{
    void **old = table->slots;
    const size_t old_capacity = table->capacity;

    table->slots = memory_zeroed(capacity * sizeof *table->slots);
    table->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i]) {
            const struct key *key = key_of(table, old[i]);

            table->slots[find_slot(table, key, key_hash(key))] = old[i];
        }
    }
    free(old);
}

void table_insert(struct table *table, void *value)
{
    if (table->capacity == 0)
        resize(table, CAPACITY_MIN);
    else if (table->count * 2 >= table->capacity)
        resize(table, table->capacity * 2);

    const struct key *key = key_of(table, value);
    const size_t i = find_slot(table, key, key_hash(key));

    assert(!table->slots[i]);
    table->slots[i] = value;
    table->count++;
}

// Closes the hole at `i`: each follower that may move nearer to its own slot does.
static void close_hole(struct table *table, size_t i)
{
    const size_t mask = table->capacity - 1;

    for (size_t j = (i + 1) & mask; table->slots[j]; j = (j + 1) & mask) {
        const size_t home = key_hash(key_of(table, table->slots[j])) & mask;

        if (((j - home) & mask) >= ((j - i) & mask)) {
            table->slots[i] = table->slots[j];
            i = j;
        }
    }
    table->slots[i] = NULL;
}

void *table_remove(struct table *table, const struct key *key)
{
    if (table->capacity == 0)
        return NULL;

    const size_t i = find_slot(table, key, key_hash(key));
    void *value = table->slots[i];

    if (!value)
        return NULL;
    close_hole(table, i);
    table->count--;
    if (table->capacity > CAPACITY_MIN && table->count * 8 < table->capacity)
        resize(table, table->capacity / 2);
    return value;
}

void table_each(const struct table *table, void (*each)(void *value, void *data), void *data)
{
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->slots[i])
            each(table->slots[i], data);
    }
}
