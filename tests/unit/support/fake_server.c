// SPDX-License-Identifier: BSD-3-Clause
#include "fake_server.h"

#include "loopback.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct connection {
    struct fake_server *server;
    size_t index;
    int fd;
};

// A head and as much of a body as it announces. False at the end of the connection.
static bool read_request(int fd, char out[static FAKE_REQUEST_BYTES])
{
    size_t len = 0, whole = 0;

    while (whole == 0 || len < whole) {
        const ssize_t n = recv(fd, out + len, FAKE_REQUEST_BYTES - 1 - len, 0);
        const char *end, *length;

        if (n <= 0)
            return false;
        len += (size_t)n;
        out[len] = '\0';
        end = strstr(out, "\r\n\r\n");
        if (!end)
            continue;
        length = strstr(out, "Content-Length: ");
        whole = (size_t)(end + 4 - out) + (length ? strtoul(length + 16, NULL, 10) : 0);
    }
    return true;
}

static void write_reply(const struct fake_server *server, int fd, const char *reply)
{
    const size_t piece = server->slow ? 1 : strlen(reply);

    for (const char *at = reply; *at; at += piece) {
        if (send(fd, at, piece, MSG_NOSIGNAL) < 0)
            return;
        if (server->slow)
            usleep(200);
    }
}

// Open is what has been asked and not been answered: whoever asks knows when that ends.
static void count_open(struct fake_server *server)
{
    const int open = atomic_fetch_add(&server->open, 1) + 1;
    int most = atomic_load(&server->most_open);

    while (open > most && !atomic_compare_exchange_weak(&server->most_open, &most, open))
        ;
}

static void serve(struct fake_server *server, int fd)
{
    char request[FAKE_REQUEST_BYTES];

    if (server->greets)
        write_reply(server, fd, server->respond("", server->data));
    while (read_request(fd, request)) {
        const char *reply;

        atomic_fetch_add(&server->requests, 1);
        count_open(server);
        pthread_mutex_lock(&server->lock);
        memcpy(server->last_request, request, sizeof request);
        pthread_mutex_unlock(&server->lock);
        usleep(server->delay_ms * 1000);
        reply = server->respond(request, server->data);
        if (!reply)
            recv(fd, request, 1, 0); // until somebody ends it
        atomic_fetch_sub(&server->open, 1);
        if (!reply)
            return;
        write_reply(server, fd, reply);
        if (!strstr(reply, "keep-alive"))
            return;
    }
}

static void *run_connection(void *data)
{
    struct connection *connection = data;
    struct fake_server *server = connection->server;

    serve(server, connection->fd);
    pthread_mutex_lock(&server->lock);
    server->fds[connection->index] = -1;
    close(connection->fd);
    pthread_mutex_unlock(&server->lock);
    atomic_fetch_sub(&server->running, 1);
    free(connection);
    return NULL;
}

static void take(struct fake_server *server, int fd)
{
    struct connection *connection = malloc(sizeof *connection);
    pthread_t thread;

    atomic_fetch_add(&server->running, 1);
    pthread_mutex_lock(&server->lock);
    assert_true(server->connections < FAKE_CONNECTIONS_MAX);
    *connection = (struct connection){.server = server, .index = server->connections++, .fd = fd};
    server->fds[connection->index] = fd;
    pthread_mutex_unlock(&server->lock);
    assert_int_equal(pthread_create(&thread, NULL, run_connection, connection), 0);
    pthread_detach(thread);
}

static void *run_server(void *data)
{
    struct fake_server *server = data;
    int fd;

    while ((fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        take(server, fd);
    return NULL;
}

static void start(struct fake_server *server)
{
    pthread_mutex_init(&server->lock, NULL);
    assert_int_equal(listen(server->fd, 1024), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
}

void fake_server_start_unix(struct fake_server *server, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    assert_true(strlen(path) < sizeof address.sun_path);
    strcpy(address.sun_path, path);
    strcpy(server->path, path);
    unlink(path);
    server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof address), 0);
    start(server);
}

void fake_server_start_tcp(struct fake_server *server)
{
    uint16_t port;

    server->fd = loopback_bind(&port, 0);
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%u/verify", port);
    start(server);
}

void fake_server_stop(struct fake_server *server)
{
    shutdown(server->fd, SHUT_RDWR); // ends accept
    pthread_join(server->thread, NULL);
    close(server->fd);
    pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < server->connections; i++)
        if (server->fds[i] >= 0)
            shutdown(server->fds[i], SHUT_RDWR);
    pthread_mutex_unlock(&server->lock);
    while (atomic_load(&server->running) > 0)
        usleep(1000);
    pthread_mutex_destroy(&server->lock);
}
