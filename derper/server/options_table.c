// SPDX-License-Identifier: BSD-3-Clause
#include "server/options_table.h"

#include "access/agent.h"
#include "base/text.h"
#include "server/go_duration.h"
#include "server/options_accept.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define PORT_MAX 65535
#define HOUR_NS (3600 * NS_PER_SECOND)
#define KEEPALIVE_MAX_NS (32767 * NS_PER_SECOND) // more does not fit into the system's TCP_KEEPIDLE
#define USER_TIMEOUT_MAX_NS (24 * 24 * HOUR_NS)  // nor this into TCP_USER_TIMEOUT
#define WRITE_TIMEOUT_MAX_NS (24 * HOUR_NS)
#define ACCESS_TIME_MAX_NS (24 * HOUR_NS)
#define AS_DURATION "; give a time such as 15s, 1m30s or 500ms"
#define TEXT_OF(token) #token
#define NUMBER(macro) TEXT_OF(macro)
#define FIELD(member) .offset = offsetof(struct options, member)
#define BUILT .built = true
#define OURS .built = true, .ours = true

#define NO_MESH "without it, let each relay be a region of its own"
#define NO_BOOTSTRAP "without it, /bootstrap-dns has no names"

const struct flag flags[] = {
    {"a", FLAG_TEXT, BUILT, FIELD(listen), .argument = "ADDRESS", .default_value = ":443",
     .accept = accept_listen,
     .meaning = "where to listen for clients: :port, ip:port or [ip6]:port"},
    {"http-port", FLAG_INT, BUILT, FIELD(http_port), -1, PORT_MAX, .argument = "PORT",
     .default_value = "80",
     .meaning = "second port, for plain HTTP beside TLS; -1 for none, 0 for any free one",
     .wrong = "is not a port; give a number from 0 to 65535, or -1 for no HTTP port"},
    {"stun", FLAG_BOOL, BUILT, FIELD(stun), .default_value = "true",
     .meaning = "answer STUN requests, on the address of -a"},
    {"stun-port", FLAG_INT, BUILT, FIELD(stun_port), 0, PORT_MAX, .argument = "PORT",
     .default_value = "3478", .meaning = "UDP port for STUN; 0 for any free one",
     .wrong = "is not a port; give a number from 0 to 65535, or turn STUN off with --stun=false"},
    {"derp", FLAG_BOOL, BUILT, FIELD(derp), .default_value = "true",
     .meaning = "relay for clients; without it, only STUN and the pages are served"},
    {"c", FLAG_TEXT, BUILT, FIELD(config_path), .argument = "FILE", .default_value = "",
     .default_note = "for root /var/lib/derper/derper.key",
     .meaning = "file with the relay's key; made if not there"},
    {"certmode", FLAG_TEXT, BUILT, FIELD(cert_mode_name), .argument = "MODE",
     .default_value = "letsencrypt", .accept = accept_cert_mode,
     .meaning =
         "letsencrypt and gcp fetch certificates and renew them; manual: files in --certdir"},
    {"certdir", FLAG_TEXT, BUILT, FIELD(cert_dir_given), .argument = "FOLDER", .default_value = "",
     .default_note = "tailscale/derper-certs in the user's cache folder",
     .meaning = "folder: HOSTNAME.crt and .key, or certbot's"},
    {"hostname", FLAG_TEXT, BUILT, FIELD(hostnames_given), .argument = "NAMES",
     .default_value = "derp.tailscale.com", .accept = accept_hostname,
     .meaning = "its public names, a,b (also behind NAT); an address gets a self-signed pair"},
    {"home", FLAG_TEXT, BUILT, FIELD(home), .argument = "PAGE", .default_value = "",
     .accept = accept_home,
     .meaning = "what / shows: nothing given for a short page, blank, or a URL to redirect to"},
    {"dev", FLAG_BOOL, BUILT, FIELD(dev), .default_value = "false",
     .meaning = "try things out: listen on :3340, plain HTTP, a fresh key at each start"},
    {"version", FLAG_BOOL, BUILT, FIELD(version), .default_value = "false",
     .meaning = "print the version and exit"},
    {"tcp-keepalive-time", FLAG_DURATION, BUILT, FIELD(tcp_keepalive_time_ns), INT64_MIN,
     KEEPALIVE_MAX_NS, .argument = "TIME", .default_value = "10m0s",
     .meaning = "silence after which TCP probes a connection; 0 means 15s, negative is off",
     .wrong = "is not a time of at most 32767s" AS_DURATION},
    {"tcp-user-timeout", FLAG_DURATION, BUILT, FIELD(tcp_user_timeout_ns), 0, USER_TIMEOUT_MAX_NS,
     .argument = "TIME", .default_value = "15s",
     .meaning = "how long TCP waits for sent data to be acknowledged; 0 leaves it to the system",
     .wrong = "is not a time from 0 to 576h" AS_DURATION},
    {"tcp-write-timeout", FLAG_DURATION, BUILT, FIELD(tcp_write_timeout_ns), 0,
     WRITE_TIMEOUT_MAX_NS, .argument = "TIME", .default_value = "2s",
     .meaning = "how long a client may take nothing of what waits for it; 0 for no limit",
     .wrong = "is not a time from 0 to 24h" AS_DURATION},
    {"verify-clients", FLAG_BOOL, BUILT, FIELD(verify_clients), .default_value = "false",
     .meaning = "let in only clients that the local tailscaled knows"},
    {"socket", FLAG_LIST, BUILT, FIELD(sockets), .argument = "FILE", .default_value = "",
     .default_note = AGENT_SOCKET_DEFAULT, .accept = accept_socket,
     .meaning = "for --verify-clients; of several given, any may let in"},
    {"verify-client-url", FLAG_LIST, BUILT, FIELD(verify_client_urls), .argument = "URL",
     .default_value = "", .accept = accept_verify_url,
     .meaning = "ask this URL whom to let in; of several given, any may let in"},
    {"accept-connection-limit", FLAG_FLOAT, BUILT, FIELD(accept_connection_limit),
     .argument = "NUMBER", .default_value = "+Inf",
     .meaning = "new connections a second, at -a; those beyond are closed at once",
     .wrong = "is not a number of connections a second; give one such as 50 or 0.5"},
    {"accept-connection-burst", FLAG_INT64, BUILT, FIELD(accept_connection_burst), 0, INT64_MAX,
     .argument = "NUMBER", .default_value = "9223372036854775807", .default_note = "no limit",
     .meaning = "new connections at once, for --accept-connection-limit",
     .wrong = "is not a number of connections; give a whole number"},
    {"rate-config", FLAG_TEXT, BUILT, FIELD(rate_config), .argument = "FILE", .default_value = "",
     .meaning = "JSON file with limits on what each client may send; SIGHUP reads it again"},
    {"verify-client-url-fail-open", FLAG_BOOL, BUILT, FIELD(verify_client_url_fail_open),
     .default_value = "true",
     .meaning = "let clients in while --verify-client-url does not answer"},
    {"acme-email", FLAG_TEXT, BUILT, FIELD(acme_email), .argument = "ADDRESS", .default_value = "",
     .accept = accept_acme_email,
     .meaning = "where the certificate authority may write to; needed for --certmode=gcp"},
    {"acme-eab-kid", FLAG_TEXT, BUILT, FIELD(acme_eab_kid), .argument = "ID", .default_value = "",
     .meaning = "external account at the authority; needed for --certmode=gcp"},
    {"acme-eab-key", FLAG_TEXT, BUILT, FIELD(acme_eab_key), .argument = "KEY", .default_value = "",
     .meaning = "key of --acme-eab-kid, in base64url or base64"},
    {"acme-ip-certs", FLAG_BOOL, BUILT, FIELD(acme_ip_certs), .default_value = "false",
     .meaning = "fetch one for the addresses in --hostname, or else this machine's public ones"},

    {"mesh-psk-file", FLAG_TEXT, FIELD(mesh_psk_file), .argument = "FILE", .default_value = "",
     .default_note = "keys/derp-mesh.key at home, if there",
     .meaning = "file with the key that the relays of a region share", .without = NO_MESH},
    {"mesh-with", FLAG_TEXT, FIELD(mesh_with), .argument = "HOSTS", .default_value = "",
     .meaning = "relays of the same region: host or host/address to dial, separated by commas",
     .without = NO_MESH},
    {"secrets-url", FLAG_TEXT, FIELD(secrets_url), .argument = "URL", .default_value = "",
     .meaning = "setec server that has the mesh key", .without = NO_MESH},
    {"secrets-path-prefix", FLAG_TEXT, FIELD(secrets_path_prefix), .argument = "PREFIX",
     .default_value = "prod/derp", .meaning = "where the mesh key is on the setec server",
     .without = "it matters only for --secrets-url"},
    {"secrets-cache-dir", FLAG_TEXT, FIELD(secrets_cache_dir), .argument = "FOLDER",
     .default_value = "", .default_note = ".cache/derper-secrets at home",
     .meaning = "copies of what the setec server said",
     .without = "it matters only for --secrets-url"},
    {"bootstrap-dns-names", FLAG_TEXT, FIELD(bootstrap_dns_names), .argument = "NAMES",
     .default_value = "", .meaning = "names that /bootstrap-dns resolves, separated by commas",
     .without = NO_BOOTSTRAP},
    {"unpublished-bootstrap-dns-names", FLAG_TEXT, FIELD(unpublished_bootstrap_dns_names),
     .argument = "NAMES", .default_value = "",
     .meaning = "names that /bootstrap-dns resolves only when asked for", .without = NO_BOOTSTRAP},
    {"ace", FLAG_BOOL, FIELD(ace), .default_value = "false",
     .meaning = "proxy CONNECT requests to Tailscale's servers",
     .without = "without it, CONNECT is refused"},

    {"check", FLAG_BOOL, OURS, FIELD(check), .default_value = "false",
     .meaning = "check flags, key, certificate and files, say what is wrong, and exit"},
    {"cert", FLAG_LIST, OURS, FIELD(certs), .argument = "FILE", .default_value = "",
     .meaning = "certificate and its chain, in place of --certdir; twice for RSA and ECDSA"},
    {"key", FLAG_LIST, OURS, FIELD(keys), .argument = "FILE", .default_value = "",
     .meaning = "key of --cert, when the file of --cert does not hold it; as often as --cert"},
    {"acme-directory", FLAG_TEXT, OURS, FIELD(acme_directory), .argument = "URL",
     .default_value = "", .default_note = "of --certmode", .accept = accept_acme_directory,
     .meaning = "another certificate authority that speaks ACME"},
    {"acme-ca", FLAG_TEXT, OURS, FIELD(acme_ca), .argument = "FILE", .default_value = "",
     .meaning = "authority, in PEM, that --acme-directory is trusted by besides the system's"},
    {"tls", FLAG_TEXT, OURS, FIELD(tls), .argument = "auto|off", .default_value = "auto",
     .accept = accept_tls,
     .meaning = "off: plain HTTP on the address of -a, for a relay behind a proxy that does TLS"},
    {"tls-engine", FLAG_TEXT, OURS, FIELD(tls_engine), .argument = "detached|openssl",
     .default_value = "detached", .accept = accept_tls_engine,
     .meaning = "openssl: TLS 1.3 by OpenSSL alone; slower, with 12 KB more for each client"},
    {"proxy-protocol-from", FLAG_TEXT, OURS, FIELD(proxies_given), .argument = "RANGES",
     .default_value = "", .accept = accept_proxies,
     .meaning = "proxies that say who the client is: PROXY header with TLS, else X-Forwarded-For"},
    {"allow-keys", FLAG_TEXT, OURS, FIELD(allow_keys), .argument = "FILE", .default_value = "",
     .meaning =
         "let in only the node keys in this file; read again when it changes, and on SIGHUP"},
    {"verify-client-ca", FLAG_TEXT, OURS, FIELD(verify_client_ca), .argument = "FILE",
     .default_value = "",
     .meaning = "authority, in PEM, that --verify-client-url is trusted by besides the system's"},
    {"verify-grace", FLAG_DURATION, OURS, FIELD(verify_grace_ns), 0, ACCESS_TIME_MAX_NS,
     .argument = "TIME", .default_value = "15m0s",
     .meaning = "let in who was let in so long ago by what does not answer now; 0 for nobody",
     .wrong = "is not a time from 0 to 24h" AS_DURATION},
    {"recheck", FLAG_DURATION, OURS, FIELD(recheck_ns), 0, ACCESS_TIME_MAX_NS, .argument = "TIME",
     .default_value = "10m0s",
     .meaning = "ask about clients that stay so often, and close who is refused; 0 for never",
     .wrong = "is not a time from 0 to 24h" AS_DURATION},
    {"workers", FLAG_INT, OURS, FIELD(workers), 0, OPTIONS_WORKERS_MAX, .argument = "NUMBER",
     .default_value = "0", .meaning = "threads that relay; 0 for one for each CPU it may use",
     .wrong = "is not a number of threads; give one from 1 to " NUMBER(
         OPTIONS_WORKERS_MAX) ", or 0 for one for each CPU"},
    {"stun-any", FLAG_BOOL, OURS, FIELD(stun_any), .default_value = "false",
     .meaning = "answer STUN requests of any program, not only of Tailscale's clients"},
    {"debug", FLAG_BOOL, OURS, FIELD(debug), .default_value = "false",
     .meaning = "log more, such as every connection that ends as expected"},
};

const size_t flag_count = sizeof flags / sizeof flags[0];
_Static_assert(sizeof flags / sizeof flags[0] <= FLAGS_MAX, "FLAGS_MAX");

const struct flag *flag_find(const char *name, size_t len)
{
    for (size_t i = 0; i < flag_count; i++)
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0)
            return &flags[i];
    return NULL;
}

// How many letters must be added, left out or replaced to make one word of the other.
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[FLAG_LABEL_BYTES];

    assert(b_len < FLAG_LABEL_BYTES);
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            const size_t above = row[j];
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b_len];
}

const struct flag *flag_nearest(const char *name, size_t len)
{
    const struct flag *nearest = NULL;
    const size_t most = len < 6 ? 1 : 2; // short words resemble too many
    size_t least = most + 1;

    if (len < 3 || len >= FLAG_LABEL_BYTES)
        return NULL;
    for (size_t i = 0; i < flag_count; i++) {
        const char *candidate = flags[i].name;
        size_t distance = edit_distance(name, len, candidate, strlen(candidate));

        if (distance > most && strncmp(candidate, name, len) == 0)
            distance = most; // the flag's name was cut short
        if (distance < least) {
            least = distance;
            nearest = &flags[i];
        }
    }
    return nearest;
}

const char *flag_label(const struct flag *flag, char out[static FLAG_LABEL_BYTES])
{
    snprintf(out, FLAG_LABEL_BYTES, "%s%s", flag->name[1] == '\0' ? "-" : "--", flag->name);
    return out;
}

static bool within(const struct flag *flag, int64_t value)
{
    return value >= flag->min && value <= flag->max;
}

// Parses by kind; false for a bad value.
static bool set_number(const struct flag *flag, void *field, const char *value)
{
    int64_t number;
    double real;

    switch (flag->kind) {
    case FLAG_BOOL:
        return go_bool_parse(value, field);
    case FLAG_FLOAT:
        if (!go_float_parse(value, &real) || real < 0)
            return false;
        *(double *)field = real;
        return true;
    case FLAG_DURATION:
        if (!duration_parse(value, &number) || !within(flag, number))
            return false;
        *(int64_t *)field = number;
        return true;
    default:
        if (!go_int_parse(value, &number) || !within(flag, number))
            return false;
        if (flag->kind == FLAG_INT)
            *(int *)field = (int)number;
        else
            *(int64_t *)field = number;
        return true;
    }
}

static bool set_text(const struct flag *flag, void *field, const char *value, char *why,
                     size_t size)
{
    struct option_list *list = field;

    if (flag->kind == FLAG_TEXT) {
        *(const char **)field = value;
    } else if (*value != '\0' && list->count == OPTIONS_LIST_MAX) {
        snprintf(why, size, "is one too many; give at most %d", OPTIONS_LIST_MAX);
        return false;
    } else if (*value != '\0') {
        list->items[list->count++] = value;
    }
    return true;
}

bool flag_set(const struct flag *flag, struct options *options, const char *value, char *error,
              size_t size)
{
    char label[FLAG_LABEL_BYTES], quoted[FLAG_VALUE_BYTES], why[ACCEPT_WHY_BYTES] = "";
    void *field = (char *)options + flag->offset;

    if (flag->kind == FLAG_TEXT || flag->kind == FLAG_LIST) {
        if ((!flag->accept || flag->accept(options, value, why, sizeof why)) &&
            set_text(flag, field, value, why, sizeof why))
            return true;
    } else if (set_number(flag, field, value)) {
        return true;
    } else if (flag->kind == FLAG_BOOL) {
        snprintf(why, sizeof why, "is neither true nor false; give --%s=true or --%s=false",
                 flag->name, flag->name);
    }
    snprintf(error, size, "%s: \"%s\" %s.", flag_label(flag, label),
             text_escape(quoted, sizeof quoted, value, strlen(value)),
             why[0] != '\0' ? why : flag->wrong);
    return false;
}

static bool list_equal(const struct option_list *a, const struct option_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

bool flag_equal(const struct flag *flag, const struct options *a, const struct options *b)
{
    const void *x = (const char *)a + flag->offset, *y = (const char *)b + flag->offset;

    switch (flag->kind) {
    case FLAG_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case FLAG_INT:
        return *(const int *)x == *(const int *)y;
    case FLAG_FLOAT:
        return memcmp(x, y, sizeof(double)) == 0;
    case FLAG_TEXT:
        return strcmp(*(const char *const *)x, *(const char *const *)y) == 0;
    case FLAG_LIST:
        return list_equal(x, y);
    default:
        return *(const int64_t *)x == *(const int64_t *)y;
    }
}

void flags_set_defaults(struct options *options)
{
    for (size_t i = 0; i < flag_count; i++) {
        char error[OPTIONS_ERROR_BYTES];
        const bool valid =
            flag_set(&flags[i], options, flags[i].default_value, error, sizeof error);

        assert(valid);
        (void)valid;
    }
}

static void print_flag(FILE *out, const struct flag *flag)
{
    char label[FLAG_LABEL_BYTES];
    const char *value = flag->default_note ? flag->default_note : flag->default_value;

    fprintf(out, "  %s%s%s\n      %s", flag_label(flag, label), flag->argument ? " " : "",
            flag->argument ? flag->argument : "", flag->meaning);
    if (value[0] != '\0' && strcmp(value, "false") != 0)
        fprintf(out, " (default %s)", value);
    fputc('\n', out);
}

static void print_flags(FILE *out, bool ours, bool built)
{
    for (size_t i = 0; i < flag_count; i++)
        if (flags[i].ours == ours && flags[i].built == built)
            print_flag(out, &flags[i]);
}

void options_print_help(FILE *out)
{
    fputs(
        "derper is a DERP relay and STUN server for clients of Tailscale and Headscale.\n"
        "\n"
        "Usage: derper [flags]\n"
        "\n"
        "Flags are written -name value, --name value or --name=value; those without a word behind\n"
        "their name are true or false: --stun=false. Times are written 15s, 1m30s, 500ms.\n"
        "\n"
        "Flags of Tailscale's derper:\n",
        out);
    print_flags(out, false, true);
    fputs(
        "\nFlags of Tailscale's derper that stop the start when set, as they are not built yet:\n",
        out);
    print_flags(out, false, false);
    fputs("\nFlags of this derper:\n", out);
    print_flags(out, true, true);
    fputs("\nEnvironment:\n"
          "  TS_ALLOW_DEBUG_IP        one more address that may see /debug/\n"
          "  TS_DEBUG_TRUSTED_CIDRS   address ranges that may see /debug/, separated by commas\n"
          "  TS_DEBUG_KEY_PATH        file with a word that opens /debug/?debugkey=WORD\n"
          "  TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH\n"
          "                           packets that may wait for one client\n",
          out);
}
