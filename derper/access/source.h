// SPDX-License-Identifier: BSD-3-Clause
//
// One agent or admission URL: the queries that are open, and the line of those that wait, so that a
// slow source is never asked more than SOURCE_OPEN_MAX questions at once, however many clients come
// back together. Those who are in, and are asked about again, let those go first who come. One
// thread, except the counters.
#ifndef DERPER_ACCESS_SOURCE_H
#define DERPER_ACCESS_SOURCE_H

#include "access/answer.h"
#include "access/fetch.h"
#include "base/counter.h"
#include "base/key.h"
#include "base/list.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_OPEN_MAX 64
#define SOURCE_NAME_BYTES 256
// A source that had less time than this has not failed to answer: our line was too long.
#define SOURCE_PATIENCE_MS 2500
// A query with less time left than this is not opened any more.
#define SOURCE_TIME_MIN_MS 1000

#define SOURCE_LINES 2

enum source_kind { SOURCE_AGENT, SOURCE_URL, SOURCE_KINDS };

// Written by the thread of the source, read by any.
struct source_counters {
    struct counter answers[ACCESS_REASONS];
    struct counter duration_ms_sum; // from opening a query to its answer, or the end of its time
    struct counter durations;
    struct counter open;    // gauge
    struct counter waiting; // gauge: in line
};

// Everything that is not counted is the module's own.
struct source {
    enum source_kind kind;
    const char *address; // socket or URL; the caller's
    const char *ca_file; // the caller's, or NULL
    char name[SOURCE_NAME_BYTES];
    struct fetcher *fetcher;
    struct list lines[SOURCE_LINES]; // of those who come, and of those who are in
    struct list late;                // came to be too late to be asked: they wait for their end
    size_t open;
    struct list abandoned; // of those, attempts that nobody waits for
    size_t abandoned_count;
    bool failing;             // its last word was neither yes nor no
    uint64_t recovery_log_ms; // when the log may say again that it answers
    struct log_limit limits[ACCESS_REASONS];
    struct source_counters counters;
};

// One question to one source.
struct query {
    struct list node; // in one of the source's lists, while it waits there
    struct source *source;
    const struct key *key; // these two are the asker's, until the answer
    const char *address;
    bool is_in;              // the client, so it goes last
    uint64_t deadline_ms;    // by clock_ms: when the asker ends it
    struct attempt *attempt; // while it is open
    // Once, unless cancelled; never before source_ask returns. The query is the asker's again.
    void (*on_answer)(struct query *query, enum access_reason reason);
};

void source_init(struct source *source, enum source_kind kind, const char *address,
                 const char *ca_file, struct fetcher *fetcher);

// After its queries, and before the fetcher.
void source_close(struct source *source);

// `query` has its key, address, deadline_ms, is_in and callback; the rest is filled here.
void source_ask(struct source *source, struct query *query);

// Ends it without an answer. Harmless when it was answered.
void query_cancel(struct query *query);

// Ends it because time is up, and returns what that means.
enum access_reason query_expire(struct query *query);

#endif
