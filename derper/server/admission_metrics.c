// SPDX-License-Identifier: BSD-3-Clause
#include "server/admission_metrics.h"

#include <stddef.h>

static void put_sources(struct metrics *metrics, const struct access *access, const char *name,
                        enum metric_type type, size_t offset)
{
    const struct source *source;

    if (!access_source(access, 0))
        return;
    metrics_family(metrics, type, name);
    for (size_t i = 0; (source = access_source(access, i)); i++) {
        const char *counter = (const char *)&source->counters + offset;

        metrics_sample(metrics, "source", source->name,
                       counter_read((const struct counter *)counter));
    }
}

static void put_answers(struct metrics *metrics, const struct access *access)
{
    const struct access_counters *counters = access_counters(access);
    const struct source *source;

    metrics_family(metrics, METRIC_COUNTER, "derper_admission_answers");
    metrics_sample2(metrics, "source", "allow-keys", "reason",
                    access_reason_name(ACCESS_NOT_MEMBER), counter_read(&counters->allow_keys[0]));
    metrics_sample2(metrics, "source", "allow-keys", "reason", access_reason_name(ACCESS_MEMBER),
                    counter_read(&counters->allow_keys[1]));
    for (size_t i = 0; (source = access_source(access, i)); i++)
        for (int reason = 0; reason < ACCESS_REASONS; reason++)
            metrics_sample2(metrics, "source", source->name, "reason",
                            access_reason_name((enum access_reason)reason),
                            counter_read(&source->counters.answers[reason]));
}

void admission_write_metrics(struct metrics *metrics, void *data)
{
    const struct access *access = data;
    const struct access_counters *counters;

    if (!access)
        return;
    counters = access_counters(access);
    metrics_family(metrics, METRIC_COUNTER, "derper_admission_verdicts");
    for (int i = 0; i < ACCESS_VERDICTS; i++)
        metrics_sample(metrics, "verdict", access_verdict_name((enum access_verdict)i),
                       counter_read(&counters->verdicts[i]));
    metrics_counter(metrics, "derper_admission_by_grace", counter_read(&counters->graced));
    metrics_counter(metrics, "derper_admission_by_fail_open", counter_read(&counters->failed_open));
    metrics_counter(metrics, "derper_admission_grace_evicted",
                    counter_read(&counters->grace_evicted));
    metrics_counter(metrics, "derper_admission_cancelled", counter_read(&counters->cancelled));
    metrics_gauge(metrics, "derper_admission_pending", counter_read(&counters->pending));
    put_answers(metrics, access);
    put_sources(metrics, access, "derper_admission_query_ms_sum", METRIC_COUNTER,
                offsetof(struct source_counters, duration_ms_sum));
    put_sources(metrics, access, "derper_admission_queries", METRIC_COUNTER,
                offsetof(struct source_counters, durations));
    put_sources(metrics, access, "derper_admission_open", METRIC_GAUGE,
                offsetof(struct source_counters, open));
    put_sources(metrics, access, "derper_admission_waiting", METRIC_GAUGE,
                offsetof(struct source_counters, waiting));
}
