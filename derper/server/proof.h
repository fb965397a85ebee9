// SPDX-License-Identifier: BSD-3-Clause
//
// The ACME client's challenges, put where the relay's ports answer them.
#ifndef DERPER_SERVER_PROOF_H
#define DERPER_SERVER_PROOF_H

#include "certgen/acme.h"
#include "io/challenges.h"

// False when there is no room, or no memory.
bool proof_show(struct challenges *challenges, const struct acme_challenge *challenge);
void proof_hide(struct challenges *challenges, const struct acme_challenge *challenge);

#endif
