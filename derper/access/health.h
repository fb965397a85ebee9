// SPDX-License-Identifier: BSD-3-Clause
//
// How an agent is: asked by and by for its own status, and whether it knows itself, so that one
// that is missing, logged out or not permitted is told at the start and on /debug/check, before a
// client is refused. One thread, except health_read.
#ifndef DERPER_ACCESS_HEALTH_H
#define DERPER_ACCESS_HEALTH_H

#include "access/answer.h"
#include "access/fetch.h"
#include "base/key.h"
#include "base/list.h"

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

#define HEALTH_INTERVAL_MS 5000
#define HEALTH_LIMIT_MS 5000 // of both questions together
#define HEALTH_SENTENCE_BYTES 768

// Embedded in its owner, which lives until `on_closed`.
struct health {
    const char *socket; // the caller's
    struct fetcher *fetcher;
    struct fetch fetch;
    uv_timer_t timer; // for the next question, or the limit of this one
    bool asking;
    struct key self;
    enum access_reason reason;            // ACCESS_REASONS = not known yet
    pthread_mutex_t lock;                 // of the sentence
    char sentence[HEALTH_SENTENCE_BYTES]; // "" = it is well
    void (*on_closed)(struct health *health);
};

// Asks at once.
void health_start(struct health *health, uv_loop_t *loop, struct fetcher *fetcher,
                  const char *socket);

// From any thread. False, with a sentence, when the agent was not well when it was asked last.
bool health_read(struct health *health, char *out, size_t size);

// Before the fetcher is closed.
void health_close(struct health *health, void (*on_closed)(struct health *health));

#endif
