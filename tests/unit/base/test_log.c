// SPDX-License-Identifier: BSD-3-Clause
//
// Standard error is a pipe in packet mode here: each read gives what one write wrote, so "one write
// a line" shows.
#include "base/clock.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TIME_CHARS 20 // "2026/08/01 12:00:00 "
#define THREADS 8
#define LINES_EACH 30 // what a pipe holds while nobody reads
#define WAIT_MS 10000

static int real_stderr, reading = -1;

static int setup(void **state)
{
    int ends[2];

    (void)state;
    log_set_level(LOG_INFO);
    real_stderr = dup(STDERR_FILENO);
    if (pipe2(ends, O_DIRECT | O_CLOEXEC) != 0)
        return -1;
    reading = ends[0];
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20); // 256 writes
    dup2(ends[1], STDERR_FILENO);
    return close(ends[1]);
}

static int teardown(void **state)
{
    (void)state;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    return close(reading);
}

static bool more_to_read(int wait_ms)
{
    struct pollfd fd = {.fd = reading, .events = POLLIN};

    return poll(&fd, 1, wait_ms) == 1;
}

static void check_time(const char *line)
{
    struct tm t = {.tm_isdst = -1};
    int end = 0;

    assert_int_equal(sscanf(line, "%4d/%2d/%2d %2d:%2d:%2d %n", &t.tm_year, &t.tm_mon, &t.tm_mday,
                            &t.tm_hour, &t.tm_min, &t.tm_sec, &end),
                     6);
    assert_int_equal(line[TIME_CHARS - 1], ' ');
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    assert_true(labs((long)difftime(mktime(&t), time(NULL))) < 60);
}

// One write: checks the time in front and the one newline at the end, returns the text between
// them.
static const char *next_line(void)
{
    static char line[2 * LOG_LINE_MAX_BYTES];
    ssize_t n;

    assert_true(more_to_read(WAIT_MS));
    n = read(reading, line, sizeof line - 1);
    assert_in_range(n, TIME_CHARS + 1, LOG_LINE_MAX_BYTES);
    line[n] = '\0';
    assert_ptr_equal(strchr(line, '\n'), line + n - 1); // also: no NUL before it
    line[n - 1] = '\0';
    check_time(line);
    return line + TIME_CHARS;
}

static void assert_line(const char *expected)
{
    assert_string_equal(next_line(), expected);
}

static void assert_silent(void)
{
    assert_false(more_to_read(0));
}

static void test_forms(void **state)
{
    (void)state;
    log_info("plain %d %s", 7, "text");
    assert_line("plain 7 text");
    log_info("%s", "");
    assert_line("");
    log_warnx("careful: %s", "100%s");
    assert_line("warning: careful: 100%s");
    errno = ENOENT;
    log_warn("/etc/x");
    assert_line("warning: /etc/x: No such file or directory");
    errno = EACCES;
    log_warn("%s", "/etc/y");
    assert_line("warning: /etc/y: Permission denied");
    assert_silent();
}

static void write_each_level(void)
{
    log_debug("d");
    log_info("i");
    log_warnx("w");
    log_warn("e");
}

static void test_levels(void **state)
{
    (void)state;
    errno = EIO;
    write_each_level();
    assert_line("i");
    assert_line("warning: w");
    assert_line("warning: e: Input/output error");
    assert_silent();
    log_set_level(LOG_DEBUG);
    errno = EIO;
    write_each_level();
    assert_line("debug: d");
    assert_line("i");
    assert_line("warning: w");
    assert_line("warning: e: Input/output error");
    log_set_level(LOG_WARN);
    write_each_level();
    assert_memory_equal(next_line(), "warning: w", 10);
    assert_memory_equal(next_line(), "warning: e", 10);
    assert_silent();
}

static char *long_text(size_t len)
{
    char *text = malloc(len + 1);

    memset(text, 'x', len);
    text[len] = '\0';
    return text;
}

// Text of every length around the bound: whole where it fits, else cut as late as possible.
static void test_long_lines_are_cut(void **state)
{
    const size_t room = LOG_LINE_MAX_BYTES - TIME_CHARS - 1;

    (void)state;
    for (size_t len = room - 40; len < room + 200; len++) {
        char *text = long_text(len);
        const char *line;

        log_info("%s", text);
        line = next_line();
        assert_memory_equal(line, text, strlen(line));
        assert_true(strlen(line) == len || (strlen(line) < len && strlen(line) >= room - 2));
        free(text);
    }
    assert_silent();
}

// The cut takes the text's end, never what stands behind it: the errno, the count.
static void test_long_lines_keep_their_endings(void **state)
{
    static const size_t lengths[] = {900,  940,  960,  980,  1000,  1020,
                                     1023, 1024, 1025, 3000, 100000};
    struct log_limit limit = LOG_LIMIT_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char *text = long_text(lengths[i]);
        const char *line;

        errno = ENOENT;
        log_warn("%s", text);
        line = next_line();
        assert_string_equal(line + strlen(line) - 28, "x: No such file or directory");
        limit = (struct log_limit){.lock = limit.lock, .held = 12};
        log_limited(&limit, "%s", text);
        line = next_line();
        assert_non_null(strstr(line, "x (and 12 more since the last such line)"));
        free(text);
    }
}

static void test_limiter(void **state)
{
    struct log_limit limit = LOG_LIMIT_INIT, other = LOG_LIMIT_INIT;

    (void)state;
    log_limited(&limit, "refused %d", 1);
    assert_line("warning: refused 1");
    log_limited(&limit, "refused %d", 2);
    log_limited(&limit, "refused %d", 3);
    assert_silent();
    assert_int_equal(limit.held, 2);
    assert_in_range(limit.next_ms - clock_ms(), LOG_LIMIT_PERIOD_MS - 10000, LOG_LIMIT_PERIOD_MS);
    log_limited(&other, "another cause");
    assert_line("warning: another cause");
    limit.next_ms = clock_ms(); // the period is over
    log_limited(&limit, "refused %d", 4);
    assert_line("warning: refused 4 (and 2 more since the last such line)");
    assert_int_equal(limit.held, 0);
    limit.next_ms = 0;
    log_limited(&limit, "refused %d", 5);
    assert_line("warning: refused 5");
    assert_silent();
}

static void run_threads(void *(*body)(void *), pthread_t threads[THREADS])
{
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, (void *)i), 0);
}

static void join_threads(pthread_t threads[THREADS])
{
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void *write_lines(void *data)
{
    for (int i = 0; i < LINES_EACH; i++)
        log_info("thread %d line %d end", (int)(intptr_t)data, i);
    return NULL;
}

static void test_lines_of_threads_stay_whole(void **state)
{
    pthread_t threads[THREADS];
    int next[THREADS] = {0};

    (void)state;
    run_threads(write_lines, threads);
    for (int i = 0; i < THREADS * LINES_EACH; i++) {
        const char *line = next_line();
        char expected[64];
        int thread;

        assert_int_equal(sscanf(line, "thread %d ", &thread), 1);
        assert_in_range(thread, 0, THREADS - 1);
        snprintf(expected, sizeof expected, "thread %d line %d end", thread, next[thread]++);
        assert_string_equal(line, expected);
    }
    join_threads(threads);
    assert_silent();
}

static struct log_limit shared_limit = LOG_LIMIT_INIT;

static void *hit_limit(void *data)
{
    (void)data;
    for (int i = 0; i < LINES_EACH; i++)
        log_limited(&shared_limit, "hit");
    return NULL;
}

static void test_limiter_counts_from_threads(void **state)
{
    pthread_t threads[THREADS];
    char expected[80];

    (void)state;
    run_threads(hit_limit, threads);
    join_threads(threads);
    assert_line("warning: hit");
    assert_silent();
    assert_int_equal(shared_limit.held, THREADS * LINES_EACH - 1);
    shared_limit.next_ms = 0;
    log_limited(&shared_limit, "last");
    snprintf(expected, sizeof expected, "warning: last (and %d more since the last such line)",
             THREADS * LINES_EACH - 1);
    assert_line(expected);
}

// A full pipe that nobody reads: no line blocks, and the next one that is written says how many
// were lost.
static void test_unread_lines_are_lost_and_counted(void **state)
{
    int written = 0;
    char expected[96];

    (void)state;
    for (int i = 0; i < 1000; i++)
        log_info("line");
    while (more_to_read(0)) {
        assert_line("line");
        written++;
    }
    assert_in_range(written, 16, 999);
    log_info("read again");
    snprintf(expected, sizeof expected, "warning: %d lines were lost, as nobody read them",
             1000 - written);
    assert_line(expected);
    assert_line("read again");
    assert_silent();
}

static void test_closed_stderr_is_no_harm(void **state)
{
    const int fd = dup(STDERR_FILENO);

    (void)state;
    close(STDERR_FILENO);
    log_info("nobody reads this");
    dup2(fd, STDERR_FILENO);
    close(fd);
    log_info("back");
    assert_line("warning: 1 lines were lost, as nobody read them");
    assert_line("back");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_forms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_lines_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_lines_keep_their_endings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limiter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lines_of_threads_stay_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limiter_counts_from_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unread_lines_are_lost_and_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_stderr_is_no_harm, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
