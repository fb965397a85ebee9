// SPDX-License-Identifier: BSD-3-Clause
#include "server/watched_folders.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64], back[PATH_MAX];

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/test-folders-XXXXXX");
    assert_non_null(mkdtemp(root));
    assert_non_null(getcwd(back, sizeof back));
    assert_int_equal(chdir(root), 0);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st, (void)kind, (void)place;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(chdir(back), 0);
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_folder(const char *name)
{
    assert_int_equal(mkdir(name, 0700), 0);
}

static void make_file(const char *name)
{
    const int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    close(fd);
}

static void make_link(const char *target, const char *name)
{
    assert_int_equal(symlink(target, name), 0);
}

static bool has(const struct watched_folders *folders, const char *name)
{
    struct stat st;

    assert_int_equal(stat(name, &st), 0);
    for (size_t i = 0; i < folders->count; i++)
        if (folders->items[i].device == st.st_dev && folders->items[i].inode == st.st_ino)
            return true;
    return false;
}

// Adds the path under the root, and expects just these folders, up to a NULL.
static void assert_folders(const char *path, bool absolute, const char *const names[])
{
    struct watched_folders *folders = calloc(1, sizeof *folders);
    char whole[PATH_MAX];
    size_t count = 0;

    snprintf(whole, sizeof whole, absolute ? "%s/%s" : "%.0s%s", root, path);
    watched_folders_add(folders, whole);
    for (; names[count]; count++)
        if (!has(folders, names[count]))
            fail_msg("%s is not watched for %s", names[count], path);
    assert_int_equal(folders->count, count);
    free(folders);
}

static void assert_both(const char *path, const char *const names[])
{
    assert_folders(path, true, names);
    assert_folders(path, false, names);
}

static void test_plain_file(void **state)
{
    (void)state;
    make_folder("a");
    make_folder("a/b");
    make_file("a/b/file");
    assert_both("a/b/file", (const char *const[]){"a/b", NULL});
    assert_both("a//b/./../b//file", (const char *const[]){"a/b", NULL});
    assert_both("a/b/.", (const char *const[]){"a/b", NULL});
}

static void test_what_is_missing_would_appear_there(void **state)
{
    (void)state;
    make_folder("a");
    assert_both("a/b/c/file", (const char *const[]){"a", NULL});
    assert_both("file", (const char *const[]){".", NULL});
}

static void test_links_of_certbot(void **state)
{
    (void)state;
    make_folder("live");
    make_folder("live/host");
    make_folder("archive");
    make_folder("archive/host");
    make_file("archive/host/fullchain1.pem");
    make_link("../../archive/host/fullchain1.pem", "live/host/fullchain.pem");
    assert_both("live/host/fullchain.pem",
                (const char *const[]){"live/host", "archive/host", NULL});
}

static void test_links_of_kubernetes(void **state)
{
    (void)state;
    make_folder("..1");
    make_file("..1/tls.crt");
    make_link("..1", "..data");
    make_link("..data/tls.crt", "tls.crt");
    assert_both("tls.crt", (const char *const[]){".", "..1", NULL});
}

static void test_folder_that_is_a_link(void **state)
{
    char target[PATH_MAX];

    (void)state;
    make_folder("volumes");
    make_folder("volumes/1");
    make_folder("etc");
    make_file("volumes/1/file");
    snprintf(target, sizeof target, "%s/volumes/1", root);
    make_link(target, "etc/current");
    assert_both("etc/current/file", (const char *const[]){"etc", "volumes/1", NULL});
    assert_both("etc/current/.", (const char *const[]){"etc", "volumes/1", NULL});
}

static void test_link_to_nothing_and_to_itself(void **state)
{
    (void)state;
    make_folder("a");
    make_link("../a/nothing", "a/link");
    make_link("loop", "loop");
    assert_both("a/link", (const char *const[]){"a", NULL});
    assert_both("loop/file", (const char *const[]){".", NULL});
}

static void test_there_is_a_bound(void **state)
{
    struct watched_folders *folders = calloc(1, sizeof *folders);

    (void)state;
    for (int i = 0; i < WATCHED_FOLDERS_MAX + 5; i++) {
        char name[32];

        snprintf(name, sizeof name, "%d", i);
        make_folder(name);
        strcat(name, "/file");
        watched_folders_add(folders, name);
    }
    assert_int_equal(folders->count, WATCHED_FOLDERS_MAX);
    free(folders);
}

static void test_paths_that_are_too_long(void **state)
{
    struct watched_folders *folders = calloc(1, sizeof *folders);
    char path[4 * CERT_PATH_MAX_BYTES];

    (void)state;
    memset(path, 'a', sizeof path);
    for (size_t len = 1; len < sizeof path; len += 511) {
        path[len] = '\0';
        watched_folders_add(folders, path);
        path[len] = 'a';
    }
    watched_folders_add(folders, "");
    watched_folders_add(folders, "/");
    assert_true(folders->count <= 1);
    free(folders);
}

static void test_another_folder_under_the_same_name_is_another(void **state)
{
    struct watched_folders *folders = calloc(2, sizeof *folders);

    (void)state;
    make_folder("a");
    watched_folders_add(&folders[0], "a/file");
    assert_int_equal(rename("a", "b"), 0);
    make_folder("a");
    watched_folders_add(&folders[1], "a/file");
    assert_true(watched_folder_equal(&folders[0].items[0], &folders[0].items[0]));
    assert_false(watched_folder_equal(&folders[0].items[0], &folders[1].items[0]));
    free(folders);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_plain_file),
        IN_FOLDER(test_what_is_missing_would_appear_there),
        IN_FOLDER(test_links_of_certbot),
        IN_FOLDER(test_links_of_kubernetes),
        IN_FOLDER(test_folder_that_is_a_link),
        IN_FOLDER(test_link_to_nothing_and_to_itself),
        IN_FOLDER(test_there_is_a_bound),
        IN_FOLDER(test_paths_that_are_too_long),
        IN_FOLDER(test_another_folder_under_the_same_name_is_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
