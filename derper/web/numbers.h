// SPDX-License-Identifier: BSD-3-Clause
//
// Every number of relay and io under the name that dashboards know it by (metrics page of the wire
// facts), and those that only this relay has: they begin with "derper_".
#ifndef DERPER_WEB_NUMBERS_H
#define DERPER_WEB_NUMBERS_H

#include "io/challenges.h"
#include "relay/relay.h"
#include "web/metrics.h"

#include <stdint.h>

struct numbers {
    struct relay *relay;
    const char *version;
    int64_t start_unix;
    int64_t uptime_s;
    int64_t certificate_not_after;       // Unix time; 0 when there is none
    const struct challenges *challenges; // NULL = none
};

// Whole families; the relay's, which begin with "derp_", first.
void numbers_write(struct metrics *metrics, const struct numbers *numbers);

#endif
