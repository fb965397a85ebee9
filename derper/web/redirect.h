// SPDX-License-Identifier: BSD-3-Clause
//
// Where the HTTP port sends a browser: the same host and target by https. Pure.
#ifndef DERPER_WEB_REDIRECT_H
#define DERPER_WEB_REDIRECT_H

#include "io/http.h"

#include <stdbool.h>
#include <stddef.h>

#define REDIRECT_MAX_BYTES 2560 // a target that needs more is refused

struct redirect_rule {
    const char *hostname; // for requests without a host; "" when unknown
    int http_port;        // asked for, or left out, it becomes the https port; so does 80
    int https_port;       // left out when it is 443
};

// Writes a URL and a NUL. A port that is neither the HTTP port nor 80 is kept: somebody maps ports
// in front of us, and knows why. False for a host or target that has no good form.
bool redirect_target(const struct redirect_rule *rule, const struct http_request *request,
                     char out[static REDIRECT_MAX_BYTES]);

#endif
