// SPDX-License-Identifier: BSD-3-Clause
//
// Where a host's certificate and key lie: FOLDER/HOSTNAME.crt and FOLDER/HOSTNAME.key, where the
// hostname is stripped of every character outside [a-zA-Z0-9.-].
#ifndef CERTGEN_PATHS_H
#define CERTGEN_PATHS_H

#include <stdbool.h>
#include <stddef.h>

#define CERT_PATH_MAX_BYTES 1024 // with the final NUL

struct cert_paths {
    char cert[CERT_PATH_MAX_BYTES];
    char key[CERT_PATH_MAX_BYTES];
};

// The hostname, stripped. False, with a sentence, when nothing is left of it or it is too long.
bool cert_paths_name(char out[static CERT_PATH_MAX_BYTES], const char *hostname, char *error,
                     size_t size);

// False, with a sentence, when nothing is left of the hostname or a path is too long.
bool cert_paths_for_host(struct cert_paths *paths, const char *folder, const char *hostname,
                         char *error, size_t size);

// Of several spellings of a host, or of its addresses, the first of which FOLDER holds the
// certificate or the key; the last when it holds none of them.
const char *cert_paths_spelling(const char *folder, const char *const *spellings, size_t count);

// One file for both, FOLDER/PREFIXHOSTNAME.
bool cert_paths_one_file(struct cert_paths *paths, const char *folder, const char *prefix,
                         const char *hostname, char *error, size_t size);

// Two files that have names of their own. `key` NULL: `cert` with its ending replaced by ".key".
// False, with a sentence, when a path is too long.
bool cert_paths_set(struct cert_paths *paths, const char *cert, const char *key, char *error,
                    size_t size);

#endif
