// SPDX-License-Identifier: BSD-3-Clause
//
// The certificates that are served: one slot for each DNS name of --hostname, and one for all IP
// addresses in it together. Loaded, given to every worker, and from then on watched: what is new on
// disk and fit is swapped for new handshakes, and connections that stand stay. Main thread only,
// except `not_after` and `state`.
//
// Files are read on a thread of libuv's pool, one look at a time, so that a file system that hangs
// while they are read holds up nothing but the next look (and the end of the process: a read cannot
// be called off). Only the watch's word to the kernel, after a look, is the main thread's.
#ifndef DERPER_SERVER_CERTIFICATE_H
#define DERPER_SERVER_CERTIFICATE_H

#include "relay/relay.h"
#include "server/certificate_slot.h"
#include "server/certificate_state.h"
#include "server/certificate_watch.h"

#include <uv.h>

#define CERTIFICATE_WARN_DAYS 30 // before its end
// Files that do not fit together may be about to: a fault is one when it has lasted so long.
#define CERTIFICATE_SETTLE_MS 2000
#define CERTIFICATE_AGAIN_MS 100

struct certificate_look;

struct certificate {
    const struct options *options;
    struct relay *relay; // NULL: none is served
    uv_loop_t *loop;
    struct challenges *challenges; // for TLS contexts; NULL = none
    size_t slot_count;
    struct slot slots[OPTIONS_HOSTNAMES_MAX];

    struct certificate_watch watch;
    uv_timer_t daily;
    uv_timer_t successor; // runs within a day before a self-signed certificate takes its place
    struct certificate_look *look; // under way; NULL = none
    bool again;                    // once it is done
    unsigned hangups, hangups_told;
    bool closing;
    bool ensure;    // the next look renews self-signed pairs where that is due
    bool not_given; // workers have not got yet what the slots hold: the next look tries again
    uint64_t unsettled_ms; // since when something on disk does not fit; 0 = all does

    struct certificate_state state;
    _Atomic int64_t not_after; // of the one that ends first, Unix time; 0 = none
};

// Loads what is to be served, and makes a self-signed pair where there is to be one. One pair that
// is fit is enough for a name; what is not fit is told in the log. Waits up to
// CERTIFICATE_SETTLE_MS for files that are being replaced. False, with a sentence. In an ACME mode
// a slot may be empty, also when the file that is there is not fit: it stays until another takes
// its place.
bool certificate_load(struct certificate *certificate, const struct options *options, char *error,
                      size_t size);

// Gives it to all workers of a relay that is started, and looks after it from then on: watches the
// files, makes a fresh meta certificate every day, and has a word in the log when the end is near.
// False, with a sentence.
bool certificate_serve(struct certificate *certificate, struct relay *relay, uv_loop_t *loop,
                       char *error, size_t size);

// Looks at all files soon, on another thread; swaps what is new and good.
void certificate_look(struct certificate *certificate);

// The same by hand (SIGHUP): at once, and the log tells in any case what came of it. False when
// none is served.
bool certificate_reload(struct certificate *certificate);

// Harmless when nothing was served. `certificate` must live until the loop has ended.
void certificate_close(struct certificate *certificate);

// What certificate_load would say, without changing a file.
bool certificate_check(const struct options *options, char *error, size_t size);

size_t certificate_slots(const struct certificate *certificate);
size_t certificate_slot_names(const struct certificate *certificate, size_t slot,
                              const char *const **names);

// A new reference to the slot's first certificate. False when there is none.
bool certificate_leaf(struct certificate *certificate, size_t slot, X509 **leaf);

// What came of the latest attempt to renew, for metrics and /debug/: a sentence, which is copied,
// when that was, and when the next one is due, in Unix time.
void certificate_note_renewal(struct certificate *certificate, size_t slot, const char *sentence,
                              int64_t when, int64_t next);

// Of the self-signed certificate of the addresses; "" when there is none.
const char *certificate_pin(const struct certificate *certificate);

// What is announced of its renewal; NULL = nothing.
const struct self_signed_report *certificate_announced(const struct certificate *certificate);

#endif
