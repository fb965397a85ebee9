// SPDX-License-Identifier: BSD-3-Clause
//
// The command line and the environment of the relay, read into one plain struct: every flag of
// Tailscale's derper with the syntax of Go's flag package, and a few of our own. Nothing here
// prints, exits or changes the process.
#ifndef DERPER_SERVER_OPTIONS_H
#define DERPER_SERVER_OPTIONS_H

#include "base/key.h"
#include "base/prefix.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define OPTIONS_PATH_BYTES 4096    // with the final NUL; longer paths are refused
#define OPTIONS_HOSTNAME_CHARS 253 // the longest name that DNS has
#define OPTIONS_HOSTNAMES_MAX 16
#define OPTIONS_PAIRS_MAX 2       // of certificate and key: RSA and ECDSA
#define OPTIONS_ERROR_BYTES 768   // enough for every error sentence
#define OPTIONS_WARNING_BYTES 384 // longer ones are cut
#define OPTIONS_WARNINGS_MAX 24   // more than can come together
#define OPTIONS_RANGES_MAX 64     // in a list of address ranges
#define OPTIONS_LIST_MAX 16       // of a flag that may be given several times
#define OPTIONS_WORKERS_MAX 256
#define OPTIONS_DEV_PORT 3340
#define OPTIONS_USAGE_EXIT 2 // exit status that goes with OPTIONS_ERROR

// What to print on a line of its own under an error.
#define OPTIONS_HINT "Run \"derper --help\" for all flags."

enum options_result {
    OPTIONS_OK,
    OPTIONS_HELP,    // print options_print_help to standard output, exit 0
    OPTIONS_VERSION, // print the version to standard output, exit 0
    OPTIONS_ERROR,   // print the error and OPTIONS_HINT to standard error, exit OPTIONS_USAGE_EXIT
};

enum cert_mode { CERT_MODE_MANUAL, CERT_MODE_LETSENCRYPT, CERT_MODE_GCP };

enum home_page { HOME_PAGE_DEFAULT, HOME_PAGE_BLANK, HOME_PAGE_REDIRECT };

// What a flag was given, in order.
struct option_list {
    size_t count;
    const char *items[OPTIONS_LIST_MAX];
};

// Strings point into argv, the environment or static text; none is NULL, none is the struct's to
// free, so it may be copied by assignment. Durations are in nanoseconds (duration_ms_up in
// go_duration.h turns them into milliseconds).
struct options {
    // --- Decided from several flags: what the rest of the program should look at. ---
    char listen_host[INET6_ADDRSTRLEN]; // -a; "" = all addresses, IPv4 and IPv6 (also for 0.0.0.0
                                        // and [::])
    int listen_port;                    // -a; 0 = any free one; OPTIONS_DEV_PORT with --dev
    bool serve_tls;                     // false: plain HTTP on the listen address, and no HTTP port
    int http_port;                      // --http-port; -1 = none (also when TLS is not served)
    int stun_port;                      // --stun-port; -1 = no STUN; 0 = any free one
    char cert_dir[OPTIONS_PATH_BYTES];  // --certdir or its default; not "" when serve_tls
    char key_path[OPTIONS_PATH_BYTES];  // -c or its default; "" = a fresh key at each start (--dev)
    bool key_path_is_default;           // log "no config path specified; using …"
    size_t hostname_count;              // at least 1
    char hostnames[OPTIONS_HOSTNAMES_MAX][OPTIONS_HOSTNAME_CHARS + 1]; // --hostname, each a DNS
                                                                       // name, or an IP address
                                                                       // in its one spelling
    char hostnames_written[OPTIONS_HOSTNAMES_MAX][OPTIONS_HOSTNAME_CHARS + 1]; // the same as they
                                                                               // were written
    char hostname[OPTIONS_HOSTNAME_CHARS + 1];                                 // the first
    bool hostname_is_ip;                                                       // the first is
    bool hostname_given; // false: `hostname` is only the original's default

    // --- Flags of Tailscale's derper. ---
    bool dev;
    bool version;
    const char *listen; // -a as it was written
    bool stun;
    bool derp;
    const char *config_path; // -c as it was written
    const char *cert_mode_name;
    enum cert_mode cert_mode;
    const char *cert_dir_given;  // --certdir as it was written
    const char *hostnames_given; // --hostname as it was written
    const char *home;            // the URL, with HOME_PAGE_REDIRECT
    enum home_page home_page;
    int64_t tcp_keepalive_time_ns;   // negative = no keep-alive; 0 = 15 s, as Go does
    int64_t tcp_user_timeout_ns;     // 0 = the system's
    int64_t tcp_write_timeout_ns;    // 0 = none
    double accept_connection_limit;  // per second, above 0; infinite = none
    int64_t accept_connection_burst; // INT64_MAX = any number, and so no limit
    const char *rate_config;         // "" = none
    bool verify_clients;
    struct option_list sockets; // with verify_clients; none = the default one
    struct option_list verify_client_urls;
    bool verify_client_url_fail_open;
    const char *acme_email;   // "" = none
    const char *acme_eab_kid; // "" = none, and then the key is none, too
    const char *acme_eab_key;
    bool acme_ip_certs;

    // --- Ours. ---
    const char *acme_directory;     // a URL; of --certmode when none was given
    const char *acme_ca;            // "" = none
    struct option_list certs, keys; // of --cert and --key: in the same order; no key at all = the
                                    // certificates' files hold them
    bool check;                     // check the configuration and exit
    bool debug;                     // log debug lines
    bool stun_any;                  // answer every RFC 8489 binding request
    int workers;                    // 0 = as many as CPUs that the process may use
    const char *tls;                // "auto" or "off"
    const char *tls_engine;         // "detached" or "openssl"
    const char *proxies_given;      // --proxy-protocol-from as it was written
    size_t proxy_count;
    struct prefix proxies[OPTIONS_RANGES_MAX];
    const char *allow_keys;       // "" = none
    const char *verify_client_ca; // "" = none
    int64_t verify_grace_ns;      // 0 = none
    int64_t recheck_ns;           // 0 = never

    // --- Environment. ---
    int send_queue_depth; // packets; 0 = not set
    bool has_allow_debug_ip;
    struct prefix allow_debug_ip;
    size_t debug_cidr_count;
    struct prefix debug_cidrs[OPTIONS_RANGES_MAX];
    const char *debug_key_path; // "" = not set
    bool has_dev_mesh_key;      // only looked for with --dev
    struct key dev_mesh_key;

    // --- Understood, not built yet: options_parse refuses any other than the default. ---
    const char *mesh_psk_file;
    const char *mesh_with;
    const char *secrets_url;
    const char *secrets_path_prefix;
    const char *secrets_cache_dir;
    const char *bootstrap_dns_names;
    const char *unpublished_bootstrap_dns_names;
    bool ace;

    // --- Nothing that stops the start, but worth a line in the log each. ---
    size_t warning_count;
    char warnings[OPTIONS_WARNINGS_MAX][OPTIONS_WARNING_BYTES];
};

// What parsing asks of the process around it; tests answer by themselves.
struct options_world {
    const char *(*getenv)(const char *name); // NULL when not set
    bool (*file_exists)(const char *path);
    uid_t uid;
    size_t (*own_addresses)(char (*out)[INET6_ADDRSTRLEN], size_t max); // public ones; NULL = none
};

// Reads argv (argv[0] is the program's name) and the environment. `world` NULL: this process. With
// OPTIONS_ERROR, `error` (`size` at least OPTIONS_ERROR_BYTES) holds one sentence without a final
// newline, and `options` is not to be used; otherwise `error` is "". With OPTIONS_HELP and
// OPTIONS_VERSION only the flags were read.
enum options_result options_parse(struct options *options, int argc, char *const *argv,
                                  const struct options_world *world, char *error, size_t size);

// All flags with their defaults and meanings.
void options_print_help(FILE *out);

#endif
