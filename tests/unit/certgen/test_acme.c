// SPDX-License-Identifier: BSD-3-Clause
//
// What the client makes of a server's answers, which come from a table in the place of
// certgen/acme_transfer.c.
#include "certgen/acme.h"
#include "certgen/acme_transfer.h"

#include "material.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIRECTORY "https://ca.test/dir"
#define PROBLEM(type) "{\"type\":\"urn:ietf:params:acme:error:" type "\",\"detail\":\"the detail\"}"
#define ORDER(status) "{\"status\":\"" status "\",\"authorizations\":[\"https://ca.test/authz\"]}"

struct told {
    long status;
    const char *body;
    int64_t retry_after_s;
};

static const struct told directory = {
    200,
    "{\"newNonce\":\"https://ca.test/nonce\",\"newAccount\":\"https://ca.test/account\","
    "\"newOrder\":\"https://ca.test/order\",\"renewalInfo\":\"https://ca.test/ari\"}",
    0};
static const struct told account = {200, "{\"status\":\"valid\"}", 0};

static const struct told *table[32];
static size_t asked, told_count;
static int64_t clock_ms, request_ms;
static char last_url[ACME_URL_BYTES];
static char folder[FOLDER_BYTES];

struct acme_transfer *acme_transfer_new(const struct acme_config *config)
{
    (void)config;
    return malloc(1);
}

void acme_transfer_free(struct acme_transfer *transfer)
{
    free(transfer);
}

int64_t acme_transfer_now_ms(void)
{
    return clock_ms;
}

enum acme_outcome acme_transfer_run(struct acme_transfer *transfer, const char *url,
                                    const char *body, struct acme_answer *answer,
                                    char reason[static ACME_REASON_BYTES])
{
    const struct told *told = asked < told_count ? table[asked] : NULL;

    (void)transfer, (void)body;
    asked++;
    clock_ms += request_ms;
    snprintf(last_url, sizeof last_url, "%s", url);
    *answer = (struct acme_answer){0};
    strcpy(reason, "nobody is there");
    if (!told)
        return ACME_UNREACHABLE;
    answer->status = told->status;
    answer->retry_after_s = told->retry_after_s;
    strcpy(answer->nonce, "nonce");
    strcpy(answer->location, "https://ca.test/1");
    answer->body = told->body ? strdup(told->body) : NULL;
    answer->len = told->body ? strlen(told->body) : 0;
    return ACME_DONE;
}

static bool show(const struct acme_challenge *challenge, void *data)
{
    (void)challenge, (void)data;
    return true;
}

static void hide(const struct acme_challenge *challenge, void *data)
{
    (void)challenge, (void)data;
}

static bool wait_ms(uint64_t ms, void *data)
{
    (void)ms, (void)data;
    return true;
}

static bool cancelled(void *data)
{
    (void)data;
    return false;
}

static void say(const char *line, void *data)
{
    (void)line, (void)data;
}

static const struct acme_world world = {show, hide, wait_ms, cancelled, say, NULL};
static const struct acme_config config = {.directory = DIRECTORY,
                                          .folder = folder,
                                          .email = "",
                                          .eab_kid = "",
                                          .eab_key = "",
                                          .profile = "",
                                          .kinds = ACME_HTTP_01,
                                          .preferred = ACME_HTTP_01,
                                          .world = &world};

// The answers of the next visit, up to a NULL.
static void tell(const struct told *const answers[])
{
    asked = 0;
    for (told_count = 0; answers[told_count]; told_count++)
        table[told_count] = answers[told_count];
}

static void obtain(const char *name, struct acme_fault *fault)
{
    *fault = (struct acme_fault){0};
    folder_make(folder);
    assert_false(acme_obtain(&config, &name, 1, NULL, fault));
    folder_remove(folder);
}

static int set_up(void **state)
{
    (void)state;
    asked = told_count = 0;
    clock_ms = request_ms = 0;
    return 0;
}

static void test_outcomes_of_requests(void **state)
{
    static const struct {
        struct told answer;
        enum acme_outcome outcome;
        int64_t retry_after_s;
    } cases[] = {
        {{429, PROBLEM("rateLimited"), 7200}, ACME_LIMITED, 7200},
        {{429, PROBLEM("rateLimited"), 0}, ACME_LIMITED, 0},
        {{429, "slow down", 60}, ACME_LIMITED, 60},
        {{503, NULL, 120}, ACME_UNREACHABLE, 120},
        {{500, PROBLEM("serverInternal"), 0}, ACME_UNREACHABLE, 0},
        {{400, PROBLEM("malformed"), 0}, ACME_REFUSED, 0},
        {{400, PROBLEM("rejectedIdentifier"), 0}, ACME_REFUSED, 0},
        {{403, PROBLEM("unauthorized"), 0}, ACME_REFUSED, 0},
        {{403, PROBLEM("externalAccountRequired"), 0}, ACME_REFUSED, 0},
        {{403, PROBLEM("caa"), 0}, ACME_UNPROVEN, 0},
        {{404, "<html>", 0}, ACME_REFUSED, 0},
        {{301, NULL, 0}, ACME_REFUSED, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct told *const answers[] = {&directory, &account, &cases[i].answer, NULL};
        struct acme_fault fault;

        tell(answers);
        obtain("a.test", &fault);
        if (fault.outcome != cases[i].outcome || fault.retry_after_s != cases[i].retry_after_s)
            fail_msg("case %zu: %d, %lld s: %s", i, fault.outcome, (long long)fault.retry_after_s,
                     fault.sentence);
        assert_int_equal(asked, 3);
    }
}

static void test_outcomes_of_proofs(void **state)
{
    static const struct {
        const char *type;
        enum acme_outcome outcome;
    } cases[] = {
        {"connection", ACME_UNPROVEN},
        {"dns", ACME_UNPROVEN},
        {"unauthorized", ACME_UNPROVEN},
        {"incorrectResponse", ACME_UNPROVEN},
        {"tls", ACME_UNPROVEN},
        {"malformed", ACME_UNPROVEN},
        {"caa", ACME_UNPROVEN},
        {"rateLimited", ACME_LIMITED},
        {"serverInternal", ACME_UNREACHABLE},
    };
    static const struct told order = {201, ORDER("pending"), 0};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char body[512];
        const struct told authorization = {200, body, 0};
        const struct told *const answers[] = {&directory, &account, &order, &authorization, NULL};
        struct acme_fault fault;

        snprintf(body, sizeof body,
                 "{\"status\":\"invalid\",\"identifier\":{\"value\":\"a.test\"},\"challenges\":"
                 "[{\"error\":{\"type\":\"urn:ietf:params:acme:error:%s\",\"detail\":\"why\"}}]}",
                 cases[i].type);
        tell(answers);
        obtain("a.test", &fault);
        if (fault.outcome != cases[i].outcome || !strstr(fault.sentence, "a.test") ||
            !strstr(fault.sentence, "why"))
            fail_msg("%s: %d: %s", cases[i].type, fault.outcome, fault.sentence);
    }
}

static void test_proofs_are_bounded(void **state)
{
    static const struct told two = {
        201,
        "{\"status\":\"pending\",\"authorizations\":[\"https://ca.test/1\",\"https://ca.test/2\"]}",
        0};
    static const struct told three = {
        201,
        "{\"status\":\"pending\",\"authorizations\":[\"https://ca.test/1\",\"https://ca.test/2\","
        "\"https://ca.test/3\"]}",
        0};
    struct acme_fault fault;

    (void)state;
    tell((const struct told *const[]){&directory, &account, &two, NULL});
    obtain("a.test", &fault);
    assert_int_equal(fault.outcome, ACME_UNREACHABLE);
    assert_int_equal(asked, 4);
    tell((const struct told *const[]){&directory, &account, &three, NULL});
    obtain("a.test", &fault);
    assert_int_equal(fault.outcome, ACME_REFUSED);
    assert_int_equal(asked, 3);
    assert_non_null(strstr(fault.sentence, "3 proofs of 1 names"));
}

// Each request takes long, and each answer is one.
static void test_visit_is_bounded(void **state)
{
    static const struct told order = {201, ORDER("processing"), 0};
    const struct told *answers[COUNT(table)] = {&directory, &account};
    struct acme_fault fault;

    (void)state;
    for (size_t i = 2; i < COUNT(answers) - 1; i++)
        answers[i] = &order;
    tell(answers);
    request_ms = 50 * 1000;
    obtain("a.test", &fault);
    assert_int_equal(fault.outcome, ACME_UNREACHABLE);
    assert_non_null(strstr(fault.sentence, "in 600 s"));
    assert_int_equal(asked, 13);
}

static void test_bad_nonces_are_bounded(void **state)
{
    static const struct told bad = {400, PROBLEM("badNonce"), 0};
    const struct told *answers[21] = {&directory};
    struct acme_fault fault;

    (void)state;
    for (size_t i = 1; i < 20; i++)
        answers[i] = &bad;
    tell(answers);
    obtain("a.test", &fault);
    assert_int_equal(fault.outcome, ACME_UNREACHABLE);
    assert_int_equal(asked, 1 + 8);
}

static void test_names(void **state)
{
    static const char *const good[] = {"a.test",      "A-1.b.test",  "localhost",
                                       "203.0.113.1", "2001:db8::1", "x--y.test"};
    static const char *const bad[] = {
        "",           ".",         "a..test",       "a.test.", "*.a.test",  "a_b.test",  "-a.test",
        "a-.test",    "a b",       "\xc3\xa9.test", "../a",    "[2001::1]", "1.2.3.4/5", "127.1",
        "0x7f.0.0.1", "300.1.1.1", "1.2.3",         "a.0x7f",  "a.0X",      "1"};
    struct acme_fault fault;
    char label[64 + 1] = "";

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        obtain(good[i], &fault);
        if (fault.outcome != ACME_UNREACHABLE)
            fail_msg("\"%s\": %s", good[i], fault.sentence);
    }
    asked = 0;
    for (size_t i = 0; i < COUNT(bad); i++) {
        obtain(bad[i], &fault);
        if (fault.outcome != ACME_REFUSED || asked > 0)
            fail_msg("\"%s\": %s", bad[i], fault.sentence);
    }
    memset(label, 'a', 64);
    obtain(label, &fault);
    assert_int_equal(fault.outcome, ACME_REFUSED);
    label[63] = '\0';
    obtain(label, &fault);
    assert_int_equal(fault.outcome, ACME_UNREACHABLE);
}

static void test_sentences_are_cleaned(void **state)
{
    static const struct told answer = {
        400, "{\"type\":\"urn:ietf:params:acme:error:malformed\",\"detail\":\"a\\nb\\u001b[1m\"}",
        0};
    const struct told *const answers[] = {&directory, &account, &answer, NULL};
    struct acme_fault fault;

    (void)state;
    tell(answers);
    obtain("a.test", &fault);
    assert_non_null(strstr(fault.sentence, "a?b?[1m"));
}

// The certificate of RFC 9773, section 4.1, as far as it matters.
static X509 *rfc_certificate(void)
{
    static const unsigned char serial[] = {0x87, 0x65, 0x43, 0x21};
    static const unsigned char key_id[] = {0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40,
                                           0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0,
                                           0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    X509 *cert = X509_new();

    authority->keyid = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(authority->keyid, key_id, sizeof key_id);
    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    assert_int_equal(X509_add1_ext_i2d(cert, NID_authority_key_identifier, authority, 0, 0), 1);
    X509_set_pubkey(cert, key);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    AUTHORITY_KEYID_free(authority);
    BN_free(number);
    EVP_PKEY_free(key);
    return cert;
}

static void test_window(void **state)
{
    static const struct {
        struct told answer;
        bool ok;
        int64_t again_s;
    } cases[] = {
        {{200,
          "{\"suggestedWindow\":{\"start\":\"2026-01-03T00:00:00Z\",\"end\":"
          "\"2026-01-04T00:00:00Z\"}}",
          21600},
         true,
         21600},
        {{200,
          "{\"suggestedWindow\":{\"start\":\"2026-01-03T00:00:00Z\",\"end\":"
          "\"2026-01-04T00:00:00Z\"}}",
          0},
         true,
         6 * 3600},
        {{200,
          "{\"suggestedWindow\":{\"start\":\"2026-01-03T00:00:00Z\",\"end\":"
          "\"2026-01-04T00:00:00Z\"}}",
          1},
         true,
         60},
        {{200,
          "{\"suggestedWindow\":{\"start\":\"2026-01-03T00:00:00Z\",\"end\":"
          "\"2026-01-04T00:00:00Z\"}}",
          604800},
         true,
         86400},
        {{200,
          "{\"suggestedWindow\":{\"start\":\"2026-01-03T00:00:00Z\",\"end\":"
          "\"2026-01-03T00:00:00Z\"}}",
          0},
         false,
         0},
        {{200, "{\"suggestedWindow\":{\"start\":\"2026-01-03T00:00:00Z\"}}", 0}, false, 0},
        {{200, "{\"suggestedWindow\":[]}", 0}, false, 0},
        {{200, "no", 0}, false, 0},
        {{404, NULL, 0}, false, 0},
    };
    X509 *cert = rfc_certificate();

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct told *const answers[] = {&directory, &cases[i].answer, NULL};
        struct acme_window window;
        struct acme_fault fault;

        tell(answers);
        assert_int_equal(acme_suggested_window(&config, cert, &window, &fault), cases[i].ok);
        assert_string_equal(last_url, "https://ca.test/ari/aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
        if (!cases[i].ok)
            continue;
        assert_int_equal(window.start, 1767398400);
        assert_int_equal(window.end - window.start, 86400);
        assert_int_equal(window.again_s, cases[i].again_s);
    }
    X509_free(cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_outcomes_of_requests, set_up),
        cmocka_unit_test_setup(test_outcomes_of_proofs, set_up),
        cmocka_unit_test_setup(test_proofs_are_bounded, set_up),
        cmocka_unit_test_setup(test_visit_is_bounded, set_up),
        cmocka_unit_test_setup(test_bad_nonces_are_bounded, set_up),
        cmocka_unit_test_setup(test_names, set_up),
        cmocka_unit_test_setup(test_sentences_are_cleaned, set_up),
        cmocka_unit_test_setup(test_window, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
