// SPDX-License-Identifier: BSD-3-Clause
//
// The node keys of --allow-keys: text, one "nodekey:<64 hex digits>" a line; what follows a '#' is
// a comment, empty lines are nothing.
#ifndef DERPER_ACCESS_ALLOWLIST_H
#define DERPER_ACCESS_ALLOWLIST_H

#include "base/key.h"

#include <stdbool.h>
#include <stddef.h>

#define ALLOWLIST_FILE_MAX_BYTES (16 * 1024 * 1024) // 200,000 keys
#define ALLOWLIST_ERROR_BYTES 1024

// All zero is an empty list.
struct allowlist {
    struct key *keys; // in order
    size_t count;     // a key that stands twice counts twice
};

// False when a line is anything else: `error` is then a sentence without a full stop that names the
// line, and `out` is empty.
bool allowlist_parse(struct allowlist *out, const char *text, size_t len, char *error, size_t size);

// The same for a file, which the sentence names. Blocking.
bool allowlist_load(struct allowlist *out, const char *path, char *error, size_t size);

bool allowlist_has(const struct allowlist *list, const struct key *key);

void allowlist_free(struct allowlist *list);

#endif
