// SPDX-License-Identifier: BSD-3-Clause
#include "access/source.h"

#include "access/agent.h"
#include "access/url.h"
#include "base/clock.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SENTENCE_BYTES 768

// A query that is open: one fetch or, with redirects and a second question, several.
struct attempt {
    struct fetch fetch;
    struct source *source;
    struct query *query; // NULL: abandoned
    struct list node;    // in source->abandoned
    uint64_t since_ms;
    unsigned redirects;
    bool runs; // the agent has said so, and now knows whom it knows
};

void source_init(struct source *source, enum source_kind kind, const char *address,
                 const char *ca_file, struct fetcher *fetcher)
{
    static const struct log_limit limit = LOG_LIMIT_INIT;

    *source =
        (struct source){.kind = kind, .address = address, .ca_file = ca_file, .fetcher = fetcher};
    for (size_t i = 0; i < SOURCE_LINES; i++)
        list_init(&source->lines[i]);
    list_init(&source->late);
    list_init(&source->abandoned);
    for (size_t i = 0; i < ACCESS_REASONS; i++)
        source->limits[i] = limit;
    if (kind == SOURCE_URL)
        url_show(source->name, sizeof source->name, address);
    else
        snprintf(source->name, sizeof source->name, "%s", address);
}

static void explain(struct source *source, enum access_reason reason,
                    const struct fetch_result *result)
{
    char sentence[SENTENCE_BYTES];

    if (source->kind == SOURCE_AGENT)
        agent_explain(sentence, sizeof sentence, reason, source->name, result);
    else
        url_explain(sentence, sizeof sentence, reason, source->name, result);
    log_limited(&source->limits[reason], "%s: %s",
                source->kind == SOURCE_AGENT ? "--verify-clients" : "--verify-client-url",
                sentence);
}

// One that fails every other time has no line each time.
static void tell_recovery(struct source *source)
{
    const uint64_t now_ms = clock_ms();

    if (now_ms < source->recovery_log_ms)
        return;
    source->recovery_log_ms = now_ms + LOG_LIMIT_PERIOD_MS;
    log_info("%s answers again", source->name);
}

static void note(struct source *source, enum access_reason reason,
                 const struct fetch_result *result)
{
    const enum access_class class = access_reason_class(reason);

    counter_add(&source->counters.answers[reason], 1);
    if (class == ACCESS_CLASS_YES || class == ACCESS_CLASS_NO) {
        if (source->failing)
            tell_recovery(source);
        source->failing = false;
        return;
    }
    source->failing = source->failing || reason != ACCESS_BUSY;
    explain(source, reason, result);
}

static void pump(struct source *source);

static void close_attempt(struct attempt *attempt)
{
    struct source *source = attempt->source;

    if (attempt->query)
        attempt->query->attempt = NULL;
    source->abandoned_count -= !list_empty(&attempt->node);
    list_unlink(&attempt->node);
    fetch_end(&attempt->fetch);
    free(attempt);
    source->open--;
    counter_add(&source->counters.open, -1);
}

// While a resolver hangs, questions that come and go must not make more and more threads that wait
// for it: the attempt keeps its place until its thread has ended.
static void abandon(struct attempt *attempt)
{
    fetch_abandon(&attempt->fetch);
    attempt->source->abandoned_count++;
    attempt->query->attempt = NULL;
    attempt->query = NULL;
    list_append(&attempt->source->abandoned, &attempt->node);
}

static uint64_t note_duration(const struct attempt *attempt)
{
    const uint64_t took_ms = clock_ms() - attempt->since_ms;

    counter_add(&attempt->source->counters.duration_ms_sum, (int64_t)took_ms);
    counter_add(&attempt->source->counters.durations, 1);
    return took_ms;
}

static void answer(struct query *query, enum access_reason reason)
{
    struct source *source = query->source;
    const struct attempt *attempt = query->attempt;

    note_duration(attempt);
    note(source, reason, &attempt->fetch.result);
    close_attempt(query->attempt);
    query->on_answer(query, reason);
    pump(source);
}

static void on_whois(struct fetch *fetch);

static void on_status(struct fetch *fetch)
{
    struct attempt *attempt = list_entry(fetch, struct attempt, fetch);
    struct source *source = attempt->source;
    const enum access_reason reason = agent_judge_status(&fetch->result, NULL);

    if (reason != ACCESS_NOT_MEMBER) {
        answer(attempt->query, reason);
        return;
    }
    attempt->runs = true;
    agent_ask(&fetch->request, source->address, attempt->query->key);
    fetch_start(source->fetcher, fetch, on_whois);
}

static void on_whois(struct fetch *fetch)
{
    const struct attempt *attempt = list_entry(fetch, struct attempt, fetch);
    struct source *source = attempt->source;
    const enum access_reason reason = agent_judge(&fetch->result);

    if (reason != ACCESS_NOT_MEMBER || attempt->runs) {
        answer(attempt->query, reason);
        return;
    }
    agent_ask_status(&fetch->request, source->address);
    fetch_start(source->fetcher, fetch, on_status);
}

static void on_url(struct fetch *fetch)
{
    struct attempt *attempt = list_entry(fetch, struct attempt, fetch);
    struct source *source = attempt->source;

    if (!attempt->query) {
        close_attempt(attempt);
        pump(source);
        return;
    }
    if (attempt->redirects < URL_REDIRECTS_MAX && url_follow(&fetch->request, &fetch->result)) {
        attempt->redirects++;
        fetch_start(source->fetcher, fetch, on_url);
        return;
    }
    answer(attempt->query, url_judge(&fetch->result, attempt->redirects));
}

static void open_query(struct source *source, struct query *query)
{
    struct attempt *attempt = memory_zeroed(sizeof *attempt);
    struct fetch_request *request = &attempt->fetch.request;

    query->attempt = attempt;
    attempt->source = source;
    attempt->query = query;
    list_init(&attempt->node);
    attempt->since_ms = clock_ms();
    source->open++;
    counter_add(&source->counters.open, 1);
    if (source->kind == SOURCE_AGENT)
        agent_ask(request, source->address, query->key);
    else
        url_ask(request, source->address, source->ca_file, query->key, query->address);
    fetch_start(source->fetcher, &attempt->fetch, source->kind == SOURCE_AGENT ? on_whois : on_url);
}

static void leave_line(struct query *query)
{
    if (list_empty(&query->node))
        return;
    list_unlink(&query->node);
    counter_add(&query->source->counters.waiting, -1);
}

// A slow source must not be asked in vain by a crowd whose time ends at once.
static struct query *first_in_line(struct source *source)
{
    const uint64_t end_ms = clock_ms() + SOURCE_TIME_MIN_MS;

    for (size_t i = 0; i < SOURCE_LINES; i++) {
        struct list *line = &source->lines[i];

        while (!list_empty(line)) {
            struct query *query = list_entry(line->next, struct query, node);

            if (query->deadline_ms >= end_ms)
                return query;
            list_unlink(&query->node);
            list_append(&source->late, &query->node);
        }
    }
    return NULL;
}

static void pump(struct source *source)
{
    struct query *query;

    while (source->open < SOURCE_OPEN_MAX && (query = first_in_line(source))) {
        leave_line(query);
        open_query(source, query);
    }
}

void source_close(struct source *source)
{
    while (!list_empty(&source->abandoned))
        close_attempt(list_entry(source->abandoned.next, struct attempt, node));
}

void source_ask(struct source *source, struct query *query)
{
    query->source = source;
    query->attempt = NULL;
    list_init(&query->node);
    list_append(&source->lines[query->is_in], &query->node);
    counter_add(&source->counters.waiting, 1);
    pump(source);
}

void query_cancel(struct query *query)
{
    leave_line(query);
    if (!query->attempt)
        return;
    if (fetch_resolving(&query->attempt->fetch)) {
        abandon(query->attempt);
        return;
    }
    close_attempt(query->attempt);
    pump(query->source);
}

// Whoever waits for a place then waits for the source, and not for others in front of him.
static bool hangs(const struct source *source)
{
    return source->abandoned_count == SOURCE_OPEN_MAX;
}

enum access_reason query_expire(struct query *query)
{
    static const struct fetch_result none;
    const bool had_time =
        query->attempt ? note_duration(query->attempt) >= SOURCE_PATIENCE_MS : hangs(query->source);
    const enum access_reason reason = had_time ? ACCESS_TIMED_OUT : ACCESS_BUSY;

    note(query->source, reason, &none);
    query_cancel(query);
    return reason;
}
