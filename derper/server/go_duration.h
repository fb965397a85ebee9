// SPDX-License-Identifier: BSD-3-Clause
//
// Numbers and spans of time in the notation of Go programs, as scripts for Tailscale's derper write
// them.
#ifndef DERPER_SERVER_GO_DURATION_H
#define DERPER_SERVER_GO_DURATION_H

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_SECOND INT64_C(1000000000)

// "1h15m30.918s", "300ms", "-1.5h", "0": signed decimal numbers, each with a unit (ns, us or µs,
// ms, s, m, h). False for anything else and for what does not fit; `ns` is then untouched.
bool duration_parse(const char *text, int64_t *ns);

// Rounded up, so that the shortest span is not taken for "none". `ns` at least 0.
int64_t duration_ms_up(int64_t ns);

// Whole numbers as Go writes them: sign, 0x, 0o, 0b or a leading 0 (octal), underscores between
// digits. False for anything else and for what does not fit; `out` is then untouched.
bool go_int_parse(const char *text, int64_t *out);

// Decimal and hexadecimal floating-point numbers and signed "Inf", "Infinity" in either case; "NaN"
// is refused.
bool go_float_parse(const char *text, double *out);

// 1, t, T, true, True, TRUE and 0, f, F, false, False, FALSE.
bool go_bool_parse(const char *text, bool *out);

#endif
