// SPDX-License-Identifier: BSD-3-Clause
#include "server/renewal.h"

#define LIFE_UNKNOWN_S (90 * RENEWAL_DAY_S)
#define DOUBLINGS_MAX 16
#define JITTER_PARTS 4                  // of a wait, added at random
#define KEPT_MAX_S (30 * RENEWAL_DAY_S) // what is more in a file is a mistake

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// From 0 to just below `span_s`.
static int64_t random_part(int64_t span_s, uint32_t random)
{
    return (int64_t)((double)span_s * random / 4294967296.0);
}

static int64_t life_s(const struct renewal *renewal)
{
    return renewal->end_s ? renewal->end_s - renewal->begin_s : LIFE_UNKNOWN_S;
}

// A wait that suits the certificate's life.
static int64_t suited(const struct renewal *renewal, int64_t longest_s, int64_t life_parts)
{
    return least(longest_s, most(life_s(renewal) / life_parts, RENEWAL_MINUTE_S));
}

static int64_t try_interval(const struct renewal *renewal)
{
    return suited(renewal, RENEWAL_TRY_S, RENEWAL_WAIT_LIFE_PARTS);
}

static int64_t issue_interval(const struct renewal *renewal)
{
    return suited(renewal, RENEWAL_ISSUE_S, RENEWAL_ISSUE_LIFE_PARTS);
}

void renewal_init(struct renewal *renewal)
{
    *renewal = (struct renewal){.patience_s = INT64_MIN,
                                .hold_s = INT64_MIN,
                                .ask_s = INT64_MIN,
                                .tries_s = INT64_MIN,
                                .issues_s = INT64_MIN};
}

// --- What outlasts the process. ---

// From a moment on the steady clock to a span and back.
static int64_t span(int64_t until_s, struct renewal_now now)
{
    return until_s > now.steady_s ? until_s - now.steady_s : 0;
}

// `passed_s` have gone by since the span was written down.
static int64_t moment(int64_t span_s, int64_t passed_s, struct renewal_now now)
{
    return now.steady_s + most(0, least(most(span_s, 0), KEPT_MAX_S) - passed_s);
}

void renewal_keep(const struct renewal *renewal, struct renewal_now now, struct renewal_kept *kept)
{
    *kept = (struct renewal_kept){
        .at_s = now.wall_s,
        .failures = renewal->failures,
        .hold_s = span(renewal->hold_s, now),
        .tries_s = span(renewal->tries_s, now),
        .issues_s = span(renewal->issues_s, now),
    };
}

void renewal_restore(struct renewal *renewal, struct renewal_now now,
                     const struct renewal_kept *kept)
{
    // A clock that was set back in between has nothing to say.
    const int64_t passed_s =
        kept->at_s > 0 && kept->at_s < now.wall_s ? now.wall_s - kept->at_s : 0;

    renewal->failures = (unsigned)least(most(kept->failures, 0), DOUBLINGS_MAX);
    renewal->hold_s = moment(kept->hold_s, passed_s, now);
    renewal->tries_s = moment(kept->tries_s, passed_s, now);
    renewal->issues_s = moment(kept->issues_s, passed_s, now);
}

// --- When it is due. ---

void renewal_serves(struct renewal *renewal, struct renewal_now now, int64_t begin_s, int64_t end_s,
                    uint32_t random)
{
    if (begin_s >= end_s)
        begin_s = end_s = 0;
    renewal->begin_s = begin_s;
    renewal->end_s = end_s;
    // What was taken at longer intervals is given back at the new ones.
    renewal->tries_s =
        least(renewal->tries_s, now.steady_s + RENEWAL_TRIES * try_interval(renewal));
    renewal->issues_s =
        least(renewal->issues_s, now.steady_s + RENEWAL_ISSUES * issue_interval(renewal));
    renewal->spread_s = random_part(life_s(renewal) / RENEWAL_SPREAD_LIFE_PARTS, random);
    renewal->window_start_s = renewal->window_end_s = renewal->suggested_s = 0;
    renewal->ask_s = now.steady_s;
}

// On the wall clock.
static int64_t due_at(const struct renewal *renewal)
{
    const int64_t life = life_s(renewal);

    if (!renewal->end_s)
        return 0;
    return least(renewal->suggested_s ? renewal->suggested_s
                                      : renewal->begin_s + life * 2 / 3 + renewal->spread_s,
                 renewal->end_s - life / RENEWAL_MARGIN_LIFE_PARTS);
}

int64_t renewal_ask_wait(const struct renewal *renewal, struct renewal_now now)
{
    return renewal->end_s ? span(renewal->ask_s, now) : INT64_MAX;
}

void renewal_window(struct renewal *renewal, struct renewal_now now,
                    const struct acme_window *window, uint32_t random)
{
    renewal->ask_s = now.steady_s + window->again_s;
    // The same window again keeps the moment: drawn anew each time, it would come ever earlier.
    if (renewal->window_start_s == window->start && renewal->window_end_s == window->end)
        return;
    renewal->window_start_s = window->start;
    renewal->window_end_s = window->end;
    renewal->suggested_s =
        most(1, window->start + random_part(window->end - window->start, random));
}

// What was suggested before stands.
void renewal_no_window(struct renewal *renewal, struct renewal_now now, enum acme_outcome outcome)
{
    renewal->ask_s = now.steady_s + (outcome == ACME_REFUSED ? RENEWAL_ASK_NONE_AGAIN_S
                                                             : suited(renewal, RENEWAL_ASK_AGAIN_S,
                                                                      RENEWAL_WAIT_LIFE_PARTS));
}

// --- When it is allowed. ---

// Of what is given back one every `interval_s`, and of which `burst` may be taken at once: from
// when on one more may be.
static int64_t free_at(int64_t all_back_s, int burst, int64_t interval_s)
{
    return all_back_s == INT64_MIN ? INT64_MIN : all_back_s - (burst - 1) * interval_s;
}

static int64_t take(int64_t all_back_s, int64_t interval_s, struct renewal_now now)
{
    return most(all_back_s, now.steady_s) + interval_s;
}

static int64_t limits_end(const struct renewal *renewal)
{
    return most(renewal->hold_s,
                most(free_at(renewal->tries_s, RENEWAL_TRIES, try_interval(renewal)),
                     free_at(renewal->issues_s, RENEWAL_ISSUES, issue_interval(renewal))));
}

int64_t renewal_wait(const struct renewal *renewal, struct renewal_now now)
{
    const int64_t until_s = most(renewal->patience_s, limits_end(renewal));

    return most(most(due_at(renewal) - now.wall_s, 0), span(until_s, now));
}

bool renewal_may_hurry(const struct renewal *renewal, struct renewal_now now)
{
    struct renewal hurried = *renewal;

    renewal_hurry(&hurried);
    return renewal_wait(&hurried, now) < renewal_wait(renewal, now);
}

void renewal_hurry(struct renewal *renewal)
{
    renewal->patience_s = INT64_MIN;
}

// --- Tries. ---

void renewal_begin(struct renewal *renewal, struct renewal_now now)
{
    const int64_t before_s = most(renewal->tries_s, now.steady_s);

    renewal->tries_s = take(renewal->tries_s, try_interval(renewal), now);
    renewal->taken_s = renewal->tries_s - before_s;
}

static int64_t patience(const struct renewal *renewal, unsigned failures, int64_t first_s,
                        int64_t longest_s, uint32_t random)
{
    const int64_t wait_s = least(first_s << least(failures, DOUBLINGS_MAX),
                                 suited(renewal, longest_s, RENEWAL_WAIT_LIFE_PARTS));

    return wait_s + random_part(wait_s / JITTER_PARTS, random);
}

static void end_well(struct renewal *renewal, struct renewal_now now, uint32_t random)
{
    renewal->issues_s = take(renewal->issues_s, issue_interval(renewal), now);
    if (due_at(renewal) > now.wall_s)
        renewal->failures = 0;
    else
        renewal->patience_s =
            now.steady_s + patience(renewal, renewal->failures++, RENEWAL_REFUSED_S,
                                    RENEWAL_REFUSED_MAX_S, random);
}

void renewal_end(struct renewal *renewal, struct renewal_now now, enum acme_outcome outcome,
                 int64_t retry_after_s, uint32_t random)
{
    int64_t wait_s = 0;

    // Those were no validations, which alone are counted. One that was broken off may have been.
    if (outcome == ACME_DONE || outcome == ACME_UNREACHABLE || outcome == ACME_LIMITED)
        renewal->tries_s -= renewal->taken_s;
    renewal->silences = outcome == ACME_UNREACHABLE ? renewal->silences + 1 : 0;
    switch (outcome) {
    case ACME_DONE:
        end_well(renewal, now, random);
        return;
    case ACME_CANCELLED:
        return;
    case ACME_UNREACHABLE:
        wait_s = patience(renewal, renewal->silences - 1, RENEWAL_UNREACHABLE_S,
                          RENEWAL_UNREACHABLE_MAX_S, random);
        break;
    case ACME_LIMITED:
        wait_s = patience(renewal, renewal->failures++, RENEWAL_LIMITED_S, RENEWAL_LIMITED_MAX_S,
                          random);
        retry_after_s = retry_after_s > 0 ? retry_after_s : wait_s;
        wait_s = 0;
        break;
    case ACME_UNPROVEN:
        wait_s = patience(renewal, renewal->failures++, RENEWAL_UNPROVEN_S, RENEWAL_UNPROVEN_MAX_S,
                          random);
        break;
    case ACME_REFUSED:
        wait_s = patience(renewal, renewal->failures++, RENEWAL_REFUSED_S, RENEWAL_REFUSED_MAX_S,
                          random);
        break;
    }
    renewal->patience_s = now.steady_s + wait_s;
    if (retry_after_s > 0)
        renewal->hold_s = now.steady_s + retry_after_s;
}
