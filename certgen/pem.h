// SPDX-License-Identifier: BSD-3-Clause
//
// PEM files (RFC 7468) to OpenSSL objects, with a sentence for each way in which a file can be the
// wrong one. Never asks for a passphrase. OpenSSL's error queue of this thread is empty afterwards.
#ifndef CERTGEN_PEM_H
#define CERTGEN_PEM_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

// Reads every CERTIFICATE block of a file, in the file's order; other blocks are skipped. On
// success there is at least one, and the stack and its certificates are the caller's to free with
// sk_X509_pop_free. NULL, with a sentence, otherwise.
STACK_OF(X509) * cert_pem_read_certificates(const char *path, char *error, size_t size);

// Reads the first private key of a file: PKCS#8, PKCS#1 or SEC1, RSA, ECDSA or Ed25519. The
// caller's to free with EVP_PKEY_free. NULL, with a sentence, otherwise.
EVP_PKEY *cert_pem_read_key(const char *path, char *error, size_t size);

// Writers to a memory BIO that is the caller's to free (a private key's is wiped by that). NULL
// when memory is exhausted. The key's form is PKCS#8, "PRIVATE KEY".
BIO *cert_pem_write_certificate(X509 *cert);
BIO *cert_pem_write_key(const EVP_PKEY *key);

#endif
