// SPDX-License-Identifier: BSD-3-Clause
//
// Who was let in a short while ago by which sources: the decision cache of --verify-grace. One
// thread.
#ifndef DERPER_ACCESS_GRACE_H
#define DERPER_ACCESS_GRACE_H

#include "base/list.h"
#include "base/table.h"

#include <stdbool.h>
#include <stdint.h>

#define GRACE_ENTRIES_MAX 65536 // 6 MiB; the oldest makes room

struct grace {
    struct table table;
    struct list by_age; // the oldest first
    uint64_t span_ms;   // 0: nothing is kept
};

void grace_init(struct grace *grace, uint64_t span_ms);
void grace_deinit(struct grace *grace);

// All sources in the set `sources`, one bit each, have said yes. True when the oldest made room.
bool grace_note(struct grace *grace, const struct key *key, uint32_t sources, uint64_t now_ms);

// The sources in the set have said no: their yes of before is taken back.
void grace_withdraw(struct grace *grace, const struct key *key, uint32_t sources);

// The check has said no.
void grace_forget(struct grace *grace, const struct key *key);

// The set that said yes within the span; 0 = none.
uint32_t grace_sources(struct grace *grace, const struct key *key, uint64_t now_ms);

#endif
