// SPDX-License-Identifier: BSD-3-Clause
#include "server/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 4096
#define KEEPALIVE_DEFAULT_MS 15000 // for 0, as Go does
#define KEEPALIVE_PROBES 9
// What the kernel may hold of a connection beyond what is in flight: what waits there can neither
// be dropped nor overtaken by discovery. A bound of all that it holds, SO_SNDBUF, would bound the
// rate on long ways as well: 64 KiB to 19 Mbit/s at 40 ms.
#define NOTSENT_LOWAT_BYTES (32 * 1024)

// ::ffff:203.0.113.1 is an IPv4 address.
static void unmap(struct sockaddr_storage *address, socklen_t *len)
{
    const struct sockaddr_in6 in6 = *(const struct sockaddr_in6 *)address;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = in6.sin6_port};

    memcpy(&in.sin_addr, in6.sin6_addr.s6_addr + 12, sizeof in.sin_addr);
    memset(address, 0, sizeof *address);
    memcpy(address, &in, sizeof in);
    *len = sizeof in;
}

void sockets_address(const char *host, int port, struct sockaddr_storage *out, socklen_t *len)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    struct sockaddr_in *in = (struct sockaddr_in *)out;

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        *len = sizeof *in;
        return;
    }
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((uint16_t)port);
    in6->sin6_addr = in6addr_any;
    inet_pton(AF_INET6, host, &in6->sin6_addr);
    *len = sizeof *in6;
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        unmap(out, len);
}

static void shown(const char *host, char *out, size_t size)
{
    if (*host)
        snprintf(out, size, strchr(host, ':') ? "[%s]:" : "%s:", host);
    else
        *out = '\0';
}

void sockets_bind_error(const char *flag, const char *protocol, const char *host, int port, int err,
                        char *error, size_t size)
{
    char prefix[INET6_ADDRSTRLEN + 4];

    shown(host, prefix, sizeof prefix);
    if (err == EADDRINUSE)
        snprintf(error, size,
                 "%s port %s%d (%s) is in use by another program: stop that program or choose "
                 "another port with %s",
                 protocol, prefix, port, flag, flag);
    else if (err == EACCES || err == EPERM)
        snprintf(error, size,
                 "%s port %s%d (%s) may not be opened by this user: ports below 1024 need root or "
                 "the capability CAP_NET_BIND_SERVICE; or choose another port with %s",
                 protocol, prefix, port, flag, flag);
    else if (err == EADDRNOTAVAIL)
        snprintf(error, size,
                 "the address of %s port %s%d (%s) is not one of this machine's: give one that is, "
                 "or leave the address out to listen on all",
                 protocol, prefix, port, flag);
    else
        snprintf(error, size, "%s port %s%d (%s) cannot be opened: %s; choose another with %s",
                 protocol, prefix, port, flag, strerror(err), flag);
}

static int bind_one(const char *host, int port, bool shared)
{
    struct sockaddr_storage address;
    socklen_t len;
    const int on = 1, off = 0;
    int fd, err;

    sockets_address(host, port, &address, &len);
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (address.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, *host ? &on : &off, sizeof on);
    // Without SO_REUSEPORT, listening is what finds a port taken that another program shares or
    // only has bound.
    if (bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    err = errno;
    close(fd);
    return -err;
}

static int port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;

    getsockname(fd, (struct sockaddr *)&address, &len);
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

static void set_options(int fd, const struct socket_options *options)
{
    const int on = 1, probes = KEEPALIVE_PROBES, lowat_bytes = NOTSENT_LOWAT_BYTES;
    const int64_t idle_ms =
        options->keepalive_ms == 0 ? KEEPALIVE_DEFAULT_MS : options->keepalive_ms;
    const int idle_s = (int)((idle_ms + 999) / 1000);
    const unsigned timeout_ms = (unsigned)options->user_timeout_ms;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat_bytes, sizeof lowat_bytes);
    if (timeout_ms > 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    if (idle_ms < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

// A host without IPv6 listens on IPv4 alone.
static int probe(const char **host, int port)
{
    int fd = bind_one(*host, port, false);

    if (**host == '\0' && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) {
        *host = "0.0.0.0";
        fd = bind_one(*host, port, false);
    }
    return fd;
}

bool sockets_listen(const char *flag, const char *host, int *port, size_t count,
                    const struct socket_options *options, int *fds, char *error, size_t size)
{
    const char *actual = host;
    size_t opened = 0;
    int fd = probe(&actual, *port);

    if (fd >= 0) {
        *port = port_of(fd);
        close(fd);
        for (; opened < count && fd >= 0; opened++) {
            fd = bind_one(actual, *port, true);
            if (fd < 0)
                break;
            set_options(fd, options);
            fds[opened] = fd;
        }
    }
    if (fd >= 0)
        return true;
    while (opened > 0)
        close(fds[--opened]);
    sockets_bind_error(flag, "TCP", host, *port, -fd, error, size);
    return false;
}
