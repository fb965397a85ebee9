// SPDX-License-Identifier: BSD-3-Clause
//
// Between the workers, which ask about their clients, and the access room, which lives on the main
// loop: questions come in by a list under a lock, verdicts go back as tasks of the workers. All of
// it is rare and slow beside a packet's way, so one thread does it, and what is open at once is
// bounded for the whole process.
#ifndef DERPER_SERVER_ADMISSION_H
#define DERPER_SERVER_ADMISSION_H

#include "access/access.h"
#include "relay/relay.h"
#include "server/options.h"
#include "web/metrics.h"

#include <pthread.h>
#include <uv.h>

struct admission_note;
struct admission_slots;

// Fields are the module's own. Lives until the loop has closed its handle.
struct admission_desk {
    struct admission admission; // for struct relay_config; first, so that it names the desk
    struct relay *relay;
    struct access *access; // NULL: everybody may connect
    size_t workers;
    struct admission_slots *visits; // of each worker's clients, by slot
    pthread_mutex_t lock;
    struct admission_note *first, *last; // questions and cancellations, in order
    uv_async_t wake;
};

// Whether the options want anybody to be asked.
bool admission_wanted(const struct options *options);

// Descriptors that questions may take: for each socket its open questions, one each, and the
// question how it is; for each URL its open questions, two each (the pair by which libcurl's
// resolver reports, and then the two connections it may try side by side), and what stays open
// between questions. Left out: the sockets of resolver threads, which may go on after their
// questions have ended, for as long as the system's resolver takes.
int admission_descriptors(const struct options *options);

// What admission_open would say about the files, without a loop.
bool admission_check(const struct options *options, char *error, size_t size);

// Starts on the main loop; `relay` may be started later. False, with a sentence.
bool admission_open(struct admission_desk *desk, const struct options *options, struct relay *relay,
                    size_t workers, uv_loop_t *loop, char *error, size_t size);

// For SIGHUP. False when there was nothing to reload.
bool admission_reload(struct admission_desk *desk);

// For web_config.check.
bool admission_health(void *desk, char *why, size_t size);

// A metric_source.
void admission_write_metrics(struct metrics *metrics, void *desk);

// After relay_stop. Harmless when it was not opened.
void admission_close(struct admission_desk *desk);

#endif
