// SPDX-License-Identifier: BSD-3-Clause
//
// The peers that one client has sent to, who are told when it has gone: hashes of their keys, as
// many clients remember many peers, and an idle client keeps this. One thread at a time.
#ifndef DERPER_RELAY_SENT_TO_H
#define DERPER_RELAY_SENT_TO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Peers remembered for one client. A node speaks with a few hundred at a time; those that have left
// make room for others.
#define SENT_TO_MAX 4094
// What all clients of the process remember together. Beyond that, none gets to remember more than
// SENT_TO_FEW, so that strangers cannot claim SENT_TO_MAX for each of their connections.
#define SENT_TO_ALL_BYTES (64 * 1024 * 1024)
#define SENT_TO_FEW 62
// A client that has as many as it may is looked through for those that have left this often.
#define SENT_TO_SWEEP_MS 60000

// On the heap; NULL remembers nobody.
struct sent_to {
    uint32_t swept_ms; // low bits of the owner's clock
    uint16_t count, capacity;
    uint64_t hashes[]; // sorted
};

typedef bool (*sent_to_keep)(uint64_t hash, void *data);

// Remembers a peer; harmless when it is remembered already. When memory has to grow, those that
// `keep` says no to are forgotten first. False when there are too many.
bool sent_to_add(struct sent_to **set, uint64_t hash, uint64_t now_ms, sent_to_keep keep,
                 void *data);

// Frees both (either may be NULL) and returns what they hold together: the lower hashes when that
// is too much.
struct sent_to *sent_to_merge(struct sent_to *a, struct sent_to *b);

void sent_to_free(struct sent_to *set);

#endif
