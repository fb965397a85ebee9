// SPDX-License-Identifier: BSD-3-Clause
//
// What is said at start: where the relay serves, where its page is, and the DERP map to paste.
#ifndef DERPER_SERVER_ANNOUNCE_H
#define DERPER_SERVER_ANNOUNCE_H

#include "certgen/self_signed.h"
#include "server/options.h"

#include <stddef.h>
#include <sys/socket.h>

struct announcement {
    const struct options *options;
    int main_port, http_port;                 // as bound; http_port -1 = none
    int stun_port;                            // as bound; -1 = none
    const char *pin;                          // of a self-signed certificate; "" otherwise
    const struct self_signed_report *renewal; // that is announced; NULL = none
};

// "203.0.113.1:3478" or "[::]:3478".
void announce_address(const struct sockaddr_storage *address, char *out, size_t size);

// One line: who may connect.
void announce_access(const struct options *options);

void announce_start(const struct announcement *announcement);

#endif
