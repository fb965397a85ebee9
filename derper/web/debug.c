// SPDX-License-Identifier: BSD-3-Clause
#include "web/debug.h"

#include "base/clock.h"
#include "web/answer.h"
#include "web/numbers.h"

#include <inttypes.h>
#include <time.h>

#define DATE_BYTES 64
#define CHECK_SENTENCE_BYTES 768

struct debug_page {
    const char *path;
    const char *title;
    void (*serve)(const struct web *web, struct http_conn *conn);
};

static int64_t uptime_s(const struct web *web)
{
    return (int64_t)((clock_ms() - web->start_ms) / MS_PER_SECOND);
}

static int64_t certificate_not_after(const struct web *web)
{
    const _Atomic int64_t *at = web->config.certificate_not_after;

    return at ? atomic_load_explicit(at, memory_order_relaxed) : 0;
}

static void write_metrics(const struct web *web, enum metrics_form form, struct page *page)
{
    const struct numbers numbers = {
        .relay = web->config.relay,
        .version = web->config.version,
        .start_unix = web->start_unix,
        .uptime_s = uptime_s(web),
        .certificate_not_after = certificate_not_after(web),
        .challenges = web->config.challenges,
    };
    struct metrics metrics;

    metrics_begin(&metrics, form, page);
    numbers_write(&metrics, &numbers);
    for (size_t i = 0; i < web->config.source_count; i++)
        web->config.sources[i].write(&metrics, web->config.sources[i].data);
    metrics_end(&metrics);
}

static void serve_metrics(const struct web *web, struct http_conn *conn, enum metrics_form form)
{
    struct page page;

    page_init(&page);
    write_metrics(web, form, &page);
    answer_page(conn, form == METRICS_JSON ? TYPE_JSON : TYPE_TEXT, &page);
}

static void serve_varz(const struct web *web, struct http_conn *conn)
{
    serve_metrics(web, conn, METRICS_PROMETHEUS);
}

static void serve_vars(const struct web *web, struct http_conn *conn)
{
    serve_metrics(web, conn, METRICS_JSON);
}

// Scripts look for this sentence.
static void serve_check(const struct web *web, struct http_conn *conn)
{
    static const char text[] = "derp.Server ConsistencyCheck okay";

    char why[CHECK_SENTENCE_BYTES];

    if (web->config.check && !web->config.check(web->config.check_data, why, sizeof why))
        answer_line(conn, 500, NULL, why);
    else
        answer_body(conn, TYPE_TEXT, text, sizeof text - 1);
}

static void serve_index(const struct web *web, struct http_conn *conn);

static const struct debug_page pages[] = {
    {"/debug/", NULL, serve_index},
    {"/debug/varz", "Metrics (Prometheus text)", serve_varz},
    {"/debug/vars", "Metrics (JSON)", serve_vars},
    {"/debug/check", "Consistency check", serve_check},
};
#define PAGES (sizeof pages / sizeof pages[0])

static void put_row(struct page *page, const char *name, const char *value)
{
    page_format(page, "<dt>%s</dt><dd>", name);
    page_html(page, value);
    page_text(page, "</dd>\n");
}

static void put_number(struct page *page, const char *name, int64_t value)
{
    page_format(page, "<dt>%s</dt><dd>%" PRId64 "</dd>\n", name, value);
}

static void put_date(struct page *page, const char *name, int64_t unix_time)
{
    const time_t t = (time_t)unix_time;
    char date[DATE_BYTES] = "";
    struct tm tm;

    if (unix_time > 0 && gmtime_r(&t, &tm))
        strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", &tm);
    put_row(page, name, *date ? date : "none");
}

static void put_facts(const struct web *web, struct page *page)
{
    struct relay *relay = web->config.relay;
    struct relay_snapshot snapshot;

    relay_snapshot(relay, &snapshot);
    page_text(page, "<dl>\n");
    put_row(page, "Host name", web->config.hostname);
    put_row(page, "Version", web->config.version);
    put_date(page, "Running since", web->start_unix);
    put_date(page, "Certificate ends", certificate_not_after(web));
    put_number(page, "Workers", (int64_t)relay_workers(relay));
    put_number(page, "Clients", snapshot.clients);
    page_text(page, "</dl>\n");
}

static void serve_index(const struct web *web, struct http_conn *conn)
{
    struct page page;

    page_init(&page);
    page_text(&page, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                     "<title>derper debug</title>\n"
                     "<link rel=\"icon\" href=\"/favicon.svg\">\n"
                     "<link rel=\"stylesheet\" href=\"/style.css\">\n"
                     "</head>\n<body>\n<main>\n<h1>derper debug</h1>\n");
    put_facts(web, &page);
    for (size_t i = 0; i < web->config.section_count; i++)
        web->config.sections[i].write(&page, web->config.sections[i].data);
    page_text(&page, "<ul>\n");
    for (size_t i = 0; i < PAGES; i++)
        if (pages[i].title)
            page_format(&page, "<li><a href=\"%s\">%s</a> <code>%s</code></li>\n", pages[i].path,
                        pages[i].title, pages[i].path);
    page_text(&page, "</ul>\n</main>\n</body>\n</html>\n");
    answer_page(conn, TYPE_HTML, &page);
}

void debug_serve(const struct web *web, struct http_conn *conn, const struct http_request *request)
{
    struct sockaddr_in6 peer;

    stream_peer(http_stream(conn), &peer);
    if (!debug_access_allowed(&web->config.debug, request, &peer)) {
        answer_line(conn, 403, NULL, "debug access denied");
        return;
    }
    for (size_t i = 0; i < PAGES; i++) {
        if (http_text_is(&request->path, pages[i].path)) {
            pages[i].serve(web, conn);
            return;
        }
    }
    answer_line(conn, 404, NULL, "no such debug page");
}
