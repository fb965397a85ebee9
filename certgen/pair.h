// SPDX-License-Identifier: BSD-3-Clause
//
// A certificate, the certificates behind it and its private key, loaded from two PEM files and
// found fit to serve, or refused with a sentence for a person.
#ifndef CERTGEN_PAIR_H
#define CERTGEN_PAIR_H

#include "certgen/paths.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

// All three belong to the pair; take X509_up_ref and the like to keep one. Never append to `chain`
// for a handshake: it is shared.
struct cert_pair {
    X509 *leaf;
    STACK_OF(X509) * chain; // what follows the leaf in its file; may hold none
    EVP_PKEY *key;
};

// Reads both files. True when they parse, the key is the leaf's, `now` is within the leaf's
// validity and it covers `hostname`, a DNS name or IP address (NULL: not asked). Whether the chain
// is in order is cert_check_chain's question. False leaves the pair empty and a sentence in
// `error`. OpenSSL's error queue of this thread is empty afterwards. Blocking.
bool cert_pair_load(struct cert_pair *pair, const struct cert_paths *paths, const char *hostname,
                    time_t now, char *error, size_t size);

// The same without a look at validity and hostname: both parse and belong together.
bool cert_pair_read(struct cert_pair *pair, const struct cert_paths *paths, char *error,
                    size_t size);

// Frees and empties the pair; private numbers are wiped. Harmless on a zeroed pair and twice.
void cert_pair_free(struct cert_pair *pair);

#endif
