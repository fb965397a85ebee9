// SPDX-License-Identifier: BSD-3-Clause
//
// The time limit of a login, also when the relay's first write has blocked and drained meanwhile.
#include "relay/relay.h"

#include "../support/loopback.h"
#include "../support/peer.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALL_BUFFER 4096
#define PREFACE_BYTES 100000 // more than the two sockets hold
#define LIMIT_MS 10000

static struct relay relay;
static char preface[PREFACE_BYTES];

static void upgrade(struct http_conn *conn, const struct http_request *request)
{
    const size_t len = request->ideal_node.data ? 0 : PREFACE_BYTES;

    relay_accept_client(&relay, http_take_stream(conn), preface, len, false);
}

static int64_t timeouts(void)
{
    struct worker_snapshot snapshot;

    relay_worker_snapshot(&relay, 0, &snapshot);
    return counter_read(&snapshot.relay.client_ends[CLIENT_END_LOGIN_TIMEOUT]);
}

static void read_preface(const struct peer *peer)
{
    size_t left = PREFACE_BYTES;
    char bytes[4096];

    while (left > 0) {
        const ssize_t n = read(peer->fd, bytes, left < sizeof bytes ? left : sizeof bytes);

        assert_true(n > 0);
        left -= (size_t)n;
    }
}

static void test_login_is_limited(void **state)
{
    static const struct http_service service = {.handler = upgrade};
    struct relay_config config = {.workers = 1,
                                  .connections_max = 10,
                                  .queue_packets = 16,
                                  .queue_bytes = RELAY_QUEUE_BYTES_DEFAULT,
                                  .waiting_bytes = RELAY_WAITING_BYTES_DEFAULT,
                                  .write_timeout_ms = 2000};
    struct peer *silent = malloc(sizeof *silent);
    const uint64_t start_ms = clock_ms();
    uint64_t took_ms;
    uint16_t port;

    (void)state;
    key_pair_generate(&config.key);
    assert_int_equal(relay_start(&relay, &config), 0);
    relay_listen(&relay, 0, loopback_bind(&port, SMALL_BUFFER),
                 &(struct relay_port){.service = &service});
    peer_connect(silent, port, SMALL_BUFFER);
    peer_send_request(silent);
    usleep(500000); // the relay's write is blocked by now
    read_preface(silent);
    peer_receive_server_key(silent);
    peer_expect_end(silent);
    took_ms = clock_ms() - start_ms;
    assert_in_range(took_ms, LIMIT_MS - 500, LIMIT_MS + 5000);
    assert_int_equal(timeouts(), 1);
    peer_close(silent);
    free(silent);
    relay_stop(&relay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
