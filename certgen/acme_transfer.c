// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/acme_transfer.h"

#include "certgen/file.h"
#include "certgen/jose.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONNECT_LIMIT_S 15L

struct acme_transfer {
    CURL *curl;
    struct curl_slist *fields; // of a POST
    const struct acme_config *config;
    char *trusted; // the system's authorities and config->ca_file; NULL = the system's alone
};

// A libcurl without a folder of authorities has one file of them, whose place the caller's would
// take. One that cannot be read is left to libcurl, which says so.
static void trust_besides(struct acme_transfer *transfer)
{
    struct cert_text own = {0}, all = {0};
    char error[CERT_ERROR_BYTES];
    const char *path = NULL;

    if (cert_file_read(transfer->config->ca_file, &own, error, sizeof error)) {
        if (curl_easy_getinfo(transfer->curl, CURLINFO_CAINFO, &path) == CURLE_OK && path)
            (void)cert_file_read(path, &all, error, sizeof error);
        if (asprintf(&transfer->trusted, "%.*s\n%.*s", (int)own.len, own.bytes, (int)all.len,
                     all.bytes ? all.bytes : "") < 0)
            transfer->trusted = NULL;
    }
    cert_file_wipe(&own);
    cert_file_wipe(&all);
}

struct acme_transfer *acme_transfer_new(const struct acme_config *config)
{
    struct acme_transfer *transfer = calloc(1, sizeof *transfer);

    if (!transfer)
        return NULL;
    transfer->config = config;
    transfer->curl = curl_easy_init();
    transfer->fields = curl_slist_append(NULL, "Content-Type: application/jose+json");
    if (!transfer->curl || !transfer->fields) {
        acme_transfer_free(transfer);
        return NULL;
    }
    if (config->ca_file)
        trust_besides(transfer);
    return transfer;
}

void acme_transfer_free(struct acme_transfer *transfer)
{
    if (!transfer)
        return;
    curl_slist_free_all(transfer->fields);
    curl_easy_cleanup(transfer->curl);
    free(transfer->trusted);
    free(transfer);
}

static size_t on_body(char *data, size_t size, size_t count, void *owner)
{
    struct acme_answer *answer = owner;
    const size_t len = size * count;
    char *longer;

    if (len > ACME_ANSWER_MAX_BYTES - answer->len) {
        answer->too_large = true;
        return 0; // which ends the transfer
    }
    longer = realloc(answer->body, answer->len + len + 1);
    if (!longer)
        return 0;
    memcpy(longer + answer->len, data, len);
    answer->body = longer;
    answer->len += len;
    answer->body[answer->len] = '\0';
    return len;
}

static int on_progress(void *owner, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct acme_world *world = owner;

    (void)a, (void)b, (void)c, (void)d;
    return world->cancelled(world->data);
}

// The system's folder of authorities, where libcurl has one, stays.
static void set_trust(struct acme_transfer *transfer)
{
    struct curl_blob blob = {transfer->trusted, 0, CURL_BLOB_NOCOPY};

    if (transfer->trusted) {
        blob.len = strlen(transfer->trusted);
        curl_easy_setopt(transfer->curl, CURLOPT_CAINFO_BLOB, &blob);
    } else if (transfer->config->ca_file) {
        curl_easy_setopt(transfer->curl, CURLOPT_CAINFO, transfer->config->ca_file);
    }
}

static void set_request(struct acme_transfer *transfer, const char *url, const char *body,
                        struct acme_answer *answer)
{
    CURL *curl = transfer->curl;

    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "derper");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L); // a resolver that hangs does not hold us
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_LIMIT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, ACME_REQUEST_LIMIT_S);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer->config->world);
    set_trust(transfer);
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, transfer->fields);
    }
}

// A header's value, "" when there is none that fits.
static void take_header(CURL *curl, const char *name, char *out, size_t size)
{
    struct curl_header *header;

    if (curl_easy_header(curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK &&
        strlen(header->value) < size)
        strcpy(out, header->value);
}

static bool is_visible(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text >= 0x7f)
            return false;
    return true;
}

static void take_headers(CURL *curl, struct acme_answer *answer)
{
    curl_off_t seconds = 0;

    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &seconds);
    if (seconds > 0)
        answer->retry_after_s =
            seconds < ACME_RETRY_AFTER_MAX_S ? (int64_t)seconds : ACME_RETRY_AFTER_MAX_S;
    take_header(curl, "Location", answer->location, sizeof answer->location);
    if (!is_visible(answer->location))
        answer->location[0] = '\0';
    take_header(curl, "Replay-Nonce", answer->nonce, sizeof answer->nonce);
    if (!jose_is_base64url(answer->nonce)) // RFC 8555, section 6.5.1
        answer->nonce[0] = '\0';
}

static const char *hint_for(CURLcode error)
{
    return error == CURLE_PEER_FAILED_VERIFICATION || error == CURLE_SSL_CACERT_BADFILE
               ? " (a CA of your own is named by --acme-ca, of certgen --ca)"
               : "";
}

enum acme_outcome acme_transfer_run(struct acme_transfer *transfer, const char *url,
                                    const char *body, struct acme_answer *answer,
                                    char reason[static ACME_REASON_BYTES])
{
    CURL *curl = transfer->curl;
    char detail[CURL_ERROR_SIZE] = "";
    CURLcode error;

    *answer = (struct acme_answer){0};
    set_request(transfer, url, body, answer);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    error = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    if (error == CURLE_OK) {
        take_headers(curl, answer);
        return ACME_DONE;
    }
    free(answer->body);
    *answer = (struct acme_answer){.too_large = answer->too_large};
    snprintf(reason, ACME_REASON_BYTES, "%s%s", *detail ? detail : curl_easy_strerror(error),
             hint_for(error));
    return error == CURLE_ABORTED_BY_CALLBACK ? ACME_CANCELLED : ACME_UNREACHABLE;
}

int64_t acme_transfer_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}
