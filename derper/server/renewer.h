// SPDX-License-Identifier: BSD-3-Clause
//
// The thread that has certificates made by an ACME authority and renewed: one for each DNS name,
// and one for all addresses together. The client blocks, so it has this thread for itself; the
// names take turns on it, and one that fails waits for its next turn without holding up the others.
// It writes files into the certificate folder and tells the main loop, whose matter it is what is
// served. When to try is decided in server/renewal.h.
#ifndef DERPER_SERVER_RENEWER_H
#define DERPER_SERVER_RENEWER_H

#include "io/challenges.h"
#include "server/options.h"
#include "server/renewal.h"
#include "web/metrics.h"

#include <openssl/x509.h>
#include <pthread.h>
#include <uv.h>

#define RENEWER_SLOTS_MAX OPTIONS_HOSTNAMES_MAX
#define RENEWER_LOOK_S 60 // the clocks are looked at so often, whatever is planned
#define RENEWER_OUTCOMES (ACME_REFUSED + 1)

// What is served, on the main loop.
struct renewer_host {
    // Another reference to the certificate that a slot serves; NULL when it serves none.
    X509 *(*leaf)(size_t slot, void *data);
    // Files have changed.
    void (*look)(void *data);
    // What came of the last try, "" before the first; Unix times.
    void (*note)(size_t slot, const char *sentence, int64_t when, int64_t next, void *data);
    void *data;
};

// Of one certificate.
struct renewer_names {
    const char *const *names; // which live as long as the renewer
    size_t count;
};

// What tests put in the place of the world. All of them run on the renewer's thread.
struct renewer_seams {
    bool (*obtain)(const struct acme_config *config, const char *const *names, size_t count,
                   const X509 *replaces, struct acme_fault *fault);
    bool (*window)(const struct acme_config *config, const X509 *cert, struct acme_window *window,
                   struct acme_fault *fault);
    // What `obtain` has written, as it would be served for all of the names: the caller's, NULL
    // with a sentence.
    X509 *(*load)(const char *folder, const struct renewer_names *names, char *error, size_t size);
    struct renewal_now (*now)(void);
    uint64_t look_ms; // RENEWER_LOOK_S
};

extern const struct renewer_seams renewer_world;

struct renewer_config {
    const struct options *options;
    int main_port, http_port; // as bound; http_port -1 = none
    struct challenges *challenges;
    const struct renewer_names *slots; // copied; in the host's order
    size_t slot_count;
    struct renewer_host host;
    const struct renewer_seams *seams; // &renewer_world
};

struct renewer_report {
    char sentence[CERT_ERROR_BYTES];
    int64_t when_s, next_s;
};

struct renewer_slot {
    struct renewer_names names;
    bool addresses;

    // The thread's.
    struct renewal renewal;
    unsigned kinds; // bits of enum acme_challenge_kind
    enum acme_challenge_kind preferred;
    X509 *leaf; // NULL = none
    struct renewer_report report;
    bool reported; // it is new

    // Under the lock.
    X509 *told; // what the main loop serves
    bool retold;
    struct renewer_report shown; // to the main loop
    bool fresh;

    _Atomic int64_t next_s; // for metrics
};

struct renewer {
    struct renewer_config config;
    struct renewer_slot slots[RENEWER_SLOTS_MAX];
    uv_async_t wake; // the main loop
    uv_timer_t tell;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;

    _Atomic bool started, stopping;
    bool hurried, written, ended; // under the lock

    _Atomic int64_t attempts[RENEWER_OUTCOMES];
};

// Whether these options want one.
bool renewer_wanted(const struct options *options);

// Starts the thread. `renewer` is zeroed memory, which lives until the loop has closed what is on
// it. False, with a sentence.
bool renewer_start(struct renewer *renewer, const struct renewer_config *config, uv_loop_t *loop,
                   char *error, size_t size);

// Those that wait after a failure try now, where no limit forbids it. False when there is no
// renewer.
bool renewer_hurry(struct renewer *renewer);

// Ends the thread, also amid a request; does not wait for it: it is joined on the loop, within a
// second or so. Harmless when none was started.
void renewer_stop(struct renewer *renewer);

// For struct metric_source; writes nothing when none was started.
void renewer_write_metrics(struct metrics *metrics, void *data);

// What a start would do, in the log, without asking anybody. False, with a sentence.
bool renewer_check(const struct options *options, char *error, size_t size);

#endif
