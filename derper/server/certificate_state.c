// SPDX-License-Identifier: BSD-3-Clause
#include "server/certificate_state.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DATE_BYTES 40

void state_init(struct certificate_state *state)
{
    memset(state, 0, sizeof *state);
    pthread_mutex_init(&state->lock, NULL);
}

static void copy_pair(struct pair_state *to, const struct slot *slot, size_t pair)
{
    const struct slot_pair *from = &slot->pairs[pair];

    *to = (struct pair_state){.served = slot_gives(slot, pair), .refused = from->refused};
    if (from->refused)
        memcpy(to->fault, from->fault, sizeof to->fault);
    if (!to->served)
        return;
    memcpy(to->file, from->identity.paths.cert, sizeof to->file);
    memcpy(to->pin, from->identity.pin, sizeof to->pin);
    to->layout = from->identity.layout;
    to->kind = identity_kind(&from->identity);
    to->not_after = from->identity.not_after;
}

void state_publish(struct certificate_state *state, const struct slot *slots, size_t count,
                   const struct slot_news *news)
{
    pthread_mutex_lock(&state->lock);
    state->count = count;
    for (size_t i = 0; i < count; i++) {
        struct slot_state *to = &state->slots[i];

        to->source = slot_source(&slots[i]);
        to->name_count = slots[i].name_count;
        to->names = slots[i].names;
        to->changed_unix = slots[i].changed_unix;
        to->report = slots[i].report;
        for (size_t j = 0; j < CERT_FOUND_MAX; j++)
            copy_pair(&to->pairs[j], &slots[i], j);
    }
    state->looks++;
    state->swapped += news->swapped;
    state->refused += news->refused;
    pthread_mutex_unlock(&state->lock);
}

void state_note_renewal(struct certificate_state *state, size_t slot, const char *sentence,
                        int64_t when, int64_t next)
{
    pthread_mutex_lock(&state->lock);
    snprintf(state->slots[slot].renewal, sizeof state->slots[slot].renewal, "%s", sentence);
    state->slots[slot].renewal_unix = when;
    state->slots[slot].next_renewal_unix = next;
    pthread_mutex_unlock(&state->lock);
}

// --- Metrics ---

static int64_t count_pairs(const struct certificate_state *state, bool refused)
{
    int64_t count = 0;

    for (size_t i = 0; i < state->count; i++)
        for (size_t j = 0; j < CERT_FOUND_MAX; j++)
            count += refused ? state->slots[i].pairs[j].refused : state->slots[i].pairs[j].served;
    return count;
}

static void put_ends(struct metrics *metrics, const struct certificate_state *state)
{
    metrics_family(metrics, METRIC_GAUGE, "derper_certificate_not_after");
    for (size_t i = 0; i < state->count; i++)
        for (size_t j = 0; j < CERT_FOUND_MAX; j++)
            for (size_t k = 0; k < state->slots[i].name_count; k++)
                if (state->slots[i].pairs[j].served)
                    metrics_sample2(metrics, "hostname", state->slots[i].names[k], "key",
                                    state->slots[i].pairs[j].kind,
                                    state->slots[i].pairs[j].not_after);
}

static void put_sources(struct metrics *metrics, const struct certificate_state *state)
{
    metrics_family(metrics, METRIC_GAUGE, "derper_certificate_source");
    for (size_t i = 0; i < state->count; i++)
        for (size_t k = 0; k < state->slots[i].name_count; k++)
            metrics_sample2(metrics, "hostname", state->slots[i].names[k], "source",
                            state->slots[i].source, 1);
}

// The pin that a DERP map needs, and while a renewal is announced, the one that it needs from when.
static void put_pins(struct metrics *metrics, const struct self_signed_report *report)
{
    if (!*report->pin)
        return;
    metrics_family(metrics, METRIC_GAUGE, "derper_certificate_pin");
    metrics_sample2(metrics, "pin", report->pin, "serves", "now", 1);
    if (*report->next_pin)
        metrics_sample2(metrics, "pin", report->next_pin, "serves", "next", 1);
    metrics_gauge(metrics, "derper_certificate_switch_unix", (int64_t)report->switch_at);
}

void state_write_metrics(struct metrics *metrics, void *data)
{
    struct certificate_state *state = data;

    pthread_mutex_lock(&state->lock);
    if (state->count > 0) {
        put_ends(metrics, state);
        put_sources(metrics, state);
        for (size_t i = 0; i < state->count; i++)
            put_pins(metrics, &state->slots[i].report); // one slot has addresses
        metrics_gauge(metrics, "derper_certificate_pairs", count_pairs(state, false));
        metrics_gauge(metrics, "derper_certificate_refused", count_pairs(state, true));
        metrics_counter(metrics, "derper_certificate_looks", state->looks);
        metrics_family(metrics, METRIC_COUNTER, "derper_certificate_reloads");
        metrics_sample(metrics, "result", "swapped", state->swapped);
        metrics_sample(metrics, "result", "refused", state->refused);
    }
    pthread_mutex_unlock(&state->lock);
}

// --- The page ---

static void put_row(struct page *page, const char *name, const char *value)
{
    page_format(page, "<dt>%s</dt><dd>", name);
    page_html(page, value);
    page_text(page, "</dd>\n");
}

static void put_date(struct page *page, const char *name, int64_t unix_time)
{
    const time_t t = (time_t)unix_time;
    char date[DATE_BYTES] = "";
    struct tm tm;

    if (unix_time > 0 && gmtime_r(&t, &tm))
        strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", &tm);
    put_row(page, name, *date ? date : "none");
}

static void put_pair(struct page *page, const struct pair_state *pair)
{
    char text[CERT_PATH_MAX_BYTES + 64];

    if (pair->served) {
        snprintf(text, sizeof text, "%s (%s, %s)", pair->file, pair->layout, pair->kind);
        put_row(page, "File", text);
        put_date(page, "Ends", pair->not_after);
        put_row(page, "Pin", pair->pin);
    }
    if (pair->refused)
        put_row(page, "Refused", pair->fault);
}

static void put_slot(struct page *page, const struct slot_state *slot)
{
    page_text(page, "<h2>Certificate for ");
    for (size_t i = 0; i < slot->name_count; i++) {
        page_text(page, i > 0 ? ", " : "");
        page_html(page, slot->names[i]);
    }
    page_text(page, "</h2>\n<dl>\n");
    put_row(page, "Source", slot->source);
    for (size_t i = 0; i < CERT_FOUND_MAX; i++)
        put_pair(page, &slot->pairs[i]);
    put_date(page, "Served since", slot->changed_unix);
    if (*slot->report.next_pin) {
        put_row(page, "Next pin", slot->report.next_pin);
        put_date(page, "Serves from", slot->report.switch_at);
    }
    if (*slot->renewal) {
        put_row(page, "Last renewal", slot->renewal);
        put_date(page, "Tried at", slot->renewal_unix);
    }
    if (slot->next_renewal_unix > 0)
        put_date(page, "Next renewal", slot->next_renewal_unix);
    page_text(page, "</dl>\n");
}

void state_write_page(struct page *page, void *data)
{
    struct certificate_state *state = data;

    pthread_mutex_lock(&state->lock);
    for (size_t i = 0; i < state->count; i++)
        put_slot(page, &state->slots[i]);
    pthread_mutex_unlock(&state->lock);
}
