// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/acme_proof.h"

#include "certgen/jose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS 1000 // where the server names no time
#define POLL_MAX_S 30
#define LIMIT_S 300
#define TOKEN_MAX_CHARS 256

static const struct {
    const char *type;
    enum acme_challenge_kind kind;
} kinds[] = {
    {"http-01", ACME_HTTP_01},
    {"tls-alpn-01", ACME_TLS_ALPN_01},
};

static enum acme_challenge_kind kind_of(const json_t *challenge)
{
    const char *type = acme_text(challenge, "type");

    for (size_t i = 0; type && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(type, kinds[i].type) == 0)
            return kinds[i].kind;
    return 0;
}

static bool is_address(const json_t *authorization)
{
    const char *type = acme_text(json_object_get(authorization, "identifier"), "type");

    return type && strcmp(type, "ip") == 0;
}

// The best of those that can be shown, NULL when there is none. An address is asked for over TLS by
// a name that we do not serve.
static const json_t *choose(const struct acme_session *session, const json_t *authorization)
{
    const struct acme_config *config = session->config;
    const unsigned can = is_address(authorization) ? config->kinds & ACME_HTTP_01 : config->kinds;
    const json_t *list = json_object_get(authorization, "challenges"), *chosen = NULL;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *challenge = json_array_get(list, i);
        const enum acme_challenge_kind kind = kind_of(challenge);

        if (kind & can && (!chosen || kind == config->preferred))
            chosen = challenge;
    }
    return chosen;
}

// The token goes into a path and a table: of base64url's characters only (RFC 8555, section 8).
static bool token_good(const char *token)
{
    return token && *token && strlen(token) <= TOKEN_MAX_CHARS && jose_is_base64url(token);
}

static bool fail_no_challenge(struct acme_session *session, const char *name, bool address)
{
    return acme_fail(session, ACME_REFUSED,
                     "the authority offers no challenge for %s that can be answered here%s", name,
                     address ? ": an address is proven over the HTTP port (--http-port), which "
                               "must be reachable as port 80"
                             : "");
}

// What the server says of the challenge that failed.
static bool fail_authorization(struct acme_session *session, const char *name,
                               const json_t *authorization)
{
    const json_t *list = json_object_get(authorization, "challenges"), *error = NULL;
    const char *status = acme_text(authorization, "status");
    char what[CERT_ERROR_BYTES / 4];

    for (size_t i = 0; i < json_array_size(list) && !error; i++)
        error = json_object_get(json_array_get(list, i), "error");
    snprintf(what, sizeof what, "%s was not proven", name);
    if (!error)
        return acme_fail(session, ACME_UNPROVEN, "%s: its authorization is %s", what,
                         status ? status : "without a status");
    acme_fail_problem(session, what, error, 0, 0);
    if (session->fault->outcome == ACME_REFUSED)
        session->fault->outcome = ACME_UNPROVEN;
    return false;
}

static bool has_status(const json_t *object, const char *status)
{
    const char *is = acme_text(object, "status");

    return is && strcmp(is, status) == 0;
}

// Asks until the server has decided.
static bool await(struct acme_session *session, const char *url, const char *name)
{
    int64_t left_ms = LIMIT_S * 1000;

    for (;;) {
        struct acme_answer answer;
        int64_t ms;
        bool decided, valid;

        if (!acme_post(session, url, "", &answer))
            return false;
        valid = has_status(answer.json, "valid");
        decided = valid || !has_status(answer.json, "pending");
        if (decided && !valid)
            fail_authorization(session, name, answer.json);
        ms = answer.retry_after_s > 0 ? answer.retry_after_s * 1000 : POLL_MS;
        acme_answer_free(&answer);
        if (decided)
            return valid;
        if (ms > POLL_MAX_S * 1000)
            ms = POLL_MAX_S * 1000;
        left_ms -= ms;
        if (left_ms < 0)
            return acme_fail(session, ACME_UNREACHABLE,
                             "the authority has not decided about %s in %d s", name, LIMIT_S);
        if (!acme_wait(session, (uint64_t)ms))
            return false;
    }
}

// Tells the server that the challenge can be asked for, unless an earlier process did.
static bool offer(struct acme_session *session, const json_t *challenge)
{
    const char *url = acme_text(challenge, "url");
    struct acme_answer answer;

    if (!url)
        return acme_fail(session, ACME_UNREACHABLE, "the challenge has no address");
    if (!has_status(challenge, "pending"))
        return true;
    if (!acme_post(session, url, "{}", &answer))
        return false;
    acme_answer_free(&answer);
    return true;
}

static bool prove_by(struct acme_session *session, const char *url, const char *name,
                     const json_t *json)
{
    const struct acme_world *world = session->config->world;
    const char *token = acme_text(json, "token");
    char thumbprint[JOSE_THUMBPRINT_CHARS + 1];
    char authorization[TOKEN_MAX_CHARS + 1 + sizeof thumbprint];
    const struct acme_challenge challenge = {kind_of(json), name, token, authorization};
    bool ok;

    if (!token_good(token))
        return acme_fail(session, ACME_UNREACHABLE, "the challenge's token is none");
    if (!jose_thumbprint(session->key, thumbprint))
        return acme_fail(session, ACME_UNREACHABLE, "out of memory");
    snprintf(authorization, sizeof authorization, "%s.%s", token, thumbprint);
    if (!world->show(&challenge, world->data))
        return acme_fail(session, ACME_REFUSED, "the challenge for %s cannot be shown", name);
    ok = offer(session, json) && await(session, url, name);
    world->hide(&challenge, world->data);
    return ok;
}

bool acme_prove(struct acme_session *session, const char *url)
{
    struct acme_answer answer;
    const json_t *challenge;
    const char *name;
    bool ok;

    if (!acme_post(session, url, "", &answer))
        return false;
    name = acme_text(json_object_get(answer.json, "identifier"), "value");
    if (!name)
        name = "?";
    challenge = choose(session, answer.json);
    if (has_status(answer.json, "valid"))
        ok = true;
    else if (!has_status(answer.json, "pending"))
        ok = fail_authorization(session, name, answer.json);
    else if (!challenge)
        ok = fail_no_challenge(session, name, is_address(answer.json));
    else
        ok = prove_by(session, url, name, challenge);
    acme_answer_free(&answer);
    return ok;
}
