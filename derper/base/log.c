// SPDX-License-Identifier: BSD-3-Clause
#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
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

static pthread_mutex_t output_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t lost; // lines, since the last one that was written

static bool takes_more(void)
{
    struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};

    return poll(&output, 1, 0) == 1 && (output.revents & POLLOUT);
}

static void write_all(const char *line, size_t len)
{
    while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
        ;
}

static void tell_lost(void)
{
    char line[128];
    size_t n = put_time(line, sizeof line);

    n += (size_t)snprintf(line + n, sizeof line - n,
                          "warning: %llu lines were lost, as nobody read them\n",
                          (unsigned long long)lost);
    write_all(line, n);
    lost = 0;
}

// A reader of the log that has stopped must not stop the relay. A pipe is writable while it has
// room for a page, and a line is shorter.
static void put_line(const char *line, size_t len)
{
    pthread_mutex_lock(&output_lock);
    if (lost > 0 && takes_more())
        tell_lost();
    if (takes_more())
        write_all(line, len);
    else
        lost++;
    pthread_mutex_unlock(&output_lock);
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
    put_line(line, n);
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
