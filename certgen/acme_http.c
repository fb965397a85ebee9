// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/acme_http.h"

#include "certgen/jose.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBLEM_PREFIX "urn:ietf:params:acme:error:"
#define SUBPROBLEMS_TOLD 3
#define URL_TOLD_CHARS 256 // of an address that is told in a sentence

// What strangers say is not to forge lines of a log, or to steer a terminal.
static void clean(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

bool acme_fail(struct acme_session *session, enum acme_outcome outcome, const char *format, ...)
{
    struct acme_fault *fault = session->fault;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(fault->sentence, sizeof fault->sentence, format, arguments);
    va_end(arguments);
    clean(fault->sentence);
    fault->outcome = outcome;
    fault->retry_after_s = 0;
    return false;
}

static bool fail_cancelled(struct acme_session *session)
{
    return acme_fail(session, ACME_CANCELLED, "the ACME client was ended");
}

bool acme_wait(struct acme_session *session, uint64_t ms)
{
    const struct acme_world *world = session->config->world;

    return world->wait(ms, world->data) || fail_cancelled(session);
}

void acme_say(const struct acme_session *session, const char *format, ...)
{
    const struct acme_world *world = session->config->world;
    char line[CERT_ERROR_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    clean(line);
    world->say(line, world->data);
}

const char *acme_text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

// --- Problem documents. ---

static const struct {
    const char *type; // behind PROBLEM_PREFIX
    enum acme_outcome outcome;
    const char *hint;
} problems[] = {
    {"rateLimited", ACME_LIMITED, ""},
    {"serverInternal", ACME_UNREACHABLE, ""},
    {"badNonce", ACME_UNREACHABLE, ""},
    {"connection", ACME_UNPROVEN,
     ": the name must lead to this machine, and the port must be open from the internet"},
    {"dns", ACME_UNPROVEN, ": look whether the name has an A or AAAA record that leads here"},
    {"tls", ACME_UNPROVEN, ": TLS for this name must end here, not in another program before it"},
    {"unauthorized", ACME_UNPROVEN,
     ": the name leads to another program or machine than this one (an old AAAA record?)"},
    {"incorrectResponse", ACME_UNPROVEN,
     ": the name leads to another program or machine than this one (an old AAAA record?)"},
    {"caa", ACME_UNPROVEN, ": a CAA record of the domain forbids this authority"},
    {"externalAccountRequired", ACME_REFUSED, ": give " EAB_KID_FLAG " and " EAB_KEY_FLAG},
};

static const char *problem_type(const json_t *problem)
{
    const char *type = acme_text(problem, "type");
    const size_t prefix = sizeof PROBLEM_PREFIX - 1;

    return type && strncmp(type, PROBLEM_PREFIX, prefix) == 0 ? type + prefix : "";
}

// An answer to a request that says "unauthorized" speaks of the account, not of a name.
static enum acme_outcome outcome_of(const char *type, long status, const char **hint)
{
    const bool of_account = status != 0 && strcmp(type, "unauthorized") == 0;

    *hint = "";
    for (size_t i = 0; i < sizeof problems / sizeof problems[0] && !of_account; i++) {
        if (strcmp(type, problems[i].type) == 0) {
            *hint = problems[i].hint;
            return problems[i].outcome;
        }
    }
    if (status == 429)
        return ACME_LIMITED;
    return status >= 500 ? ACME_UNREACHABLE : ACME_REFUSED;
}

static void append(char *text, size_t size, const char *more)
{
    const size_t len = strlen(text);

    snprintf(text + len, size - len, "%s", more);
}

static void append_subproblems(char *text, size_t size, const json_t *problem)
{
    const json_t *list = json_object_get(problem, "subproblems");
    const size_t count = json_array_size(list);

    for (size_t i = 0; i < count && i < SUBPROBLEMS_TOLD; i++) {
        const json_t *one = json_array_get(list, i);
        const char *name = acme_text(json_object_get(one, "identifier"), "value");
        const char *detail = acme_text(one, "detail");

        append(text, size, "; ");
        append(text, size, name ? name : "?");
        append(text, size, ": ");
        append(text, size, detail ? detail : problem_type(one));
    }
}

bool acme_fail_problem(struct acme_session *session, const char *what, const json_t *problem,
                       long status, int64_t retry_after_s)
{
    const char *type = problem_type(problem), *detail = acme_text(problem, "detail"), *hint;
    const enum acme_outcome outcome = outcome_of(type, status, &hint);
    char text[CERT_ERROR_BYTES / 2] = "", number[48] = "no reason is told";

    if (status != 0)
        snprintf(number, sizeof number, "it answered with HTTP status %ld", status);
    append(text, sizeof text, detail ? detail : *type ? type : number);
    append_subproblems(text, sizeof text, problem);
    acme_fail(session, outcome, "%s: %s%s", what, text, hint);
    session->fault->retry_after_s = retry_after_s;
    return false;
}

// --- One request. ---

void acme_answer_free(struct acme_answer *answer)
{
    json_decref(answer->json);
    free(answer->body);
    *answer = (struct acme_answer){0};
}

// `body` NULL: a GET. True when there is an answer, of whatever status.
static bool run(struct acme_session *session, const char *url, const char *body,
                struct acme_answer *answer)
{
    char reason[ACME_REASON_BYTES];
    enum acme_outcome outcome;

    if (acme_transfer_now_ms() > session->end_ms)
        return acme_fail(session, ACME_UNREACHABLE,
                         "the ACME server comes to no end in %d s: it is asked again later",
                         ACME_ORDER_LIMIT_S);
    outcome = acme_transfer_run(session->transfer, url, body, answer, reason);
    if (outcome == ACME_CANCELLED)
        return fail_cancelled(session);
    if (outcome != ACME_DONE && answer->too_large)
        return acme_fail(session, outcome,
                         "the ACME server's answer at %.*s has more than %d bytes", URL_TOLD_CHARS,
                         url, ACME_ANSWER_MAX_BYTES);
    if (outcome != ACME_DONE)
        return acme_fail(session, outcome, "the ACME server did not answer at %.*s: %s",
                         URL_TOLD_CHARS, url, reason);
    strcpy(session->nonce, answer->nonce);
    if (answer->body)
        answer->json = json_loadb(answer->body, answer->len, 0, NULL);
    return true;
}

static bool succeeded(const struct acme_answer *answer)
{
    return answer->status >= 200 && answer->status < 300;
}

static bool fail_answer(struct acme_session *session, const char *url, struct acme_answer *answer)
{
    char what[URL_TOLD_CHARS + 64];

    snprintf(what, sizeof what, "the ACME server refused %.*s", URL_TOLD_CHARS, url);
    acme_fail_problem(session, what, answer->json, answer->status, answer->retry_after_s);
    acme_answer_free(answer);
    return false;
}

bool acme_get(struct acme_session *session, const char *url, struct acme_answer *answer)
{
    if (!run(session, url, NULL, answer))
        return false;
    return succeeded(answer) || fail_answer(session, url, answer);
}

// --- Signed requests. ---

static bool need_nonce(struct acme_session *session)
{
    const char *url = acme_session_url(session, "newNonce");
    struct acme_answer answer;

    if (*session->nonce)
        return true;
    if (!url || !acme_get(session, url, &answer))
        return url ? false
                   : acme_fail(session, ACME_REFUSED,
                               "the ACME server's directory has no newNonce");
    acme_answer_free(&answer);
    return *session->nonce ||
           acme_fail(session, ACME_UNREACHABLE, "the ACME server gave no nonce at %s", url);
}

// The caller's to free; NULL when memory is exhausted.
static char *sign(struct acme_session *session, const char *url, const char *payload)
{
    json_t *header = json_pack("{ssss}", "nonce", session->nonce, "url", url);
    char *text = NULL;
    int err = -1;

    if (header && *session->account)
        err = json_object_set_new(header, "kid", json_string(session->account));
    else if (header)
        err = json_object_set_new(header, "jwk", jose_jwk(session->key));
    if (err == 0)
        text = jose_sign(header, payload, session->key);
    json_decref(header);
    return text;
}

static bool post_once(struct acme_session *session, const char *url, const char *payload,
                      struct acme_answer *answer)
{
    char *body;
    bool ok;

    if (!need_nonce(session))
        return false;
    body = sign(session, url, payload);
    session->nonce[0] = '\0'; // good for one request
    ok = body ? run(session, url, body, answer)
              : acme_fail(session, ACME_UNREACHABLE, "out of memory");
    free(body);
    return ok;
}

// The place of an answer's problem in `expected`, or -1.
static int place_of(const struct acme_answer *answer, const char *const *expected)
{
    const char *type = problem_type(answer->json);

    for (int i = 0; expected && expected[i]; i++)
        if (strcmp(type, expected[i]) == 0)
            return i;
    return -1;
}

bool acme_post_expecting(struct acme_session *session, const char *url, const char *payload,
                         const char *const *expected, int *problem, struct acme_answer *answer)
{
    *problem = -1;
    for (int tries = 0;; tries++) {
        if (!post_once(session, url, payload, answer))
            return false;
        if (succeeded(answer))
            return true;
        *problem = place_of(answer, expected);
        if (*problem >= 0)
            return true;
        // The answer to it brings the next nonce (RFC 8555, section 6.5).
        if (strcmp(problem_type(answer->json), "badNonce") != 0 || tries + 1 >= ACME_NONCE_TRIES)
            return fail_answer(session, url, answer);
        acme_answer_free(answer);
    }
}

bool acme_post(struct acme_session *session, const char *url, const char *payload,
               struct acme_answer *answer)
{
    int problem;

    return acme_post_expecting(session, url, payload, NULL, &problem, answer);
}

// --- Sessions. ---

const char *acme_session_url(const struct acme_session *session, const char *kind)
{
    return acme_text(session->directory, kind);
}

const json_t *acme_session_meta(const struct acme_session *session, const char *name)
{
    return json_object_get(json_object_get(session->directory, "meta"), name);
}

bool acme_session_open(struct acme_session *session, const struct acme_config *config,
                       struct acme_fault *fault)
{
    struct acme_answer answer;

    *session = (struct acme_session){
        .config = config,
        .fault = fault,
        .transfer = acme_transfer_new(config),
        .end_ms = acme_transfer_now_ms() + ACME_ORDER_LIMIT_S * 1000LL,
    };
    if (!session->transfer)
        return acme_fail(session, ACME_UNREACHABLE, "out of memory");
    if (!acme_get(session, config->directory, &answer))
        return false;
    session->directory = json_incref(answer.json);
    acme_answer_free(&answer);
    return acme_session_url(session, "newOrder") ||
           acme_fail(session, ACME_REFUSED,
                     "%s is not the directory of an ACME server: give the address that your "
                     "authority names",
                     config->directory);
}

void acme_session_close(struct acme_session *session)
{
    json_decref(session->directory);
    EVP_PKEY_free(session->key);
    acme_transfer_free(session->transfer);
    *session = (struct acme_session){0};
}
