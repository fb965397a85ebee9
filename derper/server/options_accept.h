// SPDX-License-Identifier: BSD-3-Clause
//
// Values with a form of their own: addresses, host names, URLs, modes, and what the environment
// holds.
#ifndef DERPER_SERVER_OPTIONS_ACCEPT_H
#define DERPER_SERVER_OPTIONS_ACCEPT_H

#include "server/options.h"

#include <stdbool.h>
#include <stddef.h>

#define ACCEPT_WHY_BYTES 512

// Each takes a flag's value into the options' fields beside the text itself. False for a bad one:
// `why` is then what goes on from the quoted value, without a full stop ("is a URL; give …"), and
// nothing was changed.
bool accept_listen(struct options *options, const char *value, char *why, size_t size);
bool accept_cert_mode(struct options *options, const char *value, char *why, size_t size);
bool accept_hostname(struct options *options, const char *value, char *why, size_t size);
bool accept_home(struct options *options, const char *value, char *why, size_t size);
bool accept_proxies(struct options *options, const char *value, char *why, size_t size);
bool accept_tls(struct options *options, const char *value, char *why, size_t size);
bool accept_socket(struct options *options, const char *value, char *why, size_t size);
bool accept_verify_url(struct options *options, const char *value, char *why, size_t size);
bool accept_acme_directory(struct options *options, const char *value, char *why, size_t size);
bool accept_acme_email(struct options *options, const char *value, char *why, size_t size);
bool accept_tls_engine(struct options *options, const char *value, char *why, size_t size);

// Reads the environment into `options`, once the flags are read. False with a whole sentence in
// `error`.
bool accept_environment(struct options *options, const struct options_world *world, char *error,
                        size_t size);

#endif
