// SPDX-License-Identifier: BSD-3-Clause
//
// The one line of JSON of a run: numbers, whether they may be used, and if not why. Also measures
// what the relay and the generator spent between two moments.
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include "options.h"
#include "process.h"

#include <jansson.h>

struct report {
    json_t *root;    // owned
    json_t *invalid; // reasons, in root
    pid_t pid;
    bool measured; // the relay's CPU time was read at the begin and at the end
    struct process_cpu relay_begin, self_begin;
    struct process_spent relay, self; // between report_begin and report_end
    uint64_t begin_ns, end_ns;
};

void report_init(struct report *report, const struct options *options);

// The run does not count, because of a reason in printf's manner.
void report_invalid(struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void report_count(struct report *report, const char *name, uint64_t value);
void report_real(struct report *report, const char *name, double value);
// Takes over `value`.
void report_json(struct report *report, const char *name, json_t *value);

// Start and end of the measured window.
void report_begin(struct report *report);
void report_end(struct report *report);

// `units` things were done in the window: adds CPU seconds, and units per CPU second under `name`.
// A relay that can be measured and was not makes the run invalid.
void report_costs(struct report *report, const char *name, uint64_t units);

// Prints the line and frees. True when the run is valid.
bool report_finish(struct report *report);

#endif
