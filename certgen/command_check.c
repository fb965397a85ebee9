// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/commands.h"

#include "certgen/check.h"
#include "certgen/error.h"
#include "certgen/pair.h"
#include "certgen/pin.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define NAMES_BYTES 4096
#define SECONDS_PER_DAY (24 * 60 * 60)

static int print_usage(FILE *out, int status)
{
    fprintf(out,
            "usage: certgen check [-k KEY] [-n HOSTNAME] FILE\n\n"
            "Tells whether the certificate in FILE and its private key can serve: both parse,\n"
            "belong together, are valid now and, with -n, cover HOSTNAME. KEY is FILE with\n"
            "the ending .key unless given. Exit status 0, or 1 with the fault.\n");
    return status;
}

static void print_report(const struct cert_pair *pair, const struct cert_paths *paths, time_t now)
{
    char names[NAMES_BYTES], pin[CERT_PIN_CHARS + 1], error[CERT_ERROR_BYTES];
    const long days = (long)((cert_not_after(pair->leaf) - now) / SECONDS_PER_DAY);

    printf("certificate: %s\nkey: %s\n", paths->cert, paths->key);
    printf("names: %s\n", cert_names(pair->leaf, names, sizeof names));
    printf("days left: %ld\n", days);
    if (cert_pin(pair->leaf, pin))
        printf("pin: %s\n", pin);
    if (!cert_check_chain(pair->leaf, pair->chain, paths->cert, now, error, sizeof error))
        printf("warning: %s\n", error);
}

static int run(const char *cert, const char *key, const char *hostname)
{
    char error[CERT_ERROR_BYTES];
    struct cert_paths paths;
    struct cert_pair pair;
    const time_t now = time(NULL);

    if (!cert_paths_set(&paths, cert, key, error, sizeof error) ||
        !cert_pair_load(&pair, &paths, hostname, now, error, sizeof error)) {
        fprintf(stderr, "certgen: %s\n", error);
        return 1;
    }
    print_report(&pair, &paths, now);
    cert_pair_free(&pair);
    return 0;
}

int command_check(int argc, char **argv)
{
    const char *key = NULL, *hostname = NULL;
    int option;

    while ((option = getopt(argc, argv, "hk:n:")) != -1) {
        if (option == 'h')
            return print_usage(stdout, 0);
        if (option == 'k')
            key = optarg;
        else if (option == 'n')
            hostname = optarg;
        else
            return print_usage(stderr, EXIT_USAGE);
    }
    if (optind != argc - 1)
        return print_usage(stderr, EXIT_USAGE);
    return run(argv[optind], key, hostname);
}
