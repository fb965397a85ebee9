// SPDX-License-Identifier: BSD-3-Clause
//
// Numbers for people's dashboards, written once and read in either of two forms: Prometheus text
// (exposition format 0.0.4) or JSON in the manner of Go's expvar.
//
// Families are written one after the other, each with all its samples. In JSON, families whose name
// begins with "derp_" are members of the object "derp", the others stand at the top; a family with
// labels is an object whose keys are the labels' values, joined by a space.
#ifndef DERPER_WEB_METRICS_H
#define DERPER_WEB_METRICS_H

#include "web/page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum metrics_form { METRICS_PROMETHEUS, METRICS_JSON };

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

struct metrics;

// One part of the process that has numbers of its own. `write` is called on any worker's thread,
// possibly on several at once; it writes whole families and must not block.
struct metric_source {
    void (*write)(struct metrics *metrics, void *data);
    void *data;
};

// A family of one sample without labels. Names and labels must be good Prometheus names, and each
// name is written once.
void metrics_counter(struct metrics *metrics, const char *name, int64_t value);
void metrics_gauge(struct metrics *metrics, const char *name, int64_t value);
void metrics_gauge_real(struct metrics *metrics, const char *name, double value);

// A family with labels: its beginning, then its samples. `text` is escaped.
void metrics_family(struct metrics *metrics, enum metric_type type, const char *name);
void metrics_sample(struct metrics *metrics, const char *label, const char *text, int64_t value);
void metrics_sample2(struct metrics *metrics, const char *label1, const char *text1,
                     const char *label2, const char *text2, int64_t value);

// A histogram. `counts` has one number more than `bounds`, for what is above the last; each counts
// its own bucket alone.
void metrics_histogram(struct metrics *metrics, const char *name, const int64_t *bounds,
                       size_t bound_count, const int64_t *counts, int64_t sum);

// For web/ itself: begins and ends a page of all families, in `page`, which is empty and belongs to
// the caller.
struct metrics {
    struct page *page;
    enum metrics_form form;
    const char *family;
    bool in_derp;      // JSON: the object "derp" is open
    bool first_family; // JSON: no comma is due
    bool first_sample;
    bool labelled; // JSON: the family's own object is open
};

void metrics_begin(struct metrics *metrics, enum metrics_form form, struct page *page);
void metrics_end(struct metrics *metrics);

#endif
