// SPDX-License-Identifier: BSD-3-Clause
#include "server/identity.h"

#include "certgen/check.h"

#include <openssl/err.h>
#include <string.h>

static bool covers_all(const struct identity *identity, const char *const *names, size_t name_count,
                       char *error, size_t size)
{
    for (size_t i = 0; i < name_count; i++)
        if (!cert_check_host(identity->pair.leaf, identity->paths.cert, names[i], error, size))
            return false;
    return true;
}

static bool covers_one(const struct identity *identity, const char *const *names, size_t name_count,
                       char *error, size_t size)
{
    for (size_t i = name_count; i-- > 0;)
        if (cert_check_host(identity->pair.leaf, identity->paths.cert, names[i], error, size))
            return true;
    return false; // with the sentence about the first
}

// OpenSSL has a mind of its own about keys that are too short and digests that are too old.
static bool serves(const struct identity *identity, char *error, size_t size)
{
    const struct tls_identity tls = {.pairs = {identity_tls_pair(identity)}, .pair_count = 1};
    const struct tls_config config = {.identities = &tls, .identity_count = 1};
    SSL_CTX *context = tls_context_new(&config);

    if (!context)
        return cert_fail(error, size,
                         "TLS cannot use the certificate %s (%s): get one with an ECDSA key, or an "
                         "RSA key of at least 2048 bits",
                         identity->paths.cert, cert_reason());
    SSL_CTX_free(context);
    return true;
}

bool identity_load(struct identity *identity, const struct cert_paths *paths, const char *layout,
                   const char *const *names, size_t name_count, char *error, size_t size)
{
    const time_t now = time(NULL);

    memset(identity, 0, sizeof *identity);
    identity->paths = *paths;
    identity->layout = layout;
    if (!cert_pair_load(&identity->pair, paths, NULL, now, error, size))
        return false;
    if (!cert_check_chain(identity->pair.leaf, identity->pair.chain, paths->cert, now,
                          identity->chain_fault, sizeof identity->chain_fault))
        ERR_clear_error();
    else
        identity->chain_fault[0] = '\0';
    identity->self_signed = cert_signed_itself(identity->pair.leaf);
    identity->not_after = cert_not_after(identity->pair.leaf);
    // Where addresses have come to a self-signed one, it serves until its successor takes its
    // place.
    if ((identity->self_signed ? covers_one : covers_all)(identity, names, name_count, error,
                                                          size) &&
        serves(identity, error, size) &&
        (cert_pin(identity->pair.leaf, identity->pin) || cert_fail(error, size, "out of memory")))
        return true;
    identity_free(identity);
    return false;
}

void identity_free(struct identity *identity)
{
    cert_pair_free(&identity->pair);
    memset(identity, 0, sizeof *identity);
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
    if (strcmp(a->pin, b->pin) != 0 || sk_X509_num(a->pair.chain) != sk_X509_num(b->pair.chain))
        return false;
    for (int i = 0; i < sk_X509_num(a->pair.chain); i++)
        if (X509_cmp(sk_X509_value(a->pair.chain, i), sk_X509_value(b->pair.chain, i)) != 0)
            return false;
    return true;
}

static bool is_rsa(const struct identity *identity)
{
    return EVP_PKEY_is_a(identity->pair.key, "RSA") || EVP_PKEY_is_a(identity->pair.key, "RSA-PSS");
}

bool identity_same_kind(const struct identity *a, const struct identity *b)
{
    return is_rsa(a) == is_rsa(b);
}

const char *identity_kind(const struct identity *identity)
{
    return is_rsa(identity) ? "rsa" : "ecdsa";
}

struct tls_pair identity_tls_pair(const struct identity *identity)
{
    return (struct tls_pair){
        .leaf = identity->pair.leaf,
        // With a pin, clients accept one certificate and the meta certificate, nothing else.
        .chain = identity->self_signed ? NULL : identity->pair.chain,
        .key = identity->pair.key,
    };
}
