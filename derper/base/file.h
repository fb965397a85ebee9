// SPDX-License-Identifier: BSD-3-Clause
//
// Files of the configuration, read whole. Blocking.
#ifndef DERPER_BASE_FILE_H
#define DERPER_BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

struct file_text {
    char *bytes; // no final NUL
    size_t len;
    mode_t mode; // of the file
};

enum file_result {
    FILE_READ,
    FILE_ABSENT,
    FILE_FAILED, // not a regular file, may not be read, larger than `max_bytes`
};

// Unless it was read, `out` is empty, and `why` goes on from the file's name, without a full stop.
enum file_result file_read(struct file_text *out, const char *path, size_t max_bytes, char *why,
                           size_t size);

// Wipes the bytes, as they may be secret, and frees them. Harmless on zeroed memory, and twice.
void file_forget(struct file_text *text);

#endif
