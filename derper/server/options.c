// SPDX-License-Identifier: BSD-3-Clause
//
// From argv to options: Go's syntax first, flag by flag; then what only several flags together
// decide.
#include "server/options.h"

#include "base/text.h"
#include "server/options_accept.h"
#include "server/options_table.h"

#include <assert.h>
#include <math.h>
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

static bool refuse_letsencrypt(const struct reader *reader)
{
    const struct options *options = reader->options;

    if (options->listen_port == 443)
        return fail(reader,
                    "--certmode=letsencrypt%s is not built yet, so this derper cannot fetch a "
                    "certificate: give --certmode=manual with HOSTNAME.crt and HOSTNAME.key in "
                    "--certdir (an IP address as --hostname gets a self-signed one), or --tls=off "
                    "behind a proxy that does TLS.",
                    was_given(reader, "certmode") ? "" : " (the default)");
    if (was_given(reader, "certmode"))
        return fail(reader,
                    "--certmode=letsencrypt on port %d would make Tailscale's derper serve plain "
                    "HTTP, and this one does not do that unasked: give --certmode=manual for TLS "
                    "with your own certificate, or --tls=off for plain HTTP behind a proxy that "
                    "does TLS.",
                    options->listen_port);
    return fail(reader,
                "port %d (-a) leaves open how to serve: give --certmode=manual for TLS with your "
                "own certificate, --tls=off for plain HTTP behind a proxy that does TLS, or --dev "
                "to try things out.",
                options->listen_port);
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

static bool decide_tls(const struct reader *reader)
{
    struct options *options = reader->options;

    options->serve_tls = false;
    if (strcmp(options->tls, "off") == 0)
        return true;
    if (options->cert_mode == CERT_MODE_MANUAL) {
        options->serve_tls = true;
        return true;
    }
    if (options->dev)
        return true;
    if (options->cert_mode == CERT_MODE_GCP)
        return fail(reader, "--certmode=gcp is not built yet, so this derper cannot fetch a "
                            "certificate: give --certmode=manual, or --tls=off behind a proxy that "
                            "does TLS.");
    return refuse_letsencrypt(reader);
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
    if (!options->serve_tls)
        return true;
    if (options->cert_dir[0] == '\0' && options->certs.count == 0)
        return fail(reader, was_given(reader, "certdir")
                                ? "--certdir is empty; give the folder with the certificate."
                                : "--certdir is needed, as the environment names no home folder; "
                                  "give the folder with the certificate.");
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
    const struct options_world process = {process_getenv, process_file_exists, getuid()};
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
