// SPDX-License-Identifier: BSD-3-Clause
#include "identity.h"

#include "io/tls.h"
#include "loopback.h"

#include <string.h>

#define DAY_S (24 * 60 * 60)

static EVP_PKEY *make_key(const char *kind)
{
    if (strcmp(kind, "EC") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, kind, "P-256");
    if (strcmp(kind, "RSA") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, kind, (size_t)2048);
    return EVP_PKEY_Q_keygen(NULL, NULL, kind);
}

void identity_make(struct identity *identity, const char *kind, const char *name,
                   const struct identity *issuer)
{
    EVP_PKEY *signer;
    X509 *cert = X509_new();

    identity->key = make_key(kind);
    identity->cert = cert;
    assert_non_null(identity->key);
    signer = issuer ? issuer->key : identity->key;
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 2);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer->cert : cert));
    X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(cert), DAY_S);
    X509_set_pubkey(cert, identity->key);
    assert_true(X509_sign(cert, signer, EVP_PKEY_is_a(signer, "ED25519") ? NULL : EVP_sha256()));
}

SSL_CTX *identity_context(const struct identity *identity)
{
    const struct tls_identity served = {
        .pairs = {{.leaf = identity->cert, .key = identity->key}},
        .pair_count = 1,
    };
    SSL_CTX *ctx =
        tls_context_new(&(struct tls_config){.identities = &served, .identity_count = 1});

    assert_non_null(ctx);
    return ctx;
}

void identity_free(struct identity *identity)
{
    X509_free(identity->cert);
    EVP_PKEY_free(identity->key);
}
