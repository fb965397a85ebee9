// SPDX-License-Identifier: BSD-3-Clause
#include "web/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DERP_PREFIX "derp_"
#define NUMBER_BYTES 32

static bool is_json(const struct metrics *metrics)
{
    return metrics->form == METRICS_JSON;
}

// Both forms know these escapes; other control characters go, as Prometheus cannot tell them.
static void put_escaped(struct metrics *metrics, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            page_text(metrics->page, "\\n");
        else if (*text == '"' || *text == '\\')
            page_format(metrics->page, "\\%c", *text);
        else if ((unsigned char)*text >= ' ')
            page_put(metrics->page, text, 1);
    }
}

static void json_comma(struct metrics *metrics)
{
    if (metrics->comma)
        page_text(metrics->page, ",\n");
    metrics->comma = true;
}

static void json_end_family(struct metrics *metrics)
{
    if (!metrics->labelled)
        return;
    page_text(metrics->page, "}");
    metrics->labelled = false;
    metrics->comma = true;
}

static void json_enter_derp(struct metrics *metrics)
{
    json_comma(metrics);
    page_text(metrics->page, "\"derp\": {\n");
    metrics->comma = false;
    metrics->nest = METRICS_IN_DERP;
}

static void json_leave_derp(struct metrics *metrics)
{
    page_text(metrics->page, "\n}");
    metrics->comma = true;
    metrics->nest = METRICS_AFTER_DERP;
}

static void json_begin_family(struct metrics *metrics, const char *name)
{
    const size_t prefix_len = strlen(DERP_PREFIX);
    const bool derp = strncmp(name, DERP_PREFIX, prefix_len) == 0;

    json_end_family(metrics);
    if (derp && metrics->nest == METRICS_BEFORE_DERP)
        json_enter_derp(metrics);
    else if (!derp && metrics->nest == METRICS_IN_DERP)
        json_leave_derp(metrics);
    json_comma(metrics);
    if (metrics->nest == METRICS_IN_DERP)
        name += prefix_len;
    page_format(metrics->page, "\"%s\": ", name);
}

static void begin_family(struct metrics *metrics, const char *type, const char *name)
{
    metrics->family = name;
    if (is_json(metrics))
        json_begin_family(metrics, name);
    else
        page_format(metrics->page, "# TYPE %s %s\n", name, type);
}

static void json_open_labels(struct metrics *metrics)
{
    page_text(metrics->page, "{");
    metrics->labelled = true;
    metrics->comma = false;
}

static const char *type_name(enum metric_type type)
{
    return type == METRIC_COUNTER ? "counter" : "gauge";
}

static void put_single(struct metrics *metrics, const char *type, const char *name,
                       const char *number)
{
    begin_family(metrics, type, name);
    if (is_json(metrics))
        page_text(metrics->page, number);
    else
        page_format(metrics->page, "%s %s\n", name, number);
}

static void put_integer(struct metrics *metrics, enum metric_type type, const char *name,
                        int64_t value)
{
    char number[NUMBER_BYTES];

    snprintf(number, sizeof number, "%" PRId64, value);
    put_single(metrics, type_name(type), name, number);
}

void metrics_counter(struct metrics *metrics, const char *name, int64_t value)
{
    put_integer(metrics, METRIC_COUNTER, name, value);
}

void metrics_gauge(struct metrics *metrics, const char *name, int64_t value)
{
    put_integer(metrics, METRIC_GAUGE, name, value);
}

void metrics_gauge_real(struct metrics *metrics, const char *name, double value)
{
    char number[NUMBER_BYTES];

    snprintf(number, sizeof number, "%.6g", value);
    put_single(metrics, type_name(METRIC_GAUGE), name, number);
}

void metrics_family(struct metrics *metrics, enum metric_type type, const char *name)
{
    begin_family(metrics, type_name(type), name);
    if (is_json(metrics))
        json_open_labels(metrics);
}

static void put_label(struct metrics *metrics, const char *label, const char *text)
{
    page_format(metrics->page, "%s=\"", label);
    put_escaped(metrics, text);
    page_text(metrics->page, "\"");
}

static void json_sample(struct metrics *metrics, const char *text1, const char *text2,
                        int64_t value)
{
    if (metrics->comma)
        page_text(metrics->page, ", ");
    metrics->comma = true;
    page_text(metrics->page, "\"");
    put_escaped(metrics, text1);
    if (text2) {
        page_text(metrics->page, " ");
        put_escaped(metrics, text2);
    }
    page_format(metrics->page, "\": %" PRId64, value);
}

void metrics_sample(struct metrics *metrics, const char *label, const char *text, int64_t value)
{
    metrics_sample2(metrics, label, text, NULL, NULL, value);
}

void metrics_sample2(struct metrics *metrics, const char *label1, const char *text1,
                     const char *label2, const char *text2, int64_t value)
{
    if (is_json(metrics)) {
        json_sample(metrics, text1, text2, value);
        return;
    }
    page_format(metrics->page, "%s{", metrics->family);
    put_label(metrics, label1, text1);
    if (label2) {
        page_text(metrics->page, ",");
        put_label(metrics, label2, text2);
    }
    page_format(metrics->page, "} %" PRId64 "\n", value);
}

static void put_bucket(struct metrics *metrics, const char *bound, int64_t count)
{
    if (is_json(metrics))
        json_sample(metrics, bound, NULL, count);
    else
        page_format(metrics->page, "%s_bucket{le=\"%s\"} %" PRId64 "\n", metrics->family, bound,
                    count);
}

static void put_total(struct metrics *metrics, const char *what, int64_t value)
{
    if (is_json(metrics))
        json_sample(metrics, what, NULL, value);
    else
        page_format(metrics->page, "%s_%s %" PRId64 "\n", metrics->family, what, value);
}

void metrics_histogram(struct metrics *metrics, const char *name, const int64_t *bounds,
                       size_t bound_count, const int64_t *counts, int64_t sum)
{
    int64_t count = 0;

    begin_family(metrics, "histogram", name);
    if (is_json(metrics))
        json_open_labels(metrics);
    for (size_t i = 0; i < bound_count; i++) {
        char bound[NUMBER_BYTES];

        count += counts[i];
        snprintf(bound, sizeof bound, "%" PRId64, bounds[i]);
        put_bucket(metrics, bound, count);
    }
    count += counts[bound_count];
    put_bucket(metrics, "+Inf", count);
    put_total(metrics, "sum", sum);
    put_total(metrics, "count", count);
}

void metrics_begin(struct metrics *metrics, enum metrics_form form, struct page *page)
{
    *metrics = (struct metrics){.page = page, .form = form};
    if (is_json(metrics))
        page_text(page, "{\n");
}

void metrics_end(struct metrics *metrics)
{
    if (!is_json(metrics))
        return;
    json_end_family(metrics);
    if (metrics->nest == METRICS_IN_DERP)
        json_leave_derp(metrics);
    page_text(metrics->page, "\n}\n");
}
