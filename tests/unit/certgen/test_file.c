// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/file.h"

#include "certgen/error.h"
#include "material.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[FOLDER_BYTES];
static char path[PATH_BYTES];
static char error[CERT_ERROR_BYTES];

static int setup(void **state)
{
    (void)state;
    folder_make(folder);
    snprintf(path, sizeof path, "%s/file", folder);
    error[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static mode_t mode_of(const char *name)
{
    struct stat st;

    assert_int_equal(stat(name, &st), 0);
    return st.st_mode & 07777;
}

static void test_creates_and_reads(void **state)
{
    static const mode_t umasks[] = {0, 022, 0777};
    struct cert_text text;

    (void)state;
    for (size_t i = 0; i < COUNT(umasks); i++) {
        const mode_t old = umask(umasks[i]);
        const enum cert_file_created created =
            cert_file_create(path, "secret", 6, 0600, error, sizeof error);

        umask(old);
        assert_int_equal(created, CERT_FILE_CREATED);
        assert_int_equal(mode_of(path), 0600);
        assert_int_equal(folder_count(folder), 1);
        assert_true(cert_file_read(path, &text, error, sizeof error));
        assert_int_equal(text.len, 6);
        assert_memory_equal(text.bytes, "secret", 6);
        cert_file_wipe(&text);
        assert_null(text.bytes);
        cert_file_wipe(&text);
        unlink(path);
    }
}

static void test_never_overwrites(void **state)
{
    struct cert_text text;

    (void)state;
    file_write(folder, "file", "old", 3);
    assert_int_equal(cert_file_create(path, "new", 3, 0600, error, sizeof error), CERT_FILE_EXISTS);
    assert_string_equal(error, "");
    assert_int_equal(folder_count(folder), 1);
    assert_true(cert_file_read(path, &text, error, sizeof error));
    assert_memory_equal(text.bytes, "old", 3);
    cert_file_wipe(&text);
}

static void test_a_dangling_link_is_not_followed(void **state)
{
    (void)state;
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(cert_file_create(path, "new", 3, 0600, error, sizeof error), CERT_FILE_EXISTS);
    assert_int_equal(folder_count(folder), 1);
}

static void test_creation_fails_in_a_closed_folder(void **state)
{
    (void)state;
    chmod(folder, 0555);
    drop_root();
    const enum cert_file_created created =
        cert_file_create(path, "new", 3, 0600, error, sizeof error);
    regain_root();
    assert_int_equal(created, CERT_FILE_FAILED);
    assert_sentence(error, (const char *[]){path, "Permission denied", "write", NULL});
    chmod(folder, 0700);
    assert_int_equal(folder_count(folder), 0);
}

static void expect_file(const char *name, const char *expected)
{
    char file[PATH_BYTES];
    struct cert_text text;

    snprintf(file, sizeof file, "%s/%s", folder, name);
    assert_true(cert_file_read(file, &text, error, sizeof error));
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.bytes, expected, text.len);
    cert_file_wipe(&text);
}

static void make_old(const char *name)
{
    const struct timespec times[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
    char file[PATH_BYTES];

    file_write(folder, name, "x", 1);
    snprintf(file, sizeof file, "%s/%s", folder, name);
    assert_int_equal(utimensat(AT_FDCWD, file, times, 0), 0);
}

static void test_two_are_replaced_together(void **state)
{
    char key[PATH_BYTES], cert[PATH_BYTES];
    const struct cert_file files[] = {{key, "key 2", 5, 0600}, {cert, "cert 2", 6, 0644}};

    (void)state;
    snprintf(key, sizeof key, "%s/a.key", folder);
    snprintf(cert, sizeof cert, "%s/a.crt", folder);
    assert_true(cert_file_replace_two(files, error, sizeof error));
    file_write(folder, "a.key", "key 1", 5);
    file_write(folder, "a.crt", "cert 1", 6);
    assert_true(cert_file_replace_two(files, error, sizeof error));
    expect_file("a.key", "key 2");
    expect_file("a.crt", "cert 2");
    assert_int_equal(mode_of(key), 0600);
    assert_int_equal(mode_of(cert), 0644);
    assert_int_equal(folder_count(folder), 2);
}

static void test_of_two_the_second_fails(void **state)
{
    char key[PATH_BYTES], cert[PATH_BYTES];
    const struct cert_file files[] = {{key, "key 2", 5, 0600}, {cert, "cert 2", 6, 0644}};

    (void)state;
    snprintf(key, sizeof key, "%s/a.key", folder);
    snprintf(cert, sizeof cert, "%s/a.crt", folder);
    file_write(folder, "a.key", "key 1", 5);
    assert_int_equal(mkdir(cert, 0700), 0);
    assert_false(cert_file_replace_two(files, error, sizeof error));
    assert_sentence(error, (const char *[]){cert, "cannot be created", NULL});
    expect_file("a.key", "key 1");
    assert_int_equal(folder_count(folder), 2);
    assert_int_equal(rmdir(cert), 0);
}

static void test_leftovers_are_removed(void **state)
{
    char key[PATH_BYTES], cert[PATH_BYTES];
    const struct cert_file files[] = {{key, "key", 3, 0600}, {cert, "cert", 4, 0644}};

    (void)state;
    snprintf(key, sizeof key, "%s/a.key", folder);
    snprintf(cert, sizeof cert, "%s/a.crt", folder);
    make_old("a.key.new-abcdef");
    make_old("a.crt.new-abcdef");
    make_old("a.key.before");
    make_old("a.crt.backup");                       // a person's
    make_old("b.crt.new-abcdef");                   // another pair's
    file_write(folder, "a.key.new-ghijkl", "x", 1); // of a process that is still there
    assert_true(cert_file_replace_two(files, error, sizeof error));
    assert_int_equal(folder_count(folder), 5);
    expect_file("a.crt.backup", "x");
    expect_file("b.crt.new-abcdef", "x");
    expect_file("a.key.new-ghijkl", "x");
}

static void test_size_is_bounded(void **state)
{
    char *bytes = calloc(1, CERT_FILE_MAX_BYTES + 1);
    struct cert_text text;

    (void)state;
    file_write(folder, "file", bytes, CERT_FILE_MAX_BYTES + 1);
    assert_false(cert_file_read(path, &text, error, sizeof error));
    assert_sentence(error, (const char *[]){path, "larger than", NULL});
    assert_null(text.bytes);
    file_write(folder, "file", bytes, CERT_FILE_MAX_BYTES);
    assert_true(cert_file_read(path, &text, error, sizeof error));
    assert_int_equal(text.len, CERT_FILE_MAX_BYTES);
    cert_file_wipe(&text);
    free(bytes);
}

static void test_a_fifo_does_not_block(void **state)
{
    struct cert_text text;

    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(cert_file_read(path, &text, error, sizeof error));
    assert_sentence(error, (const char *[]){path, "regular", NULL});
}

static void test_makes_folders(void **state)
{
    char deep[PATH_BYTES], middle[PATH_BYTES];

    (void)state;
    chmod(folder, 0755);
    snprintf(middle, sizeof middle, "%s/a", folder);
    snprintf(deep, sizeof deep, "%s/a//b/file.crt", folder);
    const mode_t old = umask(0777);
    const bool ok = cert_file_make_folder(deep, error, sizeof error);
    umask(old);
    assert_true(ok);
    assert_int_equal(mode_of(folder), 0755); // not ours to change
    assert_int_equal(mode_of(middle), 0700);
    snprintf(middle, sizeof middle, "%s/a/b", folder);
    assert_int_equal(mode_of(middle), 0700);
    assert_true(cert_file_make_folder(deep, error, sizeof error));
    assert_true(cert_file_make_folder("relative.crt", error, sizeof error));
    assert_true(cert_file_make_folder("/root.crt", error, sizeof error));
}

static void test_a_file_in_the_way_of_a_folder(void **state)
{
    char below[PATH_BYTES];

    (void)state;
    file_write(folder, "file", "x", 1);
    snprintf(below, sizeof below, "%s/file/a.crt", folder);
    assert_false(cert_file_make_folder(below, error, sizeof error));
    assert_sentence(error, (const char *[]){path, "Not a directory", "create it", NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_creates_and_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_overwrites, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_dangling_link_is_not_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_creation_fails_in_a_closed_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_are_replaced_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_of_two_the_second_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leftovers_are_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_size_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_fifo_does_not_block, setup, teardown),
        cmocka_unit_test_setup_teardown(test_makes_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_in_the_way_of_a_folder, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
