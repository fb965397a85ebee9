// SPDX-License-Identifier: BSD-3-Clause
//
// The command line of the load generator.
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include "conn.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum mode { MODE_RELAY, MODE_IDLE, MODE_LOGIN, MODE_STORM, MODE_STUN, MODE_ECHO, MODE_PASS };

struct options {
    enum mode mode;
    struct conn_target target;
    bool plain;
    bool bare;          // relay: the target is a passer
    bool echo;          // stun: the target is an echo
    bool pktinfo;       // echo
    const char *suites; // NULL: AES-128-GCM first
    pid_t pid;          // of the relay; 0: costs are not measured
    uint64_t pairs, payload_bytes, rate, burst, frames;
    uint64_t clients, logins, requests, window, at_once;
    double seconds, warmup_s, hold_s;
    double memory_gib; // for sealed records
};

void options_usage(FILE *out);

// False after a message on standard error.
bool options_parse(struct options *options, int argc, char **argv);

const char *options_mode_name(enum mode mode);

#endif
