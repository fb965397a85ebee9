// SPDX-License-Identifier: BSD-3-Clause
//
// The text of --rate-config: either limits that a relay can keep, or a sentence and no limits.
#include "server/rate_config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[RATE_CONFIG_ERROR_BYTES / 2] = "";
    char *copy = malloc(size ? size : 1); // exact in size, so that a read beyond it is seen
    struct server_limits limits;
    bool ok;

    demand(copy != NULL);
    memcpy(copy, data, size);
    ok = rate_config_parse(&limits, copy, size, why, sizeof why);
    free(copy);
    demand(ok == (why[0] == '\0'));
    demand(limits.bytes_per_second <= INT64_MAX && limits.burst_bytes <= INT64_MAX);
    if (limits.bytes_per_second > 0)
        demand(ok && limits.burst_bytes >= RATE_CONFIG_BURST_MIN_BYTES);
    else
        demand(limits.burst_bytes == 0);
    return 0;
}
