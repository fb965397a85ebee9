// SPDX-License-Identifier: BSD-3-Clause
//
// The yardstick of relaying: what the kernel alone costs. One thread waits in epoll_wait, reads
// what has come and writes it on: connections in the order of their coming are pairs, and what the
// first of a pair says the second hears. It knows no TLS, no frames and no queues; what a socket
// does not take at once is lost to the pair, which is then closed.
#include "modes.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096
#define EVENTS 256
#define READ_BYTES (64 * 1024) // as much as the relay reads at once

struct end {
    int fd;
    struct end *to; // NULL: nobody yet, or any more
};

struct pass {
    int listening, epoll_fd;
    struct end *waiting; // for the other one of its pair
    uint8_t buffer[READ_BYTES];
};

static bool listen_on(struct pass *pass, const struct sockaddr_in *address)
{
    struct epoll_event event = {.events = EPOLLIN};
    const int on = 1;

    pass->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pass->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return pass->listening >= 0 && pass->epoll_fd >= 0 &&
           setsockopt(pass->listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
           setsockopt(pass->listening, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
           bind(pass->listening, (const struct sockaddr *)address, sizeof *address) == 0 &&
           listen(pass->listening, BACKLOG) == 0 &&
           epoll_ctl(pass->epoll_fd, EPOLL_CTL_ADD, pass->listening, &event) == 0;
}

static void accept_one(struct pass *pass)
{
    struct end *end = calloc(1, sizeof *end);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};

    if (!end)
        return;
    end->fd = accept4(pass->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (end->fd < 0 || epoll_ctl(pass->epoll_fd, EPOLL_CTL_ADD, end->fd, &event) < 0) {
        if (end->fd >= 0)
            close(end->fd);
        free(end);
        return;
    }
    end->to = pass->waiting;
    if (end->to)
        end->to->to = end;
    pass->waiting = end->to ? NULL : end;
}

static void close_end(struct pass *pass, struct end *end)
{
    if (pass->waiting == end)
        pass->waiting = NULL;
    if (end->to)
        end->to->to = NULL;
    close(end->fd);
    free(end);
}

static void pass_on(struct pass *pass, struct end *end)
{
    const ssize_t n = read(end->fd, pass->buffer, sizeof pass->buffer);

    if (n <= 0 || !end->to || send(end->to->fd, pass->buffer, (size_t)n, MSG_NOSIGNAL) != n)
        close_end(pass, end);
}

void mode_pass(const struct options *options, struct report *report)
{
    static struct pass pass;

    if (!listen_on(&pass, &options->target.address)) {
        report_invalid(report, "the address to listen on cannot be had");
        return;
    }
    for (;;) {
        struct epoll_event events[EVENTS];
        const int n = epoll_wait(pass.epoll_fd, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                pass_on(&pass, events[i].data.ptr);
            else
                accept_one(&pass);
        }
    }
}
