// SPDX-License-Identifier: BSD-3-Clause
//
// Which refusals get a line in the log of their own: in each LOG_LIMIT_PERIOD_MS the first of each
// of the first REFUSAL_LOG_KEYS node keys. So an operator finds the node that he has just added,
// and strangers who try keys do not fill the log. One thread.
#ifndef DERPER_ACCESS_REFUSAL_LOG_H
#define DERPER_ACCESS_REFUSAL_LOG_H

#include "base/key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REFUSAL_LOG_KEYS 10
#define REFUSAL_LOG_MORE_BYTES 64

// Zeroed at the start.
struct refusal_log {
    struct key keys[REFUSAL_LOG_KEYS]; // that had their line
    size_t count;
    uint64_t end_ms; // of the period
    uint64_t held;   // refusals since the last line
};

// True for a line, whose end is then `more`: how many had none.
bool refusal_log_due(struct refusal_log *log, const struct key *key, uint64_t now_ms,
                     char more[static REFUSAL_LOG_MORE_BYTES]);

#endif
