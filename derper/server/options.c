// SPDX-License-Identifier: BSD-3-Clause
//
// From argv to options: Go's syntax first, flag by flag; then what only several flags together
// decide.
#include "server/options.h"

#include "base/text.h"
#include "certgen/acme.h"
#include "certgen/address.h"
#include "certgen/jose.h"
#include "server/options_accept.h"
#include "server/options_table.h"
#include "server/own_addresses.h"

#include <assert.h>
#include <math.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOT_KEY_PATH "/var/lib/derper/derper.key"
#define MESH_KEY_PATH "/home/derp/keys/derp-mesh.key"
#define QUOTED_BYTES 88
#define ACCEPT_LIMIT_MIN 1e-6 // a second

struct reader {
    struct options *options;
    const struct options_world *world;
    int argc;
    char *const *argv;
    int next;              // the argument to look at
    bool given[FLAGS_MAX]; // by the flag's place in the table
    bool help;
    char *error;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct reader *reader,
                                                       const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reader->error, reader->size, format, args);
    va_end(args);
    return false;
}

__attribute__((format(printf, 2, 3))) static void warn(struct options *options, const char *format,
                                                       ...)
{
    va_list args;

    assert(options->warning_count < OPTIONS_WARNINGS_MAX);
    va_start(args, format);
    vsnprintf(options->warnings[options->warning_count++], OPTIONS_WARNING_BYTES, format, args);
    va_end(args);
}

static bool was_given(const struct reader *reader, const char *name)
{
    return reader->given[flag_find(name, strlen(name)) - flags];
}

// --- Syntax ---

static bool fail_unknown(const struct reader *reader, const char *name, size_t len)
{
    const struct flag *nearest = flag_nearest(name, len);
    char label[FLAG_LABEL_BYTES], quoted[QUOTED_BYTES];

    text_escape(quoted, sizeof quoted, name, len);
    if (nearest)
        return fail(reader, "there is no flag \"%s\"; did you mean %s?", quoted,
                    flag_label(nearest, label));
    return fail(reader, "there is no flag \"%s\".", quoted);
}

static bool fail_without_value(const struct reader *reader, const struct flag *flag)
{
    char label[FLAG_LABEL_BYTES];

    return fail(reader, "%s needs a value behind it: %s %s.", flag_label(flag, label), label,
                flag->argument);
}

// The flag at `next`, with its value; moves behind them. False on an error, and for help.
static bool read_flag(struct reader *reader)
{
    const char *argument = reader->argv[reader->next++];
    const char *name = argument + (argument[1] == '-' ? 2 : 1);
    const size_t len = strcspn(name, "=");
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    const struct flag *flag = flag_find(name, len);
    char quoted[QUOTED_BYTES];

    if (len == 0 || name[0] == '-')
        return fail(reader, "\"%s\" is not a flag; write one as --name=value.",
                    text_escape(quoted, sizeof quoted, argument, strlen(argument)));
    if (!flag && ((len == 1 && name[0] == 'h') || (len == 4 && memcmp(name, "help", 4) == 0))) {
        reader->help = true;
        return false;
    }
    if (!flag)
        return fail_unknown(reader, name, len);
    if (!value && flag->kind == FLAG_BOOL)
        value = "true";
    else if (!value && reader->next < reader->argc)
        value = reader->argv[reader->next++];
    else if (!value)
        return fail_without_value(reader, flag);
    reader->given[flag - flags] = true;
    return flag_set(flag, reader->options, value, reader->error, reader->size);
}

// Go ends the flags here and forgets the rest. Most often a boolean was written with its value
// apart.
static void warn_ignored(const struct reader *reader)
{
    const char *first = reader->argv[reader->next];
    const char *before = reader->argv[reader->next - 1];
    const int count = reader->argc - reader->next;
    char quoted[QUOTED_BYTES], quoted_before[QUOTED_BYTES];
    const char *name = before + strspn(before, "-");
    const struct flag *flag = reader->next > 1 ? flag_find(name, strlen(name)) : NULL;

    text_escape(quoted, sizeof quoted, first, strlen(first));
    if (flag && flag->kind == FLAG_BOOL && before[0] == '-') {
        text_escape(quoted_before, sizeof quoted_before, before, strlen(before));
        warn(
            reader->options,
            "flags end at \"%s\", which is no flag: %d argument%s from there on ignored; if it was "
            "meant for %s, write %s=%s",
            quoted, count, count == 1 ? " is" : "s are", quoted_before, quoted_before, quoted);
    } else {
        warn(reader->options,
             "flags end at \"%s\", which is no flag: %d argument%s from there on ignored", quoted,
             count, count == 1 ? " is" : "s are");
    }
}

static bool read_flags(struct reader *reader)
{
    while (reader->next < reader->argc) {
        const char *argument = reader->argv[reader->next];

        if (strcmp(argument, "--") == 0) {
            reader->next++;
            break;
        }
        if (argument[0] != '-' || argument[1] == '\0')
            break;
        if (!read_flag(reader))
            return false;
    }
    if (reader->next < reader->argc)
        warn_ignored(reader);
    return true;
}

// --- What several flags decide together ---

static bool refuse_not_built(const struct reader *reader)
{
    struct options defaults = {0};
    char label[FLAG_LABEL_BYTES];

    flags_set_defaults(&defaults);
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag *flag = &flags[i];

        if (flag->built || !reader->given[i] || flag_equal(flag, reader->options, &defaults))
            continue;
        // An empty text always means "off", as scripts pass it for a variable that is not set.
        if (flag->kind == FLAG_TEXT &&
            **(const char **)((char *)reader->options + flag->offset) == '\0')
            continue;
        return fail(reader, "%s is not built yet in this derper; leave it out (%s).",
                    flag_label(flag, label), flag->without);
    }
    if (reader->options->has_dev_mesh_key)
        return fail(reader, "environment variable TAILSCALE_DERPER_MESH_KEY: meshing is not built "
                            "yet in this derper; unset it.");
    return true;
}

static void apply_dev(struct reader *reader)
{
    struct options *options = reader->options;
    char quoted[QUOTED_BYTES];

    if (!options->dev)
        return;
    if (was_given(reader, "a"))
        warn(options, "--dev listens on :%d, not on -a %s", OPTIONS_DEV_PORT,
             text_escape(quoted, sizeof quoted, options->listen, strlen(options->listen)));
    if (options->config_path[0] != '\0')
        warn(options, "--dev makes a fresh key at each start and leaves the file of -c alone");
    options->listen_host[0] = '\0';
    options->listen_port = OPTIONS_DEV_PORT;
}

// Files named outright are manual mode, unless that was said to be another.
static bool decide_pairs(const struct reader *reader)
{
    struct options *options = reader->options;
    const size_t certs = options->certs.count, keys = options->keys.count;

    if (certs == 0 && keys > 0)
        return fail(reader, "--key needs --cert; give the certificate's file with it.");
    if (certs > OPTIONS_PAIRS_MAX)
        return fail(reader, "--cert is given more than twice; give one file with an RSA and one "
                            "with an ECDSA certificate.");
    if (keys > 0 && keys != certs)
        return fail(reader, "--key and --cert are not given equally often; give a --key for each "
                            "--cert, in the same order.");
    if (certs == 0)
        return true;
    if (!was_given(reader, "certmode"))
        options->cert_mode = CERT_MODE_MANUAL;
    if (options->cert_mode != CERT_MODE_MANUAL)
        return fail(reader, "--cert goes with --certmode=manual only; leave one of them out.");
    if (strcmp(options->tls, "off") == 0)
        warn(options, "--cert does nothing with --tls=off");
    return true;
}

// Whether certificates are fetched. Tailscale's derper would serve plain HTTP on a port other than
// 443, and somebody may count on that.
static bool decide_tls(const struct reader *reader)
{
    struct options *options = reader->options;
    const bool manual = options->cert_mode == CERT_MODE_MANUAL;

    options->serve_tls = strcmp(options->tls, "off") != 0 && (manual || !options->dev);
    if (!options->serve_tls || options->listen_port == 443 || was_given(reader, "certmode") ||
        options->certs.count > 0)
        return true;
    return fail(reader,
                "port %d (-a) leaves open how to serve: give --certmode=letsencrypt for TLS with a "
                "certificate that is fetched, --certmode=manual for TLS with your own one, "
                "--tls=off for plain HTTP behind a proxy that does TLS, or --dev to try things "
                "out.",
                options->listen_port);
}

// --- Certificates that are fetched ---

static void warn_no_acme(const struct reader *reader)
{
    static const char *const names[] = {"acme-directory", "acme-ca",      "acme-email",
                                        "acme-eab-kid",   "acme-eab-key", "acme-ip-certs"};
    struct options defaults = {0};

    flags_set_defaults(&defaults);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct flag *flag = flag_find(names[i], strlen(names[i]));

        if (flag_equal(flag, reader->options, &defaults))
            continue;
        warn(reader->options, "--%s does nothing here, as no certificate is fetched%s", names[i],
             reader->options->serve_tls ? " with --certmode=manual" : " without TLS");
        return;
    }
}

static bool decide_account(const struct reader *reader)
{
    const struct options *options = reader->options;
    const bool kid = *options->acme_eab_kid != '\0', key = *options->acme_eab_key != '\0';
    uint8_t secret[ACME_EAB_KEY_MAX_BYTES];
    int len;

    if (options->cert_mode == CERT_MODE_GCP && (!kid || !key || *options->acme_email == '\0'))
        return fail(reader, "--certmode=gcp needs --acme-eab-kid, --acme-eab-key and --acme-email; "
                            "Google hands out the first two, as in \"gcloud publicca "
                            "external-account-keys create\".");
    if (kid != key)
        return fail(reader, "--acme-eab-kid and --acme-eab-key belong together; give both, as the "
                            "authority hands them out, or none.");
    if (!key)
        return true;
    len = jose_base64_decode(options->acme_eab_key, secret, sizeof secret);
    sodium_memzero(secret, sizeof secret);
    return len > 0 || fail(reader, "--acme-eab-key is not a key in base64url or base64; copy it "
                                   "again from the authority.");
}

static const char *first_address(const struct options *options)
{
    for (size_t i = 0; i < options->hostname_count; i++)
        if (cert_is_address(options->hostnames[i]))
            return options->hostnames[i];
    return NULL;
}

// With names only, those addresses of the machine are meant that clients can come to.
static bool add_own_addresses(const struct reader *reader)
{
    struct options *options = reader->options;
    const size_t room = OPTIONS_HOSTNAMES_MAX - options->hostname_count;
    char own[OPTIONS_HOSTNAMES_MAX][INET6_ADDRSTRLEN], list[OPTIONS_WARNING_BYTES / 2] = "";
    const size_t count = reader->world->own_addresses ? reader->world->own_addresses(own, room) : 0;
    size_t len = 0;

    if (count == 0)
        return fail(reader,
                    "--acme-ip-certs finds no public address on this machine; add those "
                    "that lead here to --hostname, as in %s,192.0.2.1.",
                    options->hostname);
    for (size_t i = 0; i < count; i++) {
        strcpy(options->hostnames_written[options->hostname_count], own[i]);
        strcpy(options->hostnames[options->hostname_count++], own[i]);
        if (len < sizeof list)
            len +=
                (size_t)snprintf(list + len, sizeof list - len, "%s%s", i > 0 ? ", " : "", own[i]);
    }
    warn(options,
         "--acme-ip-certs: a certificate is fetched for this machine's public addresses, "
         "%s; to name others, add them to --hostname",
         list);
    return true;
}

static bool decide_addresses(const struct reader *reader)
{
    struct options *options = reader->options;
    const char *address = first_address(options);
    const bool google = options->cert_mode == CERT_MODE_GCP;

    if (google && (address || options->acme_ip_certs))
        return fail(reader, "--certmode=gcp has no certificates for IP addresses; give DNS names "
                            "only as --hostname, without --acme-ip-certs.");
    if (address && !options->acme_ip_certs)
        return fail(reader,
                    "--hostname has the IP address %s in it: give --acme-ip-certs to have a "
                    "certificate for it fetched, or --certmode=manual for a self-signed one.",
                    address);
    if (!options->acme_ip_certs)
        return true;
    if (options->http_port < 0)
        return fail(reader, "--acme-ip-certs needs --http-port, as only there it can be proven "
                            "that an address is yours; leave --http-port out.");
    if (options->http_port != 80)
        warn(options,
             "--acme-ip-certs: authorities ask on port 80, which has to lead to --http-port %d",
             options->http_port);
    return address || add_own_addresses(reader);
}

// A router may lead them here all the same.
static void warn_ports(struct options *options)
{
    if (options->http_port < 0)
        warn(options,
             "authorities ask on port 443, which has to lead to -a %s, or on port 80, "
             "which --http-port would be for",
             options->listen);
    else
        warn(options,
             "authorities ask on port 80 and 443: port 80 has to lead to --http-port %d, "
             "or port 443 to -a %s",
             options->http_port, options->listen);
}

static bool decide_acme(const struct reader *reader)
{
    struct options *options = reader->options;

    if (*options->acme_directory == '\0')
        options->acme_directory =
            options->cert_mode == CERT_MODE_GCP ? ACME_GOOGLE : ACME_LETS_ENCRYPT;
    if (!was_given(reader, "hostname"))
        return fail(reader,
                    "--hostname is needed: give the name that clients use for this relay, and a "
                    "certificate for it is fetched; or give --certmode=manual for a certificate "
                    "of your own, or --tls=off behind a proxy that does TLS.");
    if (!decide_account(reader) || !decide_addresses(reader))
        return false;
    if (options->listen_port != 443 && options->http_port != 80)
        warn_ports(options);
    return true;
}

// The folder for certificates of Go programs: "" when nothing says where the user's cache is.
static void default_cert_dir(const struct options_world *world, char out[static OPTIONS_PATH_BYTES])
{
    const char *cache = world->getenv("XDG_CACHE_HOME");
    const char *home = world->getenv("HOME");
    int len = 0;

    if (cache && cache[0] != '\0') {
        if (cache[0] == '/')
            len = snprintf(out, OPTIONS_PATH_BYTES, "%s/tailscale/derper-certs", cache);
    } else if (home && home[0] != '\0') {
        len = snprintf(out, OPTIONS_PATH_BYTES, "%s/.cache/tailscale/derper-certs", home);
    }
    if (len <= 0 || len >= OPTIONS_PATH_BYTES)
        out[0] = '\0';
}

static bool copy_path(const struct reader *reader, char out[static OPTIONS_PATH_BYTES],
                      const char *path, const char *label)
{
    if (strlen(path) >= OPTIONS_PATH_BYTES)
        return fail(reader,
                    "%s: the path is longer than the system allows; give one of at most %d "
                    "characters.",
                    label, OPTIONS_PATH_BYTES - 1);
    strcpy(out, path);
    return true;
}

static bool decide_certificates(const struct reader *reader)
{
    struct options *options = reader->options;

    if (was_given(reader, "certdir")) {
        if (!copy_path(reader, options->cert_dir, options->cert_dir_given, "--certdir"))
            return false;
    } else {
        default_cert_dir(reader->world, options->cert_dir);
    }
    if (options->serve_tls && options->cert_mode == CERT_MODE_MANUAL && options->acme_ip_certs)
        return fail(reader, "--acme-ip-certs goes with --certmode=letsencrypt only; leave it out, "
                            "or have the certificates fetched.");
    if (!options->serve_tls || options->cert_mode == CERT_MODE_MANUAL)
        warn_no_acme(reader);
    if (!options->serve_tls)
        return true;
    if (options->cert_dir[0] == '\0' && options->certs.count == 0)
        return fail(reader, was_given(reader, "certdir")
                                ? "--certdir is empty; give the folder with the certificate."
                                : "--certdir is needed, as the environment names no home folder; "
                                  "give the folder with the certificate.");
    if (options->cert_mode != CERT_MODE_MANUAL)
        return decide_acme(reader);
    if (!was_given(reader, "hostname"))
        warn(options,
             "--hostname is not given, so the certificate has to be for %s; give the name or IP "
             "address that clients use for this relay",
             options->hostname);
    return true;
}

static bool decide_ports(const struct reader *reader)
{
    struct options *options = reader->options;

    options->hostname_given = was_given(reader, "hostname");
    if (!options->stun)
        options->stun_port = -1;
    if (!options->serve_tls && was_given(reader, "http-port") && options->http_port >= 0)
        warn(options, "--http-port does nothing without TLS: the address of -a serves plain HTTP");
    if (!options->serve_tls)
        options->http_port = -1;
    if (options->http_port > 0 && options->http_port == options->listen_port)
        return fail(reader,
                    "-a and --http-port both want port %d; give --http-port=-1 to do without the "
                    "second, or another port to one of them.",
                    options->http_port);
    return true;
}

static bool decide_limits(const struct reader *reader)
{
    struct options *options = reader->options;
    const double limit = options->accept_connection_limit;
    const int64_t burst = options->accept_connection_burst;

    if (limit < ACCEPT_LIMIT_MIN)
        return fail(reader, "--accept-connection-limit would let nobody in; give a number such as "
                            "50 or 0.5.");
    if (isfinite(limit) && burst < 1)
        return fail(reader, "--accept-connection-burst would let nobody in; give at least 1.");
    if (isfinite(limit) != (burst < INT64_MAX))
        warn(options, "--accept-connection-%s does nothing without --accept-connection-%s",
             isfinite(limit) ? "limit" : "burst", isfinite(limit) ? "burst" : "limit");
    return true;
}

static bool decide_key(const struct reader *reader)
{
    struct options *options = reader->options;

    if (options->dev)
        return true;
    if (options->config_path[0] != '\0')
        return copy_path(reader, options->key_path, options->config_path, "-c");
    if (reader->world->uid != 0)
        return fail(reader, "-c is needed, as only root has a default for it; give the file where "
                            "the relay's key is to be kept, such as -c derper.key.");
    options->key_path_is_default = true;
    return copy_path(reader, options->key_path, ROOT_KEY_PATH, "-c");
}

// A variable that is not set, most often, and not meant to let in everybody.
static bool refuse_no_list(const struct reader *reader)
{
    return !was_given(reader, "allow-keys") || *reader->options->allow_keys != '\0' ||
           fail(reader, "--allow-keys is empty, which would let in everybody; give the file with "
                        "the keys, or leave the flag out.");
}

static void warn_access(const struct reader *reader)
{
    struct options *options = reader->options;

    if (options->sockets.count > 0 && !options->verify_clients)
        warn(options, "--socket does nothing without --verify-clients");
    if (was_given(reader, "verify-client-url") && options->verify_client_urls.count == 0)
        warn(options, "--verify-client-url is empty, so it keeps nobody out");
    if (*options->verify_client_ca != '\0' && options->verify_client_urls.count == 0)
        warn(options, "--verify-client-ca does nothing without --verify-client-url");
    if (!options->verify_client_url_fail_open && options->verify_client_urls.count == 0)
        warn(options, "--verify-client-url-fail-open=false does nothing without "
                      "--verify-client-url");
    if (was_given(reader, "verify-grace") && !options->verify_clients &&
        options->verify_client_urls.count == 0)
        warn(options, "--verify-grace does nothing without --verify-clients or "
                      "--verify-client-url");
    if (was_given(reader, "recheck") && !options->verify_clients &&
        options->verify_client_urls.count == 0 && *options->allow_keys == '\0')
        warn(options, "--recheck does nothing without --verify-clients, --verify-client-url or "
                      "--allow-keys");
}

// Tailscale's derper takes the mesh key from a file that lies in the right place, asked or not.
static void warn_mesh_file(const struct reader *reader)
{
    const char *home = reader->world->getenv("HOME");
    char path[OPTIONS_PATH_BYTES] = MESH_KEY_PATH;
    char quoted[QUOTED_BYTES];

    if (reader->options->dev || was_given(reader, "mesh-psk-file"))
        return;
    if (!reader->world->file_exists(path)) {
        const int len = home ? snprintf(path, sizeof path, "%s/keys/derp-mesh.key", home) : 0;

        if (len <= 0 || len >= (int)sizeof path || !reader->world->file_exists(path))
            return;
    }
    warn(reader->options, "mesh key %s is not used, as meshing is not built yet in this derper",
         text_escape(quoted, sizeof quoted, path, strlen(path)));
}

static bool decide(struct reader *reader)
{
    if (!accept_environment(reader->options, reader->world, reader->error, reader->size) ||
        !refuse_not_built(reader))
        return false;
    apply_dev(reader);
    if (!decide_pairs(reader) || !decide_tls(reader) || !decide_certificates(reader) ||
        !decide_ports(reader) || !decide_limits(reader) || !decide_key(reader) ||
        !refuse_no_list(reader))
        return false;
    warn_access(reader);
    warn_mesh_file(reader);
    return true;
}

static const char *process_getenv(const char *name)
{
    return getenv(name);
}

static bool process_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

enum options_result options_parse(struct options *options, int argc, char *const *argv,
                                  const struct options_world *world, char *error, size_t size)
{
    const struct options_world process = {process_getenv, process_file_exists, getuid(),
                                          own_addresses};
    struct reader reader = {
        .options = options,
        .world = world ? world : &process,
        .argc = argc,
        .argv = argv,
        .next = 1,
        .error = error,
        .size = size,
    };

    assert(size >= OPTIONS_ERROR_BYTES);
    error[0] = '\0';
    memset(options, 0, sizeof *options);
    options->debug_key_path = "";
    flags_set_defaults(options);
    if (!read_flags(&reader))
        return reader.help ? OPTIONS_HELP : OPTIONS_ERROR;
    if (options->version)
        return OPTIONS_VERSION;
    return decide(&reader) ? OPTIONS_OK : OPTIONS_ERROR;
}
