// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/commands.h"

#include "certgen/check.h"
#include "certgen/command_remote.h"
#include "certgen/error.h"
#include "certgen/meta.h"
#include "certgen/pair.h"
#include "certgen/pem.h"
#include "certgen/pin.h"
#include "certgen/trust.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAMES_BYTES 4096
#define SUBJECT_BYTES 256
#define SECONDS_PER_DAY (24 * 60 * 60)

struct arguments {
    const char *key, *name, *ca_file, *pin;
    const char *what; // FILE or HOST
    int timeout_s;
};

// What is judged: the certificates of a file or of a server, and what was wrong with them.
struct findings {
    const struct arguments *arguments;
    const char *from; // the path or address that sentences name
    const char *name; // to be covered; NULL = not asked
    X509 *leaf, *meta;
    STACK_OF(X509) * chain; // behind the leaf, without the meta certificate
    time_t now;
    bool good;
};

static int print_usage(FILE *out, int status)
{
    fprintf(
        out,
        "usage: certgen check [OPTIONS] HOST[:PORT]\n"
        "       certgen check [OPTIONS] FILE\n\n"
        "Says what a client would say to the certificate that HOST shows (port 443 unless\n"
        "given; an IPv6 address with a port in brackets), or to the pair in FILE and its key:\n"
        "is there TLS, is the name covered, is it valid now, who trusts it. Also prints the\n"
        "pin for a DERP map's CertName, the chain, and the relay's key in the meta certificate.\n"
        "What has a slash or is a file's name is a FILE.\n\n"
        "  -n NAME            the name to ask for and to find in the certificate [HOST; FILE:\n"
        "                     none]\n"
        "  -k KEY             the key of FILE [FILE itself, or with the ending .key]\n"
        "  --ca FILE          an authority to trust, in PEM form, besides the system's\n"
        "  --pin PIN          the pin that the DERP map has, sha256-raw:HEX\n"
        "  --timeout SECONDS  for the connection and the handshake [%d]\n\n"
        "Exit status 0 when clients accept it, 1 with what is wrong, 2 for a wrong command.\n",
        REMOTE_TIMEOUT_SECONDS);
    return status;
}

static void complain(struct findings *findings, const char *sentence)
{
    fflush(stdout);
    fprintf(stderr, "certgen: %s\n", sentence);
    findings->good = false;
}

static int fail(const char *sentence)
{
    fprintf(stderr, "certgen: %s\n", sentence);
    return 1;
}

// A distinguished name, escaped, cut where it is long; nothing but printable ASCII. Returns `out`.
static const char *name_text(const X509_NAME *name, char out[static SUBJECT_BYTES])
{
    BIO *text = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    size_t n = 0;

    if (text && X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253) >= 0) {
        const long len = BIO_get_mem_data(text, &bytes);

        for (; n < (size_t)len && n < SUBJECT_BYTES - 1; n++)
            out[n] = bytes[n] >= ' ' && bytes[n] <= '~' ? bytes[n] : '?';
    }
    out[n] = '\0';
    BIO_free(text);
    return out;
}

static void print_chain(const struct findings *findings)
{
    char subject[SUBJECT_BYTES], issuer[SUBJECT_BYTES], until[CERT_TIME_TEXT_BYTES];

    for (int i = -1; i < sk_X509_num(findings->chain); i++) {
        const X509 *cert = i < 0 ? findings->leaf : sk_X509_value(findings->chain, i);

        printf("chain %d: %s, signed by %s, until %s\n", i + 1,
               name_text(X509_get_subject_name(cert), subject),
               name_text(X509_get_issuer_name(cert), issuer),
               cert_time_text(cert_not_after(cert), until));
    }
}

static void print_meta(struct findings *findings)
{
    uint8_t key[CERT_META_KEY_BYTES], version;

    if (!findings->meta) {
        printf("meta certificate: none\n");
        return;
    }
    if (!cert_meta_read(findings->meta, key, &version)) {
        complain(findings, "the meta certificate holds no relay's key and version");
        return;
    }
    printf("meta certificate: relay key ");
    for (size_t i = 0; i < sizeof key; i++)
        printf("%02x", key[i]);
    printf(", version %d\n", version);
}

// By a pin, clients accept one certificate and the meta certificate, nothing else.
static void judge_pin(struct findings *findings, const char *pin)
{
    char sentence[CERT_ERROR_BYTES];
    const char *wanted = findings->arguments->pin;

    if (wanted && strcmp(wanted, pin) != 0) {
        snprintf(sentence, sizeof sentence,
                 "the pin is %s and not the given one: put it into the DERP map as CertName, if "
                 "the relay says the same of itself",
                 pin);
        complain(findings, sentence);
    }
    if (sk_X509_num(findings->chain) > 0)
        complain(findings, "clients with a pin refuse more than one certificate (besides the meta "
                           "certificate): leave out those behind the first");
}

static void judge_trust(struct findings *findings, const char *pin)
{
    const char *ca_file = findings->arguments->ca_file;
    char why[CERT_ERROR_BYTES];
    enum cert_trust trust =
        cert_trust(findings->leaf, findings->chain, ca_file, findings->now, why, sizeof why);

    if (trust == CERT_TRUST_FAILED)
        complain(findings, why);
    else if (findings->arguments->pin)
        trust = CERT_TRUST_PIN;
    if (trust == CERT_TRUST_PIN) {
        printf("trust: by its pin only\n");
        judge_pin(findings, pin);
    } else if (trust == CERT_TRUST_NONE) {
        printf("trust: none\n");
        complain(findings, why);
    } else if (trust != CERT_TRUST_FAILED) {
        printf("trust: by %s\n", trust == CERT_TRUST_FILE ? ca_file : "the system's authorities");
    }
}

static int judge(struct findings *findings)
{
    char names[NAMES_BYTES], until[CERT_TIME_TEXT_BYTES], pin[CERT_PIN_CHARS + 1] = "";
    char error[CERT_ERROR_BYTES];
    const time_t end = cert_not_after(findings->leaf);

    printf("names: %s\n", cert_names(findings->leaf, names, sizeof names));
    printf("valid until: %s\ndays left: %ld\n", cert_time_text(end, until),
           (long)((end - findings->now) / SECONDS_PER_DAY));
    if (cert_pin(findings->leaf, pin))
        printf("pin: %s\n", pin);
    print_chain(findings);
    print_meta(findings);
    judge_trust(findings, pin);
    if (!cert_check_time(findings->leaf, findings->from, findings->now, error, sizeof error))
        complain(findings, error);
    if (findings->name &&
        !cert_check_host(findings->leaf, findings->from, findings->name, error, sizeof error))
        complain(findings, error);
    if (!cert_check_chain(findings->leaf, findings->chain, findings->from, findings->now, error,
                          sizeof error))
        printf("warning: %s\n", error);
    return findings->good ? 0 : 1;
}

// A file of Go's autocert, or of an ACME relay, has its key in front.
static bool holds_key(const char *path)
{
    char unused[CERT_ERROR_BYTES];
    EVP_PKEY *key = cert_pem_read_key(path, unused, sizeof unused);

    EVP_PKEY_free(key);
    return key;
}

static int check_file(const struct arguments *arguments)
{
    const char *key = arguments->key;
    char error[CERT_ERROR_BYTES];
    struct cert_paths paths;
    struct cert_pair pair;

    if (!key && holds_key(arguments->what))
        key = arguments->what;
    if (!cert_paths_set(&paths, arguments->what, key, error, sizeof error) ||
        !cert_pair_read(&pair, &paths, error, sizeof error))
        return fail(error);
    struct findings findings = {
        .arguments = arguments,
        .from = paths.cert,
        .name = arguments->name,
        .leaf = pair.leaf,
        .chain = pair.chain,
        .now = time(NULL),
        .good = true,
    };
    printf("certificate: %s\nkey: %s\n", paths.cert, paths.key);
    const int status = judge(&findings);
    cert_pair_free(&pair);
    return status;
}

// As clients do: a meta certificate anywhere is none of the chain; the first other one is the leaf.
static int check_certificates(struct findings *findings, STACK_OF(X509) * certs)
{
    int status = 1;

    findings->chain = sk_X509_new_null();
    for (int i = 0; findings->chain && i < sk_X509_num(certs); i++) {
        X509 *cert = sk_X509_value(certs, i);

        if (cert_meta_is(cert))
            findings->meta = cert;
        else if (!findings->leaf)
            findings->leaf = cert;
        else
            sk_X509_push(findings->chain, cert);
    }
    if (findings->leaf)
        status = judge(findings);
    else
        complain(findings, "the server shows a meta certificate only: give it a certificate");
    sk_X509_free(findings->chain);
    return status;
}

static int check_host(const struct arguments *arguments)
{
    char error[CERT_ERROR_BYTES];
    struct cert_target target;
    struct cert_dialed dialed;

    if (!cert_target_parse(&target, arguments->what, error, sizeof error) ||
        !remote_dial(&dialed, &target, arguments->name, arguments->timeout_s, error, sizeof error))
        return fail(error);
    struct findings findings = {
        .arguments = arguments,
        .from = dialed.address,
        .name = arguments->name ? arguments->name : target.host,
        .now = time(NULL),
        .good = true,
    };
    printf("address: %s\ntls: %s, %s\n", dialed.address, dialed.version, dialed.cipher);
    const int status = check_certificates(&findings, dialed.certs);
    cert_dialed_free(&dialed);
    return status;
}

// False with the exit status: a wrong command line, or the help that was asked for.
// 0 when it is none.
static int parse_seconds(const char *text)
{
    char *end;
    const long seconds = strtol(text, &end, 10);

    return *end == '\0' && seconds >= 1 && seconds <= REMOTE_TIMEOUT_SECONDS_MAX ? (int)seconds : 0;
}

static bool parse(struct arguments *arguments, int argc, char **argv, int *status)
{
    enum { CA = 256, PIN, TIMEOUT };
    static const struct option options[] = {
        {"ca", required_argument, NULL, CA},
        {"pin", required_argument, NULL, PIN},
        {"timeout", required_argument, NULL, TIMEOUT},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "hk:n:", options, NULL)) != -1) {
        if (option == 'k')
            arguments->key = optarg;
        else if (option == 'n')
            arguments->name = optarg;
        else if (option == CA)
            arguments->ca_file = optarg;
        else if (option == PIN)
            arguments->pin = optarg;
        else if (option == TIMEOUT)
            arguments->timeout_s = parse_seconds(optarg);
        else {
            *status = option == 'h' ? print_usage(stdout, 0) : print_usage(stderr, EXIT_USAGE);
            return false;
        }
    }
    *status = EXIT_USAGE;
    if (optind == argc - 1 && arguments->timeout_s > 0)
        return true;
    print_usage(stderr, EXIT_USAGE);
    return false;
}

int command_check(int argc, char **argv)
{
    struct arguments arguments = {.timeout_s = REMOTE_TIMEOUT_SECONDS};
    int status;

    if (!parse(&arguments, argc, argv, &status))
        return status;
    arguments.what = argv[optind];
    return remote_is_file(arguments.what) ? check_file(&arguments) : check_host(&arguments);
}
