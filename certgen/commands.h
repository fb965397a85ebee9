// SPDX-License-Identifier: BSD-3-Clause
//
// The subcommands of `certgen`, one file each. argv[0] is the subcommand's name; the value is the
// process's exit status: 0, 1 for "no" and 2 for a wrong command line.
#ifndef CERTGEN_COMMANDS_H
#define CERTGEN_COMMANDS_H

#define EXIT_USAGE 2

int command_acme(int argc, char **argv);
int command_check(int argc, char **argv);
int command_pin(int argc, char **argv);
int command_self_signed(int argc, char **argv);

#endif
