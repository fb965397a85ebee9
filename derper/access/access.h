// SPDX-License-Identifier: BSD-3-Clause
//
// Who may connect. Up to three checks: the list of --allow-keys, the agents of --verify-clients,
// the URLs of --verify-client-url. The rule:
//
// - Every check that is configured must allow: a flag more never lets in more. They are asked in
//   this order, and the first that refuses ends it.
// - Of several agents, or several URLs, any one may allow: they are asked at once.
// - A source says yes, says no, or has no answer. Without a yes, a check refuses.
// - Two ways in while nobody says yes and a source has no answer. Grace: a client that this very
//   source let in no longer than `grace_ms` ago. Fail-open, URLs only: any client, where no answer
//   came at all (unreachable, TLS failed, cut before the head was whole, timed out). Neither renews
//   the grace.
// - Who is in is closed by a no, never by silence: by that of all sources of a check, or of all
// that
//   had vouched for the client, as those that never did, and have no answer now, keep nobody.
// - All of it takes ACCESS_LIMIT_MS at most. Who was not asked about by then, as the line was too
//   long or an earlier check took all the time, is refused unless grace lets it in; fail-open does
//   not.
//
// One thread, that of the loop; counters may be read by others.
#ifndef DERPER_ACCESS_ACCESS_H
#define DERPER_ACCESS_ACCESS_H

#include "access/source.h"
#include "base/key.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define ACCESS_LIMIT_MS 5000
#define ACCESS_SOURCES_MAX 16 // of each kind

// Everything pointed to outlives the access.
struct access_config {
    uv_loop_t *loop;
    const char *allow_keys; // a file; NULL = no such check
    // A key was taken out of that file: who is in should be asked about again. NULL = nobody cares.
    void (*on_removal)(void *data);
    void *data;
    const char *const *sockets; // of agents
    size_t socket_count;        // 0 = no such check
    bool watch_agents;          // ask them how they are, for access_health
    const char *const *urls;
    size_t url_count; // 0 = no such check
    const char *ca_file;
    bool fail_open;
    uint64_t grace_ms; // 0 = none
};

enum access_verdict {
    ACCESS_ALLOWED,
    ACCESS_REFUSED,    // every source of a check said no, or every one that had vouched
    ACCESS_UNANSWERED, // refused too, but a no is missing: who is in may stay
    ACCESS_VERDICTS
};

const char *access_verdict_name(enum access_verdict verdict);

struct access;

// What is known of a client when it is asked about again.
struct access_past {
    bool admitted;    // it is in: the question is whether it may stay
    uint32_t vouched; // sources whose last word about it was yes, one bit each
};

// Embedded in its owner; one at a time may be under way. Fields are the module's own.
struct access_ask {
    struct list node; // in the order of deadlines
    struct access *access;
    struct key key;
    char address[INET6_ADDRSTRLEN];
    uint64_t deadline_ms;
    struct check *check; // the check that is asked
    struct ask_query *queries;
    size_t pending;           // of the queries
    struct access_past past;  // with the verdict: for the next question about this client
    uint32_t yes;             // sources that said yes, one bit each
    uint32_t faults;          // of this check: no answer, for whatever reason
    uint32_t silent;          // of those, where no answer came at all
    bool withdrawn;           // in this check, one that had vouched said no
    bool graced, failed_open; // in some check
    void (*on_verdict)(struct access_ask *ask, enum access_verdict verdict);
};

// NULL, with a sentence, when --allow-keys or the CA file cannot be used.
struct access *access_new(const struct access_config *config, char *error, size_t size);

// What access_new would say about the files, without a loop.
bool access_check_files(const struct access_config *config, char *error, size_t size);

// `address` is the client's, without a port; `past` what an earlier ask has left, NULL for a client
// that comes. `on_verdict` runs once, perhaps before this returns, unless the ask is cancelled
// first; it may free or reuse the ask.
void access_ask(struct access *access, struct access_ask *ask, const struct key *key,
                const char *address, const struct access_past *past,
                void (*on_verdict)(struct access_ask *ask, enum access_verdict verdict));

// Harmless after the verdict.
void access_cancel(struct access_ask *ask);

// Reads --allow-keys again; the log tells what came of it. False without such a file.
bool access_reload(struct access *access, const char *cause);

// From any thread. False, with a sentence, when an agent that is watched is not well.
bool access_health(struct access *access, char *why, size_t size);

// All asks must have ended. Frees `access` once the loop has closed its handles.
void access_close(struct access *access);

// For the metrics, from any thread.
struct access_counters {
    struct counter verdicts[ACCESS_VERDICTS];
    struct counter graced;        // of those let in: with a check passed by grace
    struct counter failed_open;   // or by fail-open; both count who has needed both
    struct counter grace_evicted; // clients whose grace made room for another one's
    struct counter cancelled;     // clients that went before the verdict
    struct counter pending;       // gauge
    struct counter allow_keys[2]; // not listed, listed
};
const struct access_counters *access_counters(const struct access *access);
// NULL behind the last.
const struct source *access_source(const struct access *access, size_t index);

#endif
