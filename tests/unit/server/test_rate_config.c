// SPDX-License-Identifier: BSD-3-Clause
#include "server/rate_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define RATE "\"PerClientRateLimitBytesPerSec\""
#define BURST "\"PerClientRateBurstBytes\""

static const struct {
    const char *text;
    uint64_t bytes_per_second, burst_bytes;
} good[] = {
    {"{" RATE ":200000," BURST ":300000}", 200000, 300000},
    {" {\n" BURST " : 65568 , " RATE " : 1 }\n", 1, 65568},
    {"{" RATE ":200000," BURST ":65567}", 200000, RATE_CONFIG_BURST_MIN_BYTES},
    {"{" RATE ":200000}", 200000, RATE_CONFIG_BURST_MIN_BYTES},
    {"{" RATE ":9223372036854775807," BURST ":9223372036854775807}", INT64_MAX, INT64_MAX},
    {"{" RATE ":0," BURST ":300000}", 0, 0},
    {"{" BURST ":300000}", 0, 0},
    {"{}", 0, 0},
};

static const struct {
    const char *text, *says;
} bad[] = {
    {"", "is not JSON"},
    {"{", "is not JSON (line 1"},
    {"{}x", "is not JSON"},
    {"{\n" RATE ":1,\n}", "is not JSON (line 3"},
    {"{" RATE ":18446744073709551615}", "is not JSON"},
    {"{" RATE ":1," RATE ":2}", "is not JSON"},
    {"[]", "is not a JSON object"},
    {"[{" RATE ":1}]", "is not a JSON object"},
    {"{" RATE ":-1}", "has a PerClientRateLimitBytesPerSec that is not a whole number"},
    {"{" RATE ":1e6}", "has a PerClientRateLimitBytesPerSec that is not a whole number"},
    {"{" RATE ":1.0}", "has a PerClientRateLimitBytesPerSec that is not a whole number"},
    {"{" RATE ":\"1\"}", "has a PerClientRateLimitBytesPerSec that is not a whole number"},
    {"{" RATE ":null}", "has a PerClientRateLimitBytesPerSec that is not a whole number"},
    {"{" RATE ":1," BURST ":true}", "has a PerClientRateBurstBytes that is not a whole number"},
    {"{\"perclientratelimitbytespersec\":1}", "has \"perclientratelimitbytespersec\" in it"},
    {"{" RATE ":1,\"Gl\\u00f6bal\\n\":1}", "has \"Gl\\xc3\\xb6bal\\x0a\" in it"},
    {"{\"a\":1," BURST ":true}", "has \"a\" in it"}, // the first is told
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct server_limits limits = {7, 7};
        char why[RATE_CONFIG_ERROR_BYTES];

        print_message("%s\n", good[i].text);
        assert_true(
            rate_config_parse(&limits, good[i].text, strlen(good[i].text), why, sizeof why));
        assert_true(limits.bytes_per_second == good[i].bytes_per_second);
        assert_true(limits.burst_bytes == good[i].burst_bytes);
    }
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct server_limits limits = {7, 7};
        char why[RATE_CONFIG_ERROR_BYTES] = "";

        print_message("%s\n", bad[i].text);
        assert_false(rate_config_parse(&limits, bad[i].text, strlen(bad[i].text), why, sizeof why));
        assert_non_null(strstr(why, bad[i].says));
        assert_true(limits.bytes_per_second == 0 && limits.burst_bytes == 0);
    }
}

static char path[64];

static void write_file(const char *text, size_t len)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
}

static void assert_not_loaded(const char *says)
{
    char error[RATE_CONFIG_ERROR_BYTES] = "";
    struct server_limits limits;

    assert_false(rate_config_load(&limits, path, error, sizeof error));
    assert_memory_equal(error, "--rate-config: the file /tmp/", 29);
    assert_non_null(strstr(error, says));
    assert_int_equal(error[strlen(error) - 1], '.');
}

static void test_file(void **state)
{
    static char large[RATE_CONFIG_FILE_MAX_BYTES + 1];
    char error[RATE_CONFIG_ERROR_BYTES];
    struct server_limits limits;

    (void)state;
    strcpy(path, "/tmp/derper-rate-XXXXXX");
    close(mkstemp(path));
    write_file(good[0].text, strlen(good[0].text));
    assert_true(rate_config_load(&limits, path, error, sizeof error));
    assert_int_equal(limits.burst_bytes, 300000);
    write_file("", 0);
    assert_not_loaded("is not JSON");
    memset(large, ' ', sizeof large);
    write_file(large, sizeof large);
    assert_not_loaded("is too large");
    unlink(path);
    assert_not_loaded("cannot be opened: No such file");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_not_loaded("is a folder");
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0); // does not wait for a writer
    assert_not_loaded("is not a regular file");
    unlink(path);
}

static void test_text(void **state)
{
    char text[RATE_CONFIG_TEXT_BYTES];

    (void)state;
    assert_string_equal(rate_config_text(&(struct server_limits){0, 0}, text),
                        "as much as it likes");
    assert_string_equal(rate_config_text(&(struct server_limits){200000, 65568}, text),
                        "200000 bytes a second and 65568 at once");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
