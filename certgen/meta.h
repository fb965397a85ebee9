// SPDX-License-Identifier: BSD-3-Clause
//
// The meta certificate: a throw-away certificate behind the TLS chain from which DERP clients read
// the relay's key before the protocol starts (wire page, section 1).
#ifndef CERTGEN_META_H
#define CERTGEN_META_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define CERT_META_KEY_BYTES 32
#define CERT_META_VALID_SECONDS (30 * 24 * 60 * 60) // before and after now

// A fresh self-signed Ed25519 certificate whose private key is thrown away. Subject "derpkey" and
// the relay's public key in 64 hex digits; serial number `protocol_version`, 1 to 255. Make a new
// one well before CERT_META_VALID_SECONDS are over, and append it to a copy of the chain. The
// caller's to free with X509_free. NULL when memory or randomness is exhausted. Leaves OpenSSL's
// error queue of this thread empty.
X509 *cert_meta_new(const uint8_t relay_key[static CERT_META_KEY_BYTES], uint8_t protocol_version,
                    time_t now);

// Whether clients take it for one: its subject begins with "derpkey".
bool cert_meta_is(const X509 *cert);

// What it says. False when it holds no key of 64 hex digits or no version from 1 to 255.
bool cert_meta_read(const X509 *cert, uint8_t relay_key[static CERT_META_KEY_BYTES],
                    uint8_t *protocol_version);

#endif
