// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/pair.h"

#include "certgen/check.h"
#include "certgen/error.h"
#include "certgen/pem.h"

#include <openssl/err.h>

static bool read_certificates(struct cert_pair *pair, const char *path, char *error, size_t size)
{
    pair->chain = cert_pem_read_certificates(path, error, size);
    if (!pair->chain)
        return false;
    pair->leaf = sk_X509_shift(pair->chain);
    return true;
}

static bool read_key(struct cert_pair *pair, const char *path, char *error, size_t size)
{
    pair->key = cert_pem_read_key(path, error, size);
    return pair->key;
}

// The place in the file of the certificate behind the leaf that the key belongs to, or 0.
static int place_of_match(const struct cert_pair *pair)
{
    for (int i = 0; i < sk_X509_num(pair->chain); i++)
        if (X509_check_private_key(sk_X509_value(pair->chain, i), pair->key) == 1)
            return i + 2;
    return 0;
}

static bool check_match(const struct cert_pair *pair, const struct cert_paths *paths, char *error,
                        size_t size)
{
    if (X509_check_private_key(pair->leaf, pair->key) == 1)
        return true;

    const int place = place_of_match(pair);
    if (place > 0)
        return cert_fail(error, size,
                         "the key %s belongs to certificate %d in %s and not to the first: put the "
                         "host's own certificate first, its issuer's after it",
                         paths->key, place, paths->cert);
    return cert_fail(error, size,
                     "%s does not belong to the certificate %s: copy both files from the same "
                     "renewal",
                     paths->key, paths->cert);
}

bool cert_pair_read(struct cert_pair *pair, const struct cert_paths *paths, char *error,
                    size_t size)
{
    *pair = (struct cert_pair){0};
    ERR_clear_error();
    const bool ok = read_certificates(pair, paths->cert, error, size) &&
                    read_key(pair, paths->key, error, size) &&
                    check_match(pair, paths, error, size);
    if (!ok)
        cert_pair_free(pair);
    ERR_clear_error();
    return ok;
}

bool cert_pair_load(struct cert_pair *pair, const struct cert_paths *paths, const char *hostname,
                    time_t now, char *error, size_t size)
{
    if (!cert_pair_read(pair, paths, error, size))
        return false;
    if (cert_check_time(pair->leaf, paths->cert, now, error, size) &&
        (!hostname || cert_check_host(pair->leaf, paths->cert, hostname, error, size)))
        return true;
    cert_pair_free(pair);
    return false;
}

void cert_pair_free(struct cert_pair *pair)
{
    X509_free(pair->leaf);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key);
    *pair = (struct cert_pair){0};
}
