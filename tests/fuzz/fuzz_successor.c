// SPDX-License-Identifier: BSD-3-Clause
//
// The file of a successor, which people may change, beside a self-signed pair that is due. Whatever
// it holds: the pair serves on, another one only takes its place when it is fit, with a moment
// before the end, and a second look finds nothing left to do.
#include "certgen/check.h"
#include "certgen/error.h"
#include "certgen/file.h"
#include "certgen/pair.h"
#include "certgen/self_signed.h"
#include "certgen/successor.h"
#include "support.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS "203.0.113.1"
#define MADE ((time_t)1800000000) // 2027-01-15
#define DUE (MADE + SELF_SIGNED_VALID_SECONDS - SELF_SIGNED_DUE_SECONDS + 1)

static const char *const addresses[] = {ADDRESS};

static char folder[FOLDER_BYTES], error[CERT_ERROR_BYTES];

// As in make_certificates.py.
static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA\n"
                              "AAAAAAAAAAAAAAAAAAAPDg0MCwqhRANCAAQiEUyS0+mG3GTiQo4xF5qnclNtLRRO\n"
                              "vpYUg0PfIlCedsEGOKmM610It5mlcPh14MW4i6BSuUdgc/fXZMQuCwY4\n"
                              "-----END PRIVATE KEY-----\n";

static struct cert_text made; // the key's certificate

static void remove_folder(void)
{
    cert_file_wipe(&made);
    folder_remove(folder);
}

static void make_certificate(const struct cert_paths *paths)
{
    struct self_signed_report report;

    demand(self_signed_ensure(paths, addresses, 1, MADE, &report, error, sizeof error) ==
           SELF_SIGNED_CREATED);
    demand(cert_file_read(paths->cert, &made, error, sizeof error));
}

// What successor_read makes of it: one certificate, or a sentence.
static void try_read(const struct successor_paths *paths)
{
    time_t at = 0;
    X509 *cert = successor_read(paths, &at, error, sizeof error);

    demand(cert ? at > -62300000000 && at < 253500000000 : *error != '\0'); // years 0 to 9999
    X509_free(cert);
    *error = '\0';
}

static void try_look(const struct cert_paths *paths, const struct successor_paths *successor)
{
    struct self_signed_report report, again;
    struct cert_pair pair;
    enum self_signed result;

    result = self_signed_ensure(paths, addresses, 1, DUE, &report, error, sizeof error);
    demand(result >= SELF_SIGNED_KEPT && result <= SELF_SIGNED_RENEWED && *error == '\0');
    demand(strlen(report.pin) == CERT_PIN_CHARS && report.not_after > DUE);
    demand(cert_pair_load(&pair, paths, ADDRESS, DUE, error, sizeof error));
    demand(cert_not_after(pair.leaf) == report.not_after);
    cert_pair_free(&pair);
    if (result == SELF_SIGNED_RENEWED) {
        demand(!*report.next_pin && report.switch_at == 0);
    } else {
        demand(*report.next_pin && report.switch_at > DUE);
        demand(report.switch_at <= report.not_after - SELF_SIGNED_LAST_SECONDS);
        try_read(successor);
    }
    result = self_signed_ensure(paths, addresses, 1, DUE, &again, error, sizeof error);
    demand(result == SELF_SIGNED_KEPT && memcmp(&report, &again, sizeof report) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FOLDER_PATH_BYTES];
    struct successor_paths successor;
    struct cert_paths paths;

    folder_make(folder, remove_folder);
    folder_empty(folder);
    folder_put(folder, ADDRESS ".key", key_pem, sizeof key_pem - 1, path);
    demand(cert_paths_for_host(&paths, folder, ADDRESS, error, sizeof error));
    demand(successor_paths_set(&successor, paths.cert, error, sizeof error));
    if (!made.bytes)
        make_certificate(&paths);
    folder_put(folder, ADDRESS ".crt", made.bytes, made.len, path);
    folder_put(folder, ADDRESS ".next.crt", data, size, path);
    demand(strcmp(successor.next, path) == 0);
    try_read(&successor);
    try_look(&paths, &successor);
    demand(ERR_peek_error() == 0);
    return 0;
}
