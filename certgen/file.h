// SPDX-License-Identifier: BSD-3-Clause
//
// Certificate and key files as bytes: bounded reading, and creation that is whole or not at all.
// Blocking; for start, reload and commands, never for a loop that serves.
#ifndef CERTGEN_FILE_H
#define CERTGEN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CERT_FILE_MAX_BYTES (1 << 20)

struct cert_text {
    char *bytes; // no final NUL
    size_t len;  // 1 to CERT_FILE_MAX_BYTES
};

enum cert_file_created { CERT_FILE_FAILED = -1, CERT_FILE_CREATED, CERT_FILE_EXISTS };

// Reads a whole regular file. `out` is the caller's to wipe. False, with a sentence, when the file
// is missing, a dangling link, a folder, not readable, empty or too large.
bool cert_file_read(const char *path, struct cert_text *out, char *error, size_t size);

// Overwrites the bytes with zeros and frees them. Harmless on a zeroed struct and twice.
void cert_file_wipe(struct cert_text *text);

// Creates `path` with these bytes and exactly this mode, whatever the umask: written under a
// temporary name beside it, synced, then published, so that `path` never shows a part. A file that
// is already there is left alone: CERT_FILE_EXISTS. A sentence goes with CERT_FILE_FAILED only.
enum cert_file_created cert_file_create(const char *path, const void *bytes, size_t len,
                                        mode_t mode, char *error, size_t size);

// As cert_file_create, but puts the file in the place of one that is there: `path` shows the old
// bytes or the new ones, never a part. False, with a sentence.
bool cert_file_replace(const char *path, const void *bytes, size_t len, mode_t mode, char *error,
                       size_t size);

struct cert_file {
    const char *path;
    const void *bytes;
    size_t len;
    mode_t mode;
};

// Replaces two files of one folder that belong together, a key and its certificate: neither before
// both are written, and then one directly after the other. On failure the old ones stay, or come
// back. Also removes what earlier processes that were killed have left beside them. False, with a
// sentence.
bool cert_file_replace_two(const struct cert_file files[2], char *error, size_t size);

// Gives the file `from` the name `to`, in whose place it comes. True also when there is no `from`:
// another process was faster. False, with a sentence.
bool cert_file_move(const char *from, const char *to, char *error, size_t size);

// Creates the folder that `path` lies in, and those above it, each with mode 0700 whatever the
// umask. Folders that exist keep their mode. False, with a sentence.
bool cert_file_make_folder(const char *path, char *error, size_t size);

#endif
