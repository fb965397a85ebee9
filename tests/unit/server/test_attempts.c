// SPDX-License-Identifier: BSD-3-Clause
#include "server/attempts.h"

#include "certgen/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTORY "https://ca.example/directory"

static char folder[64], path[128];

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_attempts.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/acme_attempts+a.example", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void put(const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_what_is_saved_is_loaded(void **state)
{
    const struct renewal_kept kept = {1800000000, 3, 36000, 1800, 122400};
    struct renewal_kept loaded;
    char error[CERT_ERROR_BYTES];
    struct stat st;

    (void)state;
    assert_false(attempts_load(folder, "a.example", DIRECTORY, &loaded));
    assert_true(attempts_save(folder, "a.example", DIRECTORY, &kept, error, sizeof error));
    assert_true(attempts_load(folder, "a.example", DIRECTORY, &loaded));
    assert_memory_equal(&loaded, &kept, sizeof kept);
    assert_false(attempts_load(folder, "b.example", DIRECTORY, &loaded));
    assert_false(attempts_load(folder, "a.example", "https://other.example/", &loaded));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_a_damaged_file_is_none(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"directory\": \"" DIRECTORY "\"}",
        "{\"directory\": 1, \"at\": 1, \"failures\": 1, \"hold_s\": 1, \"tries_s\": 1, "
        "\"issues_s\": 1}",
        "{\"directory\": \"" DIRECTORY "\", \"at\": \"1\", \"failures\": 1, \"hold_s\": 1, "
        "\"tries_s\": 1, \"issues_s\": 1}",
        "{\"directory\": \"" DIRECTORY "\", \"at\": 1e300, \"failures\": 1, \"hold_s\": 1, "
        "\"tries_s\": 1, \"issues_s\": 1}",
    };
    struct renewal_kept loaded;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        print_message("%s\n", texts[i]);
        put(texts[i]);
        assert_false(attempts_load(folder, "a.example", DIRECTORY, &loaded));
    }
}

static void test_a_folder_that_cannot_be(void **state)
{
    const struct renewal_kept kept = {1, 0, 0, 0, 0};
    char error[CERT_ERROR_BYTES], inside[160];

    (void)state;
    put("x");
    snprintf(inside, sizeof inside, "%s/sub", path);
    assert_false(attempts_save(inside, "a.example", DIRECTORY, &kept, error, sizeof error));
    assert_non_null(strstr(error, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_saved_is_loaded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_damaged_file_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_folder_that_cannot_be, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
