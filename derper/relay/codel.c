// SPDX-License-Identifier: BSD-3-Clause
#include "relay/codel.h"

#define DROPS_MAX 1024 // the rate of drops does not rise beyond
// A queue that is long again so soon goes on where it was.
#define REMEMBERED_MS (8 * CODEL_INTERVAL_MS)

static uint32_t square_root(uint32_t n)
{
    uint32_t root = 1;

    while ((root + 1) * (root + 1) <= n)
        root++;
    return root;
}

// The interval by the square root of the drops: TCP's rate falls with the square root of its loss.
static uint32_t pause_ms(uint32_t drops)
{
    return CODEL_INTERVAL_MS * 16 / square_root(drops * 16 * 16);
}

static bool due(const struct codel *codel, uint32_t now_ms)
{
    return (int32_t)(now_ms - codel->next_ms) >= 0;
}

static void begin_long(struct codel *codel, uint32_t now_ms)
{
    if ((int32_t)(now_ms - codel->next_ms) > REMEMBERED_MS)
        codel->drops = 0;
    codel->state = CODEL_LONG;
    codel->next_ms = now_ms + CODEL_INTERVAL_MS;
}

static bool drop(struct codel *codel, uint32_t from_ms)
{
    if (codel->drops < DROPS_MAX)
        codel->drops++;
    codel->next_ms = from_ms + pause_ms(codel->drops);
    return true;
}

bool codel_drops(struct codel *codel, uint64_t now_ms, uint64_t waited_ms)
{
    const uint32_t now = (uint32_t)now_ms;

    if (waited_ms < CODEL_TARGET_MS) {
        if (codel->state == CODEL_DROPPING)
            codel->next_ms = now;
        codel->state = CODEL_SHORT;
        return false;
    }
    if (codel->state == CODEL_SHORT)
        begin_long(codel, now);
    if (!due(codel, now))
        return false;
    if (codel->state == CODEL_DROPPING)
        return drop(codel, codel->next_ms);
    codel->state = CODEL_DROPPING;
    codel->drops = codel->drops > 2 ? codel->drops - 2 : 0;
    return drop(codel, now);
}
