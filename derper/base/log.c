// SPDX-License-Identifier: BSD-3-Clause
#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum log_level least = LOG_INFO;

void log_set_level(enum log_level level)
{
    least = level;
}

bool log_wanted(enum log_level level)
{
    return level >= least;
}

static size_t put_time(char *line, size_t size)
{
    const time_t now = time(NULL);
    struct tm t;

    localtime_r(&now, &t);
    return strftime(line, size, "%Y/%m/%d %H:%M:%S ", &t);
}

__attribute__((format(printf, 3, 0))) static void write_line(const char *prefix, const char *suffix,
                                                             const char *format, va_list args)
{
    char line[LOG_LINE_MAX_BYTES];
    const size_t room = sizeof line - strlen(suffix) - 1; // the text is cut, never the suffix
    size_t n = put_time(line, sizeof line);

    n += (size_t)snprintf(line + n, room - n, "%s", prefix);
    n += (size_t)vsnprintf(line + n, room - n, format, args);
    if (n >= room)
        n = room - 1;
    n += (size_t)snprintf(line + n, sizeof line - n, "%s\n", suffix);
    while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
        ;
}

#define WRITE_LINE(level, prefix, suffix)         \
    do {                                          \
        va_list args;                             \
        if ((level) < least)                      \
            return;                               \
        va_start(args, format);                   \
        write_line(prefix, suffix, format, args); \
        va_end(args);                             \
    } while (0)

void log_debug(const char *format, ...)
{
    WRITE_LINE(LOG_DEBUG, "debug: ", "");
}

void log_info(const char *format, ...)
{
    WRITE_LINE(LOG_INFO, "", "");
}

void log_warnx(const char *format, ...)
{
    WRITE_LINE(LOG_WARN, "warning: ", "");
}

void log_warn(const char *format, ...)
{
    char suffix[128];

    snprintf(suffix, sizeof suffix, ": %s", strerror(errno));
    WRITE_LINE(LOG_WARN, "warning: ", suffix);
}

void log_limited(struct log_limit *limit, const char *format, ...)
{
    char suffix[64] = "";
    const uint64_t now = clock_ms();
    uint64_t held;
    bool due;

    pthread_mutex_lock(&limit->lock);
    due = now >= limit->next_ms;
    held = limit->held;
    limit->held = due ? 0 : held + 1;
    if (due)
        limit->next_ms = now + LOG_LIMIT_PERIOD_MS;
    pthread_mutex_unlock(&limit->lock);
    if (!due)
        return;
    if (held > 0)
        snprintf(suffix, sizeof suffix, " (and %llu more since the last such line)",
                 (unsigned long long)held);
    WRITE_LINE(LOG_WARN, "warning: ", suffix);
}
