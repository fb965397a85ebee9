// SPDX-License-Identifier: BSD-3-Clause
//
// HTTPS for an ACME session, by libcurl: one request after the other, each bounded in time and
// size. Fuzzers put a table of answers in its place.
#ifndef CERTGEN_ACME_TRANSFER_H
#define CERTGEN_ACME_TRANSFER_H

#include "certgen/acme.h"

#include <jansson.h>

#define ACME_URL_BYTES 2048             // with the final NUL
#define ACME_ANSWER_MAX_BYTES (1 << 18) // a chain of certificates and its alternatives has 10 KiB
#define ACME_NONCE_BYTES 256            // with the final NUL
#define ACME_RETRY_AFTER_MAX_S (7 * 24 * 3600) // what is more is taken for a mistake
#define ACME_REASON_BYTES 512

struct acme_answer {
    long status;
    char location[ACME_URL_BYTES]; // "" = none; visible ASCII characters
    char nonce[ACME_NONCE_BYTES];  // "" = none; base64url's characters
    int64_t retry_after_s;         // 1 to ACME_RETRY_AFTER_MAX_S, 0 = none
    bool too_large;                // the transfer was ended as there was no end of it
    char *body;                    // with a final NUL; NULL = none
    size_t len;
    json_t *json; // NULL when the body is none
};

// Connections that are kept from one request to the next. NULL when memory is exhausted.
struct acme_transfer *acme_transfer_new(const struct acme_config *config);
void acme_transfer_free(struct acme_transfer *transfer);

// A POST of JOSE, or a GET when `body` is NULL. ACME_DONE: there is an answer, of whatever status
// and without its `json`, to be freed. Otherwise ACME_CANCELLED, or ACME_UNREACHABLE and why, and
// of the answer only `too_large` is told.
enum acme_outcome acme_transfer_run(struct acme_transfer *transfer, const char *url,
                                    const char *body, struct acme_answer *answer,
                                    char reason[static ACME_REASON_BYTES]);

// Of a clock that only goes forward; by it a visit has an end.
int64_t acme_transfer_now_ms(void);

#endif
