// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/commands.h"

#include "certgen/error.h"
#include "certgen/pem.h"
#include "certgen/pin.h"

#include <stdio.h>
#include <string.h>

static int print_usage(FILE *out, int status)
{
    fprintf(out, "usage: certgen pin FILE\n\n"
                 "Prints the pin of the first certificate in FILE: sha256-raw:HEX.\n");
    return status;
}

int command_pin(int argc, char **argv)
{
    char error[CERT_ERROR_BYTES], pin[CERT_PIN_CHARS + 1];

    if (argc == 2 && strcmp(argv[1], "-h") == 0)
        return print_usage(stdout, 0);
    if (argc != 2)
        return print_usage(stderr, EXIT_USAGE);

    STACK_OF(X509) *certs = cert_pem_read_certificates(argv[1], error, sizeof error);
    if (!certs) {
        fprintf(stderr, "certgen: %s\n", error);
        return 1;
    }
    const bool ok = cert_pin(sk_X509_value(certs, 0), pin);
    sk_X509_pop_free(certs, X509_free);
    if (!ok) {
        fprintf(stderr, "certgen: the pin of %s cannot be computed\n", argv[1]);
        return 1;
    }
    puts(pin);
    return 0;
}
