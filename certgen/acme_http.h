// SPDX-License-Identifier: BSD-3-Clause
//
// The requests of an ACME session (RFC 8555, section 6): signatures, nonces, problem documents. One
// session is one visit to a server; nothing of it outlives the visit but files.
#ifndef CERTGEN_ACME_HTTP_H
#define CERTGEN_ACME_HTTP_H

#include "certgen/acme_transfer.h"

#define ACME_NONCE_TRIES 8 // of a request whose nonce is refused

// Named in sentences: the relay's flags and the command's.
#define EAB_KID_FLAG "its identifier (--acme-eab-kid, of certgen --eab-kid)"
#define EAB_KEY_FLAG "its key (--acme-eab-key, of certgen --eab-key)"

struct acme_session {
    const struct acme_config *config;
    struct acme_fault *fault;
    struct acme_transfer *transfer;
    int64_t end_ms; // by acme_transfer_now_ms: then no more is asked
    json_t *directory;
    char nonce[ACME_NONCE_BYTES]; // "" = none
    EVP_PKEY *key;                // the account's
    char account[ACME_URL_BYTES]; // "" while it is not known: requests carry the key itself
};

// Reads the directory. False with a fault; acme_session_close is to follow in any case.
bool acme_session_open(struct acme_session *session, const struct acme_config *config,
                       struct acme_fault *fault);
void acme_session_close(struct acme_session *session);

// An address of the directory, NULL when the server has none of that kind.
const char *acme_session_url(const struct acme_session *session, const char *kind);

// Of the directory's "meta"; NULL when it is not there.
const json_t *acme_session_meta(const struct acme_session *session, const char *name);

// Both give the caller an answer of status 2xx to free, or false with a fault. `payload`: JSON, or
// "" for a POST-as-GET.
bool acme_get(struct acme_session *session, const char *url, struct acme_answer *answer);
bool acme_post(struct acme_session *session, const char *url, const char *payload,
               struct acme_answer *answer);

// As acme_post, but an answer that holds a problem of type "urn:ietf:params:acme:error:" and one of
// `expected`, ended by NULL, is no fault: true, and *problem is its place there, else -1.
bool acme_post_expecting(struct acme_session *session, const char *url, const char *payload,
                         const char *const *expected, int *problem, struct acme_answer *answer);

void acme_answer_free(struct acme_answer *answer);

// Notes a fault: always false. In its sentence, of which a stranger may have said a part, control
// characters become "?".
bool acme_fail(struct acme_session *session, enum acme_outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Notes what a problem document (RFC 7807) says, as a sentence that begins with `what`. `status`:
// of the answer to a request; 0 when the problem tells why a challenge or an order failed.
bool acme_fail_problem(struct acme_session *session, const char *what, const json_t *problem,
                       long status, int64_t retry_after_s);

// Waits; false with a fault when the client shall end.
bool acme_wait(struct acme_session *session, uint64_t ms);

void acme_say(const struct acme_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// A string of an object, NULL when it is none.
const char *acme_text(const json_t *object, const char *name);

#endif
