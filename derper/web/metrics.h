// SPDX-License-Identifier: BSD-3-Clause
//
// Numbers for people's dashboards, written once and read in either of two forms: Prometheus text
// (exposition format 0.0.4) or JSON in the manner of Go's expvar.
//
// Families are written one after the other, each with all its samples. In JSON, those whose name
// begins with "derp_" are members of an object "derp" when they stand together; all others stand at
// the top. A family with labels is an object whose keys are the labels' values, joined by a space.
#ifndef DERPER_WEB_METRICS_H
#define DERPER_WEB_METRICS_H

#include "web/page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum metrics_form { METRICS_PROMETHEUS, METRICS_JSON };

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

// Where the JSON form stands in regard to the object "derp".
enum metrics_nest { METRICS_BEFORE_DERP, METRICS_IN_DERP, METRICS_AFTER_DERP };

// Fields are the module's own.
struct metrics {
    struct page *page;
    enum metrics_form form;
    const char *family; // in hand
    enum metrics_nest nest;
    bool comma;    // JSON: one is due before the next member
    bool labelled; // JSON: the object of the family in hand is open
};

// One part of the process that has numbers of its own. `write` is called on any worker's thread,
// possibly on several at once; it writes whole families and must not block.
struct metric_source {
    void (*write)(struct metrics *metrics, void *data);
    void *data;
};

// A family of one sample without labels. Names and labels must be good Prometheus names; each name
// is written once in a page.
void metrics_counter(struct metrics *metrics, const char *name, int64_t value);
void metrics_gauge(struct metrics *metrics, const char *name, int64_t value);
void metrics_gauge_real(struct metrics *metrics, const char *name, double value); // finite

// A family with labels: its beginning, then its samples. `text` is any NUL-terminated UTF-8.
void metrics_family(struct metrics *metrics, enum metric_type type, const char *name);
void metrics_sample(struct metrics *metrics, const char *label, const char *text, int64_t value);
void metrics_sample2(struct metrics *metrics, const char *label1, const char *text1,
                     const char *label2, const char *text2, int64_t value);

// A histogram. `counts` has one number more than `bounds`, for what is above the last; each counts
// its own bucket alone.
void metrics_histogram(struct metrics *metrics, const char *name, const int64_t *bounds,
                       size_t bound_count, const int64_t *counts, int64_t sum);

// Begins and ends all families of a page, which is the caller's and empty. Names and texts must
// last until the end.
void metrics_begin(struct metrics *metrics, enum metrics_form form, struct page *page);
void metrics_end(struct metrics *metrics);

#endif
