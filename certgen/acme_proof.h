// SPDX-License-Identifier: BSD-3-Clause
//
// The proof that a name is ours (RFC 8555, sections 7.5 and 8; RFC 8737; RFC 8738).
#ifndef CERTGEN_ACME_PROOF_H
#define CERTGEN_ACME_PROOF_H

#include "certgen/acme_http.h"

// Goes with one authorization until it is valid: shows a challenge, and hides it again whatever
// comes. False with a fault.
bool acme_prove(struct acme_session *session, const char *url);

#endif
