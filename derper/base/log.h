// SPDX-License-Identifier: BSD-3-Clause
//
// Log lines on standard error in the form that readers of Go's log know: "2026/08/01 12:00:00
// text". One write a line, from any thread. Never blocks: what nobody reads is lost, and
// counted in the next line. Never pass keys or payloads; what strangers sent goes
// through text_escape first.
#ifndef DERPER_BASE_LOG_H
#define DERPER_BASE_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LOG_LINE_MAX_BYTES 1024 // what is longer loses the end of its text, not errno or count
#define LOG_LIMIT_PERIOD_MS 60000

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN };

// The least level that is written; LOG_INFO at start. Set before threads start.
void log_set_level(enum log_level level);

// True when a line of this level would be written: for those whose making costs something.
bool log_wanted(enum log_level level);

#define LOG_PRINTF __attribute__((format(printf, 1, 2)))
void log_debug(const char *format, ...) LOG_PRINTF;
void log_info(const char *format, ...) LOG_PRINTF;
void log_warnx(const char *format, ...) LOG_PRINTF;
// Adds ": " and the text of errno.
void log_warn(const char *format, ...) LOG_PRINTF;

// One cause that strangers can trigger at will: the first event is written at once, those of the
// following LOG_LIMIT_PERIOD_MS are counted, and told with the next event after that. Shared by
// threads.
struct log_limit {
    pthread_mutex_t lock;
    uint64_t next_ms; // when a line may be written again
    uint64_t held;    // events since the last line
};
#define LOG_LIMIT_INIT                    \
    {                                     \
        .lock = PTHREAD_MUTEX_INITIALIZER \
    }

void log_limited(struct log_limit *limit, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
