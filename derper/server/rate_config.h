// SPDX-License-Identifier: BSD-3-Clause
//
// The file of --rate-config: a JSON object with the numbers PerClientRateLimitBytesPerSec and
// PerClientRateBurstBytes, as Tailscale's derper reads it; either may be absent and is then 0. Read
// strictly: what is not understood would be a limit in vain.
#ifndef DERPER_SERVER_RATE_CONFIG_H
#define DERPER_SERVER_RATE_CONFIG_H

#include "proto/login.h"

#include <stdbool.h>
#include <stddef.h>

#define RATE_CONFIG_FILE_MAX_BYTES 65536
#define RATE_CONFIG_BURST_MIN_BYTES 65568 // a packet of the largest size, and whom it is for
#define RATE_CONFIG_ERROR_BYTES 768
#define RATE_CONFIG_TEXT_BYTES 96

// No limit: both numbers are 0. A smaller burst than the least is raised to that. False: `why` goes
// on from the file's name, without a full stop.
bool rate_config_parse(struct server_limits *out, const char *text, size_t len, char *why,
                       size_t size);

// Reads the file. False with a sentence that names it; `error` has RATE_CONFIG_ERROR_BYTES.
bool rate_config_load(struct server_limits *out, const char *path, char *error, size_t size);

// "200000 bytes a second and 65568 at once", or "as much as it likes".
const char *rate_config_text(const struct server_limits *limits,
                             char out[static RATE_CONFIG_TEXT_BYTES]);

#endif
