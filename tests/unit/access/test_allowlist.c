// SPDX-License-Identifier: BSD-3-Clause
#include "access/allowlist.h"

#include "../support/loopback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ONE "1111111111111111111111111111111111111111111111111111111111111111"
#define AB "abABabABabABabABabABabABabABabABabABabABabABabABabABabABabABabAB"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"

static struct key key_of(const char *hex)
{
    struct key key;

    assert_true(key_from_hex(&key, hex, strlen(hex)));
    return key;
}

static const struct {
    const char *text;
    size_t keys;
    const char *says; // NULL: good
} texts[] = {
    {"", 0, NULL},
    {"\n\n \t\r\n", 0, NULL},
    {"# nobody", 0, NULL},
    {"nodekey:" ONE, 1, NULL},
    {"nodekey:" ONE "\n", 1, NULL},
    {"nodekey:" ONE "\r\nnodekey:" AB "\r\n", 2, NULL},
    {"  nodekey:" ONE "\t# Ann's laptop\n#nodekey:" AB "\n\n\nnodekey:" AB "#x", 2, NULL},
    {"nodekey:" ONE "\nnodekey:" ONE "\n", 2, NULL},
    {ONE, 0, "line 1 is no node key"},
    {"nodekey:" ONE "0", 0, "line 1 is no node key"},
    {"nodekey:" ONE " nodekey:" AB, 0, "line 1 is no node key"},
    {"\n#\nNodeKey:" ONE, 0, "line 3 is no node key: \"NodeKey:1111"},
    {"nodekey:" ONE "\nann@example.com\n", 0, "line 2 is no node key: \"ann@example.com\""},
    {"nodekey:" ZERO, 0, "line 1 is no node key"},
    {"nodekey:" ONE "\n\xef\xbb\xbfnodekey:" AB, 0, "line 2 is no node key: \"\\xef\\xbb\\xbf"},
    {"mkey:" ONE, 0, "line 1 is no node key"},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        char error[ALLOWLIST_ERROR_BYTES] = "";
        struct allowlist list;
        const bool ok =
            allowlist_parse(&list, texts[i].text, strlen(texts[i].text), error, sizeof error);

        assert_int_equal(ok, texts[i].says == NULL);
        assert_int_equal(list.count, texts[i].keys);
        if (!ok)
            assert_non_null(strstr(error, texts[i].says));
        allowlist_free(&list);
    }
}

static void test_nul_is_refused(void **state)
{
    static const char text[] = "nodekey:" ONE "\0\n";
    char error[ALLOWLIST_ERROR_BYTES];
    struct allowlist list;

    (void)state;
    assert_false(allowlist_parse(&list, text, sizeof text - 1, error, sizeof error));
    assert_non_null(strstr(error, "line 1"));
}

static void test_has(void **state)
{
    const struct key one = key_of(ONE), ab = key_of(AB);
    struct allowlist list = {0};
    char text[100 * (KEY_NAME_CHARS + 1) + 1], error[ALLOWLIST_ERROR_BYTES];
    size_t len = 0;

    (void)state;
    assert_false(allowlist_has(&list, &one));
    for (unsigned i = 1; i <= 100; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "nodekey:%064x\n", 1000 - i * 7);
    assert_true(allowlist_parse(&list, text, len, error, sizeof error));
    for (unsigned i = 1; i <= 1000; i++) {
        char hex[KEY_HEX_CHARS + 1];
        struct key key;

        snprintf(hex, sizeof hex, "%064x", i);
        key = key_of(hex);
        assert_int_equal(allowlist_has(&list, &key), i < 1000 && i >= 300 && (1000 - i) % 7 == 0);
    }
    assert_false(allowlist_has(&list, &ab));
    allowlist_free(&list);
}

static void test_load(void **state)
{
    char path[] = "/tmp/allowlist-XXXXXX", error[ALLOWLIST_ERROR_BYTES];
    const int fd = mkstemp(path);
    const struct key one = key_of(ONE);
    struct allowlist list;

    (void)state;
    assert_true(write(fd, "nodekey:" ONE "\n", KEY_NAME_CHARS + 1) > 0);
    assert_true(allowlist_load(&list, path, error, sizeof error));
    assert_true(allowlist_has(&list, &one));
    allowlist_free(&list);
    assert_true(write(fd, "bad\n", 4) > 0);
    assert_false(allowlist_load(&list, path, error, sizeof error));
    assert_non_null(strstr(error, path));
    assert_non_null(strstr(error, "line 2"));
    assert_int_equal(ftruncate(fd, ALLOWLIST_FILE_MAX_BYTES + 1), 0);
    assert_false(allowlist_load(&list, path, error, sizeof error));
    assert_non_null(strstr(error, "is too large, more than 16384 KiB"));
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_false(allowlist_load(&list, path, error, sizeof error));
    assert_non_null(strstr(error, "is empty"));
    assert_int_equal(pwrite(fd, "#", 1, 0), 1);
    assert_true(allowlist_load(&list, path, error, sizeof error));
    assert_int_equal(list.count, 0);
    unlink(path);
    assert_false(allowlist_load(&list, path, error, sizeof error));
    assert_non_null(strstr(error, "cannot be opened: No such file"));
    assert_false(allowlist_load(&list, "/tmp", error, sizeof error));
    assert_non_null(strstr(error, "is a folder"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_nul_is_refused),
        cmocka_unit_test(test_has),
        cmocka_unit_test(test_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
