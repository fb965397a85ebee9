// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/commands.h"

#include "certgen/command_remote.h"
#include "certgen/error.h"
#include "certgen/pem.h"
#include "certgen/pin.h"

#include <stdio.h>
#include <string.h>

static int print_usage(FILE *out, int status)
{
    fprintf(out,
            "usage: certgen pin FILE|HOST[:PORT]\n\n"
            "Prints the pin of the first certificate in FILE, or of the one that a server shows\n"
            "(port 443 unless given; an IPv6 address with a port in brackets), as a DERP map's\n"
            "CertName holds it: sha256-raw:HEX. What a server shows may be anybody's: compare it\n"
            "with the relay's own word. Exit status 0, or 1 with the fault.\n");
    return status;
}

static STACK_OF(X509) * fetch(const char *argument, char *error, size_t size)
{
    struct cert_target target;
    struct cert_dialed dialed;

    if (remote_is_file(argument))
        return cert_pem_read_certificates(argument, error, size);
    if (!cert_target_parse(&target, argument, error, size) ||
        !remote_dial(&dialed, &target, NULL, REMOTE_TIMEOUT_SECONDS, error, size))
        return NULL;
    return dialed.certs;
}

int command_pin(int argc, char **argv)
{
    char error[CERT_ERROR_BYTES], pin[CERT_PIN_CHARS + 1];

    if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0))
        return print_usage(stdout, 0);
    if (argc != 2 || argv[1][0] == '-')
        return print_usage(stderr, EXIT_USAGE);

    STACK_OF(X509) *certs = fetch(argv[1], error, sizeof error);
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
