// SPDX-License-Identifier: BSD-3-Clause
//
// What a restart must know of earlier tries to get a certificate, so that a process that dies and
// is started again and again does not use up what the authority allows: FOLDER/acme_attempts+NAME,
// JSON. Blocking.
#ifndef DERPER_SERVER_ATTEMPTS_H
#define DERPER_SERVER_ATTEMPTS_H

#include "server/renewal.h"

#include <stdbool.h>
#include <stddef.h>

// `directory`: the authority's, as another one has limits of its own. False when there is nothing
// to know; a file that is damaged counts as none.
bool attempts_load(const char *folder, const char *name, const char *directory,
                   struct renewal_kept *kept);

// Makes the folder where it is not there. False, with a sentence.
bool attempts_save(const char *folder, const char *name, const char *directory,
                   const struct renewal_kept *kept, char *error, size_t size);

#endif
