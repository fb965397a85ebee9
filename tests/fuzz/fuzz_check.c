// SPDX-License-Identifier: BSD-3-Clause
//
// What "certgen check HOST" prints of the certificates that a server shows: the input, one DER
// after the other, stands in the place of certgen/command_remote.c. Whatever they say, nothing is
// printed that could move a terminal's cursor or make a line of its own.
#include "certgen/command_remote.h"
#include "certgen/commands.h"
#include "support.h"

#include <getopt.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX_BYTES 65536

static const uint8_t *shown;
static size_t shown_len;

bool remote_is_file(const char *argument)
{
    (void)argument;
    return false;
}

bool remote_dial(struct cert_dialed *dialed, const struct cert_target *target, const char *name,
                 int seconds, char *error, size_t size)
{
    const uint8_t *at = shown;
    X509 *cert;

    (void)name, (void)seconds;
    *dialed = (struct cert_dialed){
        .version = "TLSv1.3", .cipher = "TLS_AES_128_GCM_SHA256", .certs = sk_X509_new_null()};
    snprintf(dialed->address, sizeof dialed->address, "203.0.113.1:%s", target->port);
    while ((cert = d2i_X509(NULL, &at, (long)(shown + shown_len - at))))
        sk_X509_push(dialed->certs, cert);
    ERR_clear_error();
    if (sk_X509_num(dialed->certs) > 0)
        return true;
    cert_dialed_free(dialed);
    snprintf(error, size, "no certificate");
    return false;
}

// Lines of a known beginning.
static void demand_lines(char *text)
{
    static const char *const words[] = {
        "address",          "tls",   "names",   "valid until", "days left", "pin",
        "meta certificate", "trust", "warning", "certgen"};

    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        bool known = strncmp(line, "chain ", strlen("chain ")) == 0;

        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            known = known || (strncmp(line, words[i], strlen(words[i])) == 0 &&
                              line[strlen(words[i])] == ':');
        demand(known);
        demand_printable(line, strlen(line));
    }
}

// Returns the exit status; `text` is the caller's to free, `len` without its final NUL.
static int run(char **text, size_t *len)
{
    char command[] = "check", host[] = "fuzz.test";
    char *arguments[] = {command, host, NULL};
    FILE *const out = stdout, *const err = stderr, *printed = open_memstream(text, len);
    int status;

    optind = 0;
    stdout = stderr = printed;
    status = command_check(2, arguments);
    stdout = out;
    stderr = err;
    fclose(printed);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = NULL;
    size_t len = 0;
    int status;

    if (size > INPUT_MAX_BYTES)
        return 0;
    setenv("SSL_CERT_FILE", "/dev/null", 1); // the system's authorities take long to read
    setenv("SSL_CERT_DIR", "/dev/null", 1);
    shown = data;
    shown_len = size;
    status = run(&text, &len);
    demand(status == 1); // nobody trusts these, or the name is another one
    demand(strlen(text) == len);
    demand(strstr(text, "certgen: "));
    demand_lines(text);
    demand(ERR_peek_error() == 0);
    free(text);
    return 0;
}
