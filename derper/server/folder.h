// SPDX-License-Identifier: BSD-3-Clause
//
// Whether a file that is not there yet could be made, without making it: for --check.
#ifndef DERPER_SERVER_FOLDER_H
#define DERPER_SERVER_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

// False, with a sentence, when the nearest folder above `path` that exists is no folder or may not
// be written to.
bool folder_may_create(const char *path, char *error, size_t size);

#endif
