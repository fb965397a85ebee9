// SPDX-License-Identifier: BSD-3-Clause
//
// The challenge by which Tailscale's clients tell a captive portal from a real answer. Pure.
#ifndef DERPER_WEB_CHALLENGE_H
#define DERPER_WEB_CHALLENGE_H

#include "io/http.h"

#include <stdbool.h>

#define CHALLENGE_MAX_BYTES 64

// 1 to CHALLENGE_MAX_BYTES characters of letters, digits and ".-_:": what may be sent back.
bool challenge_valid(const struct http_text *challenge);

#endif
