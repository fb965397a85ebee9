// SPDX-License-Identifier: BSD-3-Clause
//
// One order of an ACME session (RFC 8555, section 7.4), from its beginning or from where an earlier
// process left it.
#ifndef CERTGEN_ACME_ORDER_H
#define CERTGEN_ACME_ORDER_H

#include "certgen/acme_http.h"

// Takes the chain in PEM form, and its key, for the first name. False with a fault.
typedef bool acme_store(struct acme_session *session, const char *name, const char *pem, size_t len,
                        EVP_PKEY *key);

// Goes with the order for these names to its end: proves the names, has the certificate made and
// hands it to `store`. `replaces`: the renewed certificate's name (RFC 9773, section 4.1), NULL =
// none. False with a fault; what was reached is then kept in the folder, unless it is of no more
// use.
bool acme_order_run(struct acme_session *session, const char *const *names, size_t count,
                    const char *replaces, acme_store *store);

#endif
