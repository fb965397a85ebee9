// SPDX-License-Identifier: BSD-3-Clause
#include "access/grace.h"

#include "base/memory.h"

#include <stdlib.h>

struct entry {
    struct key key;
    struct list node;
    uint64_t at_ms;
    uint32_t sources;
};

void grace_init(struct grace *grace, uint64_t span_ms)
{
    table_init(&grace->table, offsetof(struct entry, key));
    list_init(&grace->by_age);
    grace->span_ms = span_ms;
}

static void drop(struct grace *grace, struct entry *entry)
{
    table_remove(&grace->table, &entry->key);
    list_unlink(&entry->node);
    free(entry);
}

static struct entry *oldest(struct grace *grace)
{
    return list_empty(&grace->by_age) ? NULL : list_entry(grace->by_age.next, struct entry, node);
}

static void expire(struct grace *grace, uint64_t now_ms)
{
    struct entry *entry;

    while ((entry = oldest(grace)) && now_ms - entry->at_ms >= grace->span_ms)
        drop(grace, entry);
}

void grace_deinit(struct grace *grace)
{
    struct entry *entry;

    while ((entry = oldest(grace)))
        drop(grace, entry);
    table_deinit(&grace->table);
}

static struct entry *add(struct grace *grace, const struct key *key)
{
    struct entry *entry = memory_zeroed(sizeof *entry);

    entry->key = *key;
    list_init(&entry->node);
    table_insert(&grace->table, entry);
    return entry;
}

bool grace_note(struct grace *grace, const struct key *key, uint32_t sources, uint64_t now_ms)
{
    struct entry *entry;
    bool full;

    if (grace->span_ms == 0)
        return false;
    expire(grace, now_ms);
    entry = table_find(&grace->table, key);
    full = !entry && grace->table.count >= GRACE_ENTRIES_MAX;
    if (full)
        drop(grace, oldest(grace));
    if (!entry)
        entry = add(grace, key);
    entry->sources = sources;
    entry->at_ms = now_ms;
    list_unlink(&entry->node);
    list_append(&grace->by_age, &entry->node);
    return full;
}

void grace_withdraw(struct grace *grace, const struct key *key, uint32_t sources)
{
    struct entry *entry = table_find(&grace->table, key);

    if (!entry)
        return;
    entry->sources &= ~sources;
    if (entry->sources == 0)
        drop(grace, entry);
}

void grace_forget(struct grace *grace, const struct key *key)
{
    struct entry *entry = table_find(&grace->table, key);

    if (entry)
        drop(grace, entry);
}

uint32_t grace_sources(struct grace *grace, const struct key *key, uint64_t now_ms)
{
    const struct entry *entry;

    expire(grace, now_ms);
    entry = table_find(&grace->table, key);
    return entry ? entry->sources : 0;
}
