// SPDX-License-Identifier: BSD-3-Clause
#include "relay/directory.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// The connections of a key that had more than one at some time, oldest first.
struct several {
    void *kept;
    uint32_t count;
    struct client_handle handles[];
};

struct entry {
    struct key key;
    struct client_handle active;
    struct several *several; // NULL: just one, now and before
};

void directory_init(struct directory *directory)
{
    memset(directory, 0, sizeof *directory);
    for (int i = 0; i < DIRECTORY_SHARDS; i++) {
        pthread_mutex_init(&directory->shards[i].lock, NULL);
        table_init(&directory->shards[i].entries, offsetof(struct entry, key));
    }
}

void directory_deinit(struct directory *directory)
{
    for (int i = 0; i < DIRECTORY_SHARDS; i++) {
        assert(directory->shards[i].entries.count == 0);
        table_deinit(&directory->shards[i].entries);
        pthread_mutex_destroy(&directory->shards[i].lock);
    }
}

static struct directory_shard *lock_shard(struct directory *directory, uint64_t hash)
{
    struct directory_shard *shard = &directory->shards[directory_shard_of(hash)];

    pthread_mutex_lock(&shard->lock);
    return shard;
}

// Every change of a key, seen by those who remember answers.
static void changed(struct directory_shard *shard, uint64_t hash)
{
    atomic_fetch_add_explicit(&shard->epochs[directory_epoch_of(hash)], 1, memory_order_release);
}

static void add(_Atomic int64_t *gauge, int64_t n)
{
    atomic_fetch_add_explicit(gauge, n, memory_order_relaxed);
}

static void count_joined(struct directory *directory, uint32_t count)
{
    if (count == 1) {
        add(&directory->keys, 1);
        return;
    }
    add(&directory->dup_total, 1);
    add(&directory->dup_conns, count == 2 ? 2 : 1);
    add(&directory->dup_keys, count == 2 ? 1 : 0);
}

static void count_left(struct directory *directory, uint32_t count)
{
    if (count == 0) {
        add(&directory->keys, -1);
        return;
    }
    add(&directory->dup_conns, count == 1 ? -2 : -1);
    add(&directory->dup_keys, count == 1 ? -1 : 0);
}

static struct entry *entry_new(const struct key *key, const struct client_handle *handle)
{
    struct entry *entry = memory_zeroed(sizeof *entry);

    entry->key = *key;
    entry->active = *handle;
    return entry;
}

static void entry_free(struct entry *entry)
{
    free(entry->several);
    free(entry);
}

static uint32_t entry_count(const struct entry *entry)
{
    return entry->several ? entry->several->count : 1;
}

static struct several *several_resize(struct several *several, uint32_t count)
{
    return memory_resize(several, sizeof *several + count * sizeof several->handles[0]);
}

static void entry_append(struct entry *entry, const struct client_handle *handle)
{
    const uint32_t count = entry_count(entry);
    struct several *several = several_resize(entry->several, count + 1);

    if (!entry->several) {
        several->kept = NULL;
        several->handles[0] = entry->active;
    }
    several->handles[count] = *handle;
    several->count = count + 1;
    entry->several = several;
    entry->active = *handle;
}

static void entry_leave(struct entry *entry, const struct client_handle *handle)
{
    struct several *several = entry->several;
    uint32_t i = 0;

    while (i < several->count && !client_handle_equal(&several->handles[i], handle))
        i++;
    assert(i < several->count);
    several->count--;
    memmove(&several->handles[i], &several->handles[i + 1],
            (several->count - i) * sizeof several->handles[0]);
    if (client_handle_equal(&entry->active, handle))
        entry->active = several->handles[several->count - 1];
    entry->several = several_resize(several, several->count);
}

bool directory_add(struct directory *directory, const struct key *key,
                   const struct client_handle *handle, struct client_handle *first, bool *full)
{
    const uint64_t hash = key_hash(key);
    struct directory_shard *shard = lock_shard(directory, hash);
    struct entry *entry = table_find_hashed(&shard->entries, key, hash);
    bool dup = entry != NULL;

    *first = (struct client_handle){0};
    *full = entry && entry_count(entry) >= DIRECTORY_CONNECTIONS_MAX;
    if (*full) {
        pthread_mutex_unlock(&shard->lock);
        return true;
    }
    if (entry) {
        if (entry_count(entry) == 1)
            *first = entry->active;
        entry_append(entry, handle);
    } else {
        entry = entry_new(key, handle);
        table_insert(&shard->entries, entry);
    }
    count_joined(directory, entry_count(entry));
    changed(shard, hash);
    pthread_mutex_unlock(&shard->lock);
    return dup;
}

bool directory_remove(struct directory *directory, const struct key *key,
                      const struct client_handle *handle, void *keep,
                      void *(*merge)(void *old, void *new), void **kept)
{
    const uint64_t hash = key_hash(key);
    struct directory_shard *shard = lock_shard(directory, hash);
    struct entry *entry = table_find_hashed(&shard->entries, key, hash);
    bool last;

    assert(entry);
    *kept = NULL;
    last = entry_count(entry) == 1;
    if (last) {
        table_remove(&shard->entries, key);
        *kept = entry->several ? entry->several->kept : NULL;
        entry_free(entry);
        count_left(directory, 0);
    } else {
        entry_leave(entry, handle);
        if (keep)
            entry->several->kept = merge(entry->several->kept, keep);
        count_left(directory, entry->several->count);
    }
    changed(shard, hash);
    pthread_mutex_unlock(&shard->lock);
    return last;
}

bool directory_find(struct directory *directory, const struct key *key, uint64_t hash,
                    struct client_handle *out, uint32_t *epoch)
{
    struct directory_shard *shard = lock_shard(directory, hash);
    const struct entry *entry = table_find_hashed(&shard->entries, key, hash);

    *epoch = atomic_load_explicit(&shard->epochs[directory_epoch_of(hash)], memory_order_relaxed);
    if (entry)
        *out = entry->active;
    pthread_mutex_unlock(&shard->lock);
    return entry != NULL;
}

bool directory_find_hash(struct directory *directory, uint64_t hash, struct client_handle *out)
{
    struct directory_shard *shard = lock_shard(directory, hash);
    const struct entry *entry = table_find_hash(&shard->entries, hash);

    if (entry)
        *out = entry->active;
    pthread_mutex_unlock(&shard->lock);
    return entry != NULL;
}

bool directory_touch(struct directory *directory, const struct key *key,
                     const struct client_handle *handle)
{
    const uint64_t hash = key_hash(key);
    struct directory_shard *shard = lock_shard(directory, hash);
    struct entry *entry = table_find_hashed(&shard->entries, key, hash);
    bool dup;

    assert(entry);
    dup = entry_count(entry) > 1;
    if (!client_handle_equal(&entry->active, handle)) {
        entry->active = *handle;
        changed(shard, hash);
    }
    pthread_mutex_unlock(&shard->lock);
    return dup;
}
