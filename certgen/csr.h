// SPDX-License-Identifier: BSD-3-Clause
//
// Certificate signing requests (RFC 2986): names only, as an ACME server takes nothing else.
#ifndef CERTGEN_CSR_H
#define CERTGEN_CSR_H

#include <openssl/evp.h>
#include <stddef.h>

// A request in DER for a server's certificate with these DNS names and IP addresses as alternative
// names and an empty subject, signed by `key` with SHA-256. Its length, and the bytes in `*der`,
// the caller's to free with OPENSSL_free; -1 when memory or randomness is exhausted.
int csr_new(const char *const *names, size_t count, EVP_PKEY *key, unsigned char **der);

#endif
