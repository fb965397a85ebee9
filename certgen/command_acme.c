// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/acme.h"
#include "certgen/address.h"
#include "certgen/commands.h"
#include "certgen/file.h"
#include "certgen/http01.h"
#include "certgen/paths.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PORT_DEFAULT 80

static int print_usage(FILE *out, int status)
{
    fprintf(out,
            "usage: certgen acme [OPTIONS] NAME...\n"
            "       certgen acme [OPTIONS] --new-account-key\n\n"
            "Gets a certificate for these names (DNS names, IP addresses) from an ACME authority,\n"
            "once, and writes FOLDER/NAME.crt and FOLDER/NAME.key under the first name. The names\n"
            "are proven by http-01: port 80 of each must lead to this machine.\n\n"
            "  -d FOLDER          where the files go, and the account's key [.]\n"
            "  --directory URL    the authority [Let's Encrypt]\n"
            "  --ca FILE          a CA in PEM form to trust for it, besides the system's\n"
            "  --email ADDRESS    for the authority's mail about this account\n"
            "  --eab-kid ID       external account that the authority demands\n"
            "  --eab-key KEY      its key, as the authority gives it\n"
            "  --profile NAME     one of the authority's profiles [shortlived when a NAME is an\n"
            "                     address, else the authority's default]\n"
            "  --port PORT        the TCP port to answer on, reached as port 80 [80]\n"
            "  --webroot FOLDER   leave the answering to a web server that shows this folder\n"
            "  --new-account-key  only exchange the account's key for a new one\n");
    return status;
}

static int fail(const char *error)
{
    fprintf(stderr, "certgen: %s\n", error);
    return 1;
}

static bool wait_ms(uint64_t ms, void *data)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000),
                            .tv_nsec = (long)(ms % 1000) * 1000 * 1000};

    (void)data;
    while (nanosleep(&left, &left) != 0)
        ;
    return true;
}

static bool never_cancelled(void *data)
{
    (void)data;
    return false;
}

static void say(const char *line, void *data)
{
    (void)data;
    fprintf(stderr, "certgen: %s\n", line);
}

struct arguments {
    struct acme_config acme;
    const char *webroot;
    int port;
    bool new_account_key;
};

// -1 when it is none.
static int parse_port(const char *text)
{
    char *end;
    const long port = strtol(text, &end, 10);

    return end > text && *end == '\0' && port >= 1 && port <= UINT16_MAX ? (int)port : -1;
}

static bool parse(struct arguments *arguments, int argc, char **argv, int *status)
{
    enum { DIRECTORY = 256, CA, EMAIL, EAB_KID, EAB_KEY, PROFILE, PORT, WEBROOT, NEW_KEY };
    static const struct option options[] = {
        {"directory", required_argument, NULL, DIRECTORY},
        {"ca", required_argument, NULL, CA},
        {"email", required_argument, NULL, EMAIL},
        {"eab-kid", required_argument, NULL, EAB_KID},
        {"eab-key", required_argument, NULL, EAB_KEY},
        {"profile", required_argument, NULL, PROFILE},
        {"port", required_argument, NULL, PORT},
        {"webroot", required_argument, NULL, WEBROOT},
        {"new-account-key", no_argument, NULL, NEW_KEY},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct acme_config *acme = &arguments->acme;
    int option;

    while ((option = getopt_long(argc, argv, "hd:", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            acme->folder = optarg;
            break;
        case DIRECTORY:
            acme->directory = optarg;
            break;
        case CA:
            acme->ca_file = optarg;
            break;
        case EMAIL:
            acme->email = optarg;
            break;
        case EAB_KID:
            acme->eab_kid = optarg;
            break;
        case EAB_KEY:
            acme->eab_key = optarg;
            break;
        case PROFILE:
            acme->profile = optarg;
            break;
        case PORT:
            arguments->port = parse_port(optarg);
            break;
        case WEBROOT:
            arguments->webroot = optarg;
            break;
        case NEW_KEY:
            arguments->new_account_key = true;
            break;
        case 'h':
            *status = print_usage(stdout, 0);
            return false;
        default:
            *status = print_usage(stderr, EXIT_USAGE);
            return false;
        }
    }
    return true;
}

static int obtain(struct arguments *arguments, const char *const *written, size_t count)
{
    char canonical[ACME_NAMES_MAX][CERT_NAME_BYTES];
    const char *names[ACME_NAMES_MAX];
    struct acme_world world = {http01_show, http01_hide, wait_ms, never_cancelled, say, NULL};
    char error[CERT_ERROR_BYTES];
    struct acme_fault fault;
    struct http01 http01;
    struct cert_paths paths;
    bool ok;

    for (size_t i = 0; i < count; i++)
        names[i] = canonical[i];
    if (!cert_names_canonical(canonical, written, count, error, sizeof error) ||
        !http01_start(&http01, arguments->webroot, arguments->port, error, sizeof error))
        return fail(error);
    world.data = &http01;
    arguments->acme.world = &world;
    ok = acme_obtain(&arguments->acme, names, count, NULL, &fault);
    http01_stop(&http01);
    if (!ok)
        return fail(fault.sentence);
    if (!cert_paths_for_host(&paths, arguments->acme.folder, names[0], error, sizeof error))
        return fail(error);
    printf("certificate: %s\nkey: %s\n", paths.cert, paths.key);
    return 0;
}

static int change_key(struct arguments *arguments)
{
    const struct acme_world world = {http01_show, http01_hide, wait_ms, never_cancelled, say, NULL};
    struct acme_fault fault;

    arguments->acme.world = &world;
    if (!acme_change_key(&arguments->acme, &fault))
        return fail(fault.sentence);
    printf("the account has a new key\n");
    return 0;
}

static bool any_address(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (cert_is_address(names[i]))
            return true;
    return false;
}

int command_acme(int argc, char **argv)
{
    struct arguments arguments = {
        .acme = {.directory = ACME_LETS_ENCRYPT,
                 .folder = ".",
                 .two_files = true,
                 .email = "",
                 .eab_kid = "",
                 .eab_key = "",
                 .profile = NULL,
                 .kinds = ACME_HTTP_01,
                 .preferred = ACME_HTTP_01},
        .port = PORT_DEFAULT,
    };
    int status;

    if (!parse(&arguments, argc, argv, &status))
        return status;

    const char *const *names = (const char *const *)argv + optind;
    const size_t count = (size_t)(argc - optind);

    if ((count == 0) != arguments.new_account_key || count > ACME_NAMES_MAX || arguments.port < 0)
        return print_usage(stderr, EXIT_USAGE);
    if (!arguments.acme.profile)
        arguments.acme.profile = any_address(names, count) ? "shortlived" : "";
    return arguments.new_account_key ? change_key(&arguments) : obtain(&arguments, names, count);
}
