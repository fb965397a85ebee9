// SPDX-License-Identifier: BSD-3-Clause
//
// What the subcommands share that look at a file or at a server.
#ifndef CERTGEN_COMMAND_REMOTE_H
#define CERTGEN_COMMAND_REMOTE_H

#include "certgen/dial.h"

#include <stdbool.h>
#include <stddef.h>

#define REMOTE_TIMEOUT_SECONDS 10
#define REMOTE_TIMEOUT_SECONDS_MAX 600

// Whether the argument means a file: it has a slash, or a file has this name.
bool remote_is_file(const char *argument);

// Shakes hands with HOST[:PORT]; `name` NULL: it is asked for as HOST. A resolver that hangs ends
// the process with a sentence and status 1 soon after the time is over. False, with a sentence.
bool remote_dial(struct cert_dialed *dialed, const struct cert_target *target, const char *name,
                 int seconds, char *error, size_t size);

#endif
