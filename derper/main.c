// SPDX-License-Identifier: BSD-3-Clause
//
// The command: reads its options and leaves the rest to the server.
#include "server/server.h"

#include "version.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

// A descriptor 0, 1 or 2 that was closed would be given to a socket, and log lines with it.
static void open_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    static struct options options;
    char error[OPTIONS_ERROR_BYTES];

    open_standard_descriptors();
    if (sodium_init() < 0) {
        fprintf(stderr, "derper: libsodium could not be started\n");
        return SERVER_FAULT_EXIT;
    }
    switch (options_parse(&options, argc, argv, NULL, error, sizeof error)) {
    case OPTIONS_HELP:
        options_print_help(stdout);
        return 0;
    case OPTIONS_VERSION:
        printf("%s\n", DERPER_VERSION);
        return 0;
    case OPTIONS_ERROR:
        fprintf(stderr, "derper: %s\n%s\n", error, OPTIONS_HINT);
        return OPTIONS_USAGE_EXIT;
    case OPTIONS_OK:
        break;
    }
    return options.check ? server_check(&options) : server_run(&options);
}
