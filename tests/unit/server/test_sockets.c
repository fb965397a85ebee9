// SPDX-License-Identifier: BSD-3-Clause
#include "server/sockets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;

    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static int connect_to(int port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

// Options are set once, on the listening socket: accepted connections must have them.
static void test_connections_inherit_options(void **state)
{
    const struct socket_options options = {.keepalive_ms = 60000, .user_timeout_ms = 7000};
    char error[256];
    int port = 0, listening, client, accepted;

    (void)state;
    assert_true(
        sockets_listen("-a", "127.0.0.1", &port, 1, &options, &listening, error, sizeof error));
    client = connect_to(port);
    do
        accepted = accept(listening, NULL, NULL);
    while (accepted < 0);
    assert_int_equal(option(accepted, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(accepted, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 32 * 1024);
    assert_int_equal(option(accepted, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(accepted, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(option(accepted, IPPROTO_TCP, TCP_USER_TIMEOUT), 7000);
    close(accepted);
    close(client);
    close(listening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections_inherit_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
