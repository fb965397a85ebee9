// SPDX-License-Identifier: BSD-3-Clause
//
// The store of ACME challenges, alone and with askers on threads of their own.
#include "io/challenges.h"

#include "../support/identity.h"
#include "../support/loopback.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define ASKERS 3
#define ROUNDS 3000

static struct identity first, second;
static struct challenges challenges;

static void expect_http(const char *token, const char *expected)
{
    char out[CHALLENGE_ANSWER_MAX_BYTES + 1] = "untouched";
    char unended[CHALLENGE_NAME_MAX_BYTES + 8];
    const int len = snprintf(unended, sizeof unended, "%s?x", token) - 2;

    assert_int_equal(challenges_http(&challenges, unended, (size_t)len, out, sizeof out),
                     expected != NULL);
    assert_string_equal(out, expected ? expected : "untouched");
}

static void expect_tls(const char *name, const struct identity *expected)
{
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;

    assert_int_equal(challenges_tls(&challenges, name, &cert, &key), expected != NULL);
    assert_ptr_equal(cert, expected ? expected->cert : NULL);
    assert_ptr_equal(key, expected ? expected->key : NULL);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void test_http(void **state)
{
    (void)state;
    assert_false(challenges_any(&challenges));
    expect_http("token", NULL);
    assert_true(challenges_show_http(&challenges, "token", "token.print"));
    assert_true(challenges_show_http(&challenges, "Token", "another"));
    assert_true(challenges_any(&challenges));
    expect_http("token", "token.print");
    expect_http("Token", "another");
    expect_http("toke", NULL);
    expect_http("token1", NULL);
    expect_http("", NULL);
    assert_true(challenges_show_http(&challenges, "token", "changed"));
    expect_http("token", "changed");
    challenges_hide_http(&challenges, "token");
    challenges_hide_http(&challenges, "token");
    challenges_hide_http(&challenges, "");
    expect_http("token", NULL);
    expect_http("Token", "another");
    challenges_hide_http(&challenges, "Token");
    assert_false(challenges_any(&challenges));
    assert_int_equal(challenges.http_answered, 4);
    assert_int_equal(challenges.http_unknown, 5);
}

static void test_tls(void **state)
{
    (void)state;
    expect_tls("a.example", NULL);
    assert_true(challenges_show_tls(&challenges, "a.example", first.cert, first.key));
    assert_true(challenges_show_tls(&challenges, "B.example", second.cert, second.key));
    expect_tls("A.Example", &first);
    expect_tls("b.example", &second);
    expect_tls("example", NULL);
    expect_tls("", NULL);
    assert_true(challenges_show_tls(&challenges, "b.example", first.cert, first.key));
    expect_tls("b.example", &first);
    challenges_hide_tls(&challenges, "b.EXAMPLE");
    challenges_hide_tls(&challenges, "b.example");
    expect_tls("b.example", NULL);
    assert_int_equal(challenges.tls_answered, 3);
    assert_true(challenges_any(&challenges)); // a.example is left to challenges_deinit
}

// A token and a name of the same letters have nothing to do with each other.
static int freed;

static void on_free(void *parent, void *value, CRYPTO_EX_DATA *data, int index, long argl,
                    void *argp)
{
    (void)parent, (void)data, (void)index, (void)argl, (void)argp;
    freed += value != NULL;
}

// The store keeps no reference of what is hidden, or replaced.
static void test_references(void **state)
{
    const int cert_index = X509_get_ex_new_index(0, NULL, NULL, NULL, on_free);
    const int key_index =
        CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_EVP_PKEY, 0, NULL, NULL, NULL, on_free);

    (void)state;
    freed = 0;
    for (int i = 0; i < 2; i++) {
        X509 *cert = X509_dup(first.cert);
        EVP_PKEY *key = EVP_PKEY_dup(first.key);

        assert_int_equal(X509_set_ex_data(cert, cert_index, cert), 1);
        assert_int_equal(EVP_PKEY_set_ex_data(key, key_index, key), 1);
        assert_true(challenges_show_tls(&challenges, "a.example", cert, key));
        X509_free(cert);
        EVP_PKEY_free(key);
        assert_int_equal(freed, 2 * i);
    }
    challenges_hide_tls(&challenges, "a.example");
    assert_int_equal(freed, 4);
}

static void test_kinds_apart(void **state)
{
    (void)state;
    assert_true(challenges_show_http(&challenges, "same", "answer"));
    expect_tls("same", NULL);
    assert_true(challenges_show_tls(&challenges, "same", first.cert, first.key));
    challenges_hide_http(&challenges, "same");
    expect_http("same", NULL);
    expect_tls("same", &first);
}

static void test_bounds(void **state)
{
    char name[CHALLENGE_NAME_MAX_BYTES + 2], answer[CHALLENGE_ANSWER_MAX_BYTES + 2], out[8];

    (void)state;
    memset(name, 'n', sizeof name);
    memset(answer, 'a', sizeof answer);
    name[sizeof name - 1] = answer[sizeof answer - 1] = '\0';
    assert_false(challenges_show_http(&challenges, name, "a"));
    assert_false(challenges_show_http(&challenges, "n", answer));
    assert_false(challenges_show_http(&challenges, "", "a"));
    assert_false(challenges_show_http(&challenges, "n", ""));
    assert_false(challenges_show_tls(&challenges, name, first.cert, first.key));
    assert_false(challenges_show_tls(&challenges, "", first.cert, first.key));
    assert_false(challenges_any(&challenges));
    assert_true(challenges_show_http(&challenges, name + 1, answer + 1));
    expect_http(name + 1, answer + 1);
    assert_false(challenges_http(&challenges, name + 1, strlen(name + 1), out, sizeof out));
}

static void test_full(void **state)
{
    char token[16];

    (void)state;
    for (int i = 0; i < CHALLENGES_MAX; i++) {
        snprintf(token, sizeof token, "token%d", i);
        if (i % 2)
            assert_true(challenges_show_http(&challenges, token, token));
        else
            assert_true(challenges_show_tls(&challenges, token, first.cert, first.key));
    }
    assert_false(challenges_show_http(&challenges, "more", "a"));
    assert_false(challenges_show_tls(&challenges, "more", first.cert, first.key));
    assert_true(challenges_show_http(&challenges, "token1", "in its place"));
    challenges_hide_tls(&challenges, "token8");
    assert_true(challenges_show_http(&challenges, "more", "a"));
    expect_http("more", "a");
    expect_http("token31", "token31");
    expect_tls("token30", &first);
}

static atomic_bool over;
static atomic_int faults; // of askers, as only the test's own thread may assert

static void *ask(void *data)
{
    char out[CHALLENGE_ANSWER_MAX_BYTES + 1];

    (void)data;
    while (!over) {
        X509 *cert;
        EVP_PKEY *key;

        // What always stands is always found, whatever comes and goes beside it.
        if (!challenges_http(&challenges, "stands", 6, out, sizeof out) ||
            strcmp(out, "answer") != 0)
            faults++;
        if (challenges_http(&challenges, "comes", 5, out, sizeof out) &&
            strcmp(out, "and goes") != 0)
            faults++;
        if (challenges_tls(&challenges, "comes", &cert, &key)) {
            if (X509_check_private_key(cert, key) != 1)
                faults++;
            X509_free(cert);
            EVP_PKEY_free(key);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[ASKERS];

    (void)state;
    over = false;
    assert_true(challenges_show_http(&challenges, "stands", "answer"));
    for (int i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        const struct identity *shown = i % 2 ? &first : &second;

        assert_true(challenges_show_http(&challenges, "stands", "answer"));
        assert_true(challenges_show_http(&challenges, "comes", "and goes"));
        assert_true(challenges_show_tls(&challenges, "comes", shown->cert, shown->key));
        if (i % 3 == 0)
            challenges_hide_tls(&challenges, "comes");
        challenges_hide_http(&challenges, "comes");
    }
    over = true;
    for (int i = 0; i < ASKERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(faults, 0);
}

static int group_setup(void **state)
{
    (void)state;
    identity_make(&first, "EC", "first", NULL);
    identity_make(&second, "EC", "second", NULL);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    identity_free(&first);
    identity_free(&second);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    challenges_init(&challenges);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    challenges_deinit(&challenges);
    return 0;
}

#define STORE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE(test_http),   STORE(test_tls),  STORE(test_references), STORE(test_kinds_apart),
        STORE(test_bounds), STORE(test_full), STORE(test_threads),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
