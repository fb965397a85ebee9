// SPDX-License-Identifier: BSD-3-Clause
//
// The relay's listening TCP sockets: one a worker on the same port (SO_REUSEPORT), but never on a
// port that another program, or another relay, has.
#ifndef DERPER_SERVER_SOCKETS_H
#define DERPER_SERVER_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct socket_options {
    int64_t keepalive_ms; // idle time before the first probe; negative = no keep-alive
    int64_t user_timeout_ms;
};

// The address that `host` ("" = all addresses of both families) and `port` stand for. `host` is an
// IP address.
void sockets_address(const char *host, int port, struct sockaddr_storage *out, socklen_t *len);

// Binds and listens on `count` sockets, which accepted connections inherit their options from.
// `flag` is what the error sentence tells people to change. `*port` 0 takes any free one and is
// set. False with a sentence in `error`; nothing is left open then.
bool sockets_listen(const char *flag, const char *host, int *port, size_t count,
                    const struct socket_options *options, int *fds, char *error, size_t size);

// What is wrong with binding a port, as a sentence. `protocol` is "TCP" or "UDP".
void sockets_bind_error(const char *flag, const char *protocol, const char *host, int port, int err,
                        char *error, size_t size);

#endif
