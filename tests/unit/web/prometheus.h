// SPDX-License-Identifier: BSD-3-Clause
//
// A strict reader of the Prometheus text format: every family has one TYPE line in front of its
// samples, which stand together; names, labels and values have their syntax; no sample comes twice.
#ifndef DERPER_TESTS_PROMETHEUS_H
#define DERPER_TESTS_PROMETHEUS_H

#include <stdbool.h>
#include <stddef.h>

#define PROMETHEUS_SAMPLES_MAX 4096
#define PROMETHEUS_NAME_BYTES 192

struct prometheus_sample {
    char series[PROMETHEUS_NAME_BYTES]; // name and labels as they stand
    double value;
};

struct prometheus {
    struct prometheus_sample samples[PROMETHEUS_SAMPLES_MAX];
    size_t count;
    char families[1024][PROMETHEUS_NAME_BYTES]; // "name type"
    size_t family_count;
    const char *fault; // of the first bad line; NULL when there is none
    char line[1024];   // that line
};

// False with `fault` and `line` set. `text` need not be NUL-terminated.
bool prometheus_read(struct prometheus *page, const char *text, size_t len);

// The value of a series; -1 when it is not there.
double prometheus_value(const struct prometheus *page, const char *series);

// "counter", …; NULL when there is no such family.
const char *prometheus_type(const struct prometheus *page, const char *family);

#endif
