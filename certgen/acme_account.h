// SPDX-License-Identifier: BSD-3-Clause
//
// The account of an ACME session (RFC 8555, section 7.3): its key lies in the folder, its address
// is asked from the server.
#ifndef CERTGEN_ACME_ACCOUNT_H
#define CERTGEN_ACME_ACCOUNT_H

#include "certgen/acme_http.h"

// Loads the key or makes one, finds its account or makes one, and tells the server another address
// of mail when it knows a different one. Then the session has key and account. False with a fault.
bool acme_account_open(struct acme_session *session);

// Exchanges the key of a session with an account (RFC 8555, section 7.3.5). False with a fault.
bool acme_account_change_key(struct acme_session *session);

#endif
