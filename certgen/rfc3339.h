// SPDX-License-Identifier: BSD-3-Clause
//
// Date and time as JSON holds them (RFC 3339).
#ifndef CERTGEN_RFC3339_H
#define CERTGEN_RFC3339_H

#include <stdbool.h>
#include <time.h>

// "2026-01-03T00:00:00Z", with a fraction of a second (dropped) or an offset ("+02:00") if any.
// False when `text` is NULL or none.
bool rfc3339_parse(const char *text, time_t *out);

#endif
