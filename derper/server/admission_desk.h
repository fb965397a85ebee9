// SPDX-License-Identifier: BSD-3-Clause
//
// Between the workers, which ask about their clients, and the access room, which lives on the main
// loop: questions come in by a list under a lock, verdicts go back as tasks of the workers. All of
// it is rare and slow beside a packet's way, so one thread does it, and what is open at once is
// bounded for the whole process. Of the list, which is taken whole at each turn of the main loop,
// only time is the bound: two notes of 120 bytes for each login, and as ADMISSION_LIMIT_MS ends
// whoever waits, a main thread that is stuck shows itself by CLIENT_END_NO_VERDICT.
#ifndef DERPER_SERVER_ADMISSION_DESK_H
#define DERPER_SERVER_ADMISSION_DESK_H

#include "access/access.h"
#include "relay/relay.h"
#include "server/options.h"

#include <pthread.h>
#include <uv.h>

struct desk_note;
struct desk_places;

// Fields are the module's own. Lives until the loop has closed its handle.
struct admission_desk {
    struct admission admission; // for struct relay_config
    struct relay *relay;
    struct access *access; // NULL: everybody may connect
    size_t workers;
    struct desk_places *places; // of each worker's clients, by slot
    pthread_mutex_t lock;
    struct desk_note *first, *last; // questions and cancellations, in order
    uv_async_t wake;
};

// Whether the options want anybody to be asked.
bool desk_wanted(const struct options *options);

// Descriptors that questions may take: for each socket its open questions, one each, and the
// question how it is; for each URL its open questions, FETCH_DESCRIPTORS each, and what stays open
// between questions.
int desk_descriptors(const struct options *options);

// What desk_open would say about the files, without a loop.
bool desk_check(const struct options *options, char *error, size_t size);

// Starts on the main loop; `relay` may be started later. False, with a sentence.
bool desk_open(struct admission_desk *desk, const struct options *options, struct relay *relay,
               size_t workers, uv_loop_t *loop, char *error, size_t size);

// For SIGHUP. False when there was nothing to reload.
bool desk_reload(struct admission_desk *desk);

// For web_config.check.
bool desk_health(void *desk, char *why, size_t size);

// After relay_stop. Harmless when it was not opened.
void desk_close(struct admission_desk *desk);

#endif
