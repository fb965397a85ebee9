// SPDX-License-Identifier: BSD-3-Clause
//
// certgen: makes and examines certificates from the command line. Dispatch only.
#include "certgen/commands.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"self-signed", command_self_signed,
     "make a certificate for IP addresses, or look after its renewal"},
    {"acme", command_acme, "get a certificate from an ACME authority, once"},
    {"check", command_check, "say what a client would say to a server, or to a pair of files"},
    {"pin", command_pin, "print the pin of a certificate for a DERP map's CertName"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_usage(FILE *out)
{
    fprintf(out, "usage: certgen COMMAND [ARGUMENTS]\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n\"certgen COMMAND -h\" tells more.\n");
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (argc > 1)
        fprintf(stderr, "certgen: unknown command \"%s\"\n", name);
    print_usage(stderr);
    return EXIT_USAGE;
}
