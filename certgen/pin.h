// SPDX-License-Identifier: BSD-3-Clause
//
// The pin of a certificate, as a DERP map's CertName holds it.
#ifndef CERTGEN_PIN_H
#define CERTGEN_PIN_H

#include <openssl/x509.h>
#include <stdbool.h>

#define CERT_PIN_CHARS 75 // "sha256-raw:" and 64 hex digits, without the final NUL

// Writes "sha256-raw:" and the SHA-256 of the certificate's DER in lower-case hex. False when
// memory is exhausted.
bool cert_pin(const X509 *cert, char out[static CERT_PIN_CHARS + 1]);

#endif
