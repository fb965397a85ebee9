// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/commands.h"

#include "certgen/address.h"
#include "certgen/check.h"
#include "certgen/error.h"
#include "certgen/self_signed.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define ADDRESSES_MAX 16

static int print_usage(FILE *out, int status)
{
    fprintf(
        out,
        "usage: certgen self-signed [-d FOLDER] ADDRESS...\n\n"
        "Makes FOLDER/ADDRESS.crt and .key, named by the first address, for one or several (16)\n"
        "IPv4 and IPv6 addresses; FOLDER is \".\" unless given. A pair that is there already is\n"
        "kept: its pin stands in DERP maps. When it has less than 90 days left or lacks one of\n"
        "the addresses, a successor with the same key is put beside it, ADDRESS.next.crt, which\n"
        "takes its place 60 days later when this command (or derper, daily) looks again; rename\n"
        "it to do so together with the DERP map. Prints both pins.\n");
    return status;
}

static int fail(const char *error)
{
    fprintf(stderr, "certgen: %s\n", error);
    return 1;
}

static void print_report(enum self_signed done, const struct cert_paths *paths,
                         const struct self_signed_report *report)
{
    static const char *const words[] = {
        [SELF_SIGNED_KEPT] = "kept",
        [SELF_SIGNED_ANNOUNCED] = "kept",
        [SELF_SIGNED_RENEWED] = "renewed",
        [SELF_SIGNED_CREATED] = "created",
    };
    char until[CERT_TIME_TEXT_BYTES], from[CERT_TIME_TEXT_BYTES];

    printf("%s: %s\n", words[done], paths->cert);
    if (report->pin[0] != '\0')
        printf("pin: %s\n", report->pin);
    printf("valid until: %s\n", cert_time_text(report->not_after, until));
    if (report->next_pin[0] != '\0')
        printf("next pin: %s\nserves from: %s\n", report->next_pin,
               cert_time_text(report->switch_at, from));
}

// A pair stays what it is when the addresses come in another order, and where it was made for
// another spelling.
static bool find_paths(struct cert_paths *paths, const char *folder, const char *const *written,
                       const char *const *addresses, size_t count, char *error, size_t size)
{
    const char *spellings[2 * ADDRESSES_MAX + 1];

    for (size_t i = 0; i < count; i++) {
        spellings[2 * i] = written[i];
        spellings[2 * i + 1] = addresses[i];
    }
    spellings[2 * count] = addresses[0];
    return cert_paths_for_host(paths, folder, cert_paths_spelling(folder, spellings, 2 * count + 1),
                               error, size);
}

static int run(const char *folder, const char *const *written, size_t count)
{
    char error[CERT_ERROR_BYTES], names[ADDRESSES_MAX][CERT_NAME_BYTES];
    const char *addresses[ADDRESSES_MAX];
    struct self_signed_report report;
    struct cert_paths paths;

    for (size_t i = 0; i < count; i++)
        addresses[i] = names[i];
    if (!cert_names_canonical(names, written, count, error, sizeof error) ||
        !find_paths(&paths, folder, written, addresses, count, error, sizeof error))
        return fail(error);
    const enum self_signed done =
        self_signed_ensure(&paths, addresses, count, time(NULL), &report, error, sizeof error);
    if (done == SELF_SIGNED_FAILED)
        return fail(error);
    print_report(done, &paths, &report);
    return error[0] == '\0' ? 0 : fail(error);
}

int command_self_signed(int argc, char **argv)
{
    const char *folder = ".";
    int option;

    while ((option = getopt(argc, argv, "hd:")) != -1) {
        if (option == 'h')
            return print_usage(stdout, 0);
        if (option != 'd')
            return print_usage(stderr, EXIT_USAGE);
        folder = optarg;
    }
    if (optind == argc || argc - optind > ADDRESSES_MAX)
        return print_usage(stderr, EXIT_USAGE);
    return run(folder, (const char *const *)argv + optind, (size_t)(argc - optind));
}
