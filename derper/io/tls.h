// SPDX-License-Identifier: BSD-3-Clause
//
// TLS policy: one context a worker, used by its thread alone, made anew when the certificate
// changes. TLS 1.2 with forward-secret AEAD suites and 1.3; ALPN http/1.1; no
// tickets, no session cache, no renegotiation, no compression.
#ifndef DERPER_IO_TLS_H
#define DERPER_IO_TLS_H

#include "io/context.h"

#include <openssl/ssl.h>

// Before anything else that uses OpenSSL, or tls_free cannot wipe: false when it is too late.
bool tls_init(void);

// SSL_free, and the object is wiped. OpenSSL wipes what belongs to it, but not the object itself,
// in which the secrets stand that all keys of the connection come from.
void tls_free(SSL *ssl);

struct tls_identity {
    X509 *leaf;
    STACK_OF(X509) * chain; // what follows the leaf, in order; may be NULL
    X509 *meta;             // appended last; may be NULL
    EVP_PKEY *key;
    const char *hostname; // the only server name that is accepted (case does not matter); NULL =
                          // any or none
};

// A new context, or NULL with OpenSSL's reason in its error queue. Takes its own references and
// copies.
SSL_CTX *tls_context_new(const struct tls_identity *identity);

// Why the last operation failed, from OpenSSL's error queue of this thread. Call before the queue
// is cleared.
enum tls_failure tls_failure_of(void);

#endif
