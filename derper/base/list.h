// SPDX-License-Identifier: BSD-3-Clause
//
// Intrusive doubly linked ring. A node that is in no ring points to itself, so unlinking twice is
// harmless.
#ifndef DERPER_BASE_LIST_H
#define DERPER_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define list_entry(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *node)
{
    node->prev = node->next = node;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_unlink(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

// `node` must be in no ring.
static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

// Moves all nodes of `from` to the end of the ring `to`, in their order.
static inline void list_append_all(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

// Makes `to` a ring of all nodes of `from`, which is then empty.
static inline void list_take(struct list *to, struct list *from)
{
    list_init(to);
    list_append_all(to, from);
}

#endif
