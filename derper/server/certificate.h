// SPDX-License-Identifier: BSD-3-Clause
//
// The certificate that is served: loaded, given to every worker, looked at once a day, reloaded.
// Main thread only, except `not_after`.
#ifndef DERPER_SERVER_CERTIFICATE_H
#define DERPER_SERVER_CERTIFICATE_H

#include "relay/relay.h"
#include "server/identity.h"

#include <uv.h>

#define CERTIFICATE_WARN_DAYS 30 // before its end

struct certificate {
    const struct options *options;
    struct relay *relay;
    struct identity identity;
    uv_timer_t daily;
    _Atomic int64_t not_after; // Unix time
};

// Loads what is to be served, and makes a self-signed pair where there is to be one. False, with a
// sentence.
bool certificate_load(struct certificate *certificate, const struct options *options, char *error,
                      size_t size);

// Gives it to all workers of a relay that is started, and looks after it from then on: a fresh meta
// certificate every day, and a word in the log when the end is near. False, with a sentence.
bool certificate_serve(struct certificate *certificate, struct relay *relay, uv_loop_t *loop,
                       char *error, size_t size);

// Loads, checks and only then swaps; on a fault the present one serves on. Says in the log what
// happened. False when none is served.
bool certificate_reload(struct certificate *certificate);

// Harmless when nothing was served. `certificate` must live until the loop has closed the timer.
void certificate_close(struct certificate *certificate);

// What certificate_load would say, without changing a file.
bool certificate_check(const struct options *options, char *error, size_t size);

#endif
