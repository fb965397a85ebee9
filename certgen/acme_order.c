// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/acme_order.h"

#include "certgen/acme_proof.h"
#include "certgen/address.h"
#include "certgen/check.h"
#include "certgen/csr.h"
#include "certgen/file.h"
#include "certgen/jose.h"
#include "certgen/paths.h"
#include "certgen/pem.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 1000 // where the server names no time
#define POLL_MAX_S 60
#define FILE_PREFIX "acme_order+"
#define CHAIN_MAX 16      // certificates
#define PROOFS_PER_NAME 2 // mostly one, which RFC 8555, section 7.1.3, does not promise
#define PATIENCE_S (6 * 3600)

struct order {
    const char *const *names;
    size_t count;
    char path[CERT_PATH_MAX_BYTES];
    char url[ACME_URL_BYTES];
    EVP_PKEY *key; // of the certificate
    json_t *json;  // as the server last told it
    int64_t retry_after_s;
    bool finalized; // by us
    uint64_t waited_ms;
};

static bool fail_memory(struct acme_session *session)
{
    return acme_fail(session, ACME_UNREACHABLE, "out of memory");
}

// --- The file: what a restart needs. ---

static json_t *names_json(const struct order *order)
{
    json_t *list = json_array();

    for (size_t i = 0; i < order->count; i++)
        json_array_append_new(list, json_string(order->names[i]));
    return list;
}

static void drop(struct order *order)
{
    EVP_PKEY_free(order->key);
    order->key = NULL;
    json_decref(order->json);
    order->json = NULL;
    order->url[0] = '\0';
}

static void forget(struct order *order)
{
    unlink(order->path);
    drop(order);
}

// Whether the order has been there for so long that one whose server is ill makes room for another.
static bool is_old(const struct order *order)
{
    struct stat st;

    return stat(order->path, &st) != 0 || time(NULL) - st.st_mtime > PATIENCE_S;
}

// JSON, and behind it the key in PEM form: jansson does not wipe what it holds.
static char *file_text(const struct acme_session *session, const struct order *order,
                       const char *key, size_t key_len)
{
    json_t *object =
        json_pack("{sssssoss}", "directory", session->config->directory, "order", order->url,
                  "names", names_json(order), "profile", session->config->profile);
    char *json = object ? json_dumps(object, JSON_INDENT(1)) : NULL, *text = NULL;

    if (json && asprintf(&text, "%s\n%.*s", json, (int)key_len, key) < 0)
        text = NULL;
    free(json);
    json_decref(object);
    return text;
}

static bool save(struct acme_session *session, const struct order *order)
{
    BIO *pem = cert_pem_write_key(order->key);
    char error[CERT_ERROR_BYTES], *key = NULL, *text = NULL;
    bool ok;

    if (pem) {
        const long len = BIO_get_mem_data(pem, &key);

        text = file_text(session, order, key, (size_t)len);
    }
    ok = text ? cert_file_replace(order->path, text, strlen(text), 0600, error, sizeof error) ||
                    acme_fail(session, ACME_REFUSED, "%s", error)
              : fail_memory(session);
    if (text)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
    BIO_free(pem);
    return ok;
}

// Stands in for OpenSSL's own question on the terminal.
static int no_passphrase(char *buf, int room, int writing, void *data)
{
    (void)buf, (void)room, (void)writing, (void)data;
    return -1;
}

static EVP_PKEY *key_of(const struct cert_text *text)
{
    BIO *in = BIO_new_mem_buf(text->bytes, (int)text->len);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL) : NULL;

    BIO_free(in);
    ERR_clear_error();
    return key;
}

static bool same(const json_t *object, const char *name, const char *text)
{
    const char *kept = acme_text(object, name);

    return kept && strcmp(kept, text) == 0;
}

// An order that an earlier process left, if it is for the same. False when there is none.
static bool load(struct acme_session *session, struct order *order)
{
    char error[CERT_ERROR_BYTES];
    struct cert_text text;
    json_t *object, *names;
    const char *url;

    if (!cert_file_read(order->path, &text, error, sizeof error))
        return false;
    object = json_loadb(text.bytes, text.len, JSON_DISABLE_EOF_CHECK, NULL);
    names = names_json(order);
    url = acme_text(object, "order");
    if (same(object, "directory", session->config->directory) &&
        same(object, "profile", session->config->profile) && url &&
        strlen(url) < sizeof order->url && json_equal(json_object_get(object, "names"), names)) {
        strcpy(order->url, url);
        order->key = key_of(&text);
    }
    cert_file_wipe(&text);
    json_decref(names);
    json_decref(object);
    if (!order->key)
        drop(order);
    return order->key;
}

// --- The order itself. ---

static void take(struct order *order, struct acme_answer *answer)
{
    json_decref(order->json);
    order->json = json_incref(answer->json);
    order->retry_after_s = answer->retry_after_s;
    acme_answer_free(answer);
}

static bool refresh(struct acme_session *session, struct order *order)
{
    struct acme_answer answer;

    if (!acme_post(session, order->url, "", &answer))
        return false;
    take(order, &answer);
    return true;
}

static json_t *identifiers(const struct order *order)
{
    json_t *list = json_array();
    struct cert_address address;

    for (size_t i = 0; i < order->count; i++) {
        char text[INET6_ADDRSTRLEN];

        // In the form of RFC 5952 (RFC 8738, section 3).
        if (cert_address_parse(order->names[i], &address) &&
            inet_ntop(address.len == 4 ? AF_INET : AF_INET6, address.bytes, text, sizeof text))
            json_array_append_new(list, json_pack("{ssss}", "type", "ip", "value", text));
        else
            json_array_append_new(list,
                                  json_pack("{ssss}", "type", "dns", "value", order->names[i]));
    }
    return list;
}

// What to ask for: a server without profiles makes certificates in one way only.
static const char *profile_of(const struct acme_session *session)
{
    return acme_session_meta(session, "profiles") ? session->config->profile : "";
}

static bool check_profile(struct acme_session *session)
{
    const char *profile = profile_of(session);

    if (!*profile || json_object_get(acme_session_meta(session, "profiles"), profile))
        return true;
    return acme_fail(session, ACME_REFUSED,
                     "the authority at %s has no profile \"%s\": choose another authority, or none",
                     session->config->directory, profile);
}

static char *order_request(struct acme_session *session, const struct order *order,
                           const char *replaces)
{
    json_t *request = json_pack("{so}", "identifiers", identifiers(order));
    char *text = NULL;

    if (request && *profile_of(session))
        json_object_set_new(request, "profile", json_string(profile_of(session)));
    if (request && replaces && acme_session_url(session, "renewalInfo"))
        json_object_set_new(request, "replaces", json_string(replaces));
    if (request)
        text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    return text;
}

// An authority that does not let this order replace that certificate (it did not issue it, to
// another account, for other names, or it is replaced already) is asked for an order of its own.
static bool place(struct acme_session *session, struct order *order, const char *replaces)
{
    struct acme_answer answer;
    char *request = order_request(session, order, replaces);
    bool ok;

    ok = request ? acme_post(session, acme_session_url(session, "newOrder"), request, &answer)
                 : fail_memory(session);
    free(request);
    if (!ok && replaces && session->fault->outcome == ACME_REFUSED)
        return place(session, order, NULL);
    if (!ok)
        return false;
    strcpy(order->url, answer.location);
    take(order, &answer);
    if (strncmp(order->url, "https://", 8) == 0 && acme_text(order->json, "status"))
        return true;
    return acme_fail(session, ACME_UNREACHABLE,
                     "the ACME server placed an order without an address or without a status");
}

static bool begin(struct acme_session *session, struct order *order, const char *replaces)
{
    if (!check_profile(session) || !place(session, order, replaces))
        return false;
    order->key = jose_key_new();
    return order->key ? save(session, order) : fail_memory(session);
}

// Where an earlier process stopped. False with the order's address when this order is to be asked
// for again later; without one when it is time for another.
static bool resume(struct acme_session *session, struct order *order)
{
    const char *status;

    if (!load(session, order))
        return false;
    if (!refresh(session, order)) {
        if (session->fault->outcome == ACME_REFUSED)
            forget(order);
        else if (session->fault->outcome == ACME_UNREACHABLE && is_old(order))
            drop(order); // and its file stays until there is another
        return false;
    }
    status = acme_text(order->json, "status");
    if (!status || strcmp(status, "invalid") == 0) {
        forget(order);
        return false;
    }
    acme_say(session, "going on with the order for %s, which is %s", order->names[0], status);
    return true;
}

static bool finalize(struct acme_session *session, struct order *order)
{
    const char *url = acme_text(order->json, "finalize");
    unsigned char *der;
    const int len = csr_new(order->names, order->count, order->key, &der);
    char *text = len > 0 ? jose_base64url(der, (size_t)len) : NULL, *payload = NULL;
    struct acme_answer answer;
    bool ok;

    OPENSSL_free(der);
    if (!url) {
        free(text);
        return acme_fail(session, ACME_UNREACHABLE, "the order has no address to finalize");
    }
    ok = text && asprintf(&payload, "{\"csr\":\"%s\"}", text) > 0
             ? acme_post(session, url, payload, &answer)
             : fail_memory(session);
    free(payload);
    free(text);
    if (ok)
        take(order, &answer);
    return ok;
}

static bool linger(struct acme_session *session, struct order *order)
{
    int64_t ms = order->retry_after_s > 0 ? order->retry_after_s * 1000 : POLL_MS;

    if (ms > POLL_MAX_S * 1000)
        ms = POLL_MAX_S * 1000;
    order->waited_ms += (uint64_t)ms;
    if (order->waited_ms > ACME_ORDER_LIMIT_S * 1000ULL)
        return acme_fail(session, ACME_UNREACHABLE,
                         "the authority has not decided about %s in %d s: it is asked again later",
                         order->names[0], ACME_ORDER_LIMIT_S);
    return acme_wait(session, (uint64_t)ms);
}

// The certificates of a text and nothing else of it, the leaf first. NULL when there is none.
static STACK_OF(X509) * certificates_of(const char *text)
{
    BIO *in = text ? BIO_new_mem_buf(text, -1) : NULL;
    STACK_OF(X509) *certs = sk_X509_new_null();
    X509 *cert;
    bool ok = in && certs;

    while (ok && (cert = PEM_read_bio_X509(in, NULL, no_passphrase, NULL))) {
        ok = sk_X509_num(certs) < CHAIN_MAX && sk_X509_push(certs, cert) > 0;
        if (!ok)
            X509_free(cert);
    }
    BIO_free(in);
    ERR_clear_error();
    if (ok && sk_X509_num(certs) > 0)
        return certs;
    sk_X509_pop_free(certs, X509_free);
    return NULL;
}

// Nothing that could not serve takes the place of what does. A certificate that begins later shows
// a clock that is wrong, most likely ours: it is fetched again with the same order, and not another
// one ordered.
static bool check_leaf(struct acme_session *session, const struct order *order, X509 *leaf)
{
    static const char from[] = "from the ACME server";
    const time_t now = time(NULL), until = cert_not_after(leaf);
    char error[CERT_ERROR_BYTES];

    if (X509_check_private_key(leaf, order->key) != 1) {
        ERR_clear_error();
        return acme_fail(session, ACME_REFUSED,
                         "the ACME server gave no certificate of our key for %s", order->names[0]);
    }
    for (size_t i = 0; i < order->count; i++)
        if (!cert_check_host(leaf, from, order->names[i], error, sizeof error))
            return acme_fail(session, ACME_REFUSED, "%s", error);
    return cert_check_time(leaf, from, now, error, sizeof error) ||
           acme_fail(session, until > now ? ACME_UNREACHABLE : ACME_REFUSED, "%s", error);
}

// NULL when memory is exhausted.
static BIO *write_chain(STACK_OF(X509) * certs)
{
    BIO *out = BIO_new(BIO_s_mem());
    bool ok = out;

    for (int i = 0; ok && i < sk_X509_num(certs); i++)
        ok = PEM_write_bio_X509(out, sk_X509_value(certs, i)) == 1;
    if (ok)
        return out;
    BIO_free(out);
    return NULL;
}

static bool download(struct acme_session *session, struct order *order, BIO **chain)
{
    const char *url = acme_text(order->json, "certificate");
    struct acme_answer answer;
    STACK_OF(X509) * certs;
    bool ok;

    if (!url)
        return acme_fail(session, ACME_UNREACHABLE, "the order has no certificate's address");
    if (!acme_post(session, url, "", &answer))
        return false;
    certs = certificates_of(answer.body);
    acme_answer_free(&answer);
    if (!certs)
        return acme_fail(session, ACME_REFUSED, "the ACME server gave no certificate for %s",
                         order->names[0]);
    ok = check_leaf(session, order, sk_X509_value(certs, 0)) &&
         ((*chain = write_chain(certs)) || fail_memory(session));
    sk_X509_pop_free(certs, X509_free);
    return ok;
}

static bool fail_invalid(struct acme_session *session, const struct order *order)
{
    char what[CERT_ERROR_BYTES / 4];

    snprintf(what, sizeof what, "the order for %s failed", order->names[0]);
    return acme_fail_problem(session, what, json_object_get(order->json, "error"), 0, 0);
}

static bool prove(struct acme_session *session, struct order *order)
{
    const json_t *list = json_object_get(order->json, "authorizations");
    const size_t count = json_array_size(list);

    if (count > order->count * PROOFS_PER_NAME)
        return acme_fail(session, ACME_REFUSED,
                         "the ACME server wants %zu proofs of %zu names: choose another authority",
                         count, order->count);
    for (size_t i = 0; i < count; i++) {
        const char *url = json_string_value(json_array_get(list, i));

        if (url && !acme_prove(session, url))
            return false;
    }
    return refresh(session, order);
}

// Until the certificate is there. False with a fault.
static bool drive(struct acme_session *session, struct order *order)
{
    bool proven = false;

    for (;;) {
        const char *status = acme_text(order->json, "status");
        bool ok;

        if (!status)
            return acme_fail(session, ACME_UNREACHABLE, "the ACME server told no order's status");
        if (strcmp(status, "valid") == 0)
            return true;
        if (strcmp(status, "invalid") == 0)
            return fail_invalid(session, order);
        if (strcmp(status, "ready") == 0 && !order->finalized)
            ok = order->finalized = finalize(session, order);
        else if (strcmp(status, "pending") == 0 && !proven)
            ok = proven = prove(session, order);
        else // processing; or proven, and the server does not say so yet
            ok = linger(session, order) && refresh(session, order);
        if (!ok)
            return false;
    }
}

// Whether going on with the same order later makes sense.
static bool of_use(const struct acme_session *session, const struct order *order)
{
    const enum acme_outcome outcome = session->fault->outcome;

    return outcome == ACME_CANCELLED || outcome == ACME_LIMITED ||
           (outcome == ACME_UNREACHABLE && !is_old(order));
}

static bool finish(struct acme_session *session, struct order *order, acme_store *store)
{
    char *pem;
    BIO *chain;
    bool ok;

    if (!drive(session, order) || !download(session, order, &chain)) {
        if (!of_use(session, order))
            forget(order);
        return false;
    }
    const size_t len = (size_t)BIO_get_mem_data(chain, &pem);
    ok = store(session, order->names[0], pem, len, order->key);
    BIO_free(chain);
    if (ok)
        forget(order);
    return ok;
}

bool acme_order_run(struct acme_session *session, const char *const *names, size_t count,
                    const char *replaces, acme_store *store)
{
    struct order order = {.names = names, .count = count};
    struct cert_paths paths;
    char error[CERT_ERROR_BYTES];
    bool ok;

    if (!cert_paths_one_file(&paths, session->config->folder, FILE_PREFIX, names[0], error,
                             sizeof error))
        return acme_fail(session, ACME_REFUSED, "%s", error);
    memcpy(order.path, paths.cert, sizeof order.path);
    ok = resume(session, &order) || (!*order.url && begin(session, &order, replaces));
    ok = ok && finish(session, &order, store);
    EVP_PKEY_free(order.key);
    json_decref(order.json);
    return ok;
}
