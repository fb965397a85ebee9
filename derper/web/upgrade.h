// SPDX-License-Identifier: BSD-3-Clause
//
// Which requests to /derp go on as DERP (wire page, section 1). Pure.
#ifndef DERPER_WEB_UPGRADE_H
#define DERPER_WEB_UPGRADE_H

#include "base/key.h"
#include "io/http.h"

#include <stdbool.h>
#include <stddef.h>

enum upgrade {
    UPGRADE_NONE,      // none was asked for
    UPGRADE_OTHER,     // to something that we do not speak
    UPGRADE_WEBSOCKET, // DERP inside WebSocket
    UPGRADE_DERP,
};

// Methods and the Connection field are not looked at, as deployed clients differ in them.
// "websocket" without the subprotocol "derp" is what very old clients say for plain DERP.
enum upgrade upgrade_wanted(const struct http_request *request);

// The client wants no HTTP answer: it knows our key and version from the certificate.
bool upgrade_fast_start(const struct http_request *request);

#define UPGRADE_PREFACE_MAX_BYTES 256

// The answer in front of the first frame, without a NUL behind it. Returns its length.
size_t upgrade_preface(const struct key *server, char out[static UPGRADE_PREFACE_MAX_BYTES]);

#endif
