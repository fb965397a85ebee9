// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/acme_account.h"

#include "certgen/file.h"
#include "certgen/jose.h"
#include "certgen/paths.h"
#include "certgen/pem.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE "acme_account+key"
#define KEY_FILE_NEXT "acme_account+key.next" // of an exchange that has begun

static const char *const no_account[] = {"accountDoesNotExist", NULL};

static bool fail_memory(struct acme_session *session)
{
    return acme_fail(session, ACME_UNREACHABLE, "out of memory");
}

static bool key_path(struct acme_session *session, const char *name,
                     char out[static CERT_PATH_MAX_BYTES])
{
    const int n = snprintf(out, CERT_PATH_MAX_BYTES, "%s/%s", session->config->folder, name);

    return (n >= 0 && n < CERT_PATH_MAX_BYTES) ||
           acme_fail(session, ACME_REFUSED, "%s is too long a path: use a shorter folder",
                     session->config->folder);
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static EVP_PKEY *load_key(struct acme_session *session, const char *path)
{
    char error[CERT_ERROR_BYTES];
    EVP_PKEY *key = cert_pem_read_key(path, error, sizeof error);

    if (!key) {
        acme_fail(session, ACME_REFUSED, "%s", error);
    } else if (!jose_key_usable(key)) {
        acme_fail(session, ACME_REFUSED,
                  "%s holds a key that is not on the curve P-256: move it away for a new account",
                  path);
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

// A new key, in a file that is not there yet.
static EVP_PKEY *make_key(struct acme_session *session, const char *path)
{
    EVP_PKEY *key = jose_key_new();
    BIO *pem = key ? cert_pem_write_key(key) : NULL;
    enum cert_file_created created = CERT_FILE_FAILED;
    char error[CERT_ERROR_BYTES] = "out of memory", *bytes = NULL;

    if (pem) {
        const long len = BIO_get_mem_data(pem, &bytes);

        created = cert_file_create(path, bytes, (size_t)len, 0600, error, sizeof error);
    }
    BIO_free(pem);
    if (created == CERT_FILE_CREATED)
        return key;
    EVP_PKEY_free(key);
    if (created == CERT_FILE_EXISTS) // another process was faster
        return load_key(session, path);
    acme_fail(session, ACME_REFUSED, "%s", error);
    return NULL;
}

// Whether the server has an account of the session's key, whose address the session then has. False
// with a fault when that cannot be said.
static bool find_account(struct acme_session *session, bool *found, struct acme_answer *answer)
{
    int problem;

    if (!acme_post_expecting(session, acme_session_url(session, "newAccount"),
                             "{\"onlyReturnExisting\":true}", no_account, &problem, answer))
        return false;
    *found = problem < 0;
    if (*found)
        strcpy(session->account, answer->location);
    return true;
}

// An exchange of keys was interrupted: whether the server has made it shows in which key it knows.
static bool finish_change(struct acme_session *session)
{
    char path[CERT_PATH_MAX_BYTES], next[CERT_PATH_MAX_BYTES];
    struct acme_answer answer;
    bool found;

    if (!key_path(session, KEY_FILE, path) || !key_path(session, KEY_FILE_NEXT, next))
        return false;
    if (!exists(next))
        return true;
    session->key = load_key(session, next);
    if (!session->key || !find_account(session, &found, &answer))
        return false;
    acme_answer_free(&answer);
    EVP_PKEY_free(session->key);
    session->key = NULL;
    session->account[0] = '\0';
    if ((found ? rename(next, path) : unlink(next)) == 0)
        return true;
    return acme_fail(session, ACME_REFUSED, "%s cannot be moved to %s: look at the folder's rights",
                     next, path);
}

static bool fail_binding(struct acme_session *session)
{
    if (!*session->config->eab_kid)
        return acme_fail(session, ACME_REFUSED,
                         "the external account has a key but no identifier: give " EAB_KID_FLAG);
    return acme_fail(session, ACME_REFUSED,
                     "the key of the external account is no base64url text of at most %d bytes: "
                     "copy it again from the authority, for " EAB_KEY_FLAG,
                     ACME_EAB_KEY_MAX_BYTES);
}

// The binding of an external account (RFC 8555, section 7.3.4) as JSON, NULL with a fault.
static json_t *binding(struct acme_session *session, const char *url)
{
    const struct acme_config *config = session->config;
    uint8_t secret[ACME_EAB_KEY_MAX_BYTES];
    const int len = jose_base64_decode(config->eab_key, secret, sizeof secret);
    json_t *header, *jwk, *object = NULL;
    char *payload, *text = NULL;

    if (!*config->eab_kid || len <= 0) {
        fail_binding(session);
        return NULL;
    }
    header = json_pack("{ssss}", "kid", config->eab_kid, "url", url);
    jwk = jose_jwk(session->key);
    payload = jwk ? json_dumps(jwk, JSON_COMPACT) : NULL;
    if (header && payload)
        text = jose_sign_hmac(header, payload, secret, (size_t)len);
    if (text)
        object = json_loads(text, 0, NULL);
    if (!object)
        fail_memory(session);
    OPENSSL_cleanse(secret, sizeof secret);
    free(text);
    free(payload);
    json_decref(jwk);
    json_decref(header);
    return object;
}

static json_t *contacts(const struct acme_config *config)
{
    json_t *list = json_array();
    char address[512];

    if (*config->email) {
        snprintf(address, sizeof address, "mailto:%s", config->email);
        json_array_append_new(list, json_string(address));
    }
    return list;
}

static bool make_account(struct acme_session *session)
{
    const struct acme_config *config = session->config;
    const char *url = acme_session_url(session, "newAccount");
    json_t *request = json_pack("{sbso}", "termsOfServiceAgreed", 1, "contact", contacts(config));
    struct acme_answer answer;
    char *payload;
    bool ok;

    if (*config->eab_kid || *config->eab_key) {
        json_t *bound = binding(session, url);

        if (!bound) {
            json_decref(request);
            return false;
        }
        json_object_set_new(request, "externalAccountBinding", bound);
    } else if (json_is_true(acme_session_meta(session, "externalAccountRequired"))) {
        json_decref(request);
        return acme_fail(session, ACME_REFUSED,
                         "the authority at %s wants an external account: give what it hands "
                         "out, " EAB_KID_FLAG " and " EAB_KEY_FLAG,
                         config->directory);
    }
    payload = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    ok = payload ? acme_post(session, url, payload, &answer) : fail_memory(session);
    free(payload);
    if (!ok)
        return false;
    strcpy(session->account, answer.location);
    acme_answer_free(&answer);
    acme_say(session, "a new account at %s, whose terms of service you accept by using it: %s",
             config->directory,
             json_is_string(acme_session_meta(session, "termsOfService"))
                 ? json_string_value(acme_session_meta(session, "termsOfService"))
                 : "it names none");
    return true;
}

// Some servers do not tell what they know, which is then not asked again.
static bool tell_contact(struct acme_session *session, const json_t *account)
{
    const json_t *known = json_object_get(account, "contact");
    json_t *wanted = contacts(session->config);
    struct acme_answer answer;
    char *payload;
    bool ok = true;

    if (json_is_array(known) && json_array_size(wanted) > 0 && !json_equal(known, wanted)) {
        json_t *request = json_pack("{sO}", "contact", wanted);

        payload = json_dumps(request, JSON_COMPACT);
        ok =
            payload ? acme_post(session, session->account, payload, &answer) : fail_memory(session);
        if (ok)
            acme_answer_free(&answer);
        free(payload);
        json_decref(request);
    }
    json_decref(wanted);
    return ok;
}

static bool open_account(struct acme_session *session)
{
    struct acme_answer answer;
    bool found, ok;

    if (!find_account(session, &found, &answer))
        return false;
    ok = found ? tell_contact(session, answer.json) : make_account(session);
    acme_answer_free(&answer);
    return ok && (*session->account ||
                  acme_fail(session, ACME_UNREACHABLE, "the ACME server named no account"));
}

bool acme_account_open(struct acme_session *session)
{
    char path[CERT_PATH_MAX_BYTES];

    if (!acme_session_url(session, "newAccount"))
        return acme_fail(session, ACME_REFUSED, "the ACME server's directory has no newAccount");
    if (!finish_change(session) || !key_path(session, KEY_FILE, path))
        return false;
    session->key = exists(path) ? load_key(session, path) : make_key(session, path);
    return session->key && open_account(session);
}

// The inner signature, by the new key (RFC 8555, section 7.3.5). The caller's to free.
static char *change_request(struct acme_session *session, const char *url, EVP_PKEY *fresh)
{
    json_t *header = json_pack("{ss}", "url", url);
    json_t *body =
        json_pack("{ssso}", "account", session->account, "oldKey", jose_jwk(session->key));
    char *payload = body ? json_dumps(body, JSON_COMPACT) : NULL, *text = NULL;

    if (header && payload && json_object_set_new(header, "jwk", jose_jwk(fresh)) == 0)
        text = jose_sign(header, payload, fresh);
    free(payload);
    json_decref(body);
    json_decref(header);
    return text;
}

bool acme_account_change_key(struct acme_session *session)
{
    const char *url = acme_session_url(session, "keyChange");
    char path[CERT_PATH_MAX_BYTES], next[CERT_PATH_MAX_BYTES];
    struct acme_answer answer;
    EVP_PKEY *fresh;
    char *request;
    bool ok;

    if (!url)
        return acme_fail(session, ACME_REFUSED, "the ACME server does not exchange keys");
    if (!key_path(session, KEY_FILE, path) || !key_path(session, KEY_FILE_NEXT, next))
        return false;
    fresh = make_key(session, next);
    if (!fresh)
        return false;
    request = change_request(session, url, fresh);
    ok = request ? acme_post(session, url, request, &answer) : fail_memory(session);
    free(request);
    if (ok) {
        acme_answer_free(&answer);
        EVP_PKEY_free(session->key);
        session->key = EVP_PKEY_dup(fresh);
        ok = rename(next, path) == 0 ||
             acme_fail(session, ACME_REFUSED, "%s cannot be moved to %s", next, path);
    }
    EVP_PKEY_free(fresh);
    return ok;
}
