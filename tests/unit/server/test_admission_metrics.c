// SPDX-License-Identifier: BSD-3-Clause
#include "server/admission_metrics.h"

#include "../support/loopback.h"
#include "../web/prometheus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTED "nodekey:0101010101010101010101010101010101010101010101010101010101010101\n"

static uv_loop_t loop;
static struct access *asked; // of the test that runs
static struct prometheus page;
static char list[] = "/tmp/list-XXXXXX";

static void read_page(void)
{
    struct metrics metrics;
    struct page text;

    page_init(&text);
    metrics_begin(&metrics, METRICS_PROMETHEUS, &text);
    admission_write_metrics(&metrics, asked);
    metrics_end(&metrics);
    if (!prometheus_read(&page, text.data, text.len))
        fail_msg("%s: %s", page.fault, page.line);
    page_deinit(&text);
}

static void on_verdict(struct access_ask *ask, enum access_verdict verdict)
{
    (void)ask, (void)verdict;
}

static void make(const struct access_config *config)
{
    char error[256] = "";

    asked = access_new(config, error, sizeof error);
    if (!asked)
        fail_msg("%s", error);
}

// Behind each test, also one that has failed: nothing is left open.
static int end(void **state)
{
    (void)state;
    if (asked)
        access_close(asked);
    asked = NULL;
    return uv_run(&loop, UV_RUN_DEFAULT);
}

static void ask(uint8_t byte)
{
    struct access_ask ask;
    struct key key;

    memset(key.bytes, byte, sizeof key.bytes);
    access_ask(asked, &ask, &key, "192.0.2.7", NULL, on_verdict);
    while (counter_read(&access_counters(asked)->pending) > 0)
        uv_run(&loop, UV_RUN_ONCE);
}

static void assert_series(const char *name, const char *labels, int value)
{
    char series[PROMETHEUS_NAME_BYTES];

    snprintf(series, sizeof series, "derper_admission_%s%s", name, labels);
    if (prometheus_value(&page, series) != value)
        fail_msg("%s: %g", series, prometheus_value(&page, series));
}

static void test_everybody_may_connect(void **state)
{
    (void)state;
    read_page();
    assert_int_equal(page.family_count, 0);
}

// Without a source that is asked there is none to tell of.
static void test_list_alone(void **state)
{
    (void)state;
    make(&(struct access_config){.loop = &loop, .allow_keys = list, .grace_ms = 1000});
    ask(1);
    ask(2);
    ask(3);
    read_page();
    assert_series("verdicts", "{verdict=\"allowed\"}", 1);
    assert_series("verdicts", "{verdict=\"refused\"}", 2);
    assert_series("verdicts", "{verdict=\"unanswered\"}", 0);
    assert_series("answers", "{source=\"allow-keys\",reason=\"member\"}", 1);
    assert_series("answers", "{source=\"allow-keys\",reason=\"not_member\"}", 2);
    assert_null(prometheus_type(&page, "derper_admission_queries"));
}

static void test_sources(void **state)
{
    uint16_t port;
    const int fd = loopback_bind(&port, 0); // nobody listens
    char url[64], source[80], answers[120];
    const char *const urls[] = {url};

    (void)state;
    snprintf(url, sizeof url, "http://127.0.0.1:%u/verify", port);
    snprintf(source, sizeof source, "{source=\"%s\"}", url);
    snprintf(answers, sizeof answers, "{source=\"%s\",reason=\"unreachable\"}", url);
    make(&(struct access_config){
        .loop = &loop, .urls = urls, .url_count = COUNT(urls), .fail_open = true});
    ask(1);
    ask(2);
    read_page();
    assert_series("verdicts", "{verdict=\"allowed\"}", 2);
    assert_series("by_fail_open", "", 2);
    assert_series("by_grace", "", 0);
    assert_series("cancelled", "", 0);
    assert_series("pending", "", 0);
    assert_series("answers", answers, 2);
    assert_series("queries", source, 2);
    assert_series("open", source, 0);
    assert_series("waiting", source, 0);
    assert_string_equal(prometheus_type(&page, "derper_admission_queries"), "counter");
    assert_string_equal(prometheus_type(&page, "derper_admission_query_ms_sum"), "counter");
    assert_string_equal(prometheus_type(&page, "derper_admission_open"), "gauge");
    close(fd);
}

static int group_setup(void **state)
{
    const int fd = mkstemp(list);

    (void)state;
    unsetenv("http_proxy");
    assert_int_equal(write(fd, LISTED, sizeof LISTED - 1), sizeof LISTED - 1);
    close(fd);
    return uv_loop_init(&loop);
}

static int group_teardown(void **state)
{
    (void)state;
    unlink(list);
    return uv_loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everybody_may_connect),
        cmocka_unit_test_teardown(test_list_alone, end),
        cmocka_unit_test_teardown(test_sources, end),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
