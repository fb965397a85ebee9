// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/csr.h"

#include "certgen/alt_names.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdbool.h>

static bool add_names(X509_REQ *request, const char *const *names, size_t count)
{
    GENERAL_NAMES *alternative = cert_alt_names(names, count);
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    const bool ok = alternative &&
                    X509V3_add1_i2d(&extensions, NID_subject_alt_name, alternative, 0, 0) == 1 &&
                    X509_REQ_add_extensions(request, extensions) == 1;

    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    GENERAL_NAMES_free(alternative);
    return ok;
}

int csr_new(const char *const *names, size_t count, EVP_PKEY *key, unsigned char **der)
{
    X509_REQ *request = X509_REQ_new();
    int len = -1;

    *der = NULL;
    if (request && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
        X509_REQ_set_pubkey(request, key) == 1 && add_names(request, names, count) &&
        X509_REQ_sign(request, key, EVP_sha256()) > 0)
        len = i2d_X509_REQ(request, der);
    X509_REQ_free(request);
    ERR_clear_error();
    return len > 0 ? len : -1;
}
