// SPDX-License-Identifier: BSD-3-Clause
//
// What a certificate authority may ask the relay just now, to see that a name is ours: tokens of
// http-01 (RFC 8555, section 8.3) and certificates of tls-alpn-01 (RFC 8737). One store a process,
// filled by whoever orders a certificate and asked by every worker; any function may be called on
// any thread. Most of the time it is empty, and then it costs one load.
#ifndef DERPER_IO_CHALLENGES_H
#define DERPER_IO_CHALLENGES_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHALLENGES_MAX 32              // of both kinds
#define CHALLENGE_NAME_MAX_BYTES 256   // of a token or a server name
#define CHALLENGE_ANSWER_MAX_BYTES 511 // of a key authorization

// One that is answered, or with `name` empty a free place. `cert` and `key` are tls-alpn-01's,
// `answer` is http-01's.
struct challenge {
    char name[CHALLENGE_NAME_MAX_BYTES + 1];
    char answer[CHALLENGE_ANSWER_MAX_BYTES + 1];
    X509 *cert;
    EVP_PKEY *key;
};

struct challenges {
    pthread_mutex_t lock; // of `all`
    struct challenge all[CHALLENGES_MAX];
    _Atomic size_t count;
    // What was asked; of tls-alpn-01 the other part is the reason "no_challenge" of failed
    // handshakes.
    _Atomic int64_t http_answered, http_unknown, tls_answered;
};

void challenges_init(struct challenges *challenges);

// When nobody asks any more.
void challenges_deinit(struct challenges *challenges);

// Answers from the return on, in place of what was shown for the same token or name. Copies; takes
// references of its own. False when the store is full or a text is empty or too long.
bool challenges_show_http(struct challenges *challenges, const char *token,
                          const char *authorization);
// `name` as a server name comes: for an IP address the reverse one of RFC 8738 ("…in-addr.arpa").
bool challenges_show_tls(struct challenges *challenges, const char *name, X509 *cert,
                         EVP_PKEY *key);

// Harmless when it is not shown.
void challenges_hide_http(struct challenges *challenges, const char *token);
void challenges_hide_tls(struct challenges *challenges, const char *name);

static inline bool challenges_any(const struct challenges *challenges)
{
    return atomic_load_explicit(&challenges->count, memory_order_acquire) > 0;
}

// The key authorization of a token that need not end with a NUL, as a string: `size` of more than
// CHALLENGE_ANSWER_MAX_BYTES is always enough. False when it is unknown. Counts.
bool challenges_http(struct challenges *challenges, const char *token, size_t len, char *out,
                     size_t size);

// The certificate and the key for a server name (case does not matter), as references that are the
// caller's. False when there is none. Counts.
bool challenges_tls(struct challenges *challenges, const char *name, X509 **cert, EVP_PKEY **key);

#endif
