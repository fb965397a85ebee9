// SPDX-License-Identifier: BSD-3-Clause
//
// JSON Web Signatures as ACME wants them (RFC 7515, 7517, 7518, 7638): ES256 with a key on P-256,
// and HS256 for an external account. Whatever returns NULL or false here has run out of memory or
// randomness, unless it says otherwise.
#ifndef CERTGEN_JOSE_H
#define CERTGEN_JOSE_H

#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOSE_THUMBPRINT_CHARS 43 // SHA-256 in base64url, without the final NUL

// base64url without padding (RFC 7515, section 2). The caller's to free.
char *jose_base64url(const void *bytes, size_t len);

// Whether the text is of base64url's characters only; "" is.
bool jose_is_base64url(const char *text);

// Takes base64url and base64, each with or without padding. The number of bytes, or -1 when `text`
// is neither or has more than `room`.
int jose_base64_decode(const char *text, uint8_t *out, size_t room);

// A key on P-256, the caller's to free.
EVP_PKEY *jose_key_new(void);

// Whether jose_sign can use it.
bool jose_key_usable(const EVP_PKEY *key);

// The public half as a JSON Web Key (RFC 7517). The caller's reference.
json_t *jose_jwk(const EVP_PKEY *key);

// RFC 7638.
bool jose_thumbprint(const EVP_PKEY *key, char out[static JOSE_THUMBPRINT_CHARS + 1]);

// The flattened serialization (RFC 7515, section 7.2.2) of `payload` under `header`, which gets its
// "alg" here. The caller's to free.
char *jose_sign(json_t *header, const char *payload, EVP_PKEY *key);
char *jose_sign_hmac(json_t *header, const char *payload, const uint8_t *secret, size_t len);

#endif
