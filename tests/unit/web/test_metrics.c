// SPDX-License-Identifier: BSD-3-Clause
//
// Pages of numbers in both forms, read back by strict readers.
#include "io/http.h"
#include "prometheus.h"
#include "web/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static struct prometheus prometheus;

static void write_all(struct metrics *metrics)
{
    static const int64_t bounds[] = {1, 5};
    static const int64_t counts[] = {2, 0, 40};

    metrics_gauge(metrics, "first", -5);
    metrics_counter(metrics, "derp_one", 1);
    metrics_gauge_real(metrics, "derp_real", 2.5);
    metrics_family(metrics, METRIC_COUNTER, "derp_two");
    metrics_sample2(metrics, "a", "x", "b", "y", INT64_MAX);
    metrics_sample2(metrics, "a", "x", "b", "z", 0);
    metrics_histogram(metrics, "derp_three", bounds, 2, counts, 100);
    metrics_family(metrics, METRIC_GAUGE, "derper_four");
    metrics_sample(metrics, "text", "quote\" back\\slash\nline\x01", INT64_MIN);
    metrics_family(metrics, METRIC_GAUGE, "empty");
    metrics_counter(metrics, "derp_late", 7);
    metrics_family(metrics, METRIC_GAUGE, "last");
    metrics_sample(metrics, "text", "\xc3\xa4", 8);
}

static void write_page(struct page *page, enum metrics_form form, void (*write)(struct metrics *))
{
    struct metrics metrics;

    page_init(page);
    metrics_begin(&metrics, form, page);
    write(&metrics);
    metrics_end(&metrics);
    assert_false(page->overflow);
}

static void test_prometheus(void **state)
{
    static const char expected[] = "# TYPE first gauge\n"
                                   "first -5\n"
                                   "# TYPE derp_one counter\n"
                                   "derp_one 1\n"
                                   "# TYPE derp_real gauge\n"
                                   "derp_real 2.5\n"
                                   "# TYPE derp_two counter\n"
                                   "derp_two{a=\"x\",b=\"y\"} 9223372036854775807\n"
                                   "derp_two{a=\"x\",b=\"z\"} 0\n"
                                   "# TYPE derp_three histogram\n"
                                   "derp_three_bucket{le=\"1\"} 2\n"
                                   "derp_three_bucket{le=\"5\"} 2\n"
                                   "derp_three_bucket{le=\"+Inf\"} 42\n"
                                   "derp_three_sum 100\n"
                                   "derp_three_count 42\n"
                                   "# TYPE derper_four gauge\n"
                                   "derper_four{text=\"quote\\\" back\\\\slash\\nline\"} "
                                   "-9223372036854775808\n"
                                   "# TYPE empty gauge\n"
                                   "# TYPE derp_late counter\n"
                                   "derp_late 7\n"
                                   "# TYPE last gauge\n"
                                   "last{text=\"\xc3\xa4\"} 8\n";
    struct page page;

    (void)state;
    write_page(&page, METRICS_PROMETHEUS, write_all);
    assert_int_equal(page.len, sizeof expected - 1);
    assert_memory_equal(page.data, expected, page.len);
    if (!prometheus_read(&prometheus, page.data, page.len))
        fail_msg("%s: %s", prometheus.fault, prometheus.line);
    page_deinit(&page);
}

static json_int_t number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static json_t *load(const struct page *page)
{
    json_error_t error;
    json_t *root = json_loadb(page->data, page->len, JSON_REJECT_DUPLICATES, &error);

    if (!root)
        fail_msg("line %d: %s", error.line, error.text);
    return root;
}

static void test_json(void **state)
{
    struct page page;
    json_t *root, *derp, *three;

    (void)state;
    write_page(&page, METRICS_JSON, write_all);
    root = load(&page);
    derp = json_object_get(root, "derp");
    three = json_object_get(derp, "three");
    assert_int_equal(number(root, "first"), -5);
    assert_int_equal(number(derp, "one"), 1);
    assert_true(json_real_value(json_object_get(derp, "real")) == 2.5);
    assert_int_equal(number(json_object_get(derp, "two"), "x y"), INT64_MAX);
    assert_int_equal(number(json_object_get(derp, "two"), "x z"), 0);
    assert_int_equal(number(three, "1"), 2);
    assert_int_equal(number(three, "+Inf"), 42);
    assert_int_equal(number(three, "sum"), 100);
    assert_int_equal(number(three, "count"), 42);
    assert_int_equal(number(json_object_get(root, "derper_four"), "quote\" back\\slash\nline"),
                     INT64_MIN);
    assert_int_equal(json_object_size(json_object_get(root, "empty")), 0);
    assert_int_equal(number(root, "derp_late"), 7);
    assert_int_equal(json_object_size(derp), 4);
    assert_int_equal(json_object_size(root), 6);
    json_decref(root);
    page_deinit(&page);
}

static void write_nothing(struct metrics *metrics)
{
    (void)metrics;
}

static void write_derp_only(struct metrics *metrics)
{
    metrics_family(metrics, METRIC_COUNTER, "derp_x");
    metrics_sample(metrics, "a", "b", 1);
}

static void test_json_corners(void **state)
{
    struct page page;
    json_t *root;

    (void)state;
    write_page(&page, METRICS_JSON, write_nothing);
    root = load(&page);
    assert_int_equal(json_object_size(root), 0);
    json_decref(root);
    page_deinit(&page);

    write_page(&page, METRICS_JSON, write_derp_only);
    root = load(&page);
    assert_int_equal(number(json_object_get(json_object_get(root, "derp"), "x"), "b"), 1);
    json_decref(root);
    page_deinit(&page);
}

// The checker itself: each of these must be refused.
static void test_checker_is_strict(void **state)
{
    static const char *const bad[] = {
        "x 1\n",
        "# TYPE x counter\nx 1",
        "# TYPE x counter\nx -1\n",
        "# TYPE x counter\nx 1\nx 2\n",
        "# TYPE x counter\n# TYPE x counter\n",
        "# TYPE x counter\ny 1\n",
        "# TYPE x counter\n# TYPE y gauge\nx 1\n",
        "# TYPE x number\nx 1\n",
        "# TYPE 1x gauge\n1x 1\n",
        "# TYPE x gauge\nx{} 1\n",
        "# TYPE x gauge\nx{a=\"b} 1\n",
        "# TYPE x gauge\nx{a=\"\\t\"} 1\n",
        "# TYPE x gauge\nx{a:b=\"c\"} 1\n",
        "# TYPE x gauge\nx one\n",
        "# TYPE x gauge\nx  1\n",
        "# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_sum 1\nx_count 1\n",
        "# TYPE x histogram\nx_bucket{le=\"1\"} 2\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 1\n",
        "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\nx_count 2\n",
        "\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (prometheus_read(&prometheus, bad[i], strlen(bad[i])))
            fail_msg("taken for good: %s", bad[i]);
}

// --- web/page.h ---

static void test_page_grows_to_its_bound(void **state)
{
    char piece[1000];
    struct page page;

    (void)state;
    memset(piece, 'p', sizeof piece);
    page_init(&page);
    page_put(&page, piece, 0);
    assert_null(page.data);
    while (!page.overflow)
        page_put(&page, piece, sizeof piece);
    assert_int_equal(page.len, HTTP_BODY_MAX_BYTES / sizeof piece * sizeof piece);
    page_put(&page, piece, 1); // nothing may follow a gap
    assert_int_equal(page.len, HTTP_BODY_MAX_BYTES / sizeof piece * sizeof piece);
    page_deinit(&page);

    while (page.len < HTTP_BODY_MAX_BYTES)
        page_put(&page, piece, 1);
    assert_false(page.overflow);
    page_put(&page, piece, 1);
    assert_true(page.overflow);
    page_deinit(&page);
    assert_int_equal(page.len, 0);
    page_deinit(&page);
}

static void test_page_format(void **state)
{
    struct page page;

    (void)state;
    page_init(&page);
    page_format(&page, "%d-%s", 7, "x");
    page_text(&page, "|");
    assert_int_equal(page.len, 4);
    assert_memory_equal(page.data, "7-x|", 4);
    page_format(&page, "%1100d", 1);
    assert_true(page.overflow);
    page_deinit(&page);
}

static void test_html_escaping(void **state)
{
    static const char expected[] = "a&lt;b&gt;&amp;&quot;&#39;\xc3\xa4 c";
    struct page page;

    (void)state;
    page_init(&page);
    page_html(&page, "a<b>&\"'\xc3\xa4 c");
    page_html(&page, "");
    assert_int_equal(page.len, sizeof expected - 1);
    assert_memory_equal(page.data, expected, page.len);
    page_deinit(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prometheus),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_corners),
        cmocka_unit_test(test_checker_is_strict),
        cmocka_unit_test(test_page_grows_to_its_bound),
        cmocka_unit_test(test_page_format),
        cmocka_unit_test(test_html_escaping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
