// SPDX-License-Identifier: BSD-3-Clause
//
// What a browser, a prober or a dashboard sees of the relay: the landing page, probes, debug pages,
// and the door to the relay itself (/derp). Two services: one for the main port, one for the HTTP
// port that stands beside TLS. All state is fixed after web_init, so every worker's thread may
// serve at once.
#ifndef DERPER_WEB_WEB_H
#define DERPER_WEB_WEB_H

#include "io/challenges.h"
#include "io/http.h"
#include "relay/relay.h"
#include "web/debug_access.h"
#include "web/metrics.h"
#include "web/page.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEB_HOME_URL_MAX_BYTES 2560 // a longer one would be cut

enum web_home {
    WEB_HOME_PAGE,
    WEB_HOME_BLANK,
    WEB_HOME_REDIRECT,
};

// A request that may go on as DERP. `preface` is the HTTP answer to be sent in front of the first
// frame; empty for clients that want none (Derp-Fast-Start).
struct web_upgrade {
    const char *preface;
    size_t preface_len;
    bool not_ideal; // the client says that this is not its region's first node
};

// Must take the connection's stream (http_take_stream) and give it a new owner
// (relay_accept_client) before it returns. `preface` is valid until then. Runs on the thread of the
// connection's worker.
typedef void (*web_upgrade_cb)(struct http_conn *conn, const struct web_upgrade *upgrade,
                               void *data);

// What one part of the process shows on /debug/, in HTML. As with metric_source, on any worker's
// thread.
struct debug_section {
    void (*write)(struct page *page, void *data);
    void *data;
};

// Everything pointed to outlives the struct web; nothing is changed or freed.
struct web_config {
    struct relay *relay;  // started, or about to be: it is first looked at by a request
    const char *hostname; // a name, an IP address without brackets, or ""
    const char *version;

    bool derp; // false: /derp is a 404
    web_upgrade_cb upgrade;
    void *upgrade_data;

    enum web_home home;
    const char *home_url; // with WEB_HOME_REDIRECT: at most WEB_HOME_URL_MAX_BYTES, no line ends

    int https_port; // where the HTTP port's redirects lead
    int http_port;  // the port that the HTTP port's listeners have; <= 0 when there are none

    struct debug_rule debug;

    struct challenges *challenges; // of http-01, answered on both ports; NULL = none

    const struct metric_source *sources; // appended to the metrics of relay and io
    size_t source_count;

    const struct debug_section *sections; // behind the facts of /debug/
    size_t section_count;

    // For /debug/check, on any worker's thread; must not block. False, with a sentence, when
    // something is wrong. May be NULL.
    bool (*check)(void *data, char *why, size_t size);
    void *check_data;

    // Unix time at which the served certificate ends, 0 = unknown. NULL when TLS is not served.
    const _Atomic int64_t *certificate_not_after;
};

// The two services point to the struct, which must stay where it is.
struct web {
    struct web_config config;
    struct http_service service;           // for listeners of the main port, TLS or plain
    struct http_service http_port_service; // for listeners of the HTTP port
    struct page landing, waiting;          // the same, before there is any certificate
    int64_t start_unix;
    uint64_t start_ms;
};

// `config` is copied.
void web_init(struct web *web, const struct web_config *config);

// After the last connection of either service has ended.
void web_deinit(struct web *web);

#endif
