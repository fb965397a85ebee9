// SPDX-License-Identifier: BSD-3-Clause
//
// The handshake of a TLS 1.3 client by OpenSSL over memory, ending with the two record sides of the
// connection; OpenSSL's part of it is then freed. The relay's certificate is not checked: a load
// generator trusts whom it is told to load.
#ifndef LOAD_HANDSHAKE_H
#define LOAD_HANDSHAKE_H

#include "buffer.h"
#include "record.h"

struct handshake;

enum handshake_result { HANDSHAKE_MORE, HANDSHAKE_DONE, HANDSHAKE_FAILED };

// Client context: TLS 1.3 alone, ALPN http/1.1, X25519, no resumption, secrets kept for us.
// `suites` is a list of OpenSSL, or NULL for AES-128-GCM first. NULL on failure.
SSL_CTX *handshake_context(const char *suites);

// NULL when memory is exhausted. `context` must outlive the handshake.
struct handshake *handshake_new(SSL_CTX *context);
void handshake_free(struct handshake *handshake);

// Takes all of `in` and appends to `out` what is to be sent. When DONE, `in` holds what came behind
// the handshake's last record.
enum handshake_result handshake_step(struct handshake *handshake, struct buffer *in,
                                     struct buffer *out);

// Once DONE. The caller frees both sides with record_side_deinit, also after false.
bool handshake_sides(struct handshake *handshake, struct record_side *seal,
                     struct record_side *open);

#endif
