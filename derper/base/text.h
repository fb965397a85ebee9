// SPDX-License-Identifier: BSD-3-Clause
//
// Text that strangers sent, made fit for a log line or a page.
#ifndef DERPER_BASE_TEXT_H
#define DERPER_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

// Copies `in` to `out` as printable ASCII: other bytes, quotes and backslashes become \xNN. What
// does not fit is cut and ends in "...". Always ends with a NUL. `size` at least 8. Returns `out`.
const char *text_escape(char *out, size_t size, const char *in, size_t len);

// Case-insensitive (ASCII) equality of `len` bytes with a NUL-terminated word.
bool text_equals_nocase(const char *in, size_t len, const char *word);

#endif
