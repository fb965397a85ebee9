// SPDX-License-Identifier: BSD-3-Clause
//
// Both ends of a TLS connection in memory, for tests of contexts. Everything asserts.
#ifndef TEST_SUPPORT_BOTH_H
#define TEST_SUPPORT_BOTH_H

#include "io/tls.h"

#include <openssl/ssl.h>
#include <stdbool.h>

#define V12 TLS1_2_VERSION
#define V13 TLS1_3_VERSION

// What a client offers; NULL and 0: as OpenSSL does by itself.
struct offer {
    const char *name;
    int least, most;
    const char *ciphers; // TLS 1.2
    const char *suites;  // TLS 1.3
    const char *groups;
    const char *signatures;
    const char *sni;
    const char *alpn; // wire form
    bool verify;      // does not know our certificate's issuer
};

struct both {
    SSL_CTX *server_ctx, *client_ctx;
    SSL *server, *client;
    BIO *to_server, *to_client; // where the other end writes
};

// The context is the connection's from then on.
void both_start(struct both *both, SSL_CTX *server_ctx, const struct offer *offer);
void both_stop(struct both *both);

// The server's step. TLS_FAILURES while nothing is wrong.
enum tls_failure server_step(struct both *both);

// Runs the handshake to its end. TLS_FAILURES when it succeeded.
enum tls_failure shake(struct both *both);

// What the client has been shown.
void both_expect_chain(const struct both *both, X509 *const expected[], int count);

#endif
