// SPDX-License-Identifier: BSD-3-Clause
#include "report.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define REASON_BYTES 256
#define NS_PER_SECOND 1e9

void report_init(struct report *report, const struct options *options)
{
    *report = (struct report){.root = json_object(), .invalid = json_array(), .pid = options->pid};
    json_object_set_new(report->root, "mode", json_string(options_mode_name(options->mode)));
    json_object_set_new(report->root, "valid", json_true());
    json_object_set_new(report->root, "invalid", report->invalid);
    if (options->mode < MODE_STUN) {
        json_object_set_new(report->root, "tls", json_boolean(!options->plain));
        json_object_set_new(report->root, "fast_start", json_boolean(options->target.fast_start));
    }
}

void report_invalid(struct report *report, const char *format, ...)
{
    char reason[REASON_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    json_array_append_new(report->invalid, json_string(reason));
    json_object_set_new(report->root, "valid", json_false());
}

void report_count(struct report *report, const char *name, uint64_t value)
{
    json_object_set_new(report->root, name, json_integer((json_int_t)value));
}

void report_real(struct report *report, const char *name, double value)
{
    json_object_set_new(report->root, name, json_real(value));
}

void report_json(struct report *report, const char *name, json_t *value)
{
    json_object_set_new(report->root, name, value);
}

void report_begin(struct report *report)
{
    if (report->pid)
        report->measured = process_cpu_read(report->pid, &report->relay_begin);
    process_cpu_read(getpid(), &report->self_begin);
    report->begin_ns = clock_ns();
}

void report_end(struct report *report)
{
    struct process_cpu end;

    report->end_ns = clock_ns();
    if (report->measured) {
        report->measured = process_cpu_read(report->pid, &end);
        if (report->measured)
            process_cpu_between(&report->relay_begin, &end, &report->relay);
    }
    if (process_cpu_read(getpid(), &end))
        process_cpu_between(&report->self_begin, &end, &report->self);
}

void report_costs(struct report *report, const char *name, uint64_t units)
{
    report_real(report, "window_s", (double)(report->end_ns - report->begin_ns) / NS_PER_SECOND);
    report_real(report, "generator_cpu_s", (double)report->self.ran_ns / NS_PER_SECOND);
    report_real(report, "generator_waited_s", (double)report->self.waited_ns / NS_PER_SECOND);
    if (!report->pid)
        return;
    if (!report->measured) {
        report_invalid(report, "CPU time of process %d could not be read", (int)report->pid);
        return;
    }
    report_real(report, "relay_cpu_s", (double)report->relay.ran_ns / NS_PER_SECOND);
    report_real(report, "relay_waited_s", (double)report->relay.waited_ns / NS_PER_SECOND);
    report_json(report, "relay_cpu_by",
                json_string(report->relay.by_schedstat ? "schedstat" : "stat"));
    report_count(report, "relay_rss_bytes", process_rss(report->pid));
    if (report->relay.ran_ns > 0)
        report_real(report, name, (double)units * NS_PER_SECOND / (double)report->relay.ran_ns);
}

bool report_finish(struct report *report)
{
    const bool valid = json_array_size(report->invalid) == 0;
    char *line = json_dumps(report->root, JSON_COMPACT | JSON_REAL_PRECISION(7));

    if (line)
        puts(line);
    free(line);
    json_decref(report->root);
    return valid && line;
}
