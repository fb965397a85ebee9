// SPDX-License-Identifier: BSD-3-Clause
#include "web/web.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "web/answer.h"
#include "web/assets.h"
#include "web/captive.h"
#include "web/debug.h"
#include "web/redirect.h"
#include "web/upgrade.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NO_CACHE "Cache-Control: no-cache, no-store, must-revalidate, no-transform, max-age=0\r\n"
#define UPGRADE_SHOWN_BYTES 64 // of a stranger's Upgrade field in a log line

// --- Answers of the main port. ---

static void log_refused_upgrade(const struct http_request *request)
{
    static struct log_limit limit = LOG_LIMIT_INIT;
    char shown[UPGRADE_SHOWN_BYTES];

    log_limited(&limit, "refused an upgrade of /derp to \"%s\"",
                text_escape(shown, sizeof shown, request->upgrade.data, request->upgrade.len));
}

static void start_derp(const struct web *web, struct http_conn *conn,
                       const struct http_request *request)
{
    char preface[UPGRADE_PREFACE_MAX_BYTES];
    const struct web_upgrade upgrade = {
        .preface = preface,
        .preface_len = upgrade_fast_start(request)
                           ? 0
                           : upgrade_preface(relay_public_key(web->config.relay), preface),
        .not_ideal = request->ideal_node.len > 0,
    };

    web->config.upgrade(conn, &upgrade, web->config.upgrade_data);
}

static void serve_derp(const struct web *web, struct http_conn *conn,
                       const struct http_request *request)
{
    static const char fields[] = "Upgrade: DERP\r\nConnection: Upgrade\r\n";

    switch (upgrade_wanted(request)) {
    case UPGRADE_DERP:
        start_derp(web, conn, request);
        return;
    case UPGRADE_WEBSOCKET:
        answer_line(conn, 426, fields, "DERP over WebSocket is not served here");
        return;
    case UPGRADE_OTHER:
        log_refused_upgrade(request);
        break;
    case UPGRADE_NONE:
        break;
    }
    answer_line(conn, 426, fields, "DERP requires connection upgrade");
}

static void serve_derp_or_404(const struct web *web, struct http_conn *conn,
                              const struct http_request *request)
{
    if (web->config.derp)
        serve_derp(web, conn, request);
    else
        answer_line(conn, 404, NULL, "derp server disabled");
}

static void serve_probe(const struct web *web, struct http_conn *conn,
                        const struct http_request *request)
{
    (void)web;
    if (request->get || request->head)
        http_respond(conn, &(struct http_response){.status = 200,
                                                   .fields = "Access-Control-Allow-Origin: *\r\n"});
    else
        answer_line(conn, 405, "Allow: GET, HEAD\r\n", "bogus probe method");
}

static void serve_no_content(const struct web *web, struct http_conn *conn,
                             const struct http_request *request)
{
    const struct http_text *challenge = &request->challenge;
    char fields[sizeof NO_CACHE + CAPTIVE_CHALLENGE_MAX_BYTES + 48] = NO_CACHE;

    (void)web;
    if (captive_challenge_valid(challenge))
        snprintf(fields, sizeof fields, NO_CACHE "X-Tailscale-Response: response %.*s\r\n",
                 (int)challenge->len, challenge->data);
    http_respond(conn, &(struct http_response){.status = 204, .fields = fields});
}

static void serve_robots(const struct web *web, struct http_conn *conn,
                         const struct http_request *request)
{
    static const char text[] = "User-agent: *\nDisallow: /\n";

    (void)web, (void)request;
    answer_body(conn, TYPE_TEXT, text, sizeof text - 1);
}

static void serve_style(const struct web *web, struct http_conn *conn,
                        const struct http_request *request)
{
    (void)web, (void)request;
    answer_body(conn, TYPE_CSS, asset_style_css.data, asset_style_css.len);
}

static void serve_icon(const struct web *web, struct http_conn *conn,
                       const struct http_request *request)
{
    (void)web, (void)request;
    answer_body(conn, TYPE_SVG, asset_favicon_svg.data, asset_favicon_svg.len);
}

static void redirect_to_debug(const struct web *web, struct http_conn *conn,
                              const struct http_request *request)
{
    char target[HTTP_TARGET_MAX_BYTES + sizeof "/debug/?"];

    (void)web;
    snprintf(target, sizeof target, "/debug/%s%.*s", request->query.len > 0 ? "?" : "",
             (int)request->query.len, request->query.len > 0 ? request->query.data : "");
    answer_redirect(conn, 307, target);
}

// With one that is fetched, there is a time before the first.
static bool waits_for_certificate(const struct web *web)
{
    const _Atomic int64_t *not_after = web->config.certificate_not_after;

    return web->config.challenges && not_after && *not_after == 0;
}

static void serve_home(const struct web *web, struct http_conn *conn,
                       const struct http_request *request)
{
    const struct page *page;

    // An answer of 200 would tell a client of CONNECT that it has its tunnel.
    if (strcmp(request->method, "CONNECT") == 0) {
        answer_line(conn, 405, "Allow: GET, HEAD\r\n", "this is not a proxy");
        return;
    }
    static_assert(WEB_HOME_URL_MAX_BYTES <= ANSWER_LOCATION_MAX_BYTES, "no URL is cut");
    switch (web->config.home) {
    case WEB_HOME_PAGE:
        page = waits_for_certificate(web) ? &web->waiting : &web->landing;
        answer_body(conn, TYPE_HTML, page->data, page->len);
        break;
    case WEB_HOME_BLANK:
        http_respond(conn, &(struct http_response){.status = 200, .fields = BROWSER_FIELDS});
        break;
    case WEB_HOME_REDIRECT:
        answer_redirect(conn, 302, web->config.home_url);
        break;
    }
}

// --- http-01 (RFC 8555, section 8.3), on both ports. ---

#define PROOF_PATH "/.well-known/acme-challenge/"

static void serve_proof(const struct web *web, struct http_conn *conn,
                        const struct http_request *request)
{
    const size_t prefix_len = sizeof PROOF_PATH - 1;
    char answer[CHALLENGE_ANSWER_MAX_BYTES + 1];

    if (!request->get && !request->head)
        answer_line(conn, 405, "Allow: GET, HEAD\r\n", "this path is asked with GET");
    else if (challenges_http(web->config.challenges, request->path.data + prefix_len,
                             request->path.len - prefix_len, answer, sizeof answer))
        http_respond(conn, &(struct http_response){.status = 200,
                                                   .content_type = TYPE_TEXT,
                                                   .body = answer,
                                                   .body_len = strlen(answer)});
    else
        answer_line(conn, 404, NULL, "no such challenge");
}

static void serve_proof_or_home(const struct web *web, struct http_conn *conn,
                                const struct http_request *request)
{
    (web->config.challenges ? serve_proof : serve_home)(web, conn, request);
}

// --- Answers of the HTTP port. ---

static void redirect_to_https(const struct web *web, struct http_conn *conn,
                              const struct http_request *request)
{
    static_assert(REDIRECT_MAX_BYTES <= ANSWER_LOCATION_MAX_BYTES, "no redirect is cut");
    const struct redirect_rule rule = {
        .hostname = web->config.hostname,
        .http_port = web->config.http_port,
        .https_port = web->config.https_port,
    };
    char target[REDIRECT_MAX_BYTES];

    if (!request->get && !request->head)
        answer_line(conn, 400, NULL, "use https");
    else if (!redirect_target(&rule, request, target))
        answer_line(conn, 400, NULL, "no good https address can be made of this request");
    else
        answer_redirect(conn, 302, target);
}

static void serve_proof_or_redirect(const struct web *web, struct http_conn *conn,
                                    const struct http_request *request)
{
    (web->config.challenges ? serve_proof : redirect_to_https)(web, conn, request);
}

// --- Routes: the first that fits counts; the last one of a table fits always. ---

struct route {
    const char *path;
    bool prefix; // `path` is the beginning; else all of it
    void (*serve)(const struct web *web, struct http_conn *conn,
                  const struct http_request *request);
};

static const struct route main_routes[] = {
    {"/derp", false, serve_derp_or_404},
    {"/derp/probe", false, serve_probe},
    {"/derp/latency-check", false, serve_probe},
    {"/generate_204", false, serve_no_content},
    {"/robots.txt", false, serve_robots},
    {"/style.css", false, serve_style},
    {"/favicon.svg", false, serve_icon},
    {"/debug", false, redirect_to_debug},
    {"/debug/", true, debug_serve},
    {PROOF_PATH, true, serve_proof_or_home},
    {"", true, serve_home},
};

static const struct route http_port_routes[] = {
    {"/generate_204", false, serve_no_content},
    {"/debug", false, redirect_to_debug},
    {"/debug/", true, debug_serve},
    {PROOF_PATH, true, serve_proof_or_redirect},
    {"", true, redirect_to_https},
};

// Before there is a certificate, whom https:// would refuse.
static const struct route waiting_routes[] = {
    {"/generate_204", false, serve_no_content},
    {"/style.css", false, serve_style},
    {"/favicon.svg", false, serve_icon},
    {"/debug", false, redirect_to_debug},
    {"/debug/", true, debug_serve},
    {PROOF_PATH, true, serve_proof},
    {"", true, serve_home},
};

static bool route_fits(const struct route *route, const struct http_text *path)
{
    const size_t len = strlen(route->path);

    if (!route->prefix)
        return http_text_is(path, route->path);
    return len == 0 || (path->len >= len && memcmp(path->data, route->path, len) == 0);
}

static void serve(const struct route *route, struct http_conn *conn,
                  const struct http_request *request)
{
    while (!route_fits(route, &request->path))
        route++;
    route->serve(http_data(conn), conn, request);
}

static void serve_main(struct http_conn *conn, const struct http_request *request)
{
    serve(main_routes, conn, request);
}

static void serve_http_port(struct http_conn *conn, const struct http_request *request)
{
    const bool waits = waits_for_certificate(http_data(conn));

    serve(waits ? waiting_routes : http_port_routes, conn, request);
}

// --- Beginning and end. ---

static const char *fill_places(const char *at, const char *end, struct page *page,
                               const char *hostname, const char *status)
{
    const size_t left = (size_t)(end - at);

    if (left >= strlen(ASSET_HOSTNAME) && memcmp(at, ASSET_HOSTNAME, strlen(ASSET_HOSTNAME)) == 0) {
        page_html(page, hostname);
        return at + strlen(ASSET_HOSTNAME);
    }
    if (left >= strlen(ASSET_STATUS) && memcmp(at, ASSET_STATUS, strlen(ASSET_STATUS)) == 0) {
        page_html(page, status);
        return at + strlen(ASSET_STATUS);
    }
    page_put(page, at, 1);
    return at + 1;
}

static void make_landing(struct page *page, const char *hostname, const char *status)
{
    const char *at = asset_landing_html.data, *end = at + asset_landing_html.len, *mark;

    page_init(page);
    while ((mark = memchr(at, '{', (size_t)(end - at)))) {
        page_put(page, at, (size_t)(mark - at));
        at = fill_places(mark, end, page, *hostname ? hostname : "this server", status);
    }
    page_put(page, at, (size_t)(end - at));
}

void web_init(struct web *web, const struct web_config *config)
{
    *web = (struct web){
        .config = *config,
        .service = {.handler = serve_main, .data = web},
        .http_port_service = {.handler = serve_http_port, .data = web},
        .start_unix = time(NULL),
        .start_ms = clock_ms(),
    };
    make_landing(&web->landing, config->hostname, "Up and running");
    make_landing(
        &web->waiting, config->hostname,
        "Waiting for its first TLS certificate: the log and the debug pages say how it goes");
}

void web_deinit(struct web *web)
{
    page_deinit(&web->landing);
    page_deinit(&web->waiting);
}
