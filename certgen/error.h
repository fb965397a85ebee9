// SPDX-License-Identifier: BSD-3-Clause
//
// Faults told to a person: one sentence in the caller's buffer that names the file, what is wrong
// with it and what to do.
#ifndef CERTGEN_ERROR_H
#define CERTGEN_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#define CERT_ERROR_BYTES 1024 // room for every sentence with paths of ordinary length

// Writes the sentence, cut to `size` and always ended with a NUL, and empties OpenSSL's error queue
// of this thread. `size` at least 1. Always false, for `return cert_fail(…)`.
bool cert_fail(char *error, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// OpenSSL's words for its latest error on this thread; never NULL. A constant string.
const char *cert_reason(void);

#endif
