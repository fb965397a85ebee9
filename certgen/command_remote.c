// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/command_remote.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool remote_is_file(const char *argument)
{
    struct stat st;

    return strchr(argument, '/') || lstat(argument, &st) == 0;
}

static void on_alarm(int number)
{
    static const char sentence[] = "certgen: the name is not resolved in time: check the name and "
                                   "the resolver\n";

    (void)number;
    (void)!write(STDERR_FILENO, sentence, sizeof sentence - 1);
    _exit(1);
}

bool remote_dial(struct cert_dialed *dialed, const struct cert_target *target, const char *name,
                 int seconds, char *error, size_t size)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, on_alarm);
    alarm((unsigned)seconds + 1);
    const bool ok =
        cert_dial(dialed, target, name ? name : target->host, seconds * 1000, error, size);
    alarm(0);
    return ok;
}
