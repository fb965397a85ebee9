// SPDX-License-Identifier: BSD-3-Clause
//
// Hash table from a 32-byte key to a pointer. Keyed SipHash, as strangers choose the keys. Open
// addressing with linear probing and backward-shift deletion: no tombstones, so it does not degrade
// with churn.
#ifndef DERPER_BASE_TABLE_H
#define DERPER_BASE_TABLE_H

#include "base/key.h"

#include <stddef.h>
#include <stdint.h>

// Each value's key is found inside the value, `key_offset` bytes from its start, and must not
// change while the value is in the table. Values are the caller's.
struct table {
    void **slots;
    size_t capacity; // power of two, or 0 before the first insertion
    size_t count;
    size_t key_offset;
};

// SipHash-2-4 of a key under a secret drawn once a process. Same result on every thread.
uint64_t key_hash(const struct key *key);

// No allocation until the first insertion.
void table_init(struct table *table, size_t key_offset);

// Frees the table's own memory, not the values.
void table_deinit(struct table *table);

// NULL when absent.
void *table_find(const struct table *table, const struct key *key);

// The same for a caller that has key_hash(key) at hand.
void *table_find_hashed(const struct table *table, const struct key *key, uint64_t hash);

// For a caller that has nothing but key_hash(key). Two keys of one hash cannot be told apart here.
void *table_find_hash(const struct table *table, uint64_t hash);

// The key must be absent. Aborts when memory is exhausted.
void table_insert(struct table *table, void *value);

// The removed value, or NULL when absent. Memory is given back when the table is mostly empty.
void *table_remove(struct table *table, const struct key *key);

// Calls `each` for every value, in no order; `each` must not change the table.
void table_each(const struct table *table, void (*each)(void *value, void *data), void *data);

#endif
