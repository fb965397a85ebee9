// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/successor.h"

#include "certgen/error.h"
#include "certgen/pem.h"
#include "certgen/rfc3339.h"

#include <openssl/bio.h>
#include <stdio.h>
#include <string.h>

#define CERT_ENDING ".crt"
#define CERT_MODE 0644
#define FIRST_WORDS "This certificate serves from "
#define TIME_FORMAT "%Y-%m-%dT%H:%M:%SZ" // RFC 3339
#define TIME_CHARS (sizeof "2027-01-31T12:00:00Z" - 1)

bool successor_paths_set(struct successor_paths *paths, const char *cert, char *error, size_t size)
{
    const size_t len = strlen(cert), ending = sizeof CERT_ENDING - 1;
    const bool usual = len > ending && strcmp(cert + len - ending, CERT_ENDING) == 0;
    const int stem = (int)(usual ? len - ending : len);
    const int next = snprintf(paths->next, sizeof paths->next, "%.*s.next.crt", stem, cert);
    const int old = snprintf(paths->old, sizeof paths->old, "%.*s.old.crt", stem, cert);

    return (next < (int)sizeof paths->next && old < (int)sizeof paths->old) ||
           cert_fail(error, size, "%s is too long a path: use a shorter folder", cert);
}

static BIO *write_text(X509 *cert, time_t at)
{
    char when[TIME_CHARS + 1];
    struct tm tm;
    BIO *out = BIO_new(BIO_s_mem());
    BIO *pem = cert_pem_write_certificate(cert);
    char *bytes = NULL;
    const long len = pem ? BIO_get_mem_data(pem, &bytes) : 0;

    if (out && len > 0 && gmtime_r(&at, &tm) &&
        strftime(when, sizeof when, TIME_FORMAT, &tm) == TIME_CHARS &&
        BIO_printf(out,
                   FIRST_WORDS "%s on.\nSooner, with the DERP map that has its pin: rename this "
                               "file so that it takes the place of the one without \".next\".\n",
                   when) > 0 &&
        BIO_write(out, bytes, (int)len) == len) {
        BIO_free(pem);
        return out;
    }
    BIO_free(pem);
    BIO_free(out);
    return NULL;
}

enum cert_file_created successor_write(const struct successor_paths *paths, X509 *cert, time_t at,
                                       bool replace, char *error, size_t size)
{
    BIO *text = write_text(cert, at);
    char *bytes = NULL;
    enum cert_file_created created = CERT_FILE_FAILED;

    if (!text) {
        cert_fail(error, size, "%s cannot be made (%s): try again", paths->next, cert_reason());
        return created;
    }
    const size_t len = (size_t)BIO_get_mem_data(text, &bytes);
    if (!replace)
        created = cert_file_create(paths->next, bytes, len, CERT_MODE, error, size);
    else if (cert_file_replace(paths->next, bytes, len, CERT_MODE, error, size))
        created = CERT_FILE_CREATED;
    BIO_free(text);
    return created;
}

static time_t read_moment(const struct cert_text *text)
{
    const size_t words = sizeof FIRST_WORDS - 1;
    char when[TIME_CHARS + 1];
    time_t at;

    if (text->len < words + TIME_CHARS || memcmp(text->bytes, FIRST_WORDS, words) != 0)
        return -1;
    memcpy(when, text->bytes + words, TIME_CHARS);
    when[TIME_CHARS] = '\0';
    return rfc3339_parse(when, &at) ? at : -1;
}

X509 *successor_read(const struct successor_paths *paths, time_t *at, char *error, size_t size)
{
    struct cert_text text;
    X509 *cert = NULL;

    if (!cert_file_read(paths->next, &text, error, size))
        return NULL;
    *at = read_moment(&text);
    cert_file_wipe(&text);

    STACK_OF(X509) *certs = cert_pem_read_certificates(paths->next, error, size);
    if (sk_X509_num(certs) == 1)
        cert = sk_X509_shift(certs);
    else if (certs)
        cert_fail(error, size, "%s holds more than one certificate", paths->next);
    sk_X509_pop_free(certs, X509_free);
    return cert;
}

static bool keep_old(const struct successor_paths *paths, X509 *old, char *error, size_t size)
{
    BIO *text = cert_pem_write_certificate(old);
    char *bytes = NULL;

    if (!text)
        return cert_fail(error, size, "%s cannot be made (%s): try again", paths->old,
                         cert_reason());
    const size_t len = (size_t)BIO_get_mem_data(text, &bytes);
    const bool ok = cert_file_replace(paths->old, bytes, len, CERT_MODE, error, size);
    BIO_free(text);
    return ok;
}

bool successor_take_place(const struct successor_paths *paths, const char *cert, X509 *old,
                          char *error, size_t size)
{
    return (!old || keep_old(paths, old, error, size)) &&
           cert_file_move(paths->next, cert, error, size);
}
