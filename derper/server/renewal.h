// SPDX-License-Identifier: BSD-3-Clause
//
// When to ask an ACME authority for a certificate: decisions only, with the time as an argument.
//
// A certificate's life is a matter of the wall clock, which people and NTP set back and forth; all
// waiting is measured on a steady clock that nobody sets. Two kinds of waiting are told apart: our
// own patience after a failure, which whoever has mended something may cut short, and limits, which
// hold for everybody, also after a restart: what the authority asked for, and our own count of what
// Let's Encrypt counts (https://letsencrypt.org/docs/rate-limits/).
#ifndef DERPER_SERVER_RENEWAL_H
#define DERPER_SERVER_RENEWAL_H

#include "certgen/acme.h"

#include <stdbool.h>
#include <stdint.h>

#define RENEWAL_MINUTE_S INT64_C(60)
#define RENEWAL_HOUR_S (60 * RENEWAL_MINUTE_S)
#define RENEWAL_DAY_S (24 * RENEWAL_HOUR_S)

// Waiting after a failure: the first time, which doubles with each further one, and the longest. A
// certificate of a short life has no use for long waits: none is longer than 1/24 of its life, but
// for a minute.
#define RENEWAL_UNREACHABLE_S RENEWAL_MINUTE_S
#define RENEWAL_UNREACHABLE_MAX_S RENEWAL_HOUR_S
#define RENEWAL_UNPROVEN_S (5 * RENEWAL_MINUTE_S)
#define RENEWAL_UNPROVEN_MAX_S (6 * RENEWAL_HOUR_S)
#define RENEWAL_REFUSED_S RENEWAL_HOUR_S
#define RENEWAL_REFUSED_MAX_S RENEWAL_DAY_S
#define RENEWAL_LIMITED_S RENEWAL_HOUR_S // where the authority names no time
#define RENEWAL_LIMITED_MAX_S RENEWAL_DAY_S
#define RENEWAL_WAIT_LIFE_PARTS 24

// Let's Encrypt allows 5 failed validations of a name in an hour, one more every 12 minutes.
#define RENEWAL_TRIES 4 // at once
#define RENEWAL_TRY_S (30 * RENEWAL_MINUTE_S)

// And 5 certificates for the same names in 7 days, one more every 34 hours. For an authority whose
// certificates live for hours that is a part of their life.
#define RENEWAL_ISSUES 5 // at once
#define RENEWAL_ISSUE_S (34 * RENEWAL_HOUR_S)
#define RENEWAL_ISSUE_LIFE_PARTS 6

#define RENEWAL_SPREAD_LIFE_PARTS 24 // our own moment is so much of the life later, at random
#define RENEWAL_MARGIN_LIFE_PARTS 8  // before the end, whatever an authority suggests
#define RENEWAL_ASK_AGAIN_S (6 * RENEWAL_HOUR_S) // about the window, when there was no answer
#define RENEWAL_ASK_NONE_AGAIN_S RENEWAL_DAY_S   // when the authority tells no windows

struct renewal_now {
    int64_t wall_s;   // since 1970
    int64_t steady_s; // since any moment
};

// Of one certificate. Fields are the module's own.
struct renewal {
    int64_t begin_s, end_s; // wall, of the certificate that is served; end 0 = there is none
    int64_t spread_s;
    int64_t window_start_s, window_end_s, suggested_s; // wall; suggested 0 = nothing is
    int64_t ask_s;                                     // steady: about the window
    unsigned failures;                                 // since the last success
    unsigned silences;                                 // of the authority, one after the other
    int64_t patience_s;                                // steady: our own waiting ends
    int64_t hold_s;                                    // steady: the authority's ends
    int64_t tries_s, issues_s; // steady: when all that was taken is given back (as in GCRA)
    int64_t taken_s;           // by the try under way
};

// What outlasts the process. All but `at_s` count from there.
struct renewal_kept {
    int64_t at_s; // wall
    int64_t failures, hold_s, tries_s, issues_s;
};

// Nothing is known and nothing is served. `random` is any 32 bits, here and below.
void renewal_init(struct renewal *renewal);
void renewal_keep(const struct renewal *renewal, struct renewal_now now, struct renewal_kept *kept);

// Takes what an earlier process kept. Limits go on, patience does not: a start tries at once.
void renewal_restore(struct renewal *renewal, struct renewal_now now,
                     const struct renewal_kept *kept);

// Tells the life of the certificate that is served now, when it is another one; end 0: none is.
void renewal_serves(struct renewal *renewal, struct renewal_now now, int64_t begin_s, int64_t end_s,
                    uint32_t random);

// Seconds until the authority is to be asked for its window, 0 = now, INT64_MAX = never; and what
// came of it.
int64_t renewal_ask_wait(const struct renewal *renewal, struct renewal_now now);
void renewal_window(struct renewal *renewal, struct renewal_now now,
                    const struct acme_window *window, uint32_t random);
void renewal_no_window(struct renewal *renewal, struct renewal_now now, enum acme_outcome outcome);

// Seconds until the next try is due and allowed; 0 = now.
int64_t renewal_wait(const struct renewal *renewal, struct renewal_now now);

// A try begins. Keep the state then: a process that dies in it has had its try.
void renewal_begin(struct renewal *renewal, struct renewal_now now);

// It has ended. After ACME_DONE tell renewal_serves first: a certificate that is not served, for
// whatever reason, is no success.
void renewal_end(struct renewal *renewal, struct renewal_now now, enum acme_outcome outcome,
                 int64_t retry_after_s, uint32_t random);

// Gives up our own patience, as somebody says that it is time.
void renewal_hurry(struct renewal *renewal);

// Whether renewal_hurry would bring the next try nearer.
bool renewal_may_hurry(const struct renewal *renewal, struct renewal_now now);

#endif
