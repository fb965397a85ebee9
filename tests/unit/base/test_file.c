// SPDX-License-Identifier: BSD-3-Clause
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_BYTES 4096

static char path[] = "/tmp/derper-file-XXXXXX";
static int fd;
static char why[128];

static int make_file(void **state)
{
    (void)state;
    strcpy(path + sizeof path - 7, "XXXXXX");
    fd = mkstemp(path);
    return fd >= 0 ? 0 : -1;
}

static int remove_file(void **state)
{
    (void)state;
    close(fd);
    unlink(path);
    return 0;
}

static enum file_result read_path(struct file_text *out, const char *from)
{
    why[0] = '\0';
    return file_read(out, from, MOST_BYTES, why, sizeof why);
}

static void assert_not_read(const char *from, enum file_result result, const char *reason)
{
    struct file_text text;

    assert_int_equal(read_path(&text, from), result);
    assert_non_null(strstr(why, reason));
    assert_null(text.bytes);
    assert_int_equal(text.len, 0);
    file_forget(&text);
}

static void test_whole(void **state)
{
    struct file_text text;

    (void)state;
    assert_int_equal(read_path(&text, path), FILE_READ);
    assert_int_equal(text.len, 0);
    file_forget(&text);
    assert_int_equal(write(fd, "a\0b\n", 4), 4);
    assert_int_equal(fchmod(fd, 0640), 0);
    assert_int_equal(read_path(&text, path), FILE_READ);
    assert_int_equal(text.len, 4);
    assert_memory_equal(text.bytes, "a\0b\n", 4);
    assert_int_equal(text.mode & 07777, 0640);
    file_forget(&text);
    file_forget(&text);
    assert_null(text.bytes);
}

static void test_bound(void **state)
{
    struct file_text text;

    (void)state;
    assert_int_equal(ftruncate(fd, MOST_BYTES), 0);
    assert_int_equal(read_path(&text, path), FILE_READ);
    assert_int_equal(text.len, MOST_BYTES);
    file_forget(&text);
    assert_int_equal(ftruncate(fd, MOST_BYTES + 1), 0);
    assert_not_read(path, FILE_FAILED, "is too large, more than 4 KiB");
    // Of no size, as far as the system says.
    assert_int_equal(file_read(&text, "/proc/self/status", 16, why, sizeof why), FILE_FAILED);
    assert_non_null(strstr(why, "is too large"));
}

static void test_not_a_file(void **state)
{
    char pipe[64];

    (void)state;
    assert_not_read("/nonexistent/x", FILE_ABSENT, "cannot be opened: No such file");
    assert_not_read("/tmp", FILE_FAILED, "is a folder");
    assert_not_read("/dev/null", FILE_FAILED, "is not a regular file");
    snprintf(pipe, sizeof pipe, "%s/x", path);
    assert_not_read(pipe, FILE_FAILED, "cannot be opened: Not a directory");
    snprintf(pipe, sizeof pipe, "%s.pipe", path);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_not_read(pipe, FILE_FAILED, "is not a regular file");
    unlink(pipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_bound, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_not_a_file, make_file, remove_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
