// SPDX-License-Identifier: BSD-3-Clause
//
// Values with a form of their own, and the environment.
#include "server/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define LONG_PREFIX "0000000000000000000000000000000000000000000000000000000000000000000000/8"
#define HEX "c8d6bd1f0ad46ba2b8d1c1c5a4e1f2a3b4c5d6e7f8091a2b3c4d5e6f70819253"

static struct options options;
static char error[OPTIONS_ERROR_BYTES];

// The environment of a test: pairs of name and value.
static const char *environment[8];
static const char *existing_file;

static const char *get_variable(const char *name)
{
    for (size_t i = 0; i + 1 < COUNT(environment) && environment[i]; i += 2)
        if (strcmp(environment[i], name) == 0)
            return environment[i + 1];
    return NULL;
}

static bool file_exists(const char *path)
{
    return existing_file && strcmp(path, existing_file) == 0;
}

static const struct options_world world = {get_variable, file_exists, 0};

static int reset(void **state)
{
    (void)state;
    memset(environment, 0, sizeof environment);
    existing_file = NULL;
    return 0;
}

// One flag beside --tls=off.
static enum options_result parse(const char *name, const char *value)
{
    char *argv[] = {"derper", "--tls=off", (char *)name, (char *)value};

    return options_parse(&options, name ? 4 : 2, argv, &world, error, sizeof error);
}

static void assert_refused(const char *name, const char *value, const char *says)
{
    assert_int_equal(parse(name, value), OPTIONS_ERROR);
    print_message("%s\n", error);
    if (name) {
        assert_memory_equal(error, name, strlen(name));
        assert_int_equal(error[strlen(name)], ':');
    }
    assert_int_equal(error[strlen(error) - 1], '.');
    assert_non_null(strstr(error, says));
    assert_true(strlen(error) < OPTIONS_ERROR_BYTES - 1);
}

static const struct {
    const char *value;
    const char *host;
    int port;
} listens[] = {
    {":443", "", 443},
    {":0", "", 0},
    {":65535", "", 65535},
    {":00080", "", 80},
    {":https", "", 443},
    {":http", "", 80},
    {"0.0.0.0:443", "", 443},
    {"[::]:443", "", 443},
    {"[]:443", "", 443},
    {"[0:0::0]:1", "", 1},
    {"127.0.0.1:3340", "127.0.0.1", 3340},
    {"[::1]:443", "::1", 443},
    {"[2001:db8::1]:12345", "2001:db8::1", 12345},
    {"[127.0.0.1]:1", "127.0.0.1", 1},
};

static const struct {
    const char *value;
    const char *says;
} bad_listens[] = {
    {"", "has no colon before the port"},
    {"443", "\"443\" has no colon before the port; give :443"},
    {"127.0.0.1", "has no colon before the port"},
    {"::1", "has an IPv6 address without brackets"},
    {"::1:443", "has an IPv6 address without brackets"},
    {"1:2:3", "has an IPv6 address without brackets"},
    {"[::1]", "has no port behind the brackets"},
    {"[::1]443", "has no port behind the brackets"},
    {"[::1:443", "has no port behind the brackets"},
    {"[::1%lo]:443", "has a zone id"},
    {"[fe80::1%25eth0]:443", "has a zone id"},
    {"localhost:443", "does not begin with an IP address"},
    {"https://1.2.3.4:443", "has an IPv6 address without brackets"},
    {"1.2.3:443", "does not begin with an IP address"},
    {"256.0.0.1:443", "does not begin with an IP address"},
    {"[::g]:443", "does not begin with an IP address"},
    {"0123456789012345678901234567890123456789012345678901234567890123:1",
     "does not begin with an IP address"},
    {":", "does not end in a port"},
    {":65536", "does not end in a port"},
    {":-1", "does not end in a port"},
    {":0x50", "does not end in a port"},
    {":443 ", "does not end in a port"},
    {":ssh", "does not end in a port"},
    {"127.0.0.1:", "does not end in a port"},
};

static void test_listen(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(listens); i++) {
        assert_int_equal(parse("-a", listens[i].value), OPTIONS_OK);
        assert_string_equal(options.listen_host, listens[i].host);
        assert_int_equal(options.listen_port, listens[i].port);
        assert_string_equal(options.listen, listens[i].value);
    }
    for (size_t i = 0; i < COUNT(bad_listens); i++)
        assert_refused("-a", bad_listens[i].value, bad_listens[i].says);
}

static const struct {
    const char *value;
    bool is_ip;
} hostnames[] = {
    {"derp.example.com", false},
    {"a", false},
    {"localhost", false},
    {"a_b.example.com", false},
    {"xn--e1afmkfd.example", false},
    {"1.2.3.4.example.com", false},
    {"1a.2b", false},
    {"203.0.113.1", true},
    {"2001:db8::1", true},
    {"::1", true},
    {"DERP.Example.COM", false},
};

static const struct {
    const char *value;
    const char *says;
} bad_hostnames[] = {
    {"", "is empty"},
    {"https://derp.example.com", "is a URL"},
    {"https://derp.example.com:8443/path", "is a URL"},
    {"derp.example.com/derp", "has a slash"},
    {"derp.example.com:8443", "has a port in it"},
    {"203.0.113.1:443", "has a port in it"},
    {"[2001:db8::1]", "has brackets"},
    {"[2001:db8::1]:443", "has brackets"},
    {"fe80::1%eth0", "has a zone id"},
    {"2001:db8::g", "is not a valid IPv6 address"},
    {"*.example.com", "is a pattern"},
    {"derp.example.com.", "ends in a dot"},
    {"derp..example.com", "is not a host name"},
    {".example.com", "is not a host name"},
    {"-a.example.com", "is not a host name"},
    {"a-.example.com", "is not a host name"},
    {"derp example.com", "is not a host name"},
    {"d\xc3\xa4rp.example.com", "\"d\\xc3\\xa4rp.example.com\" has letters beyond ASCII"},
    {"256.1.1.1", "looks like an IP address"},
    {"1.2.3", "looks like an IP address"},
    {"0123456789012345678901234567890123456789012345678901234567890123.com", "is not a host name"},
    {",", "is empty"},
    {"a.example,b_,-c", "has \"-c\", which is not a host name"},
    {"a.example, A.Example", "has \"A.Example\", which is there twice"},
    {"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "has \"q\", which is one name too many"},
};

static void test_hostname(void **state)
{
    char name[400];

    (void)state;
    for (size_t i = 0; i < COUNT(hostnames); i++) {
        assert_int_equal(parse("--hostname", hostnames[i].value), OPTIONS_OK);
        assert_string_equal(options.hostname, hostnames[i].value);
        assert_int_equal(options.hostname_is_ip, hostnames[i].is_ip);
    }
    for (size_t i = 0; i < COUNT(bad_hostnames); i++)
        assert_refused("--hostname", bad_hostnames[i].value, bad_hostnames[i].says);
    for (size_t i = 0; i < sizeof name; i++)
        name[i] = i % 2 ? '.' : 'a';
    name[OPTIONS_HOSTNAME_CHARS] = '\0';
    assert_int_equal(parse("--hostname", name), OPTIONS_OK);
    name[OPTIONS_HOSTNAME_CHARS] = '.';
    name[OPTIONS_HOSTNAME_CHARS + 2] = '\0';
    assert_refused("--hostname", name, "is longer than a name may be");
}

static void test_several_hostnames(void **state)
{
    (void)state;
    assert_int_equal(parse("--hostname", " derp.example.com,,203.0.113.1 , 2001:db8::1,"),
                     OPTIONS_OK);
    assert_int_equal(options.hostname_count, 3);
    assert_string_equal(options.hostname, "derp.example.com");
    assert_false(options.hostname_is_ip);
    assert_string_equal(options.hostnames[0], "derp.example.com");
    assert_string_equal(options.hostnames[1], "203.0.113.1");
    assert_string_equal(options.hostnames[2], "2001:db8::1");
}

static void test_addresses_have_one_spelling(void **state)
{
    (void)state;
    assert_int_equal(parse("--hostname", "2001:DB8:0::1,::ffff:10.0.0.1,DERP.example"), OPTIONS_OK);
    assert_string_equal(options.hostname, "2001:db8::1");
    assert_string_equal(options.hostnames[0], "2001:db8::1");
    assert_string_equal(options.hostnames[1], "10.0.0.1");
    assert_string_equal(options.hostnames[2], "DERP.example");
    assert_string_equal(options.hostnames_written[0], "2001:DB8:0::1");
    assert_string_equal(options.hostnames_written[1], "::ffff:10.0.0.1");
    assert_refused("--hostname", "::1,0:0::1", "is there twice");
    assert_refused("--hostname", "10.0.0.1,::ffff:10.0.0.1", "is there twice");
}

static void test_home(void **state)
{
    static const char *const urls[] = {"https://example.com", "http://example.com/",
                                       "https://example.com:8443/a?b=%20#c", "https://[::1]/"};
    static const char *const bad[] = {"x",
                                      "Blank",
                                      "https://",
                                      "ftp://a/",
                                      "https:///a",
                                      "example.com",
                                      "https://a b",
                                      "https://a\r\nb",
                                      "HTTPS://a",
                                      "https://\xc3\xa4/",
                                      "javascript:alert(1)",
                                      "http://:80"};
    static char url[4000] = "https://";

    (void)state;
    assert_int_equal(parse("--home", ""), OPTIONS_OK);
    assert_int_equal(options.home_page, HOME_PAGE_DEFAULT);
    assert_int_equal(parse("--home", "blank"), OPTIONS_OK);
    assert_int_equal(options.home_page, HOME_PAGE_BLANK);
    for (size_t i = 0; i < COUNT(urls); i++) {
        assert_int_equal(parse("--home", urls[i]), OPTIONS_OK);
        assert_int_equal(options.home_page, HOME_PAGE_REDIRECT);
        assert_string_equal(options.home, urls[i]);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_refused("--home", bad[i], "is not something that / can show");
    memset(url + 8, 'a', 3000);
    assert_refused("--home", url, "is not something that / can show");
}

static const struct {
    const char *flag;
    const char *value;
    const char *says;
} bad_numbers[] = {
    {"--stun-port", "70000", "\"70000\" is not a port; give a number from 0 to 65535"},
    {"--stun-port", "-1", "--stun=false"},
    {"--stun-port", "", "is not a port"},
    {"--stun-port", "3478x", "is not a port"},
    {"--stun-port", "99999999999999999999", "is not a port"},
    {"--stun-port", "4294967296", "is not a port"},
    {"--http-port", "-2", "or -1 for no HTTP port"},
    {"--http-port", "65536", "is not a port"},
    {"--http-port", "eighty", "is not a port"},
    {"--workers", "-1", "is not a number of threads"},
    {"--workers", "257", "give one from 1 to 256, or 0 for one for each CPU"},
    {"--workers", "1.5", "is not a number of threads"},
    {"--tcp-keepalive-time", "10", "\"10\" is not a time of at most 32767s; give a time such as"},
    {"--tcp-keepalive-time", "10h", "is not a time"},
    {"--tcp-user-timeout", "-1s", "is not a time from 0"},
    {"--tcp-user-timeout", "577h", "is not a time from 0"},
    {"--tcp-user-timeout", "15 s", "is not a time from 0"},
    {"--tcp-write-timeout", "-1ns", "is not a time from 0"},
    {"--tcp-write-timeout", "25h", "is not a time from 0"},
    {"--accept-connection-limit", "NaN", "is not a number of connections a second"},
    {"--accept-connection-limit", "-1", "is not a number of connections a second"},
    {"--accept-connection-limit", "fast", "is not a number of connections a second"},
    {"--accept-connection-burst", "-1", "is not a number of connections"},
    {"--accept-connection-burst", "1e3", "is not a number of connections"},
};

static void test_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_numbers); i++)
        assert_refused(bad_numbers[i].flag, bad_numbers[i].value, bad_numbers[i].says);
    assert_int_equal(parse("--stun-port", "0"), OPTIONS_OK);
    assert_int_equal(options.stun_port, 0);
    assert_int_equal(parse("--stun-port", "0xd96"), OPTIONS_OK);
    assert_int_equal(options.stun_port, 3478);
    assert_int_equal(parse("--tcp-keepalive-time", "-1s"), OPTIONS_OK);
    assert_int_equal(options.tcp_keepalive_time_ns, INT64_C(-1000000000));
    assert_int_equal(parse("--tcp-keepalive-time", "32767s"), OPTIONS_OK);
    assert_int_equal(parse("--tcp-write-timeout", "0"), OPTIONS_OK);
    assert_int_equal(options.tcp_write_timeout_ns, 0);
    assert_int_equal(parse("--accept-connection-limit", "+inf"), OPTIONS_OK);
    assert_int_equal(parse("--accept-connection-burst", "0x7fff_ffff_ffff_ffff"), OPTIONS_OK);
}

static void test_lists(void **state)
{
    static char *several[] = {"derper",      "--dev",    "--verify-clients",
                              "--socket=/a", "--socket", "",
                              "--socket",    "/b",       "--verify-client-url=http://v/",
                              NULL};
    static char *many[OPTIONS_LIST_MAX + 4] = {"derper", "--dev", "--verify-clients"};
    char path[200];

    (void)state;
    assert_int_equal(options_parse(&options, 9, several, &world, error, sizeof error), OPTIONS_OK);
    assert_int_equal(options.sockets.count, 2);
    assert_string_equal(options.sockets.items[0], "/a");
    assert_string_equal(options.sockets.items[1], "/b");
    assert_int_equal(options.verify_client_urls.count, 1);
    assert_int_equal(options.warning_count, 0);
    for (size_t i = 3; i < COUNT(many); i++)
        many[i] = "--socket=/a";
    assert_int_equal(options_parse(&options, COUNT(many) - 1, many, &world, error, sizeof error),
                     OPTIONS_OK);
    assert_int_equal(options_parse(&options, COUNT(many), many, &world, error, sizeof error),
                     OPTIONS_ERROR);
    assert_string_equal(error, "--socket: \"/a\" is one too many; give at most 16.");
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_refused("--socket", path, "is longer than the name of a socket may be");
}

static void test_admission_urls(void **state)
{
    static const char *const bad[] = {
        "headscale.example.com/verify",
        "https://",
        "ftp://h/v",
        "http://127.0.0.1:99999/verify",
        "http://127.0.0.1:80x/verify",
        "http://127.0.0.1:0/verify",
        "http://[::1/verify",
        "http://u:p:q@:@h@x:1/v",
        "http://a..b/verify",
        "http://.a/verify",
        "http://%zz/verify",
        "http://999.1.1.1/verify",
        "http://a b/verify",
    };
    static const char *const good[] = {
        "",
        "http://h/v",
        "https://headscale.example.com/verify",
        "https://headscale.example.com.:8443/verify?a=%20#b",
        "http://127.0.0.1:8080/verify",
        "http://[::1]:8080/verify",
        "http://user:word@head_scale/verify",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_refused("--verify-client-url", bad[i], "is not a URL to ask");
    for (size_t i = 0; i < COUNT(good); i++)
        assert_int_equal(parse("--verify-client-url", good[i]), OPTIONS_OK);
}

// A variable that is not set must not open the relay in silence.
static void test_empty_checks(void **state)
{
    (void)state;
    assert_int_equal(parse("--allow-keys", ""), OPTIONS_ERROR);
    assert_non_null(strstr(error, "--allow-keys is empty"));
    assert_int_equal(parse("--verify-client-url", ""), OPTIONS_OK);
    assert_int_equal(options.warning_count, 1);
    assert_non_null(strstr(options.warnings[0], "--verify-client-url is empty"));
}

// --- Environment ---

static void set_variable(const char *name, const char *value)
{
    reset(NULL);
    environment[0] = name;
    environment[1] = value;
}

static void assert_variable_refused(const char *name, const char *value, const char *says)
{
    set_variable(name, value);
    assert_refused(NULL, NULL, says);
    assert_non_null(strstr(error, name));
}

static void test_queue_depth(void **state)
{
    static const char name[] = "TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH";
    static const char *const bad[] = {"0", "-1", "65537", "many", " 32"};

    (void)state;
    set_variable(name, "32");
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_int_equal(options.send_queue_depth, 32);
    set_variable(name, "");
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_int_equal(options.send_queue_depth, 0);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_variable_refused(name, bad[i], "is not a number of packets");
}

static void test_allow_debug_ip(void **state)
{
    const uint8_t want[4] = {203, 0, 113, 1};

    (void)state;
    set_variable("TS_ALLOW_DEBUG_IP", "203.0.113.1");
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_true(options.has_allow_debug_ip);
    assert_int_equal(options.allow_debug_ip.family, AF_INET);
    assert_int_equal(options.allow_debug_ip.bits, 32);
    assert_memory_equal(options.allow_debug_ip.address, want, 4);
    set_variable("TS_ALLOW_DEBUG_IP", "2001:db8::1");
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_int_equal(options.allow_debug_ip.family, AF_INET6);
    assert_int_equal(options.allow_debug_ip.bits, 128);
    set_variable("TS_ALLOW_DEBUG_IP", "");
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_false(options.has_allow_debug_ip);
    assert_variable_refused("TS_ALLOW_DEBUG_IP", "10.0.0.0/8", "is not an IP address");
    assert_variable_refused("TS_ALLOW_DEBUG_IP", "home", "\"home\" is not an IP address");
}

static void test_debug_cidrs(void **state)
{
    static const char name[] = "TS_DEBUG_TRUSTED_CIDRS";
    static const char *const bad[] = {"10.0.0.0",    "10.0.0.0/",      "10.0.0.0/33",
                                      "10.0.0.0/08", "10.0.0.0/+8",    "::/129",
                                      "10.0.0/8",    "fe80::%lo/10",   "1.1.1.1/1 2.2.2.2/2",
                                      "/8",          "10.0.0.0/https", "10.0.0.0/8,nonsense"};
    static char many[70 * 11];

    (void)state;
    set_variable(name, " 10.0.0.0/8, 2001:db8::/32\t,,192.0.2.7/0 ,");
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_int_equal(options.debug_cidr_count, 3);
    assert_int_equal(options.debug_cidrs[0].family, AF_INET);
    assert_int_equal(options.debug_cidrs[0].bits, 8);
    assert_int_equal(options.debug_cidrs[0].address[0], 10);
    assert_int_equal(options.debug_cidrs[1].family, AF_INET6);
    assert_int_equal(options.debug_cidrs[1].bits, 32);
    assert_int_equal(options.debug_cidrs[1].address[1], 1);
    assert_int_equal(options.debug_cidrs[2].bits, 0);
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_variable_refused(name, bad[i], "is not an address range");
    assert_variable_refused(name, LONG_PREFIX, "is not an address range");
    set_variable(name, "   ");
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_int_equal(options.debug_cidr_count, 0);
    for (size_t i = 0; i < 64; i++)
        strcat(many, "10.0.0.0/8,");
    set_variable(name, many);
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_int_equal(options.debug_cidr_count, 64);
    strcat(many, "10.0.0.0/8,");
    assert_variable_refused(name, many, "is one range too many");
}

static void test_debug_key_path(void **state)
{
    (void)state;
    set_variable("TS_DEBUG_KEY_PATH", "/run/debug.key");
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_string_equal(options.debug_key_path, "/run/debug.key");
}

static void test_mesh_key_of_dev(void **state)
{
    static const char name[] = "TAILSCALE_DERPER_MESH_KEY";
    char *argv[] = {"derper", "--dev"};

    (void)state;
    set_variable(name, HEX);
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK); // only --dev looks at it
    assert_int_equal(options_parse(&options, 2, argv, &world, error, sizeof error), OPTIONS_ERROR);
    assert_non_null(strstr(error, "TAILSCALE_DERPER_MESH_KEY: meshing is not built yet"));
    set_variable(name, " " HEX "x\n");
    assert_int_equal(options_parse(&options, 2, argv, &world, error, sizeof error), OPTIONS_ERROR);
    assert_non_null(strstr(error, "TAILSCALE_DERPER_MESH_KEY: not a mesh key"));
    assert_null(strstr(error, "c8d6"));
    set_variable(name, " \n");
    assert_int_equal(options_parse(&options, 2, argv, &world, error, sizeof error), OPTIONS_OK);
}

static void test_mesh_key_file_that_lies_there(void **state)
{
    (void)state;
    set_variable("HOME", "/home/u");
    existing_file = "/home/u/keys/derp-mesh.key";
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_int_equal(options.warning_count, 1);
    assert_non_null(strstr(options.warnings[0], "/home/u/keys/derp-mesh.key is not used"));
    existing_file = "/home/derp/keys/derp-mesh.key";
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_non_null(strstr(options.warnings[0], "/home/derp/keys/derp-mesh.key is not used"));
    assert_int_equal(parse("--mesh-psk-file", ""), OPTIONS_OK);
    assert_int_equal(options.warning_count, 0);
    assert_int_equal(parse("--mesh-psk-file", existing_file), OPTIONS_ERROR);
}

static void test_certdir(void **state)
{
    char *argv[] = {"derper", "--certmode=manual", "--hostname=1.2.3.4", "--certdir="};

    (void)state;
    set_variable("XDG_CACHE_HOME", "/cache");
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK);
    assert_string_equal(options.cert_dir, "/cache/tailscale/derper-certs");
    assert_int_equal(parse("--certdir", "/certs"), OPTIONS_OK);
    assert_string_equal(options.cert_dir, "/certs");
    assert_int_equal(options_parse(&options, 4, argv, &world, error, sizeof error), OPTIONS_ERROR);
    assert_non_null(strstr(error, "--certdir is empty"));
    set_variable("XDG_CACHE_HOME", "relative");
    assert_int_equal(options_parse(&options, 3, argv, &world, error, sizeof error), OPTIONS_ERROR);
    assert_non_null(strstr(error, "--certdir is needed, as the environment names no home"));
    set_variable("HOME", "");
    assert_int_equal(parse(NULL, NULL), OPTIONS_OK); // no TLS, no need
    assert_string_equal(options.cert_dir, "");
}

static void test_the_process_itself(void **state)
{
    char *argv[] = {"derper", "--dev"};

    (void)state;
    unsetenv("TAILSCALE_DERPER_MESH_KEY");
    setenv("TS_DEBUG_KEY_PATH", "/k", 1);
    assert_int_equal(options_parse(&options, 2, argv, NULL, error, sizeof error), OPTIONS_OK);
    assert_string_equal(options.debug_key_path, "/k");
    unsetenv("TS_DEBUG_KEY_PATH");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_listen, reset),
        cmocka_unit_test_setup(test_hostname, reset),
        cmocka_unit_test_setup(test_several_hostnames, reset),
        cmocka_unit_test_setup(test_addresses_have_one_spelling, reset),
        cmocka_unit_test_setup(test_home, reset),
        cmocka_unit_test_setup(test_numbers, reset),
        cmocka_unit_test_setup(test_lists, reset),
        cmocka_unit_test_setup(test_admission_urls, reset),
        cmocka_unit_test_setup(test_empty_checks, reset),
        cmocka_unit_test_setup(test_queue_depth, reset),
        cmocka_unit_test_setup(test_allow_debug_ip, reset),
        cmocka_unit_test_setup(test_debug_cidrs, reset),
        cmocka_unit_test_setup(test_debug_key_path, reset),
        cmocka_unit_test_setup(test_mesh_key_of_dev, reset),
        cmocka_unit_test_setup(test_mesh_key_file_that_lies_there, reset),
        cmocka_unit_test_setup(test_certdir, reset),
        cmocka_unit_test_setup(test_the_process_itself, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
