// SPDX-License-Identifier: BSD-3-Clause
//
// Load generator for DERP relays and STUN servers. Shares with the relay of this tree the codec of
// frames and keys alone, so that it does not measure itself.
#include "modes.h"
#include "options.h"
#include "payload.h"
#include "report.h"

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define EXIT_NOT_MADE 1
#define EXIT_USAGE 2
#define EXIT_INVALID 3

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int run(struct options *options)
{
    static void (*const modes[])(const struct options *, struct report *) = {
        [MODE_RELAY] = mode_relay, [MODE_IDLE] = mode_idle, [MODE_LOGIN] = mode_login,
        [MODE_STORM] = mode_storm, [MODE_STUN] = mode_stun, [MODE_ECHO] = mode_echo,
        [MODE_PASS] = mode_pass,
    };
    static struct report report; // two samples of many threads: large for a stack
    bool valid;

    if (!options->plain && options->mode < MODE_STUN &&
        !(options->target.context = handshake_context(options->suites))) {
        fprintf(stderr, "derper-load: no TLS context (suites?)\n");
        return EXIT_NOT_MADE;
    }
    report_init(&report, options);
    modes[options->mode](options, &report);
    valid = report_finish(&report);
    SSL_CTX_free(options->target.context);
    return valid ? 0 : EXIT_INVALID;
}

int main(int argc, char **argv)
{
    struct options options;

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        options_usage(stdout);
        return 0;
    }
    if (!options_parse(&options, argc, argv)) {
        fprintf(stderr, "Try derper-load --help.\n");
        return EXIT_USAGE;
    }
    if (sodium_init() < 0)
        return EXIT_NOT_MADE;
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    payload_init();
    return run(&options);
}
