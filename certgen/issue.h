// SPDX-License-Identifier: BSD-3-Clause
//
// Self-signed certificates, version 3 (RFC 5280), for the two purposes of this library.
#ifndef CERTGEN_ISSUE_H
#define CERTGEN_ISSUE_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

// SHA-256 of a key authorization (RFC 8737, section 3).
#define CERT_ACME_DIGEST_BYTES 32

struct cert_request {
    const char *common_name;      // characters of a PrintableString, of any length
    const uint8_t *serial;        // big endian, at most 20 bytes, positive
    size_t serial_len;            //
    time_t not_before, not_after; // seconds since 1970
    const char *const *names;     // DNS names and IP addresses that a TLS server has
    size_t name_count;            // 0: it is no TLS server's certificate
    const uint8_t *acme_digest;   // CERT_ACME_DIGEST_BYTES for tls-alpn-01; NULL: none
};

// Subject and issuer are the common name alone. BasicConstraints says that this is no CA. With
// names: a SAN of them, key usage digitalSignature, extended key usage serverAuth. Signed by `key`,
// with SHA-256 where the key's kind takes a digest. NULL when memory or randomness is exhausted;
// OpenSSL's error queue then says more.
X509 *cert_issue(const struct cert_request *request, EVP_PKEY *key);

#endif
