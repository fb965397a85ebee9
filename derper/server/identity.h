// SPDX-License-Identifier: BSD-3-Clause
//
// What the relay shows in a TLS handshake: its certificate, and behind it the meta certificate with
// its key. Made whole and then only read; a change makes a new one.
#ifndef DERPER_SERVER_IDENTITY_H
#define DERPER_SERVER_IDENTITY_H

#include "base/key.h"
#include "certgen/pair.h"
#include "certgen/pin.h"
#include "server/options.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct identity {
    struct cert_pair pair;
    const char *hostname; // required as server name; NULL = any
    bool self_signed;
    char pin[CERT_PIN_CHARS + 1];
    time_t not_after;
};

// Loads the pair of the certificate folder; for an IP address without one, `create` makes it. False
// with a sentence in `error`; `identity` is then empty. Blocking.
bool identity_load(struct identity *identity, const struct options *options, bool create,
                   char *error, size_t size);

// Looks at the files without changing them: `*absent` when identity_load would make a self-signed
// pair. False, with a sentence, when it would fail at that.
bool identity_check(bool *absent, const struct options *options, char *error, size_t size);

void identity_free(struct identity *identity);

// A TLS context with a meta certificate of its own, to be made anew before that one ends. NULL with
// a sentence.
SSL_CTX *identity_context(const struct identity *identity, const struct key *relay_key, char *error,
                          size_t size);

#endif
