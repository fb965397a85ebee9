// SPDX-License-Identifier: BSD-3-Clause
//
// TLS policy: one context a worker, used by its thread alone, made anew when a certificate
// changes; those of further names hang on it. TLS 1.2 with forward-secret AEAD suites and 1.3; ALPN
// http/1.1; no tickets, no session cache, no renegotiation, no compression.
#ifndef DERPER_IO_TLS_H
#define DERPER_IO_TLS_H

#include "io/challenges.h"
#include "io/context.h"

#include <openssl/ssl.h>

// Before anything else that uses OpenSSL, or tls_free cannot wipe: false when it is too late.
bool tls_init(void);

// SSL_free, and the object is wiped. OpenSSL wipes what belongs to it, but not the object itself,
// in which the secrets stand that all keys of the connection come from.
void tls_free(SSL *ssl);

#define TLS_PAIRS_MAX 2 // at most one of a kind of key
#define TLS_IDENTITIES_MAX 16

struct tls_pair {
    X509 *leaf;
    STACK_OF(X509) * chain; // what follows the leaf, in order; may be NULL
    EVP_PKEY *key;
};

struct tls_identity {
    const char *hostname; // case does not matter; NULL = whoever asks for no name, or for one that
                          // no other identity has
    struct tls_pair pairs[TLS_PAIRS_MAX]; // RSA and ECDSA: the client's offer decides
    size_t pair_count;
};

struct tls_config {
    const struct tls_identity *identities; // of different names
    size_t identity_count;                 // 0 = every handshake is refused, until there is one
    X509 *meta;                            // appended to each chain; may be NULL
    struct challenges *challenges;         // of tls-alpn-01; outlives the context; NULL = none
};

// A new context, or NULL with OpenSSL's reason in its error queue. Takes its own references and
// copies. A client that asks for a name that is nobody's is refused, and so is one that asks for
// none, unless there is an identity without a name.
SSL_CTX *tls_context_new(const struct tls_config *config);

// The handshake, which is complete, was tls-alpn-01's (RFC 8737): nothing more is to be said.
bool tls_was_challenge(const SSL *ssl);

// Why the last operation failed, from OpenSSL's error queue of this thread. Call before the queue
// is cleared.
enum tls_failure tls_failure_of(void);

#endif
