// SPDX-License-Identifier: BSD-3-Clause
//
// The syntax of the command line, every flag in every form, and what flags decide together.
#include "server/options.h"
#include "server/options_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define ARGS_MAX 24

static struct options options;
static char error[OPTIONS_ERROR_BYTES];

static const char *no_getenv(const char *name)
{
    return strcmp(name, "HOME") == 0 ? "/home/u" : NULL;
}

static bool no_file(const char *path)
{
    (void)path;
    return false;
}

static const struct options_world root = {no_getenv, no_file, 0};
static const struct options_world user = {no_getenv, no_file, 1000};

// Arguments separated by blanks; none of them is empty.
static enum options_result parse(const struct options_world *world, const char *line)
{
    static char copy[8192]; // options point into it
    char *argv[ARGS_MAX + 2] = {"derper"};
    int argc = 1;

    assert_true(strlen(line) < sizeof copy);
    strcpy(copy, line);
    for (char *save, *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
        assert_true(argc <= ARGS_MAX);
        argv[argc++] = p;
    }
    return options_parse(&options, argc, argv, world, error, sizeof error);
}

static void assert_parses(const struct options_world *world, const char *line)
{
    if (parse(world, line) != OPTIONS_OK)
        print_message("%s: %s\n", line, error);
    assert_int_equal(parse(world, line), OPTIONS_OK);
    assert_string_equal(error, "");
}

static void assert_refused(const struct options_world *world, const char *line, const char *says)
{
    const enum options_result result = parse(world, line);

    print_message("%.100s\n  -> %s\n", line, error);
    assert_int_equal(result, OPTIONS_ERROR);
    assert_true(strlen(error) > 10 && strlen(error) < OPTIONS_ERROR_BYTES - 1);
    assert_true(strchr(".?", error[strlen(error) - 1]) != NULL);
    assert_non_null(strstr(error, says));
}

// A value other than the default for every flag that takes one.
static const struct {
    const char *name;
    const char *value;
} samples[] = {
    {"a", "127.0.0.1:8443"},
    {"http-port", "8080"},
    {"stun-port", "0x50"},
    {"c", "/tmp/k"},
    {"certmode", "manual"},
    {"certdir", "/certs"},
    {"hostname", "derp.example.com"},
    {"home", "blank"},
    {"mesh-psk-file", "/mesh"},
    {"mesh-with", "a,b/c"},
    {"secrets-url", "https://setec"},
    {"secrets-path-prefix", "x/y"},
    {"secrets-cache-dir", "/cache"},
    {"bootstrap-dns-names", "a,b"},
    {"unpublished-bootstrap-dns-names", "c/d"},
    {"accept-connection-limit", "50.5"},
    {"accept-connection-burst", "0b101"},
    {"rate-config", "/rate"},
    {"tcp-keepalive-time", "1h15m30.918s"},
    {"tcp-user-timeout", "300ms"},
    {"tcp-write-timeout", "0"},
    {"acme-directory", "https://ca.example.com/directory"},
    {"acme-ca", "/ca.pem"},
    {"acme-email", "a@example.com"},
    {"acme-eab-kid", "kid"},
    {"acme-eab-key", "a2V5"},
    {"socket", "/run/ts.sock"},
    {"verify-client-url", "http://v/verify"},
    {"verify-client-ca", "/ca.pem"},
    {"verify-grace", "30s"},
    {"allow-keys", "/keys"},
    {"recheck", "0"},
    {"cert", "/c.pem"},
    {"key", "/k.pem"},
    {"tls", "off"},
    {"tls-engine", "openssl"},
    {"proxy-protocol-from", "10.0.0.0/8"},
    {"workers", "3"},
};

static const char *sample(const struct flag *flag)
{
    for (size_t i = 0; i < COUNT(samples); i++)
        if (strcmp(samples[i].name, flag->name) == 0)
            return samples[i].value;
    fail_msg("no sample for %s", flag->name);
    return NULL;
}

// Runs a line that gives `flag` the value, and compares with setting it directly.
static void assert_sets(const struct flag *flag, const char *value, const char *line)
{
    struct options want = {0};
    const enum options_result result = parse(&root, line);
    char label[FLAG_LABEL_BYTES];

    flags_set_defaults(&want);
    assert_true(flag_set(flag, &want, value, error, sizeof error));
    assert_true(flag_equal(flag, &options, &want) || strcmp(flag->name, "http-port") == 0);
    if (flag->built) {
        assert_int_not_equal(result, OPTIONS_HELP);
        return;
    }
    assert_refused(&root, line, "is not built yet in this derper; leave it out");
    assert_non_null(strstr(error, flag_label(flag, label)));
}

static void test_every_flag_in_every_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < flag_count; i++) {
        for (size_t form = 0; flags[i].kind != FLAG_BOOL && form < 4; form++) {
            const char *value = sample(&flags[i]);
            char line[256];

            snprintf(line, sizeof line, "%s%s%s%s", form % 2 ? "--" : "-", flags[i].name,
                     form < 2 ? "=" : " ", value);
            assert_sets(&flags[i], value, line);
        }
    }
}

static void test_every_boolean_in_every_form(void **state)
{
    static const char *const values[] = {"1", "t", "T", "true",  "True",  "TRUE",
                                         "0", "f", "F", "false", "False", "FALSE"};

    (void)state;
    for (size_t i = 0; i < flag_count; i++) {
        char line[128];

        if (flags[i].kind != FLAG_BOOL)
            continue;
        for (size_t v = 0; v < COUNT(values); v++) {
            const char *other = v < 6 ? "true" : "false";
            const bool is_default = strcmp(other, flags[i].default_value) == 0;

            snprintf(line, sizeof line, "-%s=%s", flags[i].name, values[v]);
            if (flags[i].built || !is_default)
                assert_sets(&flags[i], values[v], line);
            snprintf(line, sizeof line, "--%s=%s", flags[i].name, values[v]);
            if (flags[i].built || !is_default)
                assert_sets(&flags[i], values[v], line);
        }
        snprintf(line, sizeof line, "-%s", flags[i].name);
        assert_sets(&flags[i], "true", line);
        snprintf(line, sizeof line, "--%s=yes", flags[i].name);
        assert_refused(&root, line, "\"yes\" is neither true nor false; give --");
    }
}

// What scripts pass for variables that hold the default, or nothing, does not stop the start.
static void test_flags_not_built_accept_their_default(void **state)
{
    (void)state;
    for (size_t i = 0; i < flag_count; i++) {
        char flag[128];
        char *argv[] = {"derper", "--dev", flag};

        if (flags[i].built)
            continue;
        snprintf(flag, sizeof flag, "--%s=%s", flags[i].name, flags[i].default_value);
        assert_int_equal(options_parse(&options, 3, argv, &user, error, sizeof error), OPTIONS_OK);
        if (flags[i].kind != FLAG_TEXT)
            continue;
        snprintf(flag, sizeof flag, "--%s=", flags[i].name);
        assert_int_equal(options_parse(&options, 3, argv, &user, error, sizeof error), OPTIONS_OK);
    }
}

static void test_defaults(void **state)
{
    (void)state;
    assert_parses(&root, "--certmode=manual --hostname=derp.example.com");
    assert_string_equal(options.listen_host, "");
    assert_int_equal(options.listen_port, 443);
    assert_true(options.serve_tls);
    assert_int_equal(options.http_port, 80);
    assert_int_equal(options.stun_port, 3478);
    assert_true(options.derp);
    assert_string_equal(options.cert_dir, "/home/u/.cache/tailscale/derper-certs");
    assert_string_equal(options.key_path, "/var/lib/derper/derper.key");
    assert_true(options.key_path_is_default);
    assert_false(options.hostname_is_ip);
    assert_int_equal(options.home_page, HOME_PAGE_DEFAULT);
    assert_int_equal(options.tcp_keepalive_time_ns, INT64_C(600000000000));
    assert_int_equal(options.tcp_user_timeout_ns, INT64_C(15000000000));
    assert_int_equal(options.tcp_write_timeout_ns, INT64_C(2000000000));
    assert_true(isinf(options.accept_connection_limit));
    assert_int_equal(options.accept_connection_burst, INT64_MAX);
    assert_true(options.verify_client_url_fail_open);
    assert_string_equal(options.tls_engine, "detached");
    assert_int_equal(options.workers, 0);
    assert_false(options.check || options.debug || options.stun_any || options.dev);
    assert_int_equal(options.send_queue_depth, 0);
    assert_string_equal(options.debug_key_path, "");
    assert_int_equal(options.warning_count, 0);
}

static void test_the_last_of_several_counts(void **state)
{
    (void)state;
    assert_parses(&root, "--dev --stun-port=1 -stun-port 2 --workers 1 -workers=4");
    assert_int_equal(options.stun_port, 2);
    assert_int_equal(options.workers, 4);
    assert_refused(&root, "--stun-port=x --stun-port=2", "--stun-port: \"x\"");
}

static void test_help_and_version(void **state)
{
    static const char *const help[] = {"-h",     "--h",  "-help",
                                       "--help", "-h=x", "--dev -help --nope"};

    (void)state;
    for (size_t i = 0; i < COUNT(help); i++)
        assert_int_equal(parse(&user, help[i]), OPTIONS_HELP);
    assert_refused(&user, "--nope -h", "there is no flag");
    assert_int_equal(parse(&user, "--version"), OPTIONS_VERSION);
    assert_int_equal(parse(&user, "-version=1 --verify-clients"), OPTIONS_VERSION);
    assert_string_equal(error, "");
    assert_parses(&user, "--dev --version=false");
    assert_int_equal(parse(&user, "--dev stop -h"), OPTIONS_OK);
}

static const struct {
    const char *line;
    const char *says;
} bad_syntax[] = {
    {"---dev", "\"---dev\" is not a flag"},
    {"-=x", "\"-=x\" is not a flag"},
    {"--=x", "\"--=x\" is not a flag"},
    {"--nope", "there is no flag \"nope\"."},
    {"--nope=secret", "there is no flag \"nope\"."},
    {"--hone=/", "did you mean --home?"},
    {"-x", "there is no flag \"x\"."},
    {"--stun-prot=1", "did you mean --stun-port?"},
    {"--hostnam=x", "did you mean --hostname?"},
    {"--verify-client", "did you mean --verify-clients?"},
    {"--host x", "did you mean --hostname?"},
    {"--Dev", "did you mean --dev?"},
    {"--certdir", "--certdir needs a value behind it: --certdir FOLDER."},
    {"-a", "-a needs a value behind it: -a ADDRESS."},
    {"--dev --workers", "--workers needs a value"},
    {"--no\"pe\x01", "\"no\\x22pe\\x01\""},
};

static void test_bad_syntax(void **state)
{
    char line[1024];

    (void)state;
    for (size_t i = 0; i < COUNT(bad_syntax); i++)
        assert_refused(&root, bad_syntax[i].line, bad_syntax[i].says);
    memset(line, 'x', sizeof line);
    memcpy(line, "--", 2);
    line[sizeof line - 1] = '\0';
    assert_refused(&root, line, "xxx...\"");
    memcpy(line, "--hostname=", 11);
    assert_refused(&root, line, "xxx...\"");
}

static const struct {
    const char *line;
    const char *warning; // NULL: none
} ends[] = {
    {"--dev", NULL},
    {"--dev --", NULL},
    {"--dev x", "flags end at \"x\", which is no flag: 1 argument is from there on ignored"},
    {"--dev -", "flags end at \"-\""},
    {"--dev -- --stun=false", "flags end at \"--stun=false\""},
    {"--dev -stun false --workers 9",
     "3 arguments are from there on ignored; if it was meant for -stun, write -stun=false"},
    {"--dev=true false", "flags end at \"false\""},
};

static void test_flags_end_at_the_first_other_word(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ends); i++) {
        assert_parses(&user, ends[i].line);
        print_message("%s -> %s\n", ends[i].line, options.warnings[0]);
        assert_int_equal(options.warning_count, ends[i].warning ? 1 : 0);
        if (ends[i].warning)
            assert_non_null(strstr(options.warnings[0], ends[i].warning));
        assert_int_equal(options.stun_port, 3478);
        assert_int_equal(options.workers, 0);
    }
    assert_int_equal(options_parse(&options, 0, NULL, &root, error, sizeof error), OPTIONS_ERROR);
}

#define NAMED "--hostname=derp.example.com "
#define EAB "--acme-eab-kid=kid --acme-eab-key=a2V5 "

static size_t one_address(char (*out)[INET6_ADDRSTRLEN], size_t max)
{
    if (max == 0)
        return 0;
    strcpy(out[0], "192.0.2.7");
    return 1;
}

static size_t many_addresses(char (*out)[INET6_ADDRSTRLEN], size_t max)
{
    for (size_t i = 0; i < max; i++)
        snprintf(out[i], INET6_ADDRSTRLEN, "2001:db8::%zx", i);
    return max;
}

static const struct options_world reachable = {no_getenv, no_file, 0, one_address};
static const struct options_world many = {no_getenv, no_file, 0, many_addresses};

// Certificates that are fetched: what is refused, what is warned of.
static const struct {
    const char *line;
    const char *refused; // NULL: starts
    const char *warned;  // NULL: of nothing
} acme[] = {
    {NAMED, NULL, NULL},
    {NAMED "--http-port=-1", NULL, NULL},
    {NAMED "--http-port=8080", NULL, NULL},
    {NAMED "-a :8443 --certmode=letsencrypt", NULL, NULL},
    {NAMED "-a :8443 --certmode=letsencrypt --http-port=8080", NULL,
     "port 80 has to lead to --http-port 8080, or port 443 to -a :8443"},
    {NAMED "-a :8443 --certmode=letsencrypt --http-port=-1", NULL,
     "port 443, which has to lead to -a :8443"},

    {NAMED "--certmode=gcp --acme-email=a@example.com " EAB, NULL, NULL},
    {NAMED "--certmode=gcp --acme-email=a@example.com", "--certmode=gcp needs", NULL},
    {NAMED "--certmode=gcp --acme-eab-kid=kid --acme-email=a@example.com", "--certmode=gcp needs",
     NULL},
    {NAMED "--certmode=gcp " EAB, "--certmode=gcp needs", NULL},
    {NAMED "--certmode=gcp --acme-email=a@example.com --acme-ip-certs " EAB,
     "--certmode=gcp has no certificates for IP addresses", NULL},
    {"--hostname=192.0.2.1 --certmode=gcp --acme-email=a@example.com " EAB,
     "--certmode=gcp has no certificates for IP addresses", NULL},

    {NAMED "--acme-eab-kid=kid", "belong together", NULL},
    {NAMED "--acme-eab-key=a2V5", "belong together", NULL},
    {NAMED "--acme-eab-kid=kid --acme-eab-key=s#cret", "--acme-eab-key is not a key in base64",
     NULL},
    {NAMED EAB, NULL, NULL},
    {NAMED "--acme-email=me", "is not an address of mail", NULL},
    {NAMED "--acme-email=a@b@example.com", "is not an address of mail", NULL},
    {NAMED "--acme-email=a?cc=b@example.com", "is not an address of mail", NULL},
    {NAMED "--acme-email=@example.com", "is not an address of mail", NULL},
    {NAMED "--acme-email=a@", "is not an address of mail", NULL},
    {NAMED "--acme-directory=http://ca.example/", "is not the URL of an ACME directory", NULL},
    {NAMED "--acme-directory=ca.example", "is not the URL of an ACME directory", NULL},
    {NAMED "--acme-directory=https:///x", "is not the URL of an ACME directory", NULL},

    {"--hostname=192.0.2.1", "give --acme-ip-certs", NULL},
    {"--hostname=derp.example.com,2001:db8::1", "--hostname has the IP address 2001:db8::1", NULL},
    {"--hostname=192.0.2.1 --acme-ip-certs", NULL, NULL},
    {"--hostname=derp.example.com,192.0.2.1 --acme-ip-certs", NULL, NULL},
    {"--hostname=192.0.2.1 --acme-ip-certs --http-port=-1", "--acme-ip-certs needs --http-port",
     NULL},
    {"--hostname=192.0.2.1 --acme-ip-certs --http-port=8080", NULL,
     "port 80, which has to lead to --http-port 8080"},
    {NAMED "--acme-ip-certs", NULL, "this machine's public addresses, 192.0.2.7"},

    {NAMED "--certmode=manual --acme-email=a@example.com", NULL,
     "--acme-email does nothing here, as no certificate is fetched with --certmode=manual"},
    {NAMED "--certmode=manual --acme-ip-certs", "--acme-ip-certs goes with", NULL},
    {NAMED "--tls=off --acme-ip-certs", NULL, "--acme-ip-certs does nothing here"},
    {NAMED "--tls=off --acme-directory=https://ca.example/", NULL,
     "--acme-directory does nothing here, as no certificate is fetched without TLS"},
    {NAMED "--certmode=manual --acme-email= --acme-eab-kid= --acme-directory= --acme-ca=", NULL,
     NULL},
};

static void test_acme(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(acme); i++) {
        if (acme[i].refused) {
            assert_refused(&reachable, acme[i].line, acme[i].refused);
            assert_null(strstr(error, "s#cret"));
            continue;
        }
        assert_parses(&reachable, acme[i].line);
        print_message("%s -> %s\n", acme[i].line, options.warnings[0]);
        assert_int_equal(options.warning_count, acme[i].warned ? 1 : 0);
        if (acme[i].warned)
            assert_non_null(strstr(options.warnings[0], acme[i].warned));
    }
}

static void test_acme_directory(void **state)
{
    (void)state;
    assert_parses(&root, NAMED);
    assert_string_equal(options.acme_directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_parses(&root, NAMED "--certmode=gcp --acme-email=a@example.com " EAB);
    assert_string_equal(options.acme_directory, "https://dv.acme-v02.api.pki.goog/directory");
    assert_parses(&root, NAMED "--acme-directory=https://ca.example/x");
    assert_string_equal(options.acme_directory, "https://ca.example/x");
}

static void test_own_addresses(void **state)
{
    (void)state;
    assert_refused(&root, NAMED "--acme-ip-certs", "finds no public address on this machine");
    assert_parses(&reachable, NAMED "--acme-ip-certs");
    assert_int_equal(options.hostname_count, 2);
    assert_string_equal(options.hostname, "derp.example.com");
    assert_string_equal(options.hostnames[1], "192.0.2.7");
    assert_parses(&reachable, "--hostname=derp.example.com,192.0.2.1 --acme-ip-certs");
    assert_int_equal(options.hostname_count, 2);
    assert_parses(&many, NAMED "--acme-ip-certs");
    assert_int_equal(options.hostname_count, OPTIONS_HOSTNAMES_MAX);
}

// As many as can come at once.
static void test_many_warnings(void **state)
{
    (void)state;
    assert_parses(&root, "--dev -a :1 -c x --http-port 80 --accept-connection-limit 5 --socket s "
                         "--verify-client-url= --verify-client-ca f --acme-email a@example.com "
                         "--verify-client-url-fail-open=false --verify-grace 1m --recheck 1m more");
    assert_in_range(options.warning_count, 9, OPTIONS_WARNINGS_MAX);
}

static const struct {
    const char *line;
    bool tls;
    const char *refused; // NULL: starts
} tls[] = {
    {"", false, "--hostname is needed"},
    {"--certmode=letsencrypt", false, "--hostname is needed"},
    {"-a :https", false, "--hostname is needed"},
    {"--hostname=derp.example.com", true, NULL},
    {"--certmode=letsencrypt --hostname=derp.example.com", true, NULL},
    {"-a :8443 --hostname=derp.example.com", false, "port 8443 (-a) leaves open how to serve"},
    {"-a :8443 --certmode=letsencrypt --hostname=derp.example.com", true, NULL},
    {"--certmode=gcp --hostname=derp.example.com", false, "--certmode=gcp needs --acme-eab-kid"},
    {"-a :8443", false, "port 8443 (-a) leaves open how to serve"},
    {"-a :8443", false, "--dev"},
    {"-a :8443", false, "--tls=off"},
    {"-a :8443", false, "--certmode=manual"},
    {"-a :8443", false, "--certmode=letsencrypt"},
    {"--certmode=manual", true, NULL},
    {"-a :8443 --certmode=manual", true, NULL},
    {"--tls=off", false, NULL},
    {"-a :8443 --tls=off", false, NULL},
    {"-a :8443 --tls=off --certmode=letsencrypt", false, NULL},
    {"--tls=off --certmode=manual", false, NULL},
    {"--dev", false, NULL},
    {"--dev --certmode=letsencrypt", false, NULL},
    {"--dev --certmode=manual", true, NULL},
    {"--dev --certmode=manual --tls=off", false, NULL},
    {"--certmode=Manual", false, "\"Manual\" is not a way to get a certificate"},
    {"--dev --certmode=", false, "--certmode: \"\" is not a way"},
    {"--tls=on", false, "--tls: \"on\" is neither auto nor off"},
    {"--dev --tls-engine=kernel", false,
     "--tls-engine: \"kernel\" is neither detached nor openssl"},
    {"--dev --tls-engine=openssl", false, NULL},
    {"--dev --proxy-protocol-from=10.0.0.0/8,127.0.0.1,,2001:db8::1", false, NULL},
    {"--dev --proxy-protocol-from=127.0.0.1,proxy", false,
     "--proxy-protocol-from: \"127.0.0.1,proxy\" has \"proxy\", which is not an address range"},
    {"--dev --proxy-protocol-from=10.0.0.0/33", false, "which is not an address range"},
    {"--tls", false, "--tls needs a value behind it: --tls auto|off."},
};

static void test_whether_tls_is_served(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(tls); i++) {
        if (tls[i].refused) {
            assert_refused(&root, tls[i].line, tls[i].refused);
            continue;
        }
        assert_parses(&root, tls[i].line);
        assert_int_equal(options.serve_tls, tls[i].tls);
        assert_int_equal(options.http_port, tls[i].tls ? 80 : -1);
    }
}

static void test_dev(void **state)
{
    (void)state;
    assert_parses(&user, "--dev");
    assert_string_equal(options.listen_host, "");
    assert_int_equal(options.listen_port, OPTIONS_DEV_PORT);
    assert_string_equal(options.key_path, "");
    assert_int_equal(options.warning_count, 0);
    assert_parses(&user, "--dev -a 127.0.0.1:9 -c /tmp/k");
    assert_int_equal(options.listen_port, OPTIONS_DEV_PORT);
    assert_string_equal(options.listen_host, "");
    assert_string_equal(options.key_path, "");
    assert_int_equal(options.warning_count, 2);
    assert_non_null(strstr(options.warnings[0], "--dev listens on :3340, not on -a 127.0.0.1:9"));
    assert_non_null(strstr(options.warnings[1], "--dev makes a fresh key"));
}

static void test_key_path(void **state)
{
    (void)state;
    assert_refused(&user, "--tls=off", "-c is needed, as only root has a default");
    assert_refused(&user, "--tls=off -c=", "-c is needed");
    assert_parses(&user, "--tls=off -c derper.key");
    assert_string_equal(options.key_path, "derper.key");
    assert_false(options.key_path_is_default);
    assert_parses(&root, "--tls=off");
    assert_true(options.key_path_is_default);
}

static void test_long_paths(void **state)
{
    static char line[8000];

    (void)state;
    memset(line, 'x', OPTIONS_PATH_BYTES + 40);
    memcpy(line, "--dev --tls=off --certdir=", 26);
    assert_refused(&root, line, "--certdir: the path is longer");
    line[26 + OPTIONS_PATH_BYTES - 1] = '\0';
    assert_parses(&root, line);
    assert_int_equal(strlen(options.cert_dir), OPTIONS_PATH_BYTES - 1);
    memset(line, 'x', OPTIONS_PATH_BYTES + 40);
    memcpy(line, "--tls=off -c=", 13);
    assert_refused(&root, line, "-c: the path is longer");
}

static void test_ports_together(void **state)
{
    (void)state;
    assert_refused(&root, "-a :80 --certmode=manual", "-a and --http-port both want port 80");
    assert_parses(&root, "-a :80 --certmode=manual --http-port=-1");
    assert_int_equal(options.http_port, -1);
    assert_parses(&root, "-a :0 --certmode=manual --http-port=0");
    assert_parses(&root, "-a :80 --tls=off");
    assert_parses(&root, "--dev --stun=false --stun-port=5");
    assert_int_equal(options.stun_port, -1);
}

static const struct {
    const char *line;
    const char *refused, *warning; // NULL: neither
} accept_limits[] = {
    {"--accept-connection-limit=50 --accept-connection-burst=100", NULL, NULL},
    {"--accept-connection-limit=0.5 --accept-connection-burst=1", NULL, NULL},
    {"--accept-connection-limit=+Inf --accept-connection-burst=9223372036854775807", NULL, NULL},
    {"--accept-connection-limit=50", NULL,
     "--accept-connection-limit does nothing without --accept-connection-burst"},
    {"--accept-connection-burst=50", NULL,
     "--accept-connection-burst does nothing without --accept-connection-limit"},
    {"--accept-connection-burst=0", NULL, "--accept-connection-burst does nothing"},
    {"--accept-connection-limit=50 --accept-connection-burst=0",
     "--accept-connection-burst would let nobody in", NULL},
    {"--accept-connection-limit=0 --accept-connection-burst=5",
     "--accept-connection-limit would let nobody in", NULL},
    {"--accept-connection-limit=1e-9 --accept-connection-burst=5",
     "--accept-connection-limit would let nobody in", NULL},
};

static void test_accept_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(accept_limits); i++) {
        char line[256];

        snprintf(line, sizeof line, "--dev %s", accept_limits[i].line);
        print_message("%s\n", line);
        if (accept_limits[i].refused) {
            assert_refused(&user, line, accept_limits[i].refused);
            continue;
        }
        assert_parses(&user, line);
        assert_int_equal(options.warning_count, accept_limits[i].warning ? 1 : 0);
        if (accept_limits[i].warning)
            assert_non_null(strstr(options.warnings[0], accept_limits[i].warning));
    }
}

// A flag about who may connect, but nothing that decides it: the relay is open to all.
static const struct {
    const char *line, *warning; // NULL: none
} in_vain[] = {
    {"--socket=/s", "--socket does nothing without --verify-clients"},
    {"--verify-client-ca=/c", "--verify-client-ca does nothing without --verify-client-url"},
    {"--verify-client-url-fail-open=false", "--verify-client-url-fail-open=false does nothing"},
    {"--verify-client-url-fail-open=true", NULL},
    {"--verify-client-url=https://x/verify --verify-client-url-fail-open=false", NULL},
    {"--verify-grace=0", "--verify-grace does nothing"},
    {"--verify-grace=0 --allow-keys=/k", "--verify-grace does nothing"},
    {"--verify-grace=0 --verify-clients", NULL},
    {"--recheck=1m", "--recheck does nothing"},
    {"--recheck=1m --allow-keys=/k", NULL},
    {"--recheck=1m --verify-client-url=https://x/verify", NULL},
};

static void test_access_flags_in_vain(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(in_vain); i++) {
        char line[256];

        snprintf(line, sizeof line, "--dev %s", in_vain[i].line);
        print_message("%s\n", line);
        assert_parses(&user, line);
        assert_int_equal(options.warning_count, in_vain[i].warning ? 1 : 0);
        if (in_vain[i].warning)
            assert_non_null(strstr(options.warnings[0], in_vain[i].warning));
    }
}

static void test_default_hostname_is_worth_a_warning(void **state)
{
    (void)state;
    assert_parses(&root, "--certmode=manual");
    assert_int_equal(options.warning_count, 1);
    assert_non_null(strstr(options.warnings[0], "--hostname is not given"));
    assert_non_null(strstr(options.warnings[0], "derp.tailscale.com"));
    assert_parses(&root, "--certmode=manual --hostname=derp.tailscale.com");
    assert_int_equal(options.warning_count, 0);
}

static void test_files_named_outright(void **state)
{
    (void)state;
    assert_parses(&root, "--cert=/c.pem --hostname=a.example");
    assert_true(options.serve_tls && options.cert_mode == CERT_MODE_MANUAL);
    assert_int_equal(options.certs.count, 1);
    assert_int_equal(options.keys.count, 0);
    assert_parses(&root, "--cert=/c --key=/k --cert=/d --key=/l --hostname=a.example --certdir=");
    assert_string_equal(options.certs.items[1], "/d");
    assert_string_equal(options.keys.items[1], "/l");
    assert_refused(&root, "--certmode=manual --key=/k", "--key needs --cert");
    assert_refused(&root, "--cert=/c --cert=/d --key=/k", "not given equally often");
    assert_refused(&root, "--cert=/c --cert=/d --cert=/e", "more than twice");
    assert_refused(&root, "--cert=/c --certmode=letsencrypt", "--certmode=manual only");
    assert_parses(&root, "--cert=/c --tls=off --hostname=a.example");
    assert_non_null(strstr(options.warnings[0], "--cert does nothing"));
}

static void test_help_names_every_flag(void **state)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    (void)state;
    options_print_help(out);
    fclose(out);
    for (size_t i = 0; i < flag_count; i++) {
        char label[FLAG_LABEL_BYTES], start[FLAG_LABEL_BYTES + 4];

        snprintf(start, sizeof start, "\n  %s", flag_label(&flags[i], label));
        assert_non_null(strstr(text, start));
        assert_non_null(strstr(text, flags[i].meaning));
        assert_true(flags[i].built || flags[i].without);
        assert_true(flags[i].kind == FLAG_BOOL || flags[i].kind == FLAG_TEXT ||
                    flags[i].kind == FLAG_LIST || flags[i].wrong);
        assert_true(flags[i].kind == FLAG_BOOL || flags[i].argument);
    }
    for (char *save, *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        if (strlen(line) > 110)
            print_message("%s\n", line);
        assert_true(strlen(line) <= 110);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acme),
        cmocka_unit_test(test_acme_directory),
        cmocka_unit_test(test_own_addresses),
        cmocka_unit_test(test_many_warnings),
        cmocka_unit_test(test_every_flag_in_every_form),
        cmocka_unit_test(test_every_boolean_in_every_form),
        cmocka_unit_test(test_flags_not_built_accept_their_default),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_the_last_of_several_counts),
        cmocka_unit_test(test_help_and_version),
        cmocka_unit_test(test_bad_syntax),
        cmocka_unit_test(test_flags_end_at_the_first_other_word),
        cmocka_unit_test(test_whether_tls_is_served),
        cmocka_unit_test(test_dev),
        cmocka_unit_test(test_key_path),
        cmocka_unit_test(test_long_paths),
        cmocka_unit_test(test_ports_together),
        cmocka_unit_test(test_accept_limits),
        cmocka_unit_test(test_access_flags_in_vain),
        cmocka_unit_test(test_default_hostname_is_worth_a_warning),
        cmocka_unit_test(test_files_named_outright),
        cmocka_unit_test(test_help_names_every_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
