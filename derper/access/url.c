// SPDX-License-Identifier: BSD-3-Clause
#include "access/url.h"

#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DETAIL_BYTES 160

bool url_parse(const char *url, char *host, size_t host_size, char *why, size_t why_size)
{
    CURLU *parts = curl_url();
    char *name = NULL, *port = NULL;
    const char *wrong = NULL;
    CURLUcode error = curl_url_set(parts, CURLUPART_URL, url, 0);

    if (!error)
        error = curl_url_get(parts, CURLUPART_HOST, &name, 0);
    if (!error)
        error = curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (error)
        wrong = curl_url_strerror(error);
    else if (strcmp(port, "0") == 0)
        wrong = "Port 0 is none";
    if (wrong)
        snprintf(why, why_size, "%s", wrong);
    else
        snprintf(host, host_size, "%s", name);
    curl_free(name);
    curl_free(port);
    curl_url_cleanup(parts);
    return !wrong;
}

void url_ask(struct fetch_request *request, const char *url, const char *ca_file,
             const struct key *key, const char *address)
{
    char name[KEY_NAME_CHARS + 1];

    key_name(key, name);
    snprintf(request->url, sizeof request->url, "%s", url);
    snprintf(request->body, sizeof request->body, "{\"NodePublic\":\"%s\",\"Source\":\"%s\"}", name,
             address);
    request->socket = NULL;
    request->ca_file = ca_file;
    request->answer_max_bytes = URL_ANSWER_MAX_BYTES;
}

bool url_follow(struct fetch_request *request, const struct fetch_result *result)
{
    const bool secure = strncmp(request->url, "https:", 6) == 0;
    const char *to = result->redirect;

    if (!result->complete || (result->status != 307 && result->status != 308) || !*to)
        return false;
    // Whoever stands on the way could turn a word of the secure host into his own.
    if (strncmp(to, "https:", 6) != 0 && (secure || strncmp(to, "http:", 5) != 0))
        return false;
    memcpy(request->url, to, strlen(to) + 1);
    return true;
}

static enum access_reason judge_failure(const struct fetch_result *result)
{
    switch (result->error) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return ACCESS_UNREACHABLE;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CERTPROBLEM:
        return ACCESS_TLS_FAILED;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: // HTTP 0.9 is what libcurl takes noise for
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_WRITE_ERROR: // a head without end
        return ACCESS_BAD_ANSWER;
    default:
        return ACCESS_CUT;
    }
}

// Names are compared without regard to case, as Go's decoder does; the last one counts.
static enum access_reason judge_body(const char *body, size_t len)
{
    // The first value counts: what is behind it may not have been read.
    json_t *object = json_loadb(body, len, JSON_DISABLE_EOF_CHECK, NULL);
    enum access_reason reason = json_is_object(object) ? ACCESS_NOT_MEMBER : ACCESS_BAD_ANSWER;
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        if (strcasecmp(name, "Allow") != 0 || json_is_null(value))
            continue;
        if (!json_is_boolean(value)) {
            reason = ACCESS_BAD_ANSWER;
            break;
        }
        reason = json_is_true(value) ? ACCESS_MEMBER : ACCESS_NOT_MEMBER;
    }
    json_decref(object);
    return reason;
}

static bool is_fault_of_url(CURLcode error)
{
    return error == CURLE_UNSUPPORTED_PROTOCOL || error == CURLE_URL_MALFORMAT;
}

enum access_reason url_judge(const struct fetch_result *result, unsigned redirects)
{
    if (!result->complete)
        return redirects > 0 && is_fault_of_url(result->error) ? ACCESS_BAD_REDIRECT
                                                               : judge_failure(result);
    if (result->status == 307 || result->status == 308)
        return ACCESS_BAD_REDIRECT;
    if (result->status != 200)
        return ACCESS_BAD_STATUS;
    // A body that was cut is no answer that one could trust.
    if (result->error != CURLE_OK || !result->body)
        return ACCESS_BAD_ANSWER;
    return judge_body(result->body, result->len);
}

void url_show(char *out, size_t size, const char *url)
{
    const char *host = url + strcspn(url, ":/?#");
    const char *at, *slash;
    size_t len;

    host = strncmp(host, "://", 3) == 0 ? host + 3 : url;
    len = strcspn(host, "?#");
    slash = memchr(host, '/', len);
    at = memrchr(host, '@', slash ? (size_t)(slash - host) : len);
    if (at) {
        len -= (size_t)(at + 1 - host);
        snprintf(out, size, "%.*s%.*s", (int)(host - url), url, (int)len, at + 1);
    } else {
        snprintf(out, size, "%.*s", (int)(host - url + (ptrdiff_t)len), url);
    }
}

void url_explain(char *out, size_t size, enum access_reason reason, const char *shown,
                 const struct fetch_result *result)
{
    char detail[DETAIL_BYTES], where[DETAIL_BYTES];

    text_escape(detail, sizeof detail, result->detail, strlen(result->detail));
    switch (reason) {
    case ACCESS_UNREACHABLE:
        snprintf(out, size, "%s cannot be reached (%s): is the server up, and the name right?",
                 shown, detail);
        break;
    case ACCESS_TLS_FAILED:
        snprintf(out, size,
                 "TLS with %s fails (%s): if its certificate is of a private authority, name that "
                 "with --verify-client-ca",
                 shown, detail);
        break;
    case ACCESS_TIMED_OUT:
        snprintf(out, size, "%s did not answer in time: see how its server fares", shown);
        break;
    case ACCESS_CUT:
        snprintf(out, size, "%s closed the connection before it answered (%s): see its log", shown,
                 detail);
        break;
    case ACCESS_BUSY:
        snprintf(out, size,
                 "%s answers too slowly for all who ask: what comes again is asked again", shown);
        break;
    case ACCESS_BAD_STATUS:
        snprintf(out, size,
                 "%s answered with HTTP status %ld instead of 200: is it the right URL "
                 "(Headscale's ends in /verify), and what does its log say?",
                 shown, result->status);
        break;
    case ACCESS_BAD_REDIRECT:
        text_escape(where, sizeof where, result->redirect, strcspn(result->redirect, "?#"));
        snprintf(
            out, size,
            "%s leads on to \"%s\", where this relay does not follow (too often, from https to "
            "http, or to no URL): give the final URL",
            shown, where);
        break;
    default:
        snprintf(out, size,
                 "%s answered something else than {\"Allow\":true} or {\"Allow\":false} within 4 "
                 "KiB: is it the right URL (Headscale's ends in /verify)?",
                 shown);
        break;
    }
}
