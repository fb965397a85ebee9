// SPDX-License-Identifier: BSD-3-Clause
//
// Files of certificates and keys. The input is such a file, or two that a NUL parts, certificate
// first; without a NUL it is both. Whatever they hold: a pair is whole or there is a sentence, what
// is loaded with a look at time and name is loaded without, too, and what is read can be written
// and read again.
#include "certgen/check.h"
#include "certgen/error.h"
#include "certgen/pair.h"
#include "certgen/pem.h"
#include "certgen/pin.h"
#include "support.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define HOST "fuzz.test"
#define NOW ((time_t)1800000000) // 2027-01-15

static char folder[FOLDER_BYTES], error[CERT_ERROR_BYTES];

static void remove_folder(void)
{
    folder_remove(folder);
}

// Says it in a sentence, and leaves nothing behind for the next one who asks OpenSSL.
static void demand_verdict(bool good)
{
    demand(ERR_peek_error() == 0);
    if (!good)
        demand(*error && strlen(error) < sizeof error);
    *error = '\0';
}

static void try_certificate(X509 *cert)
{
    char names[64], pin[CERT_PIN_CHARS + 1];
    BIO *pem = cert_pem_write_certificate(cert);
    X509 *again = PEM_read_bio_X509(pem, NULL, NULL, NULL);

    demand(again && X509_cmp(cert, again) == 0);
    demand(strlen(cert_names(cert, names, sizeof names)) < sizeof names);
    demand_printable(names, strlen(names));
    demand(cert_pin(cert, pin) && strlen(pin) == CERT_PIN_CHARS);
    demand(cert_not_after(cert) >= -1 || !cert_check_time(cert, HOST, NOW, error, sizeof error));
    demand(ERR_peek_error() == 0);
    X509_free(again);
    BIO_free(pem);
}

static void try_key(const EVP_PKEY *key)
{
    BIO *pem = cert_pem_write_key(key);

    if (pem) { // a key may lack what writing needs
        EVP_PKEY *again = PEM_read_bio_PrivateKey(pem, NULL, NULL, NULL);

        demand(again && EVP_PKEY_eq(key, again) == 1);
        EVP_PKEY_free(again);
    }
    BIO_free(pem);
    ERR_clear_error();
}

static void try_files(const struct cert_paths *paths)
{
    STACK_OF(X509) *certs = cert_pem_read_certificates(paths->cert, error, sizeof error);
    EVP_PKEY *key;

    demand_verdict(sk_X509_num(certs) > 0);
    for (int i = 0; i < sk_X509_num(certs); i++)
        try_certificate(sk_X509_value(certs, i));
    key = cert_pem_read_key(paths->key, error, sizeof error);
    demand_verdict(key);
    if (key)
        try_key(key);
    EVP_PKEY_free(key);
    sk_X509_pop_free(certs, X509_free);
}

static void try_pair(const struct cert_paths *paths)
{
    struct cert_pair pair, fit;
    const bool read = cert_pair_read(&pair, paths, error, sizeof error);

    demand_verdict(read);
    demand(read ? pair.leaf && pair.chain && pair.key : !pair.leaf && !pair.chain && !pair.key);
    if (read) {
        demand(X509_check_private_key(pair.leaf, pair.key) == 1);
        demand_verdict(
            cert_check_chain(pair.leaf, pair.chain, paths->cert, NOW, error, sizeof error));
    }
    const bool loaded = cert_pair_load(&fit, paths, HOST, NOW, error, sizeof error);
    demand_verdict(loaded);
    demand(read || !loaded);
    cert_pair_free(&fit);
    cert_pair_free(&pair);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = memchr(data, '\0', size);
    const size_t first = nul ? (size_t)(nul - data) : size;
    struct cert_paths paths;
    char cert[FOLDER_PATH_BYTES], key[FOLDER_PATH_BYTES];

    folder_make(folder, remove_folder);
    folder_put(folder, "cert.pem", data, first, cert);
    if (nul)
        folder_put(folder, "key.pem", nul + 1, size - first - 1, key);
    demand(cert_paths_set(&paths, cert, nul ? key : cert, error, sizeof error));
    try_files(&paths);
    try_pair(&paths);
    return 0;
}
