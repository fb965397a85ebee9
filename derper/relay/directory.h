// SPDX-License-Identifier: BSD-3-Clause
//
// Which connection of which worker a key's packets go to. The one structure that workers share:
// sharded, each shard with a lock that is held for a look-up, and epochs by which a worker sees,
// without the lock, that what it remembers of some keys still holds.
#ifndef DERPER_RELAY_DIRECTORY_H
#define DERPER_RELAY_DIRECTORY_H

#include "base/key.h"
#include "base/table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIRECTORY_SHARDS 64 // chosen by the top 6 bits of the hash; the table uses the low ones
#define DIRECTORY_EPOCHS 64 // of each shard, chosen by the next 6 bits

// Connections of one key. A node that comes back while its old connections have not been found dead
// has a few.
#define DIRECTORY_CONNECTIONS_MAX 32

// A client of a worker. `generation` tells later tenants of a slot apart; it is never 0 for a real
// client.
struct client_handle {
    uint32_t slot;
    uint32_t generation;
    uint16_t worker;
};

static inline bool client_handle_equal(const struct client_handle *a, const struct client_handle *b)
{
    return a->slot == b->slot && a->generation == b->generation && a->worker == b->worker;
}

struct directory_shard {
    pthread_mutex_t lock;
    struct table entries;
    // Each changes with every change of its keys. With one for a whole shard, a stranger whose two
    // connections send in turn would send everybody else's packets to the lock.
    _Atomic uint32_t epochs[DIRECTORY_EPOCHS];
} __attribute__((aligned(128)));

struct directory {
    struct directory_shard shards[DIRECTORY_SHARDS];
    _Atomic int64_t keys;
    _Atomic int64_t dup_keys;
    _Atomic int64_t dup_conns;
    _Atomic int64_t dup_total;
};

void directory_init(struct directory *directory);

// The directory must be empty.
void directory_deinit(struct directory *directory);

// Registers a connection, which becomes the key's active one. When the key had just one before,
// that one is now a duplicate and `*first` names it (its worker has to be told); otherwise
// `first->generation` is 0. True when the key is connected more than once now. A key has
// DIRECTORY_CONNECTIONS_MAX at most: beyond that nothing happens and `*full` is set.
bool directory_add(struct directory *directory, const struct key *key,
                   const struct client_handle *handle, struct client_handle *first, bool *full);

// Unregisters a connection. If it was active, the newest that is left becomes so. While others are
// left, the entry keeps `keep` (may be NULL) for them; when it was the last, `*kept` receives what
// earlier ones left there, or NULL. Merging with what was left earlier is done by `merge(old,
// new)`, which returns what is to be kept. True when it was the last.
bool directory_remove(struct directory *directory, const struct key *key,
                      const struct client_handle *handle, void *keep,
                      void *(*merge)(void *old, void *new), void **kept);

// The key's active connection. False when it has none. `*epoch` receives the epoch of this answer.
bool directory_find(struct directory *directory, const struct key *key, uint64_t hash,
                    struct client_handle *out, uint32_t *epoch);

// The same for a caller that has the hash only.
bool directory_find_hash(struct directory *directory, uint64_t hash, struct client_handle *out);

// One of several connections has sent something and becomes the active one. False when it is the
// only one left.
bool directory_touch(struct directory *directory, const struct key *key,
                     const struct client_handle *handle);

static inline unsigned directory_shard_of(uint64_t hash)
{
    return (unsigned)(hash >> 58);
}

static inline unsigned directory_epoch_of(uint64_t hash)
{
    return (unsigned)(hash >> 52) % DIRECTORY_EPOCHS;
}

// The present epoch of a key of this hash.
static inline uint32_t directory_epoch(const struct directory *directory, uint64_t hash)
{
    const struct directory_shard *shard = &directory->shards[directory_shard_of(hash)];

    return atomic_load_explicit(&shard->epochs[directory_epoch_of(hash)], memory_order_acquire);
}

#endif
