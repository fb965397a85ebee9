// SPDX-License-Identifier: BSD-3-Clause
//
// Why a client would trust a certificate.
#ifndef CERTGEN_TRUST_H
#define CERTGEN_TRUST_H

#include <openssl/x509.h>
#include <time.h>

enum cert_trust {
    CERT_TRUST_FAILED = -1, // the CAs could not be read
    CERT_TRUST_NONE,
    CERT_TRUST_PIN,    // it signed itself: by a pin and nothing else
    CERT_TRUST_SYSTEM, // an authority that this machine trusts
    CERT_TRUST_FILE,   // one in `ca_file`
};

// Looks for a way from the leaf to an authority over the certificates that came with it, valid at
// `now` and for a TLS server; its name is not asked. `ca_file`: PEM, NULL = none. A sentence goes
// with CERT_TRUST_FAILED and CERT_TRUST_NONE. Leaves OpenSSL's error queue of this thread empty.
enum cert_trust cert_trust(X509 *leaf, STACK_OF(X509) * chain, const char *ca_file, time_t now,
                           char *error, size_t size);

#endif
