// SPDX-License-Identifier: BSD-3-Clause
#include "relay/directory.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// One key's connections, oldest first.
struct entry {
    struct key key;
    uint32_t count;
    uint32_t active;
    void *kept;
    struct client_handle first; // the storage of `handles` while there is one
    struct client_handle *handles;
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

// Every change of a shard, seen by those who remember answers.
static void changed(struct directory_shard *shard)
{
    atomic_fetch_add_explicit(&shard->epoch, 1, memory_order_release);
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
    entry->first = *handle;
    entry->handles = &entry->first;
    entry->count = 1;
    return entry;
}

static void entry_append(struct entry *entry, const struct client_handle *handle)
{
    struct client_handle *handles = entry->handles == &entry->first ? NULL : entry->handles;

    handles = memory_resize(handles, (entry->count + 1) * sizeof *handles);
    if (entry->handles == &entry->first)
        handles[0] = entry->first;
    handles[entry->count] = *handle;
    entry->handles = handles;
    entry->active = entry->count++;
}

static void entry_free(struct entry *entry)
{
    if (entry->handles != &entry->first)
        free(entry->handles);
    free(entry);
}

static uint32_t find_handle(const struct entry *entry, const struct client_handle *handle)
{
    uint32_t i = 0;

    while (i < entry->count && !client_handle_equal(&entry->handles[i], handle))
        i++;
    assert(i < entry->count);
    return i;
}

bool directory_add(struct directory *directory, const struct key *key,
                   const struct client_handle *handle, struct client_handle *first, bool *full)
{
    const uint64_t hash = key_hash(key);
    struct directory_shard *shard = lock_shard(directory, hash);
    struct entry *entry = table_find_hashed(&shard->entries, key, hash);
    bool dup = entry != NULL;

    *first = (struct client_handle){0};
    *full = entry && entry->count >= DIRECTORY_CONNECTIONS_MAX;
    if (*full) {
        pthread_mutex_unlock(&shard->lock);
        return true;
    }
    if (entry) {
        if (entry->count == 1)
            *first = entry->handles[0];
        entry_append(entry, handle);
    } else {
        entry = entry_new(key, handle);
        table_insert(&shard->entries, entry);
    }
    count_joined(directory, entry->count);
    changed(shard);
    pthread_mutex_unlock(&shard->lock);
    return dup;
}

static void entry_leave(struct entry *entry, uint32_t i)
{
    const bool was_active = entry->active == i;

    memmove(&entry->handles[i], &entry->handles[i + 1],
            (entry->count - i - 1) * sizeof *entry->handles);
    entry->count--;
    if (was_active)
        entry->active = entry->count - 1;
    else if (entry->active > i)
        entry->active--;
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
    last = entry->count == 1;
    if (last) {
        table_remove(&shard->entries, key);
        *kept = entry->kept;
        entry_free(entry);
        count_left(directory, 0);
    } else {
        entry_leave(entry, find_handle(entry, handle));
        if (keep)
            entry->kept = merge(entry->kept, keep);
        count_left(directory, entry->count);
    }
    changed(shard);
    pthread_mutex_unlock(&shard->lock);
    return last;
}

bool directory_find(struct directory *directory, const struct key *key, uint64_t hash,
                    struct client_handle *out, uint32_t *epoch)
{
    struct directory_shard *shard = lock_shard(directory, hash);
    const struct entry *entry = table_find_hashed(&shard->entries, key, hash);

    *epoch = atomic_load_explicit(&shard->epoch, memory_order_relaxed);
    if (entry)
        *out = entry->handles[entry->active];
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
    dup = entry->count > 1;
    if (!client_handle_equal(&entry->handles[entry->active], handle)) {
        entry->active = find_handle(entry, handle);
        changed(shard);
    }
    pthread_mutex_unlock(&shard->lock);
    return dup;
}
