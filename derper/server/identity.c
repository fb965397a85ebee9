// SPDX-License-Identifier: BSD-3-Clause
#include "server/identity.h"

#include "base/log.h"
#include "certgen/check.h"
#include "certgen/error.h"
#include "certgen/meta.h"
#include "certgen/self_signed.h"
#include "io/tls.h"
#include "proto/frame.h"
#include "server/folder.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

// For an address without a domain: the pair is made once and kept, as its pin stands in people's
// DERP maps.
static bool ensure_self_signed(const struct cert_paths *paths, const struct options *options,
                               char *error, size_t size)
{
    const char *const address = options->hostname;
    struct self_signed_report report;
    char announcement[CERT_ERROR_BYTES];
    const enum self_signed done =
        self_signed_ensure(paths, &address, 1, time(NULL), &report, error, size);

    if (done == SELF_SIGNED_FAILED)
        return false;
    if (done == SELF_SIGNED_CREATED)
        log_info("made a self-signed certificate for %s: %s (keep it: its pin stands in your DERP "
                 "map)",
                 address, paths->cert);
    if (done == SELF_SIGNED_RENEWED)
        log_warnx("the self-signed certificate %s was renewed: its pin is now %s, which the DERP "
                  "map needs",
                  paths->cert, report.pin);
    if (*error)
        log_warnx("the self-signed certificate was not renewed: %s", error);
    if (*self_signed_announcement(&report, paths, announcement, sizeof announcement))
        log_warnx("%s", announcement);
    return true;
}

static bool load(struct identity *identity, const struct cert_paths *paths,
                 const struct options *options, char *error, size_t size)
{
    char warning[CERT_ERROR_BYTES];
    const time_t now = time(NULL);

    if (!cert_pair_load(&identity->pair, paths, options->hostname, now, error, size))
        return false;
    if (!cert_check_chain(identity->pair.leaf, identity->pair.chain, paths->cert, now, warning,
                          sizeof warning))
        log_warnx("%s", warning);
    identity->hostname = options->hostname_is_ip ? NULL : options->hostname;
    identity->self_signed = cert_signed_itself(identity->pair.leaf);
    identity->not_after = cert_not_after(identity->pair.leaf);
    if (cert_pin(identity->pair.leaf, identity->pin))
        return true;
    snprintf(error, size, "out of memory");
    return false;
}

bool identity_check(bool *absent, const struct options *options, char *error, size_t size)
{
    const char *const address = options->hostname;
    struct cert_paths paths;
    enum self_signed would = SELF_SIGNED_KEPT;

    if (!cert_paths_for_host(&paths, options->cert_dir, options->hostname, error, size))
        return false;
    if (options->hostname_is_ip)
        would = self_signed_would(&paths, &address, 1, time(NULL), error, size);
    *absent = would == SELF_SIGNED_CREATED;
    return would != SELF_SIGNED_FAILED && (!*absent || folder_may_create(paths.cert, error, size));
}

bool identity_load(struct identity *identity, const struct options *options, bool create,
                   char *error, size_t size)
{
    struct cert_paths paths;

    memset(identity, 0, sizeof *identity);
    if (!cert_paths_for_host(&paths, options->cert_dir, options->hostname, error, size))
        return false;
    if (options->hostname_is_ip && create && !ensure_self_signed(&paths, options, error, size))
        return false;
    if (load(identity, &paths, options, error, size))
        return true;
    identity_free(identity);
    return false;
}

void identity_free(struct identity *identity)
{
    cert_pair_free(&identity->pair);
    memset(identity, 0, sizeof *identity);
}

SSL_CTX *identity_context(const struct identity *identity, const struct key *relay_key, char *error,
                          size_t size)
{
    X509 *meta = cert_meta_new(relay_key->bytes, DERP_VERSION, time(NULL));
    const struct tls_identity tls = {
        .hostname = identity->hostname,
        // With a pin, clients accept one certificate and the meta certificate, nothing else.
        .pairs = {{.leaf = identity->pair.leaf,
                   .chain = identity->self_signed ? NULL : identity->pair.chain,
                   .key = identity->pair.key}},
        .pair_count = 1,
    };
    const struct tls_config config = {.identities = &tls, .identity_count = 1, .meta = meta};
    SSL_CTX *context = meta ? tls_context_new(&config) : NULL;

    X509_free(meta);
    if (!context)
        cert_fail(error, size, "TLS cannot use the certificate of %s: %s",
                  identity->hostname ? identity->hostname : "this address", cert_reason());
    return context;
}
