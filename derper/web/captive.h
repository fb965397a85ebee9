// SPDX-License-Identifier: BSD-3-Clause
//
// The challenge by which Tailscale's clients tell a captive portal from a real answer. Pure.
#ifndef DERPER_WEB_CAPTIVE_H
#define DERPER_WEB_CAPTIVE_H

#include "io/http.h"

#include <stdbool.h>

#define CAPTIVE_CHALLENGE_MAX_BYTES 64

// 1 to CAPTIVE_CHALLENGE_MAX_BYTES characters of letters, digits and ".-_:": what may be sent back.
bool captive_challenge_valid(const struct http_text *challenge);

#endif
