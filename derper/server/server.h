// SPDX-License-Identifier: BSD-3-Clause
//
// The life of the process: check, load, listen, serve, reload, drain, end.
#ifndef DERPER_SERVER_SERVER_H
#define DERPER_SERVER_SERVER_H

#include "server/options.h"

#define SERVER_FAULT_EXIT 1 // a configuration that cannot be served

// Runs the relay until SIGTERM or SIGINT. Faults are one sentence on standard error. Returns the
// exit status.
int server_run(const struct options *options);

// --check: looks at all that can be looked at without opening a port or creating a file. Returns
// the exit status.
int server_check(const struct options *options);

#endif
