// SPDX-License-Identifier: BSD-3-Clause
#include "server/keyfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEX "c8d6bd1f0ad46ba2b8d1c1c5a4e1f2a3b4c5d6e7f8091a2b3c4d5e6f70819253"
#define HEX_UPPER "C8D6BD1F0AD46BA2B8D1C1C5A4E1F2A3B4C5D6E7F8091A2B3C4D5E6F70819253"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define PATH_BYTES 512

static char folder[64];
static char text[KEYFILE_TEXT_BYTES];

static const char *in_folder(const char *name)
{
    static char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const char *bytes, size_t len, mode_t mode)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/derper-keyfile-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int entries(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

static const struct {
    const char *name;
    const char *content;
} good[] = {
    {"as Go writes it", "{\n\t\"PrivateKey\": \"privkey:" HEX "\"\n}"},
    {"on one line", "{\"PrivateKey\":\"privkey:" HEX "\"}\n"},
    {"upper-case digits", "{\"PrivateKey\":\"privkey:" HEX_UPPER "\"}"},
    {"other fields", "{\"Comment\":[1,{\"a\":null}],\"PrivateKey\":\"privkey:" HEX "\"}"},
};

static void test_loads(void **state)
{
    char hex[KEY_HEX_CHARS + 1];

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        const char *path = in_folder("derper.key");
        struct key_pair pair;

        print_message("%s\n", good[i].name);
        write_file(path, good[i].content, strlen(good[i].content), 0600);
        assert_int_equal(keyfile_load(&pair, path, text, sizeof text), KEYFILE_LOADED);
        assert_string_equal(text, "");
        key_to_hex(&pair.private, hex);
        assert_string_equal(hex, HEX);
        assert_false(key_is_zero(&pair.public));
    }
}

static const struct {
    const char *name;
    const char *content;
    const char *says;
} bad[] = {
    {"empty", "", "is empty"},
    {"not JSON", "hello", "is not JSON (line 1)"},
    {"a bare key", "privkey:" HEX, "is not JSON (line 1)"},
    {"cut short", "{\n\t\"PrivateKey\": \"privkey:c8d6", "is not JSON (line 2)"},
    {"something behind", "{\"PrivateKey\":\"privkey:" HEX "\"} x", "is not JSON"},
    {"no key", "{}", "has no \"PrivateKey\""},
    {"other case", "{\"privatekey\":\"privkey:" HEX "\"}", "has no \"PrivateKey\""},
    {"an array", "[1]", "has no \"PrivateKey\""},
    {"a string", "\"privkey:" HEX "\"", "has no \"PrivateKey\""},
    {"null", "{\"PrivateKey\":null}", "64 hexadecimal digits"},
    {"a number", "{\"PrivateKey\":5}", "64 hexadecimal digits"},
    {"no prefix", "{\"PrivateKey\":\"" HEX "\"}", "64 hexadecimal digits"},
    {"a public key", "{\"PrivateKey\":\"nodekey:" HEX "\"}", "64 hexadecimal digits"},
    {"a digit short", "{\"PrivateKey\":\"privkey:c8d6\"}", "64 hexadecimal digits"},
    {"a digit too many", "{\"PrivateKey\":\"privkey:" HEX "0\"}", "64 hexadecimal digits"},
    {"not hexadecimal", "{\"PrivateKey\":\"privkey:x" ZEROS "\"}", "64 hexadecimal digits"},
    {"an escaped NUL", "{\"PrivateKey\":\"privkey:\\u0000" ZEROS "\"}", "is not JSON"},
    {"all zero", "{\"PrivateKey\":\"privkey:" ZEROS "\"}", "is all zero"},
};

static void test_bad_content(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *path = in_folder("derper.key");
        struct key_pair pair;
        struct stat st;

        print_message("%s\n", bad[i].name);
        write_file(path, bad[i].content, strlen(bad[i].content), 0600);
        assert_int_equal(keyfile_load_or_create(&pair, path, text, sizeof text), KEYFILE_FAILED);
        print_message("  %s\n", text);
        assert_non_null(strstr(text, path));
        assert_non_null(strstr(text, bad[i].says));
        assert_null(strstr(text, "c8d6")); // no secrets in sentences
        assert_true(sodium_is_zero((const uint8_t *)&pair, sizeof pair));
        // What is there is never replaced.
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, strlen(bad[i].content));
        assert_int_equal(entries(folder), 1);
    }
}

static void test_not_a_file(void **state)
{
    struct key_pair pair;
    static char large[65537];

    (void)state;
    assert_int_equal(keyfile_load_or_create(&pair, folder, text, sizeof text), KEYFILE_FAILED);
    assert_non_null(strstr(text, "is a folder"));
    assert_int_equal(keyfile_load_or_create(&pair, "/dev/null", text, sizeof text), KEYFILE_FAILED);
    assert_non_null(strstr(text, "is not a regular file"));
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_int_equal(keyfile_load_or_create(&pair, in_folder("pipe"), text, sizeof text),
                     KEYFILE_FAILED);
    assert_non_null(strstr(text, "is not a regular file"));
    write_file(in_folder("large"), large, sizeof large, 0600);
    assert_int_equal(keyfile_load_or_create(&pair, in_folder("large"), text, sizeof text),
                     KEYFILE_FAILED);
    assert_non_null(strstr(text, "is too large"));
    assert_int_equal(keyfile_load_or_create(&pair, in_folder("large/x"), text, sizeof text),
                     KEYFILE_FAILED);
    assert_non_null(strstr(text, "Not a directory"));
    assert_int_equal(symlink("/nonexistent/x", in_folder("link")), 0);
    assert_int_equal(keyfile_load_or_create(&pair, in_folder("link"), text, sizeof text),
                     KEYFILE_FAILED);
    assert_non_null(strstr(text, "leads nowhere"));
}

static void test_unreadable(void **state)
{
    struct key_pair pair;
    const char *path = in_folder("derper.key");
    const bool root = geteuid() == 0;

    (void)state;
    write_file(path, good[0].content, strlen(good[0].content), 0000);
    if (root) {
        assert_int_equal(chmod(folder, 0755), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    assert_int_equal(keyfile_load_or_create(&pair, path, text, sizeof text), KEYFILE_FAILED);
    assert_non_null(strstr(text, "Permission denied; let the user"));
    if (root) {
        assert_int_equal(keyfile_load_or_create(&pair, in_folder("new.key"), text, sizeof text),
                         KEYFILE_FAILED);
        assert_non_null(strstr(text, "new.key"));
        assert_non_null(strstr(text, "Permission denied"));
        assert_int_equal(
            keyfile_load_or_create(&pair, in_folder("new/derper.key"), text, sizeof text),
            KEYFILE_FAILED);
        assert_non_null(strstr(text, "/new "));
        assert_non_null(strstr(text, "Permission denied"));
        assert_int_equal(seteuid(0), 0);
    }
}

static void test_others_may_read_it(void **state)
{
    static const mode_t modes[] = {0644, 0640, 0606, 0601};
    struct key_pair pair;
    const char *path = in_folder("derper.key");

    (void)state;
    for (size_t i = 0; i < COUNT(modes); i++) {
        char mode[8];

        write_file(path, good[0].content, strlen(good[0].content), modes[i]);
        assert_int_equal(keyfile_load(&pair, path, text, sizeof text), KEYFILE_LOADED);
        snprintf(mode, sizeof mode, "%04o", (unsigned)modes[i]);
        assert_non_null(strstr(text, mode));
        assert_non_null(strstr(text, "chmod 600"));
    }
    write_file(path, good[0].content, strlen(good[0].content), 0400);
    assert_int_equal(keyfile_load(&pair, path, text, sizeof text), KEYFILE_LOADED);
    assert_string_equal(text, "");
}

static void test_creates(void **state)
{
    struct key_pair created, loaded;
    char path[PATH_BYTES], content[256] = "", want[256], hex[KEY_HEX_CHARS + 1];
    struct stat st;
    FILE *file;

    (void)state;
    strcpy(path, in_folder("a/b//derper.key"));
    umask(0);
    assert_int_equal(keyfile_load(&created, path, text, sizeof text), KEYFILE_ABSENT);
    assert_non_null(strstr(text, "does not exist"));
    assert_int_equal(keyfile_load_or_create(&created, path, text, sizeof text), KEYFILE_CREATED);
    umask(022);
    assert_string_equal(text, "");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    assert_int_equal(stat(in_folder("a/b"), &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
    assert_int_equal(entries(in_folder("a/b")), 1);

    file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(content, 1, sizeof content - 1, file) > 0);
    fclose(file);
    key_to_hex(&created.private, hex);
    snprintf(want, sizeof want, "{\n\t\"PrivateKey\": \"privkey:%s\"\n}", hex);
    assert_string_equal(content, want);

    assert_int_equal(keyfile_load_or_create(&loaded, path, text, sizeof text), KEYFILE_LOADED);
    assert_memory_equal(&loaded, &created, sizeof loaded);
}

static void test_creates_in_the_working_folder(void **state)
{
    struct key_pair pair;
    char before[PATH_BYTES];

    (void)state;
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(keyfile_load_or_create(&pair, "derper.key", text, sizeof text),
                     KEYFILE_CREATED);
    assert_int_equal(keyfile_load_or_create(&pair, "./derper.key", text, sizeof text),
                     KEYFILE_LOADED);
    assert_int_equal(chdir(before), 0);
}

static void test_long_and_strange_paths(void **state)
{
    static char path[9000];
    struct key_pair pair;

    (void)state;
    memset(path, 'a', sizeof path - 1);
    assert_int_equal(keyfile_load_or_create(&pair, path, text, sizeof text), KEYFILE_FAILED);
    assert_non_null(strstr(text, "File name too long"));
    for (size_t i = 1; i < sizeof path - 1; i += 2)
        path[i] = '/';
    assert_int_equal(keyfile_load_or_create(&pair, path, text, sizeof text), KEYFILE_FAILED);
    strcpy(path, in_folder("line\n/\xff"));
    write_file(in_folder("line\n"), "", 0, 0600);
    assert_int_equal(keyfile_load_or_create(&pair, path, text, sizeof text), KEYFILE_FAILED);
    assert_non_null(strstr(text, "line\\x0a/\\xff: cannot be opened: Not a directory"));
    assert_int_equal(keyfile_load_or_create(&pair, "", text, sizeof text), KEYFILE_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_loads, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_bad_content, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_not_a_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_unreadable, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_others_may_read_it, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_creates, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_creates_in_the_working_folder, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_long_and_strange_paths, make_folder, remove_folder),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
