// SPDX-License-Identifier: BSD-3-Clause
//
// What fuzzers of files and of texts share.
#ifndef FUZZ_SUPPORT_H
#define FUZZ_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FOLDER_BYTES 64
#define FOLDER_PATH_BYTES 128

void demand(bool held);

// Printable ASCII, nothing that moves a terminal's cursor.
void demand_printable(const char *text, size_t len);

// Makes an empty folder in memory the first time, for which the caller's `remove` calls
// folder_remove at the end.
void folder_make(char folder[static FOLDER_BYTES], void (*remove)(void));
void folder_empty(const char *folder);
void folder_remove(const char *folder);

// Writes FOLDER/NAME, whose path is left in `path`.
void folder_put(const char *folder, const char *name, const void *bytes, size_t len,
                char path[static FOLDER_PATH_BYTES]);

#endif
