// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/commands.h"

#include "certgen/error.h"
#include "certgen/pair.h"
#include "certgen/pin.h"
#include "certgen/self_signed.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int print_usage(FILE *out, int status)
{
    fprintf(out,
            "usage: certgen self-signed [-d FOLDER] ADDRESS\n\n"
            "Makes FOLDER/ADDRESS.crt and .key for an IPv4 or IPv6 address, valid for a year;\n"
            "files that are there already are kept. FOLDER is \".\" unless given. Prints the\n"
            "certificate's path and its pin.\n");
    return status;
}

static int fail(const char *error)
{
    fprintf(stderr, "certgen: %s\n", error);
    return 1;
}

static int run(const char *folder, const char *address)
{
    char error[CERT_ERROR_BYTES], pin[CERT_PIN_CHARS + 1];
    struct cert_paths paths;
    struct cert_pair pair;
    const time_t now = time(NULL);

    if (!cert_paths_for_host(&paths, folder, address, error, sizeof error))
        return fail(error);
    const enum self_signed result = self_signed_ensure(&paths, address, now, error, sizeof error);
    if (result == SELF_SIGNED_FAILED ||
        !cert_pair_load(&pair, &paths, address, now, error, sizeof error))
        return fail(error);
    const bool ok = cert_pin(pair.leaf, pin);
    cert_pair_free(&pair);
    if (!ok)
        return fail("the pin cannot be computed");
    printf("%s: %s\npin: %s\n", result == SELF_SIGNED_CREATED ? "created" : "kept", paths.cert,
           pin);
    return 0;
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
    if (optind != argc - 1)
        return print_usage(stderr, EXIT_USAGE);
    return run(folder, argv[optind]);
}
