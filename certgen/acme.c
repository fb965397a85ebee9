// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/acme.h"

#include "certgen/acme_account.h"
#include "certgen/acme_http.h"
#include "certgen/acme_order.h"
#include "certgen/address.h"
#include "certgen/file.h"
#include "certgen/jose.h"
#include "certgen/paths.h"
#include "certgen/pem.h"
#include "certgen/rfc3339.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARI_AGAIN_S (6 * 3600)      // where the server names no time
#define ARI_AGAIN_MIN_S 60          // bounds for what it names (RFC 9773, section 4.3.2)
#define ARI_AGAIN_MAX_S (24 * 3600) //
#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"
#define LABEL_MAX_CHARS 63
#define NAME_MAX_CHARS 253

// The certificate's name in renewal information (RFC 9773, section 4.1): the issuer's key
// identifier and the serial number's bytes. The caller's to free, NULL when it has none.
static char *cert_id(const X509 *cert)
{
    const ASN1_OCTET_STRING *issuer = X509_get0_authority_key_id((X509 *)cert);
    unsigned char *der = NULL;
    const int len = i2d_ASN1_INTEGER(X509_get0_serialNumber(cert), &der);
    char *first = NULL, *second = NULL, *id = NULL;

    if (issuer && len > 2) { // behind tag and length, of one byte each for at most 127
        first = jose_base64url(ASN1_STRING_get0_data(issuer), (size_t)ASN1_STRING_length(issuer));
        second = jose_base64url(der + 2, (size_t)len - 2);
    }
    if (first && second && asprintf(&id, "%s.%s", first, second) < 0)
        id = NULL;
    free(first);
    free(second);
    OPENSSL_free(der);
    return id;
}

// In the manner of Go's autocert: the key, then the chain.
static bool store_one_file(struct acme_session *session, const struct cert_paths *paths,
                           const char *key, size_t key_len, const char *pem, size_t pem_len)
{
    char error[CERT_ERROR_BYTES], *text = NULL;
    const int len = asprintf(&text, "%.*s%.*s", (int)key_len, key, (int)pem_len, pem);
    bool ok;

    if (len < 0)
        return acme_fail(session, ACME_UNREACHABLE, "out of memory");
    ok = cert_file_replace(paths->cert, text, (size_t)len, 0600, error, sizeof error) ||
         acme_fail(session, ACME_REFUSED, "%s", error);
    OPENSSL_cleanse(text, (size_t)len);
    free(text);
    return ok;
}

static bool store_two_files(struct acme_session *session, const struct cert_paths *paths,
                            const char *key, size_t key_len, const char *pem, size_t pem_len)
{
    const struct cert_file files[] = {{paths->key, key, key_len, 0600},
                                      {paths->cert, pem, pem_len, 0644}};
    char error[CERT_ERROR_BYTES];

    return cert_file_replace_two(files, error, sizeof error) ||
           acme_fail(session, ACME_REFUSED, "%s", error);
}

static bool store(struct acme_session *session, const char *name, const char *pem, size_t pem_len,
                  EVP_PKEY *key)
{
    const struct acme_config *config = session->config;
    char error[CERT_ERROR_BYTES], *bytes = NULL;
    struct cert_paths paths;
    BIO *text;
    bool ok;

    if (config->two_files
            ? !cert_paths_for_host(&paths, config->folder, name, error, sizeof error)
            : !cert_paths_one_file(&paths, config->folder, "", name, error, sizeof error))
        return acme_fail(session, ACME_REFUSED, "%s", error);
    text = cert_pem_write_key(key);
    if (!text)
        return acme_fail(session, ACME_UNREACHABLE, "out of memory");
    const size_t len = (size_t)BIO_get_mem_data(text, &bytes);
    ok = (config->two_files ? store_two_files : store_one_file)(session, &paths, bytes, len, pem,
                                                                pem_len);
    BIO_free(text);
    return ok;
}

// A host name in letters, digits and inner dashes, of labels with a dot between (RFC 1123, section
// 2.1), which is what authorities put into certificates; no wildcard. The last label is no number:
// programs take such names for addresses ("127.1", "0x7f.0.0.1").
static bool is_host_name(const char *name)
{
    const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;

    if (last[0] == '0' && (last[1] == 'x' || last[1] == 'X') &&
        strspn(last + 2, "0123456789abcdefABCDEF") == strlen(last + 2))
        return false;
    if (strspn(last, "0123456789") == strlen(last))
        return false;
    if (strlen(name) > NAME_MAX_CHARS)
        return false;
    for (;; name++) {
        const size_t len = strcspn(name, ".");

        if (len == 0 || len > LABEL_MAX_CHARS || name[0] == '-' || name[len - 1] == '-' ||
            strspn(name, NAME_CHARS) < len)
            return false;
        name += len;
        if (*name == '\0')
            return true;
    }
}

static bool check_names(struct acme_session *session, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!is_host_name(names[i]) && !cert_is_address(names[i]))
            return acme_fail(
                session, ACME_REFUSED,
                "\"%s\" is no name that an authority certifies by these challenges: use "
                "a host name without wildcard, or an IP address",
                names[i]);
    return true;
}

bool acme_obtain(const struct acme_config *config, const char *const *names, size_t count,
                 const X509 *replaces, struct acme_fault *fault)
{
    char *id = replaces ? cert_id(replaces) : NULL;
    struct acme_session session = {.fault = fault};
    const bool ok = check_names(&session, names, count) &&
                    acme_session_open(&session, config, fault) && acme_account_open(&session) &&
                    acme_order_run(&session, names, count, id, store);

    acme_session_close(&session);
    free(id);
    return ok;
}

static bool ask_window(struct acme_session *session, const char *url, struct acme_window *window)
{
    struct acme_answer answer;
    const json_t *suggested;
    bool ok;

    if (!acme_get(session, url, &answer))
        return false;
    suggested = json_object_get(answer.json, "suggestedWindow");
    ok = rfc3339_parse(acme_text(suggested, "start"), &window->start) &&
         rfc3339_parse(acme_text(suggested, "end"), &window->end) && window->start < window->end;
    window->again_s = answer.retry_after_s > 0 ? answer.retry_after_s : ARI_AGAIN_S;
    if (window->again_s < ARI_AGAIN_MIN_S)
        window->again_s = ARI_AGAIN_MIN_S;
    if (window->again_s > ARI_AGAIN_MAX_S)
        window->again_s = ARI_AGAIN_MAX_S;
    acme_answer_free(&answer);
    return ok || acme_fail(session, ACME_UNREACHABLE, "the renewal information at %s is none", url);
}

bool acme_suggested_window(const struct acme_config *config, const X509 *cert,
                           struct acme_window *window, struct acme_fault *fault)
{
    struct acme_session session;
    char *id = cert_id(cert), *url = NULL;
    const char *base;
    bool ok = acme_session_open(&session, config, fault);

    base = ok ? acme_session_url(&session, "renewalInfo") : NULL;
    if (ok && (!base || !id))
        ok = acme_fail(&session, ACME_REFUSED, "the authority tells no time of renewal");
    ok = ok && (asprintf(&url, "%s/%s", base, id) >= 0 ||
                acme_fail(&session, ACME_UNREACHABLE, "out of memory"));
    ok = ok && ask_window(&session, url, window);
    free(url);
    free(id);
    acme_session_close(&session);
    return ok;
}

bool acme_change_key(const struct acme_config *config, struct acme_fault *fault)
{
    struct acme_session session;
    const bool ok = acme_session_open(&session, config, fault) && acme_account_open(&session) &&
                    acme_account_change_key(&session);

    acme_session_close(&session);
    return ok;
}
