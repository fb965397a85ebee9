// SPDX-License-Identifier: BSD-3-Clause
//
// What people are told of the certificates, as metrics and on /debug/: written by the main thread,
// read by every worker's.
#ifndef DERPER_SERVER_CERTIFICATE_STATE_H
#define DERPER_SERVER_CERTIFICATE_STATE_H

#include "server/certificate_slot.h"
#include "web/metrics.h"
#include "web/page.h"

#include <pthread.h>
#include <stdint.h>

struct pair_state {
    bool served, refused;
    char file[CERT_PATH_MAX_BYTES];
    const char *layout, *kind; // constants
    int64_t not_after;
    char pin[CERT_PIN_CHARS + 1];
    char fault[CERT_ERROR_BYTES];
};

struct slot_state {
    const char *source; // a constant
    size_t name_count;
    const char *const *names; // the slot's, which outlives it
    struct pair_state pairs[CERT_FOUND_MAX];
    int64_t changed_unix;
    struct self_signed_report report; // zero when there is no self-signed pair
    // Of the renewer, when there is one.
    char renewal[CERT_ERROR_BYTES]; // "" = none yet
    int64_t renewal_unix, next_renewal_unix;
};

struct certificate_state {
    pthread_mutex_t lock; // of all below
    size_t count;
    struct slot_state slots[OPTIONS_HOSTNAMES_MAX];
    int64_t looks, swapped, refused;
};

void state_init(struct certificate_state *state);

// As the slots are now; `news` is of one look.
void state_publish(struct certificate_state *state, const struct slot *slots, size_t count,
                   const struct slot_news *news);

void state_note_renewal(struct certificate_state *state, size_t slot, const char *sentence,
                        int64_t when, int64_t next);

// A metric_source and a debug_section.
void state_write_metrics(struct metrics *metrics, void *state);
void state_write_page(struct page *page, void *state);

#endif
