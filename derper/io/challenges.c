// SPDX-License-Identifier: BSD-3-Clause
#include "io/challenges.h"

#include <string.h>
#include <strings.h>

void challenges_init(struct challenges *challenges)
{
    memset(challenges, 0, sizeof *challenges);
    pthread_mutex_init(&challenges->lock, NULL);
}

// All below: under the lock.

static bool is_free(const struct challenge *challenge)
{
    return challenge->name[0] == '\0';
}

static bool is_token(const struct challenge *challenge, const char *token, size_t len)
{
    return !challenge->cert && len > 0 && strlen(challenge->name) == len &&
           memcmp(challenge->name, token, len) == 0;
}

static bool is_name(const struct challenge *challenge, const char *name)
{
    return challenge->cert && strcasecmp(challenge->name, name) == 0;
}

static struct challenge *find_token(struct challenges *challenges, const char *token, size_t len)
{
    for (size_t i = 0; i < CHALLENGES_MAX; i++) {
        if (is_token(&challenges->all[i], token, len))
            return &challenges->all[i];
    }
    return NULL;
}

static struct challenge *find_name(struct challenges *challenges, const char *name)
{
    for (size_t i = 0; i < CHALLENGES_MAX; i++) {
        if (is_name(&challenges->all[i], name))
            return &challenges->all[i];
    }
    return NULL;
}

static void clear(struct challenges *challenges, struct challenge *challenge)
{
    if (!challenge || is_free(challenge))
        return;
    X509_free(challenge->cert);
    EVP_PKEY_free(challenge->key);
    memset(challenge, 0, sizeof *challenge);
    atomic_fetch_sub_explicit(&challenges->count, 1, memory_order_release);
}

static struct challenge *find_free(struct challenges *challenges)
{
    for (size_t i = 0; i < CHALLENGES_MAX; i++) {
        if (is_free(&challenges->all[i]))
            return &challenges->all[i];
    }
    return NULL;
}

// In place of `old`, or where there is room when that is NULL. False when there is none.
static bool put(struct challenges *challenges, struct challenge *old, const struct challenge *new)
{
    struct challenge *place = old ? old : find_free(challenges);

    if (!place)
        return false;
    // Nobody may find the store empty meanwhile.
    atomic_fetch_add_explicit(&challenges->count, 1, memory_order_release);
    clear(challenges, place);
    *place = *new;
    return true;
}

// --- What is shown. ---

static bool copy_text(char *out, const char *text, size_t max)
{
    const size_t len = strlen(text);

    if (len == 0 || len > max)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

bool challenges_show_http(struct challenges *challenges, const char *token,
                          const char *authorization)
{
    struct challenge new = {0};
    bool ok;

    if (!copy_text(new.name, token, CHALLENGE_NAME_MAX_BYTES) ||
        !copy_text(new.answer, authorization, CHALLENGE_ANSWER_MAX_BYTES))
        return false;
    pthread_mutex_lock(&challenges->lock);
    ok = put(challenges, find_token(challenges, token, strlen(token)), &new);
    pthread_mutex_unlock(&challenges->lock);
    return ok;
}

bool challenges_show_tls(struct challenges *challenges, const char *name, X509 *cert, EVP_PKEY *key)
{
    struct challenge new = {.cert = cert, .key = key};
    bool ok;

    if (!copy_text(new.name, name, CHALLENGE_NAME_MAX_BYTES))
        return false;
    X509_up_ref(cert);
    EVP_PKEY_up_ref(key);
    pthread_mutex_lock(&challenges->lock);
    ok = put(challenges, find_name(challenges, name), &new);
    pthread_mutex_unlock(&challenges->lock);
    if (!ok) {
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    return ok;
}

void challenges_hide_http(struct challenges *challenges, const char *token)
{
    pthread_mutex_lock(&challenges->lock);
    clear(challenges, find_token(challenges, token, strlen(token)));
    pthread_mutex_unlock(&challenges->lock);
}

void challenges_hide_tls(struct challenges *challenges, const char *name)
{
    pthread_mutex_lock(&challenges->lock);
    clear(challenges, find_name(challenges, name));
    pthread_mutex_unlock(&challenges->lock);
}

void challenges_deinit(struct challenges *challenges)
{
    for (size_t i = 0; i < CHALLENGES_MAX; i++)
        clear(challenges, &challenges->all[i]);
    pthread_mutex_destroy(&challenges->lock);
}

// --- What is asked. ---

static void count(_Atomic int64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

bool challenges_http(struct challenges *challenges, const char *token, size_t len, char *out,
                     size_t size)
{
    const struct challenge *found = NULL;

    if (challenges_any(challenges)) {
        pthread_mutex_lock(&challenges->lock);
        found = find_token(challenges, token, len);
        if (found && strlen(found->answer) < size)
            strcpy(out, found->answer);
        else
            found = NULL;
        pthread_mutex_unlock(&challenges->lock);
    }
    count(found ? &challenges->http_answered : &challenges->http_unknown);
    return found != NULL;
}

bool challenges_tls(struct challenges *challenges, const char *name, X509 **cert, EVP_PKEY **key)
{
    const struct challenge *found = NULL;

    if (!challenges_any(challenges))
        return false;
    pthread_mutex_lock(&challenges->lock);
    found = find_name(challenges, name);
    if (found) {
        X509_up_ref(*cert = found->cert);
        EVP_PKEY_up_ref(*key = found->key);
    }
    pthread_mutex_unlock(&challenges->lock);
    if (found)
        count(&challenges->tls_answered);
    return found != NULL;
}
