// SPDX-License-Identifier: BSD-3-Clause
#include "server/certificate.h"

#include "base/log.h"
#include "base/memory.h"
#include "certgen/error.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_S (24 * 3600)
#define DAY_MS (DAY_S * 1000ULL)

bool certificate_load(struct certificate *certificate, const struct options *options, char *error,
                      size_t size)
{
    certificate->options = options;
    if (!identity_load(&certificate->identity, options, true, error, size))
        return false;
    certificate->not_after = certificate->identity.not_after;
    return true;
}

// Gives every worker a context of its own, with a meta certificate that has just begun. All of them
// or none.
static bool give(struct certificate *certificate, const struct identity *identity, char *error,
                 size_t size)
{
    struct relay *relay = certificate->relay;
    const size_t workers = relay_workers(relay);
    SSL_CTX **contexts = memory_zeroed(workers * sizeof *contexts);
    bool ok = true;

    for (size_t i = 0; i < workers && ok; i++) {
        contexts[i] = identity_context(identity, relay_public_key(relay), error, size);
        ok = contexts[i] != NULL;
    }
    for (size_t i = 0; i < workers; i++) {
        if (ok)
            relay_set_tls(relay, i, contexts[i]);
        SSL_CTX_free(contexts[i]);
    }
    free(contexts);
    if (ok)
        certificate->not_after = identity->not_after;
    return ok;
}

static void warn_of_end(const struct certificate *certificate)
{
    const int64_t left_s = certificate->identity.not_after - (int64_t)time(NULL);

    if (left_s > (int64_t)CERTIFICATE_WARN_DAYS * DAY_S)
        return;
    if (left_s <= 0)
        log_warnx("the certificate for %s has ended: clients refuse it",
                  certificate->options->hostname);
    else
        log_warnx("the certificate for %s ends in %lld days%s", certificate->options->hostname,
                  (long long)(left_s / DAY_S),
                  certificate->identity.self_signed
                      ? ": it is self-signed, so move both files away, restart, and put the new "
                        "pin into the DERP map"
                      : ": renew it and send SIGHUP");
}

static void on_day(uv_timer_t *timer)
{
    struct certificate *certificate = timer->data;
    char error[CERT_ERROR_BYTES];

    if (!give(certificate, &certificate->identity, error, sizeof error))
        log_warnx("the meta certificate was not renewed: %s", error);
    warn_of_end(certificate);
}

bool certificate_serve(struct certificate *certificate, struct relay *relay, uv_loop_t *loop,
                       char *error, size_t size)
{
    certificate->relay = relay;
    if (!give(certificate, &certificate->identity, error, size))
        return false;
    uv_timer_init(loop, &certificate->daily);
    certificate->daily.data = certificate;
    uv_timer_start(&certificate->daily, on_day, DAY_MS, DAY_MS);
    warn_of_end(certificate);
    return true;
}

bool certificate_reload(struct certificate *certificate)
{
    struct identity fresh;
    char error[CERT_ERROR_BYTES];
    bool changed;

    if (!certificate->relay)
        return false;
    if (!identity_load(&fresh, certificate->options, false, error, sizeof error)) {
        log_warnx("SIGHUP: the certificate was not reloaded, the present one serves on: %s", error);
        return true;
    }
    if (!give(certificate, &fresh, error, sizeof error)) {
        log_warnx("SIGHUP: the certificate was not reloaded, the present one serves on: %s", error);
        identity_free(&fresh);
        return true;
    }
    changed = strcmp(fresh.pin, certificate->identity.pin) != 0;
    identity_free(&certificate->identity);
    certificate->identity = fresh;
    log_info("SIGHUP: certificate %s, %s", changed ? "reloaded" : "unchanged", fresh.pin);
    warn_of_end(certificate);
    return true;
}

void certificate_close(struct certificate *certificate)
{
    if (certificate->relay)
        uv_close((uv_handle_t *)&certificate->daily, NULL);
    identity_free(&certificate->identity);
}

bool certificate_check(const struct options *options, char *error, size_t size)
{
    struct identity identity;
    bool absent;

    if (!identity_check(&absent, options, error, size))
        return false;
    if (absent) {
        log_info("there is no certificate for %s yet: a self-signed one is made at the first start",
                 options->hostname);
        return true;
    }
    if (!identity_load(&identity, options, false, error, size))
        return false;
    identity_free(&identity);
    return true;
}
