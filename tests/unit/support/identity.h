// SPDX-License-Identifier: BSD-3-Clause
//
// Keys and certificates made in memory. Everything asserts.
#ifndef TEST_SUPPORT_IDENTITY_H
#define TEST_SUPPORT_IDENTITY_H

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

// `kind` is "EC", "RSA" or "ED25519". Signed by `issuer`, NULL = by itself.
void identity_make(struct identity *identity, const char *kind, const char *name,
                   const struct identity *issuer);
void identity_free(struct identity *identity);

// A server's context with this one certificate, whatever name is asked for.
SSL_CTX *identity_context(const struct identity *identity);

#endif
