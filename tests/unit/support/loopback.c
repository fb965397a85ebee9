// SPDX-License-Identifier: BSD-3-Clause
#include "loopback.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define LISTEN_PATIENCE_MS 10000

static int new_socket(int option, int bytes)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    if (bytes > 0)
        assert_int_equal(setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes), 0);
    return fd;
}

int loopback_bind(uint16_t *port, int send_bytes)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    const int fd = new_socket(SO_SNDBUF, send_bytes);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

int loopback_connect(uint16_t port, int receive_bytes)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    const int fd = new_socket(SO_RCVBUF, receive_bytes);
    int left_ms = LISTEN_PATIENCE_MS;

    while (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        assert_int_equal(errno, ECONNREFUSED);
        assert_true(left_ms-- > 0);
        usleep(1000);
    }
    return fd;
}

void loopback_reset(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(fd);
}

size_t descriptors_open(void)
{
    DIR *folder;
    uv_loop_t loop;
    size_t n = 0;

    // The first loop of a process opens two that stay.
    uv_loop_init(&loop);
    uv_loop_close(&loop);
    folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}
