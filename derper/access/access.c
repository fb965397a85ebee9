// SPDX-License-Identifier: BSD-3-Clause
#include "access/access.h"

#include "access/allowfile.h"
#include "access/grace.h"
#include "access/health.h"
#include "access/refusal_log.h"
#include "base/clock.h"
#include "base/memory.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_BYTES 24 // " (2)"

static_assert(SOURCE_KINDS * ACCESS_SOURCES_MAX <= 32, "each source has a bit of 32");

// A check with its sources, which have the bits from `first_bit` on.
struct check {
    struct source sources[ACCESS_SOURCES_MAX];
    size_t count;
    size_t first_bit;
    bool fail_open;
};

struct ask_query {
    struct query query;
    struct access_ask *ask;
    bool answered;
};

struct access {
    uv_loop_t *loop;
    struct fetcher fetcher;
    uv_timer_t timer; // for the first of `asks`
    bool has_list;
    struct allowfile list;
    void (*on_removal)(void *data);
    void *data;                        // of that
    struct check checks[SOURCE_KINDS]; // agents, then URLs
    struct health *healths;            // of agents that are watched
    size_t health_count;
    struct grace grace;
    struct list asks;
    size_t parts; // to be closed before the memory goes
    struct access_counters counters;
    // At the door, and of who is in.
    struct refusal_log refusals[2];
    struct log_limit unanswered_logs[2];
};

const char *access_verdict_name(enum access_verdict verdict)
{
    static const char *const names[ACCESS_VERDICTS] = {
        [ACCESS_ALLOWED] = "allowed",
        [ACCESS_REFUSED] = "refused",
        [ACCESS_UNANSWERED] = "unanswered",
    };
    return names[verdict];
}

// --- Ends ---

static void update_timer(struct access *access);

static void forget_queries(struct access_ask *ask)
{
    struct ask_query *queries = ask->queries;

    if (!queries)
        return;
    for (size_t i = 0; i < ask->check->count; i++)
        query_cancel(&queries[i].query);
    ask->queries = NULL;
    free(queries);
}

static void leave(struct access_ask *ask)
{
    forget_queries(ask);
    list_unlink(&ask->node);
    counter_add(&ask->access->counters.pending, -1);
    update_timer(ask->access);
}

static void log_unanswered(struct access_ask *ask, bool is_in)
{
    char key[KEY_SHORT_CHARS + 1];
    const bool agents = ask->check == &ask->access->checks[SOURCE_AGENT];

    key_short(&ask->key, key);
    log_limited(&ask->access->unanswered_logs[is_in],
                "client %s from %s %s, as %s had no answer about it", key, ask->address,
                is_in ? "stays" : "was refused",
                agents ? "--verify-clients" : "--verify-client-url");
}

// With the key as it is written into the file.
static void log_refused(struct access_ask *ask, bool is_in)
{
    struct access *access = ask->access;
    const char *why = "it is not in the file of --allow-keys; add it there to let it in";
    char key[KEY_NAME_CHARS + 1], more[REFUSAL_LOG_MORE_BYTES];

    if (!refusal_log_due(&access->refusals[is_in], &ask->key, clock_ms(), more))
        return;
    key_name(&ask->key, key);
    if (ask->check)
        why = ask->check == &access->checks[SOURCE_AGENT]
                  ? "no tailscaled of --verify-clients knows it; log the node in to the network of "
                    "that tailscaled to let it in"
                  : "no --verify-client-url allows it; log the node in to the network of that "
                    "server to let it in";
    log_warnx("client %s from %s %s: %s%s", key, ask->address,
              is_in ? "is closed, as its access was withdrawn" : "was refused", why, more);
}

static void log_refusal(struct access_ask *ask, enum access_verdict verdict)
{
    if (verdict == ACCESS_UNANSWERED)
        log_unanswered(ask, ask->past.admitted);
    else
        log_refused(ask, ask->past.admitted);
}

static void note_allowed(struct access_ask *ask)
{
    struct access *access = ask->access;

    counter_add(&access->counters.graced, ask->graced);
    counter_add(&access->counters.failed_open, ask->failed_open);
    if (ask->yes && !ask->graced && !ask->failed_open)
        counter_add(&access->counters.grace_evicted,
                    grace_note(&access->grace, &ask->key, ask->yes, clock_ms()));
}

static void finish(struct access_ask *ask, enum access_verdict verdict)
{
    struct access *access = ask->access;

    leave(ask);
    counter_add(&access->counters.verdicts[verdict], 1);
    if (verdict == ACCESS_ALLOWED)
        note_allowed(ask);
    else
        log_refusal(ask, verdict);
    if (verdict == ACCESS_REFUSED)
        grace_forget(&access->grace, &ask->key);
    ask->past.admitted = ask->past.admitted || verdict == ACCESS_ALLOWED;
    ask->on_verdict(ask, verdict);
}

// --- One check ---

static void ask_next_check(struct access_ask *ask);

static uint32_t bit_of(const struct access_ask *ask, size_t index)
{
    return UINT32_C(1) << (ask->check->first_bit + index);
}

static uint32_t bits_of(const struct check *check)
{
    return ((UINT32_C(1) << check->count) - 1) << check->first_bit;
}

// Whoever had vouched for the client has said no.
static bool is_withdrawn(const struct access_ask *ask)
{
    return ask->withdrawn && !(ask->past.vouched & bits_of(ask->check));
}

// No source of the check has said yes, and none will.
static void conclude(struct access_ask *ask)
{
    const uint32_t recent = grace_sources(&ask->access->grace, &ask->key, clock_ms());

    forget_queries(ask);
    if (ask->faults & recent) {
        ask->graced = true;
        ask->past.vouched |= ask->faults & recent;
        ask_next_check(ask);
    } else if (ask->silent && ask->check->fail_open) {
        ask->failed_open = true;
        ask_next_check(ask);
    } else {
        finish(ask, ask->faults && !is_withdrawn(ask) ? ACCESS_UNANSWERED : ACCESS_REFUSED);
    }
}

static void note_no(struct access_ask *ask, uint32_t source)
{
    grace_withdraw(&ask->access->grace, &ask->key, source);
    ask->withdrawn = ask->withdrawn || (ask->past.vouched & source);
    ask->past.vouched &= ~source;
}

static void note_answer(struct access_ask *ask, size_t index, enum access_reason reason)
{
    const enum access_class class = access_reason_class(reason);

    ask->queries[index].answered = true;
    ask->pending--;
    if (class == ACCESS_CLASS_NO)
        note_no(ask, bit_of(ask, index));
    if (class == ACCESS_CLASS_SILENT || class == ACCESS_CLASS_FAULT)
        ask->faults |= bit_of(ask, index);
    if (class == ACCESS_CLASS_SILENT)
        ask->silent |= bit_of(ask, index);
}

static void on_answer(struct query *query, enum access_reason reason)
{
    struct ask_query *mine = list_entry(query, struct ask_query, query);
    struct access_ask *ask = mine->ask;
    const size_t index = (size_t)(mine - ask->queries);

    if (access_reason_class(reason) == ACCESS_CLASS_YES) {
        ask->yes |= bit_of(ask, index);
        ask->past.vouched |= bit_of(ask, index);
        forget_queries(ask);
        ask_next_check(ask);
        return;
    }
    note_answer(ask, index, reason);
    if (ask->pending == 0)
        conclude(ask);
}

static void enter_check(struct access_ask *ask, struct check *check)
{
    ask->check = check;
    ask->faults = ask->silent = 0;
    ask->withdrawn = false;
}

static void ask_check(struct access_ask *ask, struct check *check)
{
    enter_check(ask, check);
    ask->pending = check->count;
    ask->queries = memory_zeroed(check->count * sizeof *ask->queries);
    for (size_t i = 0; i < check->count; i++) {
        struct ask_query *mine = &ask->queries[i];

        mine->ask = ask;
        mine->query.key = &ask->key;
        mine->query.address = ask->address;
        mine->query.deadline_ms = ask->deadline_ms;
        mine->query.is_in = ask->past.admitted;
        mine->query.on_answer = on_answer;
        source_ask(&check->sources[i], &mine->query);
    }
}

// Earlier checks have taken all the time: none of this one's sources is asked, nor blamed.
static void pass_over(struct access_ask *ask, struct check *check)
{
    enter_check(ask, check);
    for (size_t i = 0; i < check->count; i++)
        ask->faults |= bit_of(ask, i);
    conclude(ask);
}

static bool is_listed(const struct access *access, const struct key *key)
{
    return !access->has_list || allowlist_has(&access->list.list, key);
}

// The list may have changed while the sources were asked.
static void pass_list_again(struct access_ask *ask)
{
    ask->check = NULL;
    finish(ask, is_listed(ask->access, &ask->key) ? ACCESS_ALLOWED : ACCESS_REFUSED);
}

static void ask_next_check(struct access_ask *ask)
{
    struct check *check = ask->check ? ask->check + 1 : ask->access->checks;
    const struct check *end = ask->access->checks + SOURCE_KINDS;

    while (check < end && check->count == 0)
        check++;
    if (check == end)
        pass_list_again(ask);
    else if (clock_ms() >= ask->deadline_ms)
        pass_over(ask, check);
    else
        ask_check(ask, check);
}

// --- Time ---

static void expire(struct access_ask *ask)
{
    for (size_t i = 0; i < ask->check->count; i++)
        if (!ask->queries[i].answered)
            note_answer(ask, i, query_expire(&ask->queries[i].query));
    conclude(ask);
}

static struct access_ask *first_ask(const struct access *access)
{
    return list_empty(&access->asks) ? NULL
                                     : list_entry(access->asks.next, struct access_ask, node);
}

static void on_time(uv_timer_t *timer)
{
    struct access *access = timer->data;
    const uint64_t now_ms = clock_ms();
    struct access_ask *ask;

    while ((ask = first_ask(access)) && ask->deadline_ms <= now_ms)
        expire(ask);
    update_timer(access);
}

static void update_timer(struct access *access)
{
    const struct access_ask *ask = first_ask(access);
    const uint64_t now_ms = clock_ms();

    if (!ask) {
        uv_timer_stop(&access->timer);
    } else if (!uv_is_active((uv_handle_t *)&access->timer)) {
        uv_update_time(access->loop);
        uv_timer_start(&access->timer, on_time,
                       ask->deadline_ms > now_ms ? ask->deadline_ms - now_ms : 0, 0);
    }
}

// --- From outside ---

void access_ask(struct access *access, struct access_ask *ask, const struct key *key,
                const char *address, const struct access_past *past,
                void (*on_verdict)(struct access_ask *ask, enum access_verdict verdict))
{
    bool listed;

    *ask = (struct access_ask){.access = access,
                               .key = *key,
                               .past = past ? *past : (struct access_past){0},
                               .deadline_ms = clock_ms() + ACCESS_LIMIT_MS,
                               .on_verdict = on_verdict};
    snprintf(ask->address, sizeof ask->address, "%s", address);
    list_init(&ask->node);
    list_append(&access->asks, &ask->node);
    counter_add(&access->counters.pending, 1);
    update_timer(access);
    listed = is_listed(access, key);
    if (access->has_list)
        counter_add(&access->counters.allow_keys[listed], 1);
    if (listed)
        ask_next_check(ask);
    else
        finish(ask, ACCESS_REFUSED);
}

void access_cancel(struct access_ask *ask)
{
    if (list_empty(&ask->node))
        return;
    leave(ask);
    counter_add(&ask->access->counters.cancelled, 1);
}

bool access_health(struct access *access, char *why, size_t size)
{
    for (size_t i = 0; i < access->health_count; i++)
        if (!health_read(&access->healths[i], why, size))
            return false;
    return true;
}

bool access_reload(struct access *access, const char *cause)
{
    if (access->has_list)
        allowfile_reload(&access->list, cause);
    return access->has_list;
}

static bool check_ca_file(const char *path, char *error, size_t size)
{
    X509_STORE *store = X509_STORE_new();
    const bool ok = store && X509_STORE_load_file(store, path) == 1;

    ERR_clear_error();
    X509_STORE_free(store);
    if (!ok)
        snprintf(error, size,
                 "--verify-client-ca %s has no certificate that can be read: give a PEM file with "
                 "the authority's certificate",
                 path);
    return ok;
}

bool access_check_files(const struct access_config *config, char *error, size_t size)
{
    struct allowlist list = {0};
    const bool ok = (!config->ca_file || check_ca_file(config->ca_file, error, size)) &&
                    (!config->allow_keys || allowlist_load(&list, config->allow_keys, error, size));

    allowlist_free(&list);
    return ok;
}

static void watch_agents(struct access *access, const char *const *sockets, size_t count)
{
    access->health_count = count;
    access->healths = memory_zeroed(count * sizeof *access->healths);
    for (size_t i = 0; i < count; i++)
        health_start(&access->healths[i], access->loop, &access->fetcher, sockets[i]);
}

// Those with one name, URLs that differ in what is not shown for one, get numbers.
static void number_names(struct check *check)
{
    for (size_t i = check->count; i-- > 1;) {
        char *name = check->sources[i].name;
        size_t same = 0, len = strlen(name);

        for (size_t j = 0; j < i; j++)
            same += strcmp(check->sources[j].name, name) == 0;
        if (len > SOURCE_NAME_BYTES - NUMBER_BYTES)
            len = SOURCE_NAME_BYTES - NUMBER_BYTES;
        if (same > 0)
            snprintf(name + len, NUMBER_BYTES, " (%zu)", same + 1);
    }
}

static void init_check(struct access *access, enum source_kind kind, const char *const *addresses,
                       size_t count, const char *ca_file)
{
    struct check *check = &access->checks[kind];

    assert(count <= ACCESS_SOURCES_MAX);
    check->count = count;
    check->first_bit = kind * ACCESS_SOURCES_MAX;
    for (size_t i = 0; i < count; i++)
        source_init(&check->sources[i], kind, addresses[i], ca_file, &access->fetcher);
    number_names(check);
}

static void on_list_removal(struct allowfile *file)
{
    const struct access *access = list_entry(file, struct access, list);

    if (access->on_removal)
        access->on_removal(access->data);
}

struct access *access_new(const struct access_config *config, char *error, size_t size)
{
    struct access *access = memory_zeroed(sizeof *access);

    access->on_removal = config->on_removal;
    access->data = config->data;
    if ((config->ca_file && !check_ca_file(config->ca_file, error, size)) ||
        (config->allow_keys && !allowfile_open(&access->list, config->loop, config->allow_keys,
                                               on_list_removal, error, size))) {
        free(access);
        return NULL;
    }
    access->has_list = config->allow_keys != NULL;
    access->loop = config->loop;
    access->unanswered_logs[0] = access->unanswered_logs[1] = (struct log_limit)LOG_LIMIT_INIT;
    list_init(&access->asks);
    grace_init(&access->grace, config->grace_ms);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    fetcher_init(&access->fetcher, config->loop);
    uv_timer_init(config->loop, &access->timer);
    access->timer.data = access;
    init_check(access, SOURCE_AGENT, config->sockets, config->socket_count, NULL);
    init_check(access, SOURCE_URL, config->urls, config->url_count, config->ca_file);
    access->checks[SOURCE_URL].fail_open = config->fail_open;
    if (config->watch_agents)
        watch_agents(access, config->sockets, config->socket_count);
    return access;
}

static void part_closed(struct access *access)
{
    if (--access->parts > 0)
        return;
    grace_deinit(&access->grace);
    free(access->healths);
    free(access);
    curl_global_cleanup();
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

static void on_fetcher_closed(struct fetcher *fetcher)
{
    part_closed(list_entry(fetcher, struct access, fetcher));
}

static void on_health_closed(struct health *health)
{
    part_closed(list_entry(health->fetcher, struct access, fetcher));
}

static void on_list_closed(struct allowfile *file)
{
    part_closed(list_entry(file, struct access, list));
}

void access_close(struct access *access)
{
    assert(list_empty(&access->asks));
    access->parts = (access->has_list ? 3 : 2) + access->health_count;
    for (size_t i = 0; i < access->health_count; i++)
        health_close(&access->healths[i], on_health_closed);
    uv_close((uv_handle_t *)&access->timer, on_timer_closed);
    for (size_t i = 0; i < SOURCE_KINDS; i++)
        for (size_t j = 0; j < access->checks[i].count; j++)
            source_close(&access->checks[i].sources[j]);
    fetcher_close(&access->fetcher, on_fetcher_closed);
    if (access->has_list)
        allowfile_close(&access->list, on_list_closed);
}

const struct access_counters *access_counters(const struct access *access)
{
    return &access->counters;
}

const struct source *access_source(const struct access *access, size_t index)
{
    for (size_t i = 0; i < SOURCE_KINDS; i++) {
        if (index < access->checks[i].count)
            return &access->checks[i].sources[index];
        index -= access->checks[i].count;
    }
    return NULL;
}
