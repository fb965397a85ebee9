// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/trust.h"

#include "certgen/check.h"
#include "certgen/error.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdbool.h>

// X509_V_OK or why not.
static int verify(X509_STORE *store, X509 *leaf, STACK_OF(X509) * chain, time_t now)
{
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    int result = X509_V_ERR_OUT_OF_MEM;

    if (context && X509_STORE_CTX_init(context, store, leaf, chain) == 1) {
        X509_STORE_CTX_set_time(context, 0, now);
        X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER);
        result = X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
    }
    X509_STORE_CTX_free(context);
    return result;
}

// `*why` is X509_V_OK or why not. False when the CAs cannot be read; the system's always can.
static bool verify_with(const char *ca_file, X509 *leaf, STACK_OF(X509) * chain, time_t now,
                        int *why)
{
    X509_STORE *store = X509_STORE_new();
    const bool ok = store && (ca_file ? X509_STORE_load_file(store, ca_file)
                                      : X509_STORE_set_default_paths(store)) == 1;

    if (ok)
        *why = verify(store, leaf, chain, now);
    X509_STORE_free(store);
    return ok;
}

enum cert_trust cert_trust(X509 *leaf, STACK_OF(X509) * chain, const char *ca_file, time_t now,
                           char *error, size_t size)
{
    enum cert_trust result = CERT_TRUST_NONE;
    int why = X509_V_ERR_UNSPECIFIED;

    ERR_clear_error();
    if (verify_with(NULL, leaf, chain, now, &why) && why == X509_V_OK)
        result = CERT_TRUST_SYSTEM;
    else if (ca_file && !verify_with(ca_file, leaf, chain, now, &why))
        result = CERT_TRUST_FAILED;
    else if (ca_file && why == X509_V_OK)
        result = CERT_TRUST_FILE;
    else if (cert_signed_itself(leaf))
        result = CERT_TRUST_PIN;
    if (result == CERT_TRUST_FAILED)
        cert_fail(error, size, "%s cannot be read as CA certificates in PEM form (%s): check it",
                  ca_file, cert_reason());
    if (result == CERT_TRUST_NONE)
        cert_fail(error, size,
                  "no authority that is trusted here stands behind the certificate (%s): send the "
                  "intermediate certificates too, or name your own authority with --ca FILE",
                  X509_verify_cert_error_string(why));
    ERR_clear_error();
    return result;
}
