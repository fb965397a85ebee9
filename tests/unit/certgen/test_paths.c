// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/paths.h"

#include "certgen/error.h"
#include "material.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *hostname;
    const char *stem; // NULL: refused
} hosts[] = {
    {"derp.example.com", "derp.example.com"},
    {"A-1.Example", "A-1.Example"},
    {"203.0.113.1", "203.0.113.1"},
    {"2001:db8::1", "2001db81"},
    {"[2001:db8::1]", "2001db81"},
    {"../../etc/passwd", "....etcpasswd"},
    {"a_b c*\n\"%s", "abcs"},
    {"m\xc3\xbcnchen.example", "mnchen.example"},
    {"", NULL},
    {"::", NULL},
    {"/", NULL},
};

static void test_names_of_hosts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(hosts); i++) {
        struct cert_paths paths;
        char error[CERT_ERROR_BYTES] = "", expected[PATH_BYTES];
        const bool ok =
            cert_paths_for_host(&paths, "/certs", hosts[i].hostname, error, sizeof error);

        print_message("\"%s\"\n", hosts[i].hostname);
        assert_int_equal(ok, hosts[i].stem != NULL);
        if (!ok) {
            assert_sentence(error, (const char *[]){"hostname", "use a name", NULL});
            continue;
        }
        snprintf(expected, sizeof expected, "/certs/%s.crt", hosts[i].stem);
        assert_string_equal(paths.cert, expected);
        snprintf(expected, sizeof expected, "/certs/%s.key", hosts[i].stem);
        assert_string_equal(paths.key, expected);
    }
}

static void test_length_is_bounded(void **state)
{
    char error[CERT_ERROR_BYTES], folder[CERT_PATH_MAX_BYTES + 8];
    struct cert_paths paths;
    const size_t longest = CERT_PATH_MAX_BYTES - 1 - strlen("/a.crt");

    (void)state;
    memset(folder, 'f', sizeof folder);
    folder[longest] = '\0';
    assert_true(cert_paths_for_host(&paths, folder, "a", error, sizeof error));
    assert_int_equal(strlen(paths.cert), CERT_PATH_MAX_BYTES - 1);
    assert_false(cert_paths_for_host(&paths, folder, "ab", error, sizeof error));
    assert_sentence(error, (const char *[]){"more than 1023 bytes", "shorter", NULL});

    folder[longest] = 'f';
    folder[sizeof folder - 1] = '\0';
    assert_false(cert_paths_for_host(&paths, "/certs", folder, error, sizeof error));
    assert_false(cert_paths_set(&paths, folder, NULL, error, sizeof error));
    assert_false(cert_paths_set(&paths, "a.crt", folder, error, sizeof error));
    assert_sentence(error, (const char *[]){"longer than 1023 bytes", "shorter", NULL});
}

static const struct {
    const char *cert, *key, *expected;
} pairs[] = {
    {"a.crt", NULL, "a.key"},       {"/x/a.example.crt", NULL, "/x/a.example.key"},
    {"/x.y/a", NULL, "/x.y/a.key"}, {"a", NULL, "a.key"},
    {"a.crt", "b.pem", "b.pem"},
};

static void test_names_of_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        char error[CERT_ERROR_BYTES];
        struct cert_paths paths;

        print_message("%s\n", pairs[i].cert);
        assert_true(cert_paths_set(&paths, pairs[i].cert, pairs[i].key, error, sizeof error));
        assert_string_equal(paths.cert, pairs[i].cert);
        assert_string_equal(paths.key, pairs[i].expected);
    }
}

static void test_sentence_is_cut_to_its_buffer(void **state)
{
    char error[16];
    struct cert_paths paths;

    (void)state;
    memset(error, 'x', sizeof error);
    assert_false(cert_paths_for_host(&paths, "/certs", "", error, 8));
    assert_string_equal(error, "hostnam");
    assert_int_equal(error[8], 'x');
}

static void test_spelling_that_is_there(void **state)
{
    static const char *const spellings[] = {"2001:DB8::1", "2001:db8::1", "203.0.113.1",
                                            "2001:db8::1"};
    char folder[FOLDER_BYTES];

    (void)state;
    folder_make(folder);
    assert_string_equal(cert_paths_spelling(folder, spellings, 4), "2001:db8::1");
    file_write(folder, "203.0.113.1.key", "x", 1);
    assert_string_equal(cert_paths_spelling(folder, spellings, 4), "203.0.113.1");
    file_write(folder, "2001DB81.crt", "x", 1);
    assert_string_equal(cert_paths_spelling(folder, spellings, 4), "2001:DB8::1");
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_hosts),
        cmocka_unit_test(test_length_is_bounded),
        cmocka_unit_test(test_names_of_files),
        cmocka_unit_test(test_spelling_that_is_there),
        cmocka_unit_test(test_sentence_is_cut_to_its_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
