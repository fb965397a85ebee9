// SPDX-License-Identifier: BSD-3-Clause
#include "server/certificate.h"

#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "certgen/address.h"
#include "certgen/meta.h"
#include "proto/frame.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_S (24 * 3600)
#define DAY_MS (DAY_S * 1000ULL)

// What a thread of the pool works on.
struct certificate_look {
    uv_work_t work;
    struct certificate *certificate;
    unsigned hangups; // asked for before it began
    enum reading_task task;
    struct reading *readings; // of each slot
    struct watched_folders folders;
};

// --- Slots ---

static struct slot *address_slot(struct certificate *certificate)
{
    for (size_t i = 0; i < certificate->slot_count; i++)
        if (certificate->slots[i].addresses)
            return &certificate->slots[i];
    return NULL;
}

static void make_slots(struct certificate *certificate, const struct options *options)
{
    memset(certificate, 0, sizeof *certificate);
    certificate->options = options;
    for (size_t i = 0; i < options->hostname_count; i++) {
        const bool address = cert_is_address(options->hostnames[i]);
        struct slot *slot = address ? address_slot(certificate) : NULL;

        if (!slot) {
            slot = &certificate->slots[certificate->slot_count++];
            slot->options = options;
            slot->addresses = address;
        }
        slot->names[slot->name_count++] = options->hostnames[i];
    }
}

static void free_slots(struct certificate *certificate)
{
    for (size_t i = 0; i < certificate->slot_count; i++)
        slot_free(&certificate->slots[i]);
}

// What lies between two renames is no fault, so it is looked at again for a while.
static bool read_settled(struct reading *reading, const struct slot *slot, enum reading_task task,
                         char *error, size_t size)
{
    const struct timespec pause = {.tv_nsec = CERTIFICATE_AGAIN_MS * 1000000L};
    bool ok;

    reading_take(reading, slot, task);
    ok = reading_can_start(reading, slot, error, size);
    for (int ms = 0; !ok && ms < CERTIFICATE_SETTLE_MS && reading_may_settle(reading);
         ms += CERTIFICATE_AGAIN_MS) {
        nanosleep(&pause, NULL);
        reading_free(reading);
        reading_take(reading, slot, task);
        ok = reading_can_start(reading, slot, error, size);
    }
    return ok;
}

static bool read_for_start(struct reading *reading, const struct slot *slot, char *error,
                           size_t size)
{
    return read_settled(reading, slot, READING_CREATE, error, size);
}

static bool read_for_check(struct reading *reading, const struct slot *slot, char *error,
                           size_t size)
{
    switch (slot_would_make(slot, error, size)) {
    case SELF_SIGNED_FAILED:
        return false;
    case SELF_SIGNED_CREATED:
        log_info("there is no certificate for %s yet: a self-signed one is made at the first start",
                 slot->names[0]);
        return true;
    case SELF_SIGNED_RENEWED:
        log_warnx("the self-signed certificate for %s is replaced at the next start, and with it "
                  "the pin",
                  slot->names[0]);
        return true;
    default:
        return read_settled(reading, slot, READING_LOOK, error, size);
    }
}

// All are read before one is taken, as that writes warnings, and a fault is to be the first word.
static bool load(struct certificate *certificate,
                 bool (*read)(struct reading *, const struct slot *, char *, size_t), char *error,
                 size_t size)
{
    struct reading *readings = memory_zeroed(certificate->slot_count * sizeof *readings);
    bool ok = true;

    for (size_t i = 0; i < certificate->slot_count && ok; i++)
        ok = read(&readings[i], &certificate->slots[i], error, size);
    for (size_t i = 0; i < certificate->slot_count; i++) {
        if (ok && readings[i].found == CERT_FIND_FOUND)
            slot_take(&certificate->slots[i], &readings[i], true, "");
        reading_free(&readings[i]);
    }
    free(readings);
    return ok;
}

bool certificate_load(struct certificate *certificate, const struct options *options, char *error,
                      size_t size)
{
    make_slots(certificate, options);
    state_init(&certificate->state);
    return load(certificate, read_for_start, error, size);
}

bool certificate_check(const struct options *options, char *error, size_t size)
{
    struct certificate *certificate = memory_zeroed(sizeof *certificate);
    bool ok;

    make_slots(certificate, options);
    ok = load(certificate, read_for_check, error, size);
    free_slots(certificate);
    free(certificate);
    return ok;
}

// --- Giving them to the workers ---

static SSL_CTX *context_new(const struct certificate *certificate, char *error, size_t size)
{
    struct tls_identity identities[OPTIONS_HOSTNAMES_MAX];
    X509 *meta =
        cert_meta_new(relay_public_key(certificate->relay)->bytes, DERP_VERSION, time(NULL));
    struct tls_config config = {
        .identities = identities,
        .identity_count = certificate->slot_count,
        .meta = meta,
        .challenges = certificate->challenges,
    };
    SSL_CTX *context;

    for (size_t i = 0; i < certificate->slot_count; i++)
        slot_tls_identity(&certificate->slots[i], &identities[i]);
    context = meta ? tls_context_new(&config) : NULL;
    X509_free(meta);
    if (!context)
        cert_fail(error, size, "TLS cannot use the certificates: %s", cert_reason());
    return context;
}

static void note_end(struct certificate *certificate)
{
    int64_t first = 0;

    for (size_t i = 0; i < certificate->slot_count; i++) {
        for (size_t j = 0; j < CERT_FOUND_MAX; j++) {
            const struct slot_pair *pair = &certificate->slots[i].pairs[j];

            if (pair->served && (first == 0 || pair->identity.not_after < first))
                first = pair->identity.not_after;
        }
    }
    certificate->not_after = first;
}

// Gives every worker a context of its own, with a meta certificate that has just begun. All of them
// or none.
static bool give(struct certificate *certificate, char *error, size_t size)
{
    struct relay *relay = certificate->relay;
    const size_t workers = relay_workers(relay);
    SSL_CTX **contexts = memory_zeroed(workers * sizeof *contexts);
    bool ok = true;

    for (size_t i = 0; i < workers && ok; i++) {
        contexts[i] = context_new(certificate, error, size);
        ok = contexts[i] != NULL;
    }
    for (size_t i = 0; i < workers; i++) {
        if (ok)
            relay_set_tls(relay, i, contexts[i]);
        SSL_CTX_free(contexts[i]);
    }
    free(contexts);
    if (ok)
        note_end(certificate);
    return ok;
}

static void warn_of_end(const struct slot *slot, const struct identity *identity)
{
    const int64_t left_s = identity->not_after - (int64_t)time(NULL);

    if (left_s > (int64_t)CERTIFICATE_WARN_DAYS * DAY_S)
        return;
    if (left_s <= 0)
        log_warnx("the certificate for %s has ended: clients refuse it", slot->names[0]);
    else
        log_warnx("the certificate for %s ends in %lld days%s", slot->names[0],
                  (long long)(left_s / DAY_S), identity->self_signed ? "" : ": renew it");
}

// ACME's are renewed by themselves, and what hinders that is told there.
static void warn_of_ends(const struct certificate *certificate)
{
    if (certificate->options->cert_mode != CERT_MODE_MANUAL)
        return;
    for (size_t i = 0; i < certificate->slot_count; i++)
        for (size_t j = 0; j < CERT_FOUND_MAX; j++)
            if (certificate->slots[i].pairs[j].served)
                warn_of_end(&certificate->slots[i], &certificate->slots[i].pairs[j].identity);
}

static void ensure(struct certificate *certificate)
{
    certificate->ensure = true;
    certificate_look(certificate);
}

static void on_day(uv_timer_t *timer)
{
    struct certificate *certificate = timer->data;
    char error[CERT_ERROR_BYTES];

    if (!give(certificate, error, sizeof error))
        log_warnx("the meta certificate was not renewed: %s", error);
    warn_of_ends(certificate);
    ensure(certificate);
}

static void on_successor(uv_timer_t *timer)
{
    ensure(timer->data);
}

// The daily look would be up to a day late.
static void await_successor(struct certificate *certificate)
{
    const struct self_signed_report *report = certificate_announced(certificate);
    const int64_t left_s = report ? (int64_t)report->switch_at - (int64_t)time(NULL) : -1;

    uv_timer_stop(&certificate->successor);
    if (left_s >= 0 && left_s <= DAY_S)
        uv_timer_start(&certificate->successor, on_successor, (uint64_t)(left_s + 1) * 1000, 0);
}

// --- Looking ---

static void on_pool(uv_work_t *work)
{
    struct certificate_look *look = work->data;
    const struct certificate *certificate = look->certificate;

    for (size_t i = 0; i < certificate->slot_count; i++) {
        reading_take(&look->readings[i], &certificate->slots[i], look->task);
        reading_folders(&look->readings[i], &certificate->slots[i], &look->folders);
    }
}

static void free_look(struct certificate_look *look)
{
    for (size_t i = 0; i < look->certificate->slot_count; i++)
        reading_free(&look->readings[i]);
    free(look->readings);
    free(look);
}

// Somebody has put another self-signed certificate there, the successor for instance.
static bool report_is_stale(const struct certificate *certificate)
{
    for (size_t i = 0; i < certificate->slot_count; i++) {
        const struct slot *slot = &certificate->slots[i];
        const struct identity *first = slot_first(slot);

        if (*slot->report.pin && first && strcmp(first->pin, slot->report.pin) != 0)
            return true;
    }
    return false;
}

// Takes all that was read. True when something is to be looked at again.
static bool take_readings(struct certificate *certificate, struct certificate_look *look)
{
    const bool settled =
        certificate->unsettled_ms > 0 &&
        uv_now(certificate->loop) - certificate->unsettled_ms >= CERTIFICATE_SETTLE_MS;
    struct slot_news sum = {0};
    const char *cause = look->hangups != certificate->hangups_told ? "SIGHUP: " : "";
    bool changed = certificate->not_given, again = false;
    char error[CERT_ERROR_BYTES];

    for (size_t i = 0; i < certificate->slot_count; i++) {
        const struct slot_news news =
            slot_take(&certificate->slots[i], &look->readings[i], settled, cause);

        changed = changed || news.swapped > 0 || news.dropped > 0;
        again = again || news.again;
        sum.swapped += news.swapped;
        sum.refused += news.refused;
    }
    certificate->not_given = changed && !give(certificate, error, sizeof error);
    if (certificate->not_given)
        log_warnx("the certificates that were loaded are not served yet: %s", error);
    if (changed)
        warn_of_ends(certificate);
    if (changed && report_is_stale(certificate))
        certificate->ensure = certificate->again = true;
    await_successor(certificate);
    state_publish(&certificate->state, certificate->slots, certificate->slot_count, &sum);
    return again;
}

// A person who asks gets an answer, also when nothing is new.
static void tell_hangup(struct certificate *certificate, unsigned hangups)
{
    if (certificate->hangups_told == hangups)
        return;
    certificate->hangups_told = hangups;
    for (size_t i = 0; i < certificate->slot_count; i++) {
        if (!certificate->slots[i].told)
            slot_tell(&certificate->slots[i], "SIGHUP: ");
        certificate->slots[i].told = false;
    }
}

static void start_look(struct certificate *certificate);

static void end_look(struct certificate *certificate, struct certificate_look *look)
{
    const bool again = take_readings(certificate, look);

    watch_follow(&certificate->watch, &look->folders);
    if (again && certificate->unsettled_ms == 0)
        certificate->unsettled_ms = uv_now(certificate->loop);
    // A renewal that failed is a fault of its own, which a mere look would not meet.
    if (again && look->task == READING_RENEW)
        certificate->ensure = true;
    if (!again) {
        certificate->unsettled_ms = 0;
        tell_hangup(certificate, look->hangups);
    }
    if (certificate->again)
        start_look(certificate);
    else if (again)
        watch_due_in(&certificate->watch, CERTIFICATE_AGAIN_MS);
}

static void on_looked(uv_work_t *work, int status)
{
    struct certificate_look *look = work->data;
    struct certificate *certificate = look->certificate;

    certificate->look = NULL;
    if (status == 0 && !certificate->closing)
        end_look(certificate, look);
    free_look(look);
}

static void start_look(struct certificate *certificate)
{
    struct certificate_look *look = memory_zeroed(sizeof *look);

    look->certificate = certificate;
    look->readings = memory_zeroed(certificate->slot_count * sizeof *look->readings);
    look->work.data = look;
    look->hangups = certificate->hangups;
    look->task = certificate->ensure ? READING_RENEW : READING_LOOK;
    certificate->ensure = false;
    certificate->look = look;
    certificate->again = false;
    uv_queue_work(certificate->loop, &look->work, on_pool, on_looked);
}

void certificate_look(struct certificate *certificate)
{
    if (!certificate->relay || certificate->closing)
        return;
    if (certificate->look)
        certificate->again = true;
    else
        start_look(certificate);
}

static void on_due(struct certificate_watch *watch)
{
    certificate_look(list_entry(watch, struct certificate, watch));
}

// --- From outside ---

bool certificate_serve(struct certificate *certificate, struct relay *relay, uv_loop_t *loop,
                       char *error, size_t size)
{
    static const struct slot_news none;

    certificate->relay = relay;
    certificate->loop = loop;
    if (!give(certificate, error, size))
        return false;
    state_publish(&certificate->state, certificate->slots, certificate->slot_count, &none);
    uv_timer_init(loop, &certificate->daily);
    certificate->daily.data = certificate;
    uv_timer_start(&certificate->daily, on_day, DAY_MS, DAY_MS);
    uv_timer_init(loop, &certificate->successor);
    certificate->successor.data = certificate;
    watch_init(&certificate->watch, loop, on_due);
    certificate_look(certificate); // tells which folders are to be watched
    warn_of_ends(certificate);
    return true;
}

bool certificate_reload(struct certificate *certificate)
{
    if (!certificate->relay)
        return false;
    certificate->hangups++;
    for (size_t i = 0; i < certificate->slot_count; i++)
        certificate->slots[i].told = false;
    certificate_look(certificate);
    return true;
}

static void on_watch_closed(struct certificate_watch *watch)
{
    (void)watch; // lives in the certificate, which its owner keeps until the loop has ended
}

void certificate_close(struct certificate *certificate)
{
    certificate->closing = true;
    if (certificate->relay) {
        uv_close((uv_handle_t *)&certificate->daily, NULL);
        uv_close((uv_handle_t *)&certificate->successor, NULL);
        watch_close(&certificate->watch, on_watch_closed);
        if (certificate->look)
            uv_cancel((uv_req_t *)&certificate->look->work);
    }
    free_slots(certificate);
}

size_t certificate_slots(const struct certificate *certificate)
{
    return certificate->slot_count;
}

size_t certificate_slot_names(const struct certificate *certificate, size_t slot,
                              const char *const **names)
{
    *names = certificate->slots[slot].names;
    return certificate->slots[slot].name_count;
}

bool certificate_leaf(struct certificate *certificate, size_t slot, X509 **leaf)
{
    const struct identity *first = slot_first(&certificate->slots[slot]);

    if (!first)
        return false;
    X509_up_ref(first->pair.leaf);
    *leaf = first->pair.leaf;
    return true;
}

void certificate_note_renewal(struct certificate *certificate, size_t slot, const char *sentence,
                              int64_t when, int64_t next)
{
    state_note_renewal(&certificate->state, slot, sentence, when, next);
}

const char *certificate_pin(const struct certificate *certificate)
{
    for (size_t i = 0; i < certificate->slot_count; i++) {
        const struct identity *first = slot_first(&certificate->slots[i]);

        if (certificate->slots[i].addresses && first && first->self_signed)
            return first->pin;
    }
    return "";
}

const struct self_signed_report *certificate_announced(const struct certificate *certificate)
{
    for (size_t i = 0; i < certificate->slot_count; i++)
        if (*certificate->slots[i].report.next_pin)
            return &certificate->slots[i].report;
    return NULL;
}
