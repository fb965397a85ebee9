// SPDX-License-Identifier: BSD-3-Clause
#include "server/options_accept.h"

#include "access/url.h"
#include "base/text.h"
#include "certgen/address.h"
#include "server/go_duration.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define PORT_CHARS_MAX 5
#define LABEL_CHARS_MAX 63 // of one part of a DNS name
#define URL_CHARS_MAX 2048
#define QUEUE_DEPTH_MAX 65536
#define QUOTED_BYTES 88

#define LISTEN_FORMS "give :443, 203.0.113.1:443 or [2001:db8::1]:443"

static bool reject(char *why, size_t size, const char *text)
{
    snprintf(why, size, "%s", text);
    return false;
}

// --- The listen address ---

static bool parse_port(const char *text, int *port)
{
    int value = 0;

    if (strcmp(text, "https") == 0 || strcmp(text, "http") == 0) {
        *port = strcmp(text, "https") == 0 ? 443 : 80;
        return true;
    }
    if (text[0] == '\0' || strlen(text) > PORT_CHARS_MAX)
        return false;
    for (; *text != '\0'; text++) {
        if (!isdigit((unsigned char)*text))
            return false;
        value = value * 10 + (*text - '0');
    }
    if (value > 65535)
        return false;
    *port = value;
    return true;
}

// Tells the host's part and where the port starts; NULL, or what is wrong.
static const char *split_listen(const char *value, const char **host, size_t *host_len,
                                const char **port)
{
    const char *colon = strrchr(value, ':');

    if (value[0] == '[') {
        const char *bracket = strchr(value, ']');

        if (!bracket || bracket[1] != ':')
            return "has no port behind the brackets; " LISTEN_FORMS;
        *host = value + 1;
        *host_len = (size_t)(bracket - *host);
        *port = bracket + 2;
        return NULL;
    }
    if (!colon)
        return "has no colon before the port; " LISTEN_FORMS;
    if (strchr(value, ':') != colon)
        return "has an IPv6 address without brackets; " LISTEN_FORMS;
    *host = value;
    *host_len = (size_t)(colon - value);
    *port = colon + 1;
    return NULL;
}

// Copies an IP address; one that means "all" becomes "". NULL, or what is wrong.
static const char *parse_listen_host(const char *host, size_t len,
                                     char out[static INET6_ADDRSTRLEN])
{
    static const struct in6_addr all;
    struct in6_addr ip6;
    struct in_addr ip4;

    if (memchr(host, '%', len))
        return "has a zone id, which this derper cannot listen on; " LISTEN_FORMS;
    if (len >= INET6_ADDRSTRLEN)
        return "does not begin with an IP address; " LISTEN_FORMS;
    memcpy(out, host, len);
    out[len] = '\0';
    if (len == 0)
        return NULL;
    if (inet_pton(AF_INET, out, &ip4) == 1) {
        if (ip4.s_addr == INADDR_ANY)
            out[0] = '\0';
        return NULL;
    }
    if (inet_pton(AF_INET6, out, &ip6) != 1)
        return "does not begin with an IP address of this machine; " LISTEN_FORMS;
    if (memcmp(&ip6, &all, sizeof all) == 0)
        out[0] = '\0';
    return NULL;
}

bool accept_listen(struct options *options, const char *value, char *why, size_t size)
{
    char address[INET6_ADDRSTRLEN];
    const char *host = "", *port = "", *wrong;
    size_t host_len = 0;
    int number;

    wrong = split_listen(value, &host, &host_len, &port);
    if (!wrong)
        wrong = parse_listen_host(host, host_len, address);
    if (!wrong && !parse_port(port, &number))
        wrong = "does not end in a port from 0 to 65535; " LISTEN_FORMS;
    if (wrong)
        return reject(why, size, wrong);
    memcpy(options->listen_host, address, sizeof address);
    options->listen_port = number;
    return true;
}

// --- Lists ---

struct word {
    const char *text;
    size_t len;
};

// The next of several words that commas separate, without the blanks around it; empty ones do not
// count. False at the end.
static bool next_word(const char **list, struct word *word)
{
    while (**list != '\0') {
        const char *start = *list + strspn(*list, " \t");
        const char *end = *list + strcspn(*list, ",");

        *list = end + (*end == ',');
        while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        if (end > start) {
            *word = (struct word){start, (size_t)(end - start)};
            return true;
        }
    }
    return false;
}

// `wrong` is about one word of several, which it then quotes, or about the whole value.
static bool reject_word(char *why, size_t size, const char *value, const struct word *bad,
                        const char *wrong)
{
    char quoted[QUOTED_BYTES];

    if (bad->len == strlen(value))
        return reject(why, size, wrong);
    snprintf(why, size, "has \"%s\", which %s",
             text_escape(quoted, sizeof quoted, bad->text, bad->len), wrong);
    return false;
}

// --- Names ---

bool accept_cert_mode(struct options *options, const char *value, char *why, size_t size)
{
    static const struct {
        const char *name;
        enum cert_mode mode;
    } modes[] = {
        {"manual", CERT_MODE_MANUAL},
        {"letsencrypt", CERT_MODE_LETSENCRYPT},
        {"gcp", CERT_MODE_GCP},
    };

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(value, modes[i].name) == 0) {
            options->cert_mode = modes[i].mode;
            return true;
        }
    }
    return reject(why, size, "is not a way to get a certificate; give manual, letsencrypt or gcp");
}

bool accept_tls(struct options *options, const char *value, char *why, size_t size)
{
    (void)options;
    if (strcmp(value, "auto") == 0 || strcmp(value, "off") == 0)
        return true;
    return reject(why, size,
                  "is neither auto nor off; give --tls=off for plain HTTP behind a proxy that does "
                  "TLS, or leave it out");
}

bool accept_tls_engine(struct options *options, const char *value, char *why, size_t size)
{
    (void)options;
    if (strcmp(value, "detached") == 0 || strcmp(value, "openssl") == 0)
        return true;
    return reject(why, size,
                  "is neither detached nor openssl; give --tls-engine=openssl, or leave it out");
}

// What people write instead of a bare name, each with what to write.
static const char *hostname_wrong_shape(const char *value)
{
    const char *colon = strchr(value, ':');

    if (value[0] == '\0')
        return "is empty; give the name or IP address that clients use for this relay";
    if (strstr(value, "://"))
        return "is a URL; give only the name in it, such as derp.example.com";
    if (strchr(value, '/'))
        return "has a slash in it; give only the name, such as derp.example.com";
    if (value[0] == '[')
        return "has brackets; give the IPv6 address without them, and the port to -a";
    if (strchr(value, '%'))
        return "has a zone id, which no certificate can have; give an address without one";
    if (colon && strchr(colon + 1, ':'))
        return "is not a valid IPv6 address; correct it, or give a name";
    if (colon)
        return "has a port in it; give only the name here, and the port to -a";
    if (strchr(value, '*'))
        return "is a pattern; give the one name that clients use for this relay";
    if (value[strlen(value) - 1] == '.')
        return "ends in a dot; leave the dot out";
    return NULL;
}

static bool label_valid(const char *label, size_t len)
{
    if (len == 0 || len > LABEL_CHARS_MAX || label[0] == '-' || label[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)label[i]) && label[i] != '-' && label[i] != '_')
            return false;
    return true;
}

static const char *dns_name_wrong(const char *value)
{
    const char *label = value;
    size_t len;

    for (const char *p = value; *p != '\0'; p++)
        if ((unsigned char)*p >= 0x80)
            return "has letters beyond ASCII; give the form that starts with xn--";
    if (strlen(value) > OPTIONS_HOSTNAME_CHARS)
        return "is longer than a name may be; give one of at most 253 characters";
    for (;; label += len + 1) {
        len = strcspn(label, ".");
        if (!label_valid(label, len))
            return "is not a host name; give one such as derp.example.com, or an IP address";
        if (label[len] == '\0')
            break;
    }
    if (strspn(label, "0123456789") == len)
        return "looks like an IP address, but is not one; correct it, or give a name";
    return NULL;
}

static const char *hostname_wrong(const char *value)
{
    const char *wrong = cert_is_address(value) ? NULL : hostname_wrong_shape(value);

    return wrong || cert_is_address(value) ? wrong : dns_name_wrong(value);
}

static bool is_among(const char (*names)[OPTIONS_HOSTNAME_CHARS + 1], size_t count,
                     const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

struct hostnames {
    char names[OPTIONS_HOSTNAMES_MAX][OPTIONS_HOSTNAME_CHARS + 1]; // addresses in one spelling
    char written[OPTIONS_HOSTNAMES_MAX][OPTIONS_HOSTNAME_CHARS + 1];
    size_t count;
};

_Static_assert(OPTIONS_HOSTNAMES_MAX == 16, "the sentence below");
_Static_assert(OPTIONS_HOSTNAME_CHARS + 1 == CERT_NAME_BYTES, "the same names");

// Names separated by commas; what is empty does not count, unless all is. NULL, or what is wrong
// with the word `bad`.
static const char *read_hostnames(const char *list, struct hostnames *out, struct word *bad)
{
    char name[OPTIONS_HOSTNAME_CHARS + 1], *written;
    const char *wrong;

    *bad = (struct word){list, strlen(list)};
    if (strspn(list, ", ") == strlen(list))
        return hostname_wrong("");
    while (next_word(&list, bad)) {
        if (bad->len >= sizeof name)
            return "is longer than a name may be; give one of at most 253 characters";
        memcpy(name, bad->text, bad->len);
        name[bad->len] = '\0';
        wrong = hostname_wrong(name);
        if (wrong)
            return wrong;
        if (out->count == OPTIONS_HOSTNAMES_MAX)
            return "is one name too many; give at most 16";
        written = strcpy(out->written[out->count], name);
        cert_address_canonical(written, name);
        if (is_among((const char(*)[sizeof name])out->names, out->count, name))
            return "is there twice; leave it out once";
        strcpy(out->names[out->count++], name);
    }
    return NULL;
}

bool accept_hostname(struct options *options, const char *value, char *why, size_t size)
{
    struct hostnames read = {.count = 0};
    struct word bad;
    const char *wrong = read_hostnames(value, &read, &bad);

    if (wrong)
        return reject_word(why, size, value, &bad, wrong);
    memcpy(options->hostnames, read.names, sizeof read.names);
    memcpy(options->hostnames_written, read.written, sizeof read.written);
    options->hostname_count = read.count;
    strcpy(options->hostname, read.names[0]);
    options->hostname_is_ip = cert_is_address(read.names[0]);
    return true;
}

static bool url_valid(const char *value)
{
    const char *host = strstr(value, "://");

    if (strncmp(value, "https://", 8) != 0 && strncmp(value, "http://", 7) != 0)
        return false;
    if (strchr("/?#:", host[3])) // and at its end
        return false;
    for (const char *p = value; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
            return false;
    return strlen(value) <= URL_CHARS_MAX;
}

bool accept_home(struct options *options, const char *value, char *why, size_t size)
{
    if (value[0] == '\0')
        options->home_page = HOME_PAGE_DEFAULT;
    else if (strcmp(value, "blank") == 0)
        options->home_page = HOME_PAGE_BLANK;
    else if (url_valid(value))
        options->home_page = HOME_PAGE_REDIRECT;
    else
        return reject(why, size,
                      "is not something that / can show; give blank, or a URL such as "
                      "https://example.com/");
    return true;
}

// --- Address ranges ---

_Static_assert(OPTIONS_RANGES_MAX == 64, "the sentence below");

// Ranges separated by commas, and with `single` also addresses alone; what is empty does not count.
// NULL, or what is wrong with the word `bad`.
static const char *read_ranges(const char *list, bool single,
                               struct prefix out[static OPTIONS_RANGES_MAX], size_t *count,
                               struct word *bad)
{
    while (next_word(&list, bad)) {
        char address[INET6_ADDRSTRLEN];

        if (*count == OPTIONS_RANGES_MAX)
            return "is one range too many; give at most 64";
        snprintf(address, sizeof address, "%.*s", (int)bad->len, bad->text);
        if (!prefix_from_text(&out[*count], bad->text, bad->len) &&
            !(single && bad->len < sizeof address && prefix_from_address(&out[*count], address)))
            return "is not an address range; give ranges such as 10.0.0.0/8 or 2001:db8::/32, "
                   "separated by commas";
        ++*count;
    }
    return NULL;
}

bool accept_proxies(struct options *options, const char *value, char *why, size_t size)
{
    struct prefix ranges[OPTIONS_RANGES_MAX];
    char quoted[QUOTED_BYTES];
    struct word bad;
    size_t count = 0;
    const char *wrong = read_ranges(value, true, ranges, &count, &bad);

    if (wrong) {
        snprintf(why, size, "has \"%s\", which %s",
                 text_escape(quoted, sizeof quoted, bad.text, bad.len), wrong);
        return false;
    }
    memcpy(options->proxies, ranges, sizeof ranges);
    options->proxy_count = count;
    return true;
}

bool accept_socket(struct options *options, const char *value, char *why, size_t size)
{
    (void)options;
    if (strlen(value) < sizeof((struct sockaddr_un *)0)->sun_path)
        return true;
    return reject(why, size, "is longer than the name of a socket may be; give a shorter path");
}

#define VERIFY_FORM "give one such as https://headscale.example.com/verify"

// libcurl has looked at it already, except at the letters.
static bool url_host_valid(char *host)
{
    const size_t len = strlen(host);
    struct in_addr ip4;

    if (host[0] == '[' || inet_pton(AF_INET, host, &ip4) == 1)
        return true;
    if (len > 0 && host[len - 1] == '.')
        host[len - 1] = '\0';
    return !dns_name_wrong(host);
}

// An empty one asks nobody: the container images of Tailscale's derper pass it on like that.
bool accept_verify_url(struct options *options, const char *value, char *why, size_t size)
{
    char host[URL_CHARS_MAX + 1], wrong[128];

    (void)options;
    if (*value == '\0')
        return true;
    if (!url_valid(value))
        return reject(why, size, "is not a URL to ask; " VERIFY_FORM);
    if (!url_parse(value, host, sizeof host, wrong, sizeof wrong)) {
        snprintf(why, size, "is not a URL to ask (%s); " VERIFY_FORM, wrong);
        return false;
    }
    return url_host_valid(host) ||
           reject(why, size, "is not a URL to ask, as its host is none; " VERIFY_FORM);
}

// --- Certificate authorities ---

bool accept_acme_directory(struct options *options, const char *value, char *why, size_t size)
{
    char host[URL_CHARS_MAX + 1], wrong[128];

    (void)options;
    if (*value == '\0')
        return true;
    if (strncmp(value, "https://", 8) == 0 && url_valid(value) &&
        url_parse(value, host, sizeof host, wrong, sizeof wrong) && url_host_valid(host))
        return true;
    return reject(why, size,
                  "is not the URL of an ACME directory; give one such as "
                  "https://acme-v02.api.letsencrypt.org/directory");
}

// Goes into a mailto: URL, where some characters mean other things.
bool accept_acme_email(struct options *options, const char *value, char *why, size_t size)
{
    const char *at = strchr(value, '@');

    (void)options;
    if (*value == '\0')
        return true;
    for (const char *p = value; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || strchr(",?&<>:\"", *p))
            at = NULL;
    if (at && at > value && !strchr(at + 1, '@') && !dns_name_wrong(at + 1))
        return true;
    return reject(why, size, "is not an address of mail; give one such as you@example.com");
}

// --- Environment ---

static const char *variable(const struct options_world *world, const char *name)
{
    const char *value = world->getenv(name);

    return value ? value : "";
}

static bool reject_variable(char *error, size_t size, const char *name, const char *value,
                            size_t len, const char *wrong)
{
    char quoted[QUOTED_BYTES];

    snprintf(error, size, "environment variable %s: \"%s\" %s.", name,
             text_escape(quoted, sizeof quoted, value, len), wrong);
    return false;
}

static bool read_debug_cidrs(struct options *options, const struct options_world *world,
                             char *error, size_t size)
{
    static const char name[] = "TS_DEBUG_TRUSTED_CIDRS";
    struct word bad;
    const char *wrong = read_ranges(variable(world, name), false, options->debug_cidrs,
                                    &options->debug_cidr_count, &bad);

    return !wrong || reject_variable(error, size, name, bad.text, bad.len, wrong);
}

static bool read_queue_depth(struct options *options, const struct options_world *world,
                             char *error, size_t size)
{
    static const char name[] = "TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH";
    const char *value = variable(world, name);
    int64_t depth;

    if (value[0] == '\0')
        return true;
    if (!go_int_parse(value, &depth) || depth < 1 || depth > QUEUE_DEPTH_MAX)
        return reject_variable(error, size, name, value, strlen(value),
                               "is not a number of packets; give one from 1 to 65536, or unset it");
    options->send_queue_depth = (int)depth;
    return true;
}

static bool read_allow_debug_ip(struct options *options, const struct options_world *world,
                                char *error, size_t size)
{
    static const char name[] = "TS_ALLOW_DEBUG_IP";
    const char *value = variable(world, name);

    if (value[0] == '\0')
        return true;
    if (!prefix_from_address(&options->allow_debug_ip, value))
        return reject_variable(error, size, name, value, strlen(value),
                               "is not an IP address; give one address, and ranges in "
                               "TS_DEBUG_TRUSTED_CIDRS");
    options->has_allow_debug_ip = true;
    return true;
}

// The value is a secret and is not quoted.
static bool read_dev_mesh_key(struct options *options, const struct options_world *world,
                              char *error, size_t size)
{
    const char *value = variable(world, "TAILSCALE_DERPER_MESH_KEY");
    size_t len;

    value += strspn(value, " \t\r\n");
    len = strlen(value);
    while (len > 0 && isspace((unsigned char)value[len - 1]))
        len--;
    if (!options->dev || len == 0)
        return true;
    if (!key_from_hex(&options->dev_mesh_key, value, len)) {
        snprintf(error, size,
                 "environment variable TAILSCALE_DERPER_MESH_KEY: not a mesh key; give 64 "
                 "hexadecimal digits, or unset it.");
        return false;
    }
    options->has_dev_mesh_key = true;
    return true;
}

bool accept_environment(struct options *options, const struct options_world *world, char *error,
                        size_t size)
{
    options->debug_key_path = variable(world, "TS_DEBUG_KEY_PATH");
    return read_queue_depth(options, world, error, size) &&
           read_allow_debug_ip(options, world, error, size) &&
           read_debug_cidrs(options, world, error, size) &&
           read_dev_mesh_key(options, world, error, size);
}
