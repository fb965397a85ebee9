// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/self_signed.h"

#include "certgen/address.h"
#include "certgen/error.h"
#include "certgen/file.h"
#include "certgen/issue.h"
#include "certgen/pair.h"
#include "certgen/pem.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define SERIAL_BYTES 16
#define KEY_MODE 0600
#define CERT_MODE 0644
#define ATTEMPTS 3 // another process may create a file between our look and our write

// Whether something, be it a dangling link, has this name. False, with a sentence, when that cannot
// be told.
static bool look(const char *path, bool *there, char *error, size_t size)
{
    struct stat st;

    *there = lstat(path, &st) == 0;
    if (*there || errno == ENOENT)
        return true;
    return cert_fail(error, size,
                     "%s cannot be looked for (%s): let the user that runs this program use its "
                     "folder, or choose another folder",
                     path, strerror(errno));
}

static X509 *issue(EVP_PKEY *key, const char *name, time_t now)
{
    uint8_t serial[SERIAL_BYTES];
    const struct cert_request request = {
        .common_name = name,
        .serial = serial,
        .serial_len = sizeof serial,
        .not_before = now - SELF_SIGNED_CLOCK_SLACK_SECONDS,
        .not_after = now + SELF_SIGNED_VALID_SECONDS,
        .names = &name,
        .name_count = 1,
    };

    if (RAND_bytes(serial, sizeof serial) != 1)
        return NULL;
    serial[0] = (serial[0] & 0x7f) | 0x40; // positive, and always of the same length
    return cert_issue(&request, key);
}

// Writes the PEM in `text`, NULL when there was no memory for it, and frees it.
static enum cert_file_created write_pem(const char *path, BIO *text, mode_t mode, char *error,
                                        size_t size)
{
    char *bytes = NULL;

    if (!text) {
        cert_fail(error, size, "%s cannot be made (%s): try again", path, cert_reason());
        return CERT_FILE_FAILED;
    }
    const long len = BIO_get_mem_data(text, &bytes);
    const enum cert_file_created created =
        cert_file_create(path, bytes, (size_t)len, mode, error, size);
    BIO_free(text);
    return created;
}

static enum cert_file_created write_certificate(const struct cert_paths *paths, EVP_PKEY *key,
                                                const char *name, time_t now, char *error,
                                                size_t size)
{
    X509 *cert = issue(key, name, now);
    const enum cert_file_created created = write_pem(
        paths->cert, cert ? cert_pem_write_certificate(cert) : NULL, CERT_MODE, error, size);

    X509_free(cert);
    return created;
}

// A new key and its certificate. CERT_FILE_EXISTS: somebody else was faster with one of them.
static enum cert_file_created create_both(const struct cert_paths *paths, const char *name,
                                          time_t now, char *error, size_t size)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    enum cert_file_created created =
        write_pem(paths->key, key ? cert_pem_write_key(key) : NULL, KEY_MODE, error, size);

    if (created == CERT_FILE_CREATED)
        created = write_certificate(paths, key, name, now, error, size);
    EVP_PKEY_free(key);
    return created;
}

static enum cert_file_created complete(const struct cert_paths *paths, const char *name, time_t now,
                                       char *error, size_t size)
{
    EVP_PKEY *key = cert_pem_read_key(paths->key, error, size);
    const enum cert_file_created created =
        key ? write_certificate(paths, key, name, now, error, size) : CERT_FILE_FAILED;

    EVP_PKEY_free(key);
    return created;
}

static enum self_signed keep(const struct cert_paths *paths, const char *address, time_t now,
                             char *error, size_t size)
{
    struct cert_pair pair;

    if (!cert_pair_load(&pair, paths, address, now, error, size))
        return SELF_SIGNED_FAILED;
    cert_pair_free(&pair);
    return SELF_SIGNED_KEPT;
}

static enum self_signed fail_key_lost(const struct cert_paths *paths, char *error, size_t size)
{
    cert_fail(error, size,
              "%s exists but its key %s does not: put the key back, or remove the certificate to "
              "get a new pair, with a new pin for the DERP map",
              paths->cert, paths->key);
    return SELF_SIGNED_FAILED;
}

enum self_signed self_signed_would(const struct cert_paths *paths, const char *address, time_t now,
                                   char *error, size_t size)
{
    EVP_PKEY *key;
    bool cert, have_key;

    ERR_clear_error();
    if (!look(paths->cert, &cert, error, size) || !look(paths->key, &have_key, error, size))
        return SELF_SIGNED_FAILED;
    if (cert)
        return have_key ? keep(paths, address, now, error, size)
                        : fail_key_lost(paths, error, size);
    if (!have_key)
        return SELF_SIGNED_CREATED;
    key = cert_pem_read_key(paths->key, error, size);
    EVP_PKEY_free(key);
    return key ? SELF_SIGNED_CREATED : SELF_SIGNED_FAILED;
}

// One look at the folder and what follows from it. CERT_FILE_EXISTS in `*created`: look again.
static enum self_signed ensure_once(const struct cert_paths *paths, const char *address, time_t now,
                                    enum cert_file_created *created, char *error, size_t size)
{
    bool cert, key;

    *created = CERT_FILE_FAILED;
    // The certificate first: it is written last, so where it is seen, so is its key.
    if (!look(paths->cert, &cert, error, size) || !look(paths->key, &key, error, size))
        return SELF_SIGNED_FAILED;
    if (cert)
        return key ? keep(paths, address, now, error, size) : fail_key_lost(paths, error, size);
    if (key)
        *created = complete(paths, address, now, error, size);
    else
        *created = create_both(paths, address, now, error, size);
    return *created == CERT_FILE_CREATED ? SELF_SIGNED_CREATED : SELF_SIGNED_FAILED;
}

enum self_signed self_signed_ensure(const struct cert_paths *paths, const char *address, time_t now,
                                    char *error, size_t size)
{
    enum cert_file_created created = CERT_FILE_EXISTS;
    enum self_signed result = SELF_SIGNED_FAILED;
    struct cert_address parsed;

    ERR_clear_error();
    if (!cert_address_parse(address, &parsed)) {
        cert_fail(error, size,
                  "%s is not an IP address: give an address like 203.0.113.1 or 2001:db8::1, as "
                  "names need a certificate from an authority",
                  address);
        return SELF_SIGNED_FAILED;
    }
    if (!cert_file_make_folder(paths->cert, error, size))
        return SELF_SIGNED_FAILED;
    for (int i = 0; i < ATTEMPTS && created == CERT_FILE_EXISTS; i++)
        result = ensure_once(paths, address, now, &created, error, size);
    if (created == CERT_FILE_EXISTS)
        cert_fail(error, size, "%s keeps changing while it is created: try again", paths->cert);
    ERR_clear_error();
    return result;
}
