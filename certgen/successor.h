// SPDX-License-Identifier: BSD-3-Clause
//
// The file of a certificate that is to take another's place: one line that says when, which people
// may change, then PEM. Readers of certificates skip what stands before PEM.
#ifndef CERTGEN_SUCCESSOR_H
#define CERTGEN_SUCCESSOR_H

#include "certgen/file.h"
#include "certgen/paths.h"

#include <openssl/x509.h>
#include <stdbool.h>
#include <time.h>

struct successor_paths {
    char next[CERT_PATH_MAX_BYTES]; // A.next.crt for A.crt
    char old[CERT_PATH_MAX_BYTES];  // A.old.crt, whose place was taken
};

// False, with a sentence, when a path is too long.
bool successor_paths_set(struct successor_paths *paths, const char *cert, char *error, size_t size);

// `replace`: puts it in the place of a file that is there already.
enum cert_file_created successor_write(const struct successor_paths *paths, X509 *cert, time_t at,
                                       bool replace, char *error, size_t size);

// The certificate, the caller's to free, and the moment, -1 where the file has none. NULL, with a
// sentence, when it is no file with exactly one certificate.
X509 *successor_read(const struct successor_paths *paths, time_t *at, char *error, size_t size);

// Gives it the name `cert`; `old`, NULL = none, is what had that name until now and is kept. True
// also when another process was faster. False, with a sentence.
bool successor_take_place(const struct successor_paths *paths, const char *cert, X509 *old,
                          char *error, size_t size);

#endif
