// SPDX-License-Identifier: BSD-3-Clause
//
// The pages below /debug/.
#ifndef DERPER_WEB_DEBUG_H
#define DERPER_WEB_DEBUG_H

#include "io/http.h"
#include "web/web.h"

// Answers a request whose path begins with "/debug/": 403 to those who may not see the pages.
void debug_serve(const struct web *web, struct http_conn *conn, const struct http_request *request);

#endif
