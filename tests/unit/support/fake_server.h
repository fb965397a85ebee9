// SPDX-License-Identifier: BSD-3-Clause
//
// An HTTP server that answers whatever the test wants, on a Unix socket or loopback TCP; a thread
// for each connection. Everything asserts.
#ifndef TEST_SUPPORT_FAKE_SERVER_H
#define TEST_SUPPORT_FAKE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_REQUEST_BYTES 4096
#define FAKE_CONNECTIONS_MAX 8192

struct fake_server {
    // The answer to a request, whole, as it goes onto the wire; NULL: none, until the server stops.
    // "": the connection is closed without one. On the connection's thread.
    const char *(*respond)(const char *request, void *data);
    void *_Atomic data;
    unsigned delay_ms; // before an answer
    bool slow;         // each byte by itself
    bool greets;       // answers before it is asked

    char path[108]; // of the Unix socket, or ""
    char url[64];   // of the TCP port, or ""
    int fd;
    pthread_t thread;
    pthread_mutex_t lock;
    int fds[FAKE_CONNECTIONS_MAX]; // that are open; -1 = done
    size_t connections;
    atomic_int running, open, most_open, requests;
    char last_request[FAKE_REQUEST_BYTES];
};

void fake_server_start_unix(struct fake_server *server, const char *path);
void fake_server_start_tcp(struct fake_server *server);
// Ends all connections and threads. The Unix socket's file stays.
void fake_server_stop(struct fake_server *server);

#endif
