// SPDX-License-Identifier: BSD-3-Clause
//
// The file that keeps the relay's identity, in the form of Tailscale's derper (wire page, section
// 3): JSON with one "PrivateKey". libsodium must be initialised.
#ifndef DERPER_SERVER_KEYFILE_H
#define DERPER_SERVER_KEYFILE_H

#include "base/key.h"

#include <stddef.h>

#define KEYFILE_TEXT_BYTES 1024 // enough for every sentence; long paths in it are cut

enum keyfile_result {
    KEYFILE_LOADED,  // `pair` is set; `text` is "" or a warning
    KEYFILE_CREATED, // `pair` is set and on disk; `text` is ""
    KEYFILE_ABSENT,  // only from keyfile_load: there is no such file; `text` says so
    KEYFILE_FAILED,  // `text` is one sentence that names the file
};

// Loads only. `size` at least KEYFILE_TEXT_BYTES. The pair is the caller's to wipe.
enum keyfile_result keyfile_load(struct key_pair *pair, const char *path, char *text, size_t size);

// Loads, or makes a new key when there is no such file: folders are created (0700), the file (0600)
// appears whole or not at all. Never replaces a file that is there.
enum keyfile_result keyfile_load_or_create(struct key_pair *pair, const char *path, char *text,
                                           size_t size);

#endif
