// SPDX-License-Identifier: BSD-3-Clause
#include "server/renewer.h"

#include "base/clock.h"
#include "base/log.h"
#include "certgen/address.h"
#include "certgen/check.h"
#include "certgen/file.h"
#include "server/attempts.h"
#include "server/folder.h"
#include "server/go_duration.h"
#include "server/identity.h"
#include "server/proof.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>

#define NEXT_CHANGED_S 5 // what is less is rounding
#define SPAN_TEXT_BYTES 32
#define NAMES_TEXT_BYTES 512
#define IP_PROFILE "shortlived" // the one that Let's Encrypt has for addresses

// --- What the world is, unless a test says otherwise. ---

static X509 *load_pair(const char *folder, const struct renewer_names *names, char *error,
                       size_t size)
{
    struct identity identity;
    struct cert_paths paths;
    X509 *leaf;

    if (!cert_paths_one_file(&paths, folder, "", names->names[0], error, size) ||
        !identity_load(&identity, &paths, "", names->names, names->count, error, size))
        return NULL;
    leaf = identity.pair.leaf;
    X509_up_ref(leaf);
    identity_free(&identity);
    return leaf;
}

static struct renewal_now read_clocks(void)
{
    struct timespec steady;

    clock_gettime(CLOCK_BOOTTIME, &steady); // goes on while the machine sleeps
    return (struct renewal_now){time(NULL), steady.tv_sec};
}

const struct renewer_seams renewer_world = {
    .obtain = acme_obtain,
    .window = acme_suggested_window,
    .load = load_pair,
    .now = read_clocks,
    .look_ms = RENEWER_LOOK_S * MS_PER_SECOND,
};

// --- Words. ---

static const char *span_text(int64_t seconds, char out[static SPAN_TEXT_BYTES])
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{RENEWAL_DAY_S, "day"}, {RENEWAL_HOUR_S, "hour"}, {RENEWAL_MINUTE_S, "minute"}};
    size_t i = 0;
    int64_t count;

    while (i < 2 && seconds < 2 * units[i].seconds)
        i++;
    count = (seconds + units[i].seconds / 2) / units[i].seconds;
    if (count < 1)
        count = 1;
    snprintf(out, SPAN_TEXT_BYTES, "%lld %s%s", (long long)count, units[i].name,
             count == 1 ? "" : "s");
    return out;
}

static const char *kind_text(enum acme_challenge_kind kind)
{
    return kind == ACME_HTTP_01 ? "http-01, on port 80" : "tls-alpn-01, on port 443";
}

static const char *label(const struct renewer_slot *slot)
{
    return slot->names.names[0];
}

// --- The client's world. All of it runs on the thread. ---

static bool world_show(const struct acme_challenge *challenge, void *data)
{
    struct renewer *renewer = data;

    return proof_show(renewer->config.challenges, challenge);
}

static void world_hide(const struct acme_challenge *challenge, void *data)
{
    struct renewer *renewer = data;

    proof_hide(renewer->config.challenges, challenge);
}

// Until something changes, at most. With the lock.
static int wait_for_change(struct renewer *renewer, uint64_t until_ns)
{
    const struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_SECOND),
                                   .tv_nsec = (long)(until_ns % NS_PER_SECOND)};

    return pthread_cond_timedwait(&renewer->changed, &renewer->lock, &until);
}

static bool world_wait(uint64_t ms, void *data)
{
    struct renewer *renewer = data;
    const uint64_t until_ns = clock_ns() + ms * NS_PER_MS;
    int err = 0;

    pthread_mutex_lock(&renewer->lock);
    while (!renewer->stopping && err == 0)
        err = wait_for_change(renewer, until_ns);
    pthread_mutex_unlock(&renewer->lock);
    return !renewer->stopping;
}

static bool world_cancelled(void *data)
{
    const struct renewer *renewer = data;

    return renewer->stopping;
}

static void world_say(const char *line, void *data)
{
    (void)data;
    log_info("ACME: %s", line);
}

static void fill_config(struct renewer *renewer, const struct renewer_slot *slot,
                        struct acme_world *world, struct acme_config *config)
{
    const struct options *options = renewer->config.options;

    *world = (struct acme_world){world_show,      world_hide, world_wait,
                                 world_cancelled, world_say,  renewer};
    *config = (struct acme_config){
        .directory = options->acme_directory,
        .ca_file = *options->acme_ca ? options->acme_ca : NULL,
        .folder = options->cert_dir,
        .email = options->acme_email,
        .eab_kid = options->acme_eab_kid,
        .eab_key = options->acme_eab_key,
        .profile = slot->addresses ? IP_PROFILE : "",
        .kinds = slot->kinds,
        .preferred = slot->preferred,
        .world = world,
    };
}

// --- The thread. ---

// Takes over the caller's reference.
static void serve(struct renewer_slot *slot, X509 *leaf, struct renewal_now now)
{
    const bool same = leaf == slot->leaf || (leaf && slot->leaf && X509_cmp(leaf, slot->leaf) == 0);

    X509_free(slot->leaf);
    slot->leaf = leaf;
    if (same)
        return;
    renewal_serves(&slot->renewal, now, leaf ? cert_not_before(leaf) : 0,
                   leaf ? cert_not_after(leaf) : 0, randombytes_random());
}

static bool keep(struct renewer *renewer, struct renewer_slot *slot, struct renewal_now now,
                 char *error, size_t size)
{
    const struct options *options = renewer->config.options;
    struct renewal_kept kept;

    renewal_keep(&slot->renewal, now, &kept);
    return attempts_save(options->cert_dir, label(slot), options->acme_directory, &kept, error,
                         size);
}

static void log_success(const struct renewer *renewer, const struct renewer_slot *slot,
                        struct renewal_now now)
{
    char left[SPAN_TEXT_BYTES], next[SPAN_TEXT_BYTES];

    log_info("the certificate for %s has come from %s, is good for %s and renewed in %s, by itself",
             label(slot), renewer->config.options->acme_directory,
             span_text(cert_not_after(slot->leaf) - now.wall_s, left),
             span_text(renewal_wait(&slot->renewal, now), next));
}

static void log_failure(const struct renewer_slot *slot, const struct acme_fault *fault,
                        struct renewal_now now)
{
    const bool served = slot->leaf && cert_not_after(slot->leaf) > now.wall_s;
    char left[SPAN_TEXT_BYTES], next[SPAN_TEXT_BYTES], state[SPAN_TEXT_BYTES + 64] = "";

    if (served)
        snprintf(state, sizeof state, " (the present one is good for %s)",
                 span_text(cert_not_after(slot->leaf) - now.wall_s, left));
    log_warnx("no %scertificate for %s%s, tried again in %s%s%s%s: %s", served ? "new " : "",
              label(slot), state, span_text(renewal_wait(&slot->renewal, now), next),
              fault->outcome == ACME_UNPROVEN ? " by " : "",
              fault->outcome == ACME_UNPROVEN ? kind_text(slot->preferred) : "",
              renewal_may_hurry(&slot->renewal, now) ? ", or at once on SIGHUP or a restart" : "",
              fault->sentence);
}

// The other kind, where there is one, next time.
static void turn(struct renewer_slot *slot)
{
    const unsigned other = slot->kinds & ~(unsigned)slot->preferred;

    if (other)
        slot->preferred = other;
}

// The client has written a certificate: what a start would load now is what counts.
static void take_written(struct renewer *renewer, struct renewer_slot *slot, struct renewal_now now,
                         struct acme_fault *fault)
{
    char error[CERT_ERROR_BYTES];
    X509 *leaf = renewer->config.seams->load(renewer->config.options->cert_dir, &slot->names, error,
                                             sizeof error);

    fault->outcome = ACME_DONE;
    if (leaf)
        serve(slot, leaf, now);
    snprintf(fault->sentence, sizeof fault->sentence, "a certificate has come from %s%s%.512s",
             renewer->config.options->acme_directory,
             leaf ? "" : ", but cannot be used: ", leaf ? "" : error);
    pthread_mutex_lock(&renewer->lock);
    renewer->written = true;
    pthread_mutex_unlock(&renewer->lock);
}

// A try that is not written down beforehand would not be counted, so it is none.
static bool begin(struct renewer *renewer, struct renewer_slot *slot, struct acme_fault *fault)
{
    const struct renewal_now now = renewer->config.seams->now();

    renewal_begin(&slot->renewal, now);
    fault->outcome = ACME_REFUSED;
    fault->retry_after_s = 0;
    return keep(renewer, slot, now, fault->sentence, sizeof fault->sentence);
}

static void end(struct renewer *renewer, struct renewer_slot *slot, const struct acme_fault *fault,
                bool served)
{
    const struct renewal_now now = renewer->config.seams->now();
    char error[CERT_ERROR_BYTES];

    renewal_end(&slot->renewal, now, fault->outcome, fault->retry_after_s, randombytes_random());
    if (fault->outcome == ACME_UNPROVEN)
        turn(slot);
    renewer->attempts[fault->outcome]++;
    if (!keep(renewer, slot, now, error, sizeof error) && fault->outcome != ACME_REFUSED)
        log_warnx("a try to get a certificate was not written down: %s", error);
    if (fault->outcome == ACME_CANCELLED)
        return;
    if (served)
        log_success(renewer, slot, now);
    else
        log_failure(slot, fault, now);
    memcpy(slot->report.sentence, fault->sentence, sizeof slot->report.sentence);
    slot->report.when_s = now.wall_s;
    slot->reported = true;
}

static void attempt(struct renewer *renewer, struct renewer_slot *slot)
{
    const struct renewer_seams *seams = renewer->config.seams;
    struct acme_world world;
    const X509 *before = slot->leaf;
    struct acme_config config;
    struct acme_fault fault;

    fill_config(renewer, slot, &world, &config);
    if (begin(renewer, slot, &fault) &&
        seams->obtain(&config, slot->names.names, slot->names.count, slot->leaf, &fault))
        take_written(renewer, slot, seams->now(), &fault);
    end(renewer, slot, &fault, fault.outcome == ACME_DONE && slot->leaf != before);
}

static void ask(struct renewer *renewer, struct renewer_slot *slot)
{
    const struct renewer_seams *seams = renewer->config.seams;
    struct acme_world world;
    struct acme_config config;
    struct acme_window window;
    struct acme_fault fault;

    fill_config(renewer, slot, &world, &config);
    if (seams->window(&config, slot->leaf, &window, &fault)) {
        renewal_window(&slot->renewal, seams->now(), &window, randombytes_random());
    } else {
        renewal_no_window(&slot->renewal, seams->now(), fault.outcome);
        log_debug("ACME: no moment for %s was suggested: %s", label(slot), fault.sentence);
    }
}

// What the main loop has told since the last time. With the lock.
static void take_told(struct renewer *renewer, struct renewal_now now)
{
    for (size_t i = 0; i < renewer->config.slot_count; i++) {
        struct renewer_slot *slot = &renewer->slots[i];

        if (slot->retold) {
            if (slot->told)
                X509_up_ref(slot->told);
            serve(slot, slot->told, now);
            slot->retold = false;
        }
        if (renewer->hurried && renewal_may_hurry(&slot->renewal, now)) {
            log_info("SIGHUP: the certificate for %s is tried for again now", label(slot));
            renewal_hurry(&slot->renewal);
        }
    }
    renewer->hurried = false;
}

// For the main loop and for metrics, where something has changed. With the lock.
static void publish(struct renewer *renewer, struct renewal_now now)
{
    for (size_t i = 0; i < renewer->config.slot_count; i++) {
        struct renewer_slot *slot = &renewer->slots[i];
        const int64_t next_s = now.wall_s + renewal_wait(&slot->renewal, now);

        if (!slot->reported && llabs(next_s - slot->report.next_s) < NEXT_CHANGED_S)
            continue;
        slot->report.next_s = next_s;
        slot->next_s = next_s;
        slot->reported = false;
        slot->shown = slot->report;
        slot->fresh = true;
        uv_async_send(&renewer->wake);
    }
}

// Who has something to do; NULL, and then for how long nobody has.
static struct renewer_slot *next_slot(struct renewer *renewer, struct renewal_now now,
                                      int64_t *wait_s)
{
    *wait_s = INT64_MAX;
    for (size_t i = 0; i < renewer->config.slot_count; i++) {
        struct renewer_slot *slot = &renewer->slots[i];
        const int64_t wait = renewal_wait(&slot->renewal, now);
        const int64_t ask_wait = renewal_ask_wait(&slot->renewal, now);
        const int64_t its = ask_wait < wait ? ask_wait : wait;

        if (its == 0)
            return slot;
        if (its < *wait_s)
            *wait_s = its;
    }
    return NULL;
}

static void work(struct renewer *renewer, struct renewer_slot *slot, struct renewal_now now)
{
    if (renewal_ask_wait(&slot->renewal, now) == 0)
        ask(renewer, slot);
    else
        attempt(renewer, slot);
}

static void rest(struct renewer *renewer, int64_t wait_s)
{
    const uint64_t look_ms = renewer->config.seams->look_ms;
    const uint64_t wait_ms =
        (uint64_t)wait_s < look_ms / MS_PER_SECOND ? (uint64_t)wait_s * MS_PER_SECOND : look_ms;

    wait_for_change(renewer, clock_ns() + wait_ms * NS_PER_MS);
}

static void *run(void *data)
{
    struct renewer *renewer = data;

    pthread_mutex_lock(&renewer->lock);
    while (!renewer->stopping) {
        const struct renewal_now now = renewer->config.seams->now();
        struct renewer_slot *slot;
        int64_t wait_s;

        take_told(renewer, now);
        publish(renewer, now);
        slot = next_slot(renewer, now, &wait_s);
        if (!slot) {
            rest(renewer, wait_s);
            continue;
        }
        pthread_mutex_unlock(&renewer->lock);
        work(renewer, slot, now);
        pthread_mutex_lock(&renewer->lock);
    }
    renewer->ended = true;
    pthread_mutex_unlock(&renewer->lock);
    uv_async_send(&renewer->wake);
    return NULL;
}

// --- The main loop's side. ---

static void on_closed(uv_handle_t *handle)
{
    struct renewer *renewer = handle->data;

    for (size_t i = 0; i < renewer->config.slot_count; i++) {
        X509_free(renewer->slots[i].leaf);
        X509_free(renewer->slots[i].told);
    }
    pthread_cond_destroy(&renewer->changed);
    pthread_mutex_destroy(&renewer->lock);
}

static void join(struct renewer *renewer)
{
    pthread_join(renewer->thread, NULL);
    uv_close((uv_handle_t *)&renewer->wake, on_closed);
}

// Tells the thread what is served, where that has changed.
static void tell(struct renewer *renewer)
{
    const struct renewer_host *host = &renewer->config.host;

    for (size_t i = 0; i < renewer->config.slot_count; i++) {
        struct renewer_slot *slot = &renewer->slots[i];
        X509 *leaf = host->leaf(i, host->data);

        if ((leaf && slot->told && X509_cmp(leaf, slot->told) == 0) || (!leaf && !slot->told)) {
            X509_free(leaf);
            continue;
        }
        pthread_mutex_lock(&renewer->lock);
        X509_free(slot->told);
        slot->told = leaf;
        slot->retold = true;
        pthread_cond_signal(&renewer->changed);
        pthread_mutex_unlock(&renewer->lock);
    }
}

static void on_tell(uv_timer_t *timer)
{
    tell(timer->data);
}

static void on_wake(uv_async_t *async)
{
    struct renewer *renewer = async->data;
    const struct renewer_host *host = &renewer->config.host;
    bool written, ended;

    pthread_mutex_lock(&renewer->lock);
    written = renewer->written;
    ended = renewer->ended;
    renewer->written = false;
    pthread_mutex_unlock(&renewer->lock);
    if (ended) {
        join(renewer);
        return;
    }
    if (renewer->stopping)
        return;
    for (size_t i = 0; i < renewer->config.slot_count; i++) {
        struct renewer_slot *slot = &renewer->slots[i];
        struct renewer_report report;
        bool fresh;

        pthread_mutex_lock(&renewer->lock);
        fresh = slot->fresh;
        report = slot->shown;
        slot->fresh = false;
        pthread_mutex_unlock(&renewer->lock);
        if (fresh)
            host->note(i, report.sentence, report.when_s, report.next_s, host->data);
    }
    if (written)
        host->look(host->data);
}

// --- Start and stop. ---

bool renewer_wanted(const struct options *options)
{
    return options->serve_tls && options->cert_mode != CERT_MODE_MANUAL;
}

// The port that is the one which the authority asks, if one is; otherwise the HTTP port, as most
// port forwards that there are lead there.
static void choose_kinds(const struct renewer_config *config, struct renewer_slot *slot)
{
    const bool http = config->http_port >= 0;

    slot->kinds = (http ? ACME_HTTP_01 : 0) | (slot->addresses ? 0 : ACME_TLS_ALPN_01);
    slot->preferred = http && (config->http_port == 80 || config->main_port != 443)
                          ? ACME_HTTP_01
                          : ACME_TLS_ALPN_01;
    if (slot->addresses)
        slot->preferred = ACME_HTTP_01;
}

static void begin_slot(struct renewer *renewer, struct renewer_slot *slot,
                       const struct renewer_names *names)
{
    const struct options *options = renewer->config.options;
    const struct renewal_now now = renewer->config.seams->now();
    struct renewal_kept kept;

    slot->names = *names;
    slot->addresses = cert_is_address(label(slot));
    choose_kinds(&renewer->config, slot);
    renewal_init(&slot->renewal);
    if (attempts_load(options->cert_dir, label(slot), options->acme_directory, &kept))
        renewal_restore(&slot->renewal, now, &kept);
}

static const char *names_text(const struct renewer_names *names, char out[static NAMES_TEXT_BYTES])
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < names->count && len < NAMES_TEXT_BYTES; i++)
        len += (size_t)snprintf(out + len, NAMES_TEXT_BYTES - len, "%s%s", i > 0 ? ", " : "",
                                names->names[i]);
    return out;
}

static void say_what_is_waited_for(const struct renewer *renewer, const struct renewer_slot *slot)
{
    const int64_t wait_s = renewal_wait(&slot->renewal, renewer->config.seams->now());
    char names[NAMES_TEXT_BYTES], wait[SPAN_TEXT_BYTES];

    if (slot->told) {
        log_info("the certificate for %s is renewed at %s, by itself",
                 names_text(&slot->names, names), renewer->config.options->acme_directory);
        return;
    }
    log_info("there is no certificate for %s yet: it is asked for at %s, by %s%s%s; until it is "
             "there, TLS is refused, and everything else works",
             names_text(&slot->names, names), renewer->config.options->acme_directory,
             kind_text(slot->preferred), wait_s ? ", in " : "",
             wait_s ? span_text(wait_s, wait) : "");
}

// A container without a volume has a certificate made at each start, until the authority has
// enough of it.
static void warn_of_forgetting(const struct options *options)
{
    struct statfs fs;

    if (statfs(options->cert_dir, &fs) == 0 &&
        (fs.f_type == OVERLAYFS_SUPER_MAGIC || fs.f_type == TMPFS_MAGIC))
        log_warnx("%s, where certificates are kept, is gone when this container or machine is "
                  "made anew, and an authority makes only a few for a name in a week: mount a "
                  "volume there",
                  options->cert_dir);
}

static void init_lock(struct renewer *renewer)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&renewer->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&renewer->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

// One that the thread will make, for its folder's sake.
static bool some_file(struct cert_paths *paths, const struct options *options, char *error,
                      size_t size)
{
    return cert_paths_one_file(paths, options->cert_dir, "", options->hostname, error, size);
}

bool renewer_start(struct renewer *renewer, const struct renewer_config *config, uv_loop_t *loop,
                   char *error, size_t size)
{
    struct cert_paths paths;
    int err;

    assert(config->slot_count <= RENEWER_SLOTS_MAX);
    if (!some_file(&paths, config->options, error, size) ||
        !cert_file_make_folder(paths.cert, error, size))
        return false;
    renewer->config = *config;
    init_lock(renewer);
    for (size_t i = 0; i < config->slot_count; i++)
        begin_slot(renewer, &renewer->slots[i], &config->slots[i]);
    renewer->config.slots = NULL; // the caller's
    uv_async_init(loop, &renewer->wake, on_wake);
    uv_timer_init(loop, &renewer->tell);
    renewer->wake.data = renewer->tell.data = renewer;
    uv_timer_start(&renewer->tell, on_tell, config->seams->look_ms, config->seams->look_ms);
    tell(renewer);
    for (size_t i = 0; i < config->slot_count; i++)
        say_what_is_waited_for(renewer, &renewer->slots[i]);
    warn_of_forgetting(config->options);
    err = pthread_create(&renewer->thread, NULL, run, renewer);
    if (err) {
        snprintf(error, size, "the thread that renews certificates could not be started: %s",
                 strerror(err));
        return false;
    }
    renewer->started = true;
    return true;
}

bool renewer_hurry(struct renewer *renewer)
{
    if (!renewer->started || renewer->stopping)
        return false;
    pthread_mutex_lock(&renewer->lock);
    renewer->hurried = true;
    pthread_cond_signal(&renewer->changed);
    pthread_mutex_unlock(&renewer->lock);
    return true;
}

void renewer_stop(struct renewer *renewer)
{
    if (!renewer->started || renewer->stopping)
        return;
    uv_close((uv_handle_t *)&renewer->tell, NULL);
    pthread_mutex_lock(&renewer->lock);
    renewer->stopping = true;
    pthread_cond_signal(&renewer->changed);
    pthread_mutex_unlock(&renewer->lock);
}

void renewer_write_metrics(struct metrics *metrics, void *data)
{
    static const char *const results[RENEWER_OUTCOMES] = {
        [ACME_DONE] = "done",
        [ACME_CANCELLED] = "cancelled",
        [ACME_UNREACHABLE] = "unreachable",
        [ACME_LIMITED] = "limited",
        [ACME_UNPROVEN] = "unproven",
        [ACME_REFUSED] = "refused",
    };
    struct renewer *renewer = data;

    if (!renewer->started)
        return;
    metrics_family(metrics, METRIC_COUNTER, "derper_acme_attempts");
    for (size_t i = 0; i < RENEWER_OUTCOMES; i++)
        metrics_sample(metrics, "result", results[i], renewer->attempts[i]);
    metrics_family(metrics, METRIC_GAUGE, "derper_acme_next_attempt_unix");
    for (size_t i = 0; i < renewer->config.slot_count; i++)
        metrics_sample(metrics, "hostname", label(&renewer->slots[i]), renewer->slots[i].next_s);
}

bool renewer_check(const struct options *options, char *error, size_t size)
{
    const struct renewer_config config = {.main_port = options->listen_port,
                                          .http_port = options->http_port};
    struct cert_paths paths;
    struct cert_text text;

    if (!some_file(&paths, options, error, size) || !folder_may_create(paths.cert, error, size))
        return false;
    if (*options->acme_ca) {
        if (!cert_file_read(options->acme_ca, &text, error, size))
            return false;
        cert_file_wipe(&text);
    }
    for (size_t i = 0; i < options->hostname_count; i++) {
        struct renewer_slot slot = {.addresses = cert_is_address(options->hostnames[i])};

        choose_kinds(&config, &slot);
        log_info("the certificate for %s is asked for at %s, by %s, and kept in %s",
                 options->hostnames[i], options->acme_directory, kind_text(slot.preferred),
                 options->cert_dir);
    }
    return true;
}
