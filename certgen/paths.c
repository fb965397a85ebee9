// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/paths.h"

#include "certgen/error.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool fits(int written)
{
    return written >= 0 && written < CERT_PATH_MAX_BYTES;
}

// Ranges spelled out, as isalnum() asks the locale.
static bool safe_in_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-';
}

// False when the name does not fit.
static bool strip(char out[static CERT_PATH_MAX_BYTES], const char *hostname)
{
    size_t len = 0;

    for (; *hostname; hostname++) {
        if (!safe_in_name(*hostname))
            continue;
        if (len == CERT_PATH_MAX_BYTES - 1)
            return false;
        out[len++] = *hostname;
    }
    out[len] = '\0';
    return true;
}

static bool fail_name(const char *hostname, char *error, size_t size)
{
    return cert_fail(error, size,
                     "hostname \"%s\" has no character that a file name can keep: use a name "
                     "of letters, digits, dots and dashes, or an IP address",
                     hostname);
}

static bool fail_length(char *error, size_t size)
{
    return cert_fail(error, size,
                     "the certificate folder and hostname make a path of more than %d bytes: "
                     "use a shorter folder",
                     CERT_PATH_MAX_BYTES - 1);
}

bool cert_paths_name(char out[static CERT_PATH_MAX_BYTES], const char *hostname, char *error,
                     size_t size)
{
    if (!strip(out, hostname))
        return fail_length(error, size);
    return out[0] != '\0' || fail_name(hostname, error, size);
}

bool cert_paths_for_host(struct cert_paths *paths, const char *folder, const char *hostname,
                         char *error, size_t size)
{
    char name[CERT_PATH_MAX_BYTES];

    if (!strip(name, hostname) ||
        !fits(snprintf(paths->cert, sizeof paths->cert, "%s/%s.crt", folder, name)) ||
        !fits(snprintf(paths->key, sizeof paths->key, "%s/%s.key", folder, name)))
        return fail_length(error, size);
    return name[0] != '\0' || fail_name(hostname, error, size);
}

static bool is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

const char *cert_paths_spelling(const char *folder, const char *const *spellings, size_t count)
{
    struct cert_paths paths;
    char unused[CERT_ERROR_BYTES];

    for (size_t i = 0; i < count; i++)
        if (cert_paths_for_host(&paths, folder, spellings[i], unused, sizeof unused) &&
            (is_there(paths.cert) || is_there(paths.key)))
            return spellings[i];
    return spellings[count - 1];
}

bool cert_paths_one_file(struct cert_paths *paths, const char *folder, const char *prefix,
                         const char *hostname, char *error, size_t size)
{
    char name[CERT_PATH_MAX_BYTES];

    if (!strip(name, hostname) ||
        !fits(snprintf(paths->cert, sizeof paths->cert, "%s/%s%s", folder, prefix, name)))
        return fail_length(error, size);
    memcpy(paths->key, paths->cert, sizeof paths->key);
    return name[0] != '\0' || fail_name(hostname, error, size);
}

// Bytes of `path` before the dot of its ending; all of them when it has none.
static int stem_bytes(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');

    return (int)(dot ? (size_t)(dot - path) : strnlen(path, CERT_PATH_MAX_BYTES));
}

bool cert_paths_set(struct cert_paths *paths, const char *cert, const char *key, char *error,
                    size_t size)
{
    const bool cert_fits = fits(snprintf(paths->cert, sizeof paths->cert, "%s", cert));

    if (cert_fits && key && fits(snprintf(paths->key, sizeof paths->key, "%s", key)))
        return true;
    if (cert_fits && !key &&
        fits(snprintf(paths->key, sizeof paths->key, "%.*s.key", stem_bytes(cert), cert)))
        return true;
    return cert_fail(error, size, "a path is longer than %d bytes: use a shorter folder",
                     CERT_PATH_MAX_BYTES - 1);
}
