// SPDX-License-Identifier: BSD-3-Clause
#include "access/refusal_log.h"

#include "base/log.h"

#include <stdio.h>

static bool had_line(const struct refusal_log *log, const struct key *key)
{
    for (size_t i = 0; i < log->count; i++)
        if (key_equal(&log->keys[i], key))
            return true;
    return false;
}

bool refusal_log_due(struct refusal_log *log, const struct key *key, uint64_t now_ms,
                     char more[static REFUSAL_LOG_MORE_BYTES])
{
    if (now_ms >= log->end_ms) {
        log->count = 0;
        log->end_ms = now_ms + LOG_LIMIT_PERIOD_MS;
    }
    if (log->count == REFUSAL_LOG_KEYS || had_line(log, key)) {
        log->held++;
        return false;
    }
    log->keys[log->count++] = *key;
    more[0] = '\0';
    if (log->held > 0)
        snprintf(more, REFUSAL_LOG_MORE_BYTES, " (and %llu more since the last such line)",
                 (unsigned long long)log->held);
    log->held = 0;
    return true;
}
