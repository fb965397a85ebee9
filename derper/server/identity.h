// SPDX-License-Identifier: BSD-3-Clause
//
// A certificate with its chain and key that was read from files and found fit to serve. Made whole
// and then only read; a change makes a new one. Blocking; any thread.
#ifndef DERPER_SERVER_IDENTITY_H
#define DERPER_SERVER_IDENTITY_H

#include "certgen/error.h"
#include "certgen/pair.h"
#include "certgen/pin.h"
#include "io/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct identity {
    struct cert_pair pair;
    struct cert_paths paths;
    const char *layout; // how the files were found; a constant
    bool self_signed;
    char chain_fault[CERT_ERROR_BYTES]; // "" or what is odd about the chain, which still serves
    char pin[CERT_PIN_CHARS + 1];
    time_t not_after;
};

// Loads the files. True when the certificate covers each of the names, is valid now, and OpenSSL
// takes it for a server. False with a sentence in `error`; `identity` is then empty.
bool identity_load(struct identity *identity, const struct cert_paths *paths, const char *layout,
                   const char *const *names, size_t name_count, char *error, size_t size);

// Harmless on zeroed memory, and twice.
void identity_free(struct identity *identity);

// Whether both serve the same: the chain counts, names of files do not.
bool identity_equal(const struct identity *a, const struct identity *b);

// Whether both have keys of the same kind: RSA or another.
bool identity_same_kind(const struct identity *a, const struct identity *b);

const char *identity_kind(const struct identity *identity); // "rsa" or "ecdsa"

// As a TLS context takes it; belongs to the identity.
struct tls_pair identity_tls_pair(const struct identity *identity);

#endif
