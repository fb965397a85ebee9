// SPDX-License-Identifier: BSD-3-Clause
//
// The responder with real sockets on loopback. The calls it makes to the system pass through here
// (the linker wraps them), so that errors which no kernel shows on demand can be injected.
#include "stun/responder.h"
#include "request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_MS 5000
#define BURST 200

// What goes wrong next. All zero: nothing.
static struct {
    int receive_errno, receive_failures; // the next calls fail
    int send_errno, send_failures;
    int send_at_most;      // datagrams a call takes
    bool send_nowhere;     // sending succeeds, and nothing leaves
    bool no_ipv6;          // IPv6 sockets cannot be had
    const char *source;    // IPv4 address that datagrams seem to come from
    bool source_port_zero; // and port
    int sends;             // calls counted
} faults;

int __real_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *timeout);
int __real_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);
int __real_socket(int family, int type, int protocol);
int __wrap_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *timeout);
int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);
int __wrap_socket(int family, int type, int protocol);

int __wrap_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *timeout)
{
    if (faults.receive_failures > 0) {
        faults.receive_failures--;
        errno = faults.receive_errno;
        return -1;
    }
    const int n = __real_recvmmsg(fd, messages, count, flags, timeout);

    for (int i = 0; i < n; i++) {
        struct sockaddr_in *source = messages[i].msg_hdr.msg_name;

        if (faults.source)
            inet_pton(AF_INET, faults.source, &source->sin_addr);
        if (faults.source_port_zero)
            source->sin_port = 0;
    }
    return n;
}

int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    faults.sends++;
    if (faults.send_failures > 0) {
        faults.send_failures--;
        errno = faults.send_errno;
        return -1;
    }
    if (faults.send_nowhere)
        return (int)count;
    if (faults.send_at_most > 0 && count > (unsigned)faults.send_at_most)
        count = (unsigned)faults.send_at_most;
    return __real_sendmmsg(fd, messages, count, flags);
}

int __wrap_socket(int family, int type, int protocol)
{
    if (faults.no_ipv6 && family == AF_INET6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return __real_socket(family, type, protocol);
}

// A responder on a loop of its own, and a client.
struct rig {
    uv_loop_t loop;
    struct stun_responder responder;
    int client;
    struct sockaddr_storage asked; // where the client sends to
    struct stun_counts counts;
    int closed, private_told;
    bool close_when_told;
    char private_text[STUN_ADDRESS_TEXT_CHARS + 1];
};

static socklen_t parse_address(struct sockaddr_storage *out, const char *ip, uint16_t port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, ip, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        return sizeof *in;
    }
    assert_int_equal(inet_pton(AF_INET6, ip, &in6->sin6_addr), 1);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    return sizeof *in6;
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

static uint16_t bound_port(const struct stun_responder *responder)
{
    struct sockaddr_storage bound;

    assert_int_equal(stun_responder_address(responder, &bound), 0);
    assert_int_not_equal(port_of(&bound), 0);
    return port_of(&bound);
}

static bool host_has_ipv6(void)
{
    struct sockaddr_storage address;
    const socklen_t len = parse_address(&address, "::1", 0);
    const int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    const bool has = fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

static void on_closed(struct stun_responder *responder)
{
    struct rig *rig = responder->data;

    assert_int_equal(responder->state, STUN_RESPONDER_CLOSED);
    rig->closed++;
}

static void on_private(struct stun_responder *responder, const struct stun_address *source)
{
    struct rig *rig = responder->data;

    rig->private_told++;
    stun_address_text(source, rig->private_text);
    if (rig->close_when_told)
        stun_responder_close(responder, on_closed);
}

static int try_start(struct stun_responder *responder, const char *ip, uint16_t port)
{
    struct sockaddr_storage address;

    parse_address(&address, ip, port);
    return stun_responder_start(responder, (struct sockaddr *)&address);
}

static void rig_start(struct rig *rig, enum stun_mode mode, const char *bind_ip, const char *ask_ip)
{
    memset(rig, 0, sizeof *rig);
    uv_loop_init(&rig->loop);
    stun_responder_init(&rig->responder, &rig->loop, mode);
    rig->responder.data = rig;
    rig->responder.on_private_source = on_private;
    assert_int_equal(try_start(&rig->responder, bind_ip, 0), 0);
    parse_address(&rig->asked, ask_ip, bound_port(&rig->responder));
    rig->client = socket(rig->asked.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(rig->client >= 0);
}

static void rig_stop(struct rig *rig)
{
    memset(&faults, 0, sizeof faults);
    stun_responder_close(&rig->responder, on_closed);
    stun_responder_close(&rig->responder, on_closed);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(rig->closed, 1);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    close(rig->client);
}

static void ask_bytes(struct rig *rig, const void *bytes, size_t len)
{
    const socklen_t address_len =
        rig->asked.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

    assert_int_equal(
        sendto(rig->client, bytes, len, 0, (struct sockaddr *)&rig->asked, address_len), len);
}

static void ask(struct rig *rig, uint8_t fill)
{
    struct request request;

    request_tailscale(&request, fill);
    ask_bytes(rig, request.bytes, request.len);
}

static void turn(struct rig *rig)
{
    uv_run(&rig->loop, UV_RUN_NOWAIT);
    stun_responder_counts(&rig->responder, &rig->counts);
}

// Runs the loop until `state` is reached.
static void turn_until(struct rig *rig, enum stun_responder_state state)
{
    const uint64_t deadline = uv_hrtime() / 1000000 + DEADLINE_MS;

    while (rig->responder.state != state) {
        assert_true(uv_hrtime() / 1000000 < deadline);
        turn(rig);
    }
}

// Runs the loop until the client has an answer; its size.
static size_t answer(struct rig *rig, uint8_t out[static 2048], struct sockaddr_storage *from)
{
    for (int ms = 0; ms < DEADLINE_MS; ms++) {
        struct pollfd waiting = {.fd = rig->client, .events = POLLIN};
        socklen_t len = sizeof *from;

        turn(rig);
        if (poll(&waiting, 1, 1) > 0) {
            const ssize_t n = recvfrom(rig->client, out, 2048, 0, (struct sockaddr *)from, &len);

            assert_true(n > 0);
            return (size_t)n;
        }
    }
    fail_msg("no answer");
    return 0;
}

static void assert_no_answer(struct rig *rig)
{
    uint8_t byte;

    assert_int_equal(recv(rig->client, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
}

// What the answer to the client has to be.
static size_t expected_answer(struct rig *rig, uint8_t fill, const char *client_ip,
                              uint8_t out[static STUN_ANSWER_MAX_BYTES])
{
    struct sockaddr_storage client;
    struct stun_address source;
    struct stun_request request = {0};
    socklen_t len = sizeof client;

    assert_int_equal(getsockname(rig->client, (struct sockaddr *)&client, &len), 0);
    parse_address(&client, client_ip, port_of(&client));
    assert_true(stun_address_from(&source, (struct sockaddr *)&client));
    memset(request.transaction, fill, sizeof request.transaction);
    return stun_put_answer(out, &request, &source);
}

static void assert_answered(struct rig *rig, uint8_t fill, const char *client_ip)
{
    uint8_t got[2048], expected[STUN_ANSWER_MAX_BYTES];
    struct sockaddr_storage from;
    const size_t len = answer(rig, got, &from);

    assert_int_equal(len, expected_answer(rig, fill, client_ip, expected));
    assert_memory_equal(got, expected, len);
    assert_memory_equal(&from, &rig->asked,
                        from.ss_family == AF_INET6 ? offsetof(struct sockaddr_in6, sin6_scope_id)
                                                   : offsetof(struct sockaddr_in, sin_zero));
}

static const struct {
    const char *bind, *ask, *client;
    bool ipv6;
} askings[] = {
    {"127.0.0.1", "127.0.0.1", "127.0.0.1", false},
    {"127.0.0.3", "127.0.0.3", "127.0.0.1", false},
    {"0.0.0.0", "127.0.0.1", "127.0.0.1", false},
    {"0.0.0.0", "127.0.0.2", "127.0.0.1", false},
    {"::", "127.0.0.1", "127.0.0.1", false},
    {"::", "127.0.0.2", "127.0.0.1", false},
    {"::", "::1", "::1", true},
    {"::1", "::1", "::1", true},
    {"::ffff:127.0.0.2", "127.0.0.2", "127.0.0.1", false},
};

static void test_answers_from_the_address_that_was_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof askings / sizeof askings[0]; i++) {
        struct rig rig;

        if (strchr(askings[i].bind, ':') && !host_has_ipv6())
            continue;
        print_message("%s at %s\n", askings[i].ask, askings[i].bind);
        rig_start(&rig, STUN_TAILSCALE, askings[i].bind, askings[i].ask);
        ask(&rig, 0x21);
        assert_answered(&rig, 0x21, askings[i].client);
        assert_int_equal(rig.counts.success, 1);
        assert_int_equal(rig.counts.ipv6, askings[i].ipv6);
        assert_int_equal(rig.counts.ipv4, !askings[i].ipv6);
        assert_int_equal(rig.counts.private_sources, 0);
        assert_int_equal(rig.counts.not_stun + rig.counts.read_error + rig.counts.write_error, 0);
        rig_stop(&rig);
    }
}

static void burst(const char *bind_ip, const char *ask_ip, const char *client_ip)
{
    bool seen[BURST] = {false};
    struct rig rig;

    rig_start(&rig, STUN_TAILSCALE, bind_ip, ask_ip);
    for (int i = 0; i < BURST; i++)
        ask(&rig, (uint8_t)i);
    for (int i = 0; i < BURST; i++) {
        uint8_t got[2048], expected[STUN_ANSWER_MAX_BYTES];
        struct sockaddr_storage from;
        const size_t len = answer(&rig, got, &from);
        const uint8_t fill = got[8];

        assert_true(fill < BURST && !seen[fill]);
        seen[fill] = true;
        assert_int_equal(len, expected_answer(&rig, fill, client_ip, expected));
        assert_memory_equal(got, expected, len);
    }
    assert_int_equal(rig.counts.success, BURST);
    rig_stop(&rig);
}

static void test_burst(void **state)
{
    (void)state;
    burst("127.0.0.1", "127.0.0.1", "127.0.0.1");
    if (host_has_ipv6())
        burst("::", "::1", "::1");
}

static void test_flood_takes_a_bounded_share_of_a_turn(void **state)
{
    const int share = STUN_BATCHES_PER_TURN * STUN_BATCH_DATAGRAMS;
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    faults.send_nowhere = true;
    for (int i = 0; i < share + 10; i++)
        ask(&rig, 1);
    turn(&rig);
    assert_int_equal(rig.counts.success, share);
    turn(&rig);
    assert_int_equal(rig.counts.success, share + 10);
    rig_stop(&rig);
}

static void test_garbage_is_counted_and_not_answered(void **state)
{
    static uint8_t zeroes[65507];
    static const size_t sizes[] = {0, 1, 19, 20, 40, STUN_DATAGRAM_MAX_BYTES, sizeof zeroes};
    const int count = sizeof sizes / sizeof sizes[0];
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    for (int i = 0; i < count; i++)
        ask_bytes(&rig, zeroes, sizes[i]);
    ask_bytes(&rig, "GET / HTTP/1.1\r\nHost: example\r\n\r\n", 34);
    turn(&rig);
    assert_int_equal(rig.counts.not_stun, count + 1);
    assert_int_equal(rig.counts.ipv4, 0);
    assert_no_answer(&rig);
    ask(&rig, 9);
    assert_answered(&rig, 9, "127.0.0.1");
    rig_stop(&rig);
}

// A request that fills the buffer is answered; a longer one, though valid, was cut.
static void test_cut_datagrams_are_not_stun(void **state)
{
    static const uint8_t filler[STUN_DATAGRAM_MAX_BYTES];
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    for (size_t extra = 0; extra <= 4; extra += 4) {
        struct request request;

        request_begin(&request, 3);
        request_add(&request, 0x8022, "tailnode", 8, 0);
        request_add(&request, 0xc001, filler, STUN_DATAGRAM_MAX_BYTES - 44 + extra, 0);
        request_seal(&request);
        assert_int_equal(request.len, STUN_DATAGRAM_MAX_BYTES + extra);
        ask_bytes(&rig, request.bytes, request.len);
    }
    assert_answered(&rig, 3, "127.0.0.1");
    turn(&rig);
    assert_int_equal(rig.counts.success, 1);
    assert_int_equal(rig.counts.not_stun, 1);
    assert_no_answer(&rig);
    rig_stop(&rig);
}

static void test_any_mode_answers_and_refuses(void **state)
{
    static const uint8_t refusal[] = {0, 9, 0, 4, 0, 0, 4, 20, 0, 0x0a, 0, 2, 0, 0x24, 0, 0};
    struct sockaddr_storage from;
    struct request request;
    struct rig rig;
    uint8_t got[2048];

    (void)state;
    rig_start(&rig, STUN_ANY, "127.0.0.1", "127.0.0.1");
    request_begin(&request, 5);
    ask_bytes(&rig, request.bytes, request.len);
    assert_answered(&rig, 5, "127.0.0.1");
    request_add(&request, 0x0024, "1234", 4, 0);
    ask_bytes(&rig, request.bytes, request.len);
    assert_int_equal(answer(&rig, got, &from), 36);
    assert_memory_equal(got + REQUEST_HEADER_BYTES, refusal, sizeof refusal);
    assert_int_equal(rig.counts.success, 1);
    assert_int_equal(rig.counts.refused, 1);
    assert_int_equal(rig.counts.ipv4, 2);
    rig_stop(&rig);
}

static void test_busy_port_is_an_error(void **state)
{
    static const char *const others[] = {"127.0.0.1", "0.0.0.0", "::"};
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct stun_responder second;

        stun_responder_init(&second, &rig.loop, STUN_TAILSCALE);
        assert_int_equal(try_start(&second, others[i], bound_port(&rig.responder)), UV_EADDRINUSE);
        assert_int_equal(second.state, STUN_RESPONDER_IDLE);
        stun_responder_close(&second, NULL);
        uv_run(&rig.loop, UV_RUN_NOWAIT);
        assert_int_equal(second.state, STUN_RESPONDER_CLOSED);
    }
    ask(&rig, 1);
    assert_answered(&rig, 1, "127.0.0.1");
    rig_stop(&rig);
}

static void test_start_may_be_tried_again(void **state)
{
    const struct sockaddr_storage unix_socket = {.ss_family = AF_UNIX};
    struct sockaddr_storage bound;
    struct stun_responder responder;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    stun_responder_init(&responder, &loop, STUN_TAILSCALE);
    assert_int_equal(stun_responder_start(&responder, (const struct sockaddr *)&unix_socket),
                     UV_EAFNOSUPPORT);
    assert_int_equal(try_start(&responder, "192.0.2.1", 0), UV_EADDRNOTAVAIL);
    assert_int_equal(stun_responder_address(&responder, &bound), UV_EBADF);
    assert_int_equal(try_start(&responder, "127.0.0.1", 0), 0);
    bound_port(&responder);
    stun_responder_close(&responder, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(responder.state, STUN_RESPONDER_CLOSED);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_without_ipv6_the_wildcard_is_ipv4(void **state)
{
    struct sockaddr_storage bound;
    struct stun_responder other;
    struct rig rig;

    (void)state;
    faults.no_ipv6 = true;
    rig_start(&rig, STUN_TAILSCALE, "::", "127.0.0.2");
    assert_int_equal(stun_responder_address(&rig.responder, &bound), 0);
    assert_int_equal(bound.ss_family, AF_INET);
    ask(&rig, 1);
    assert_answered(&rig, 1, "127.0.0.1");

    stun_responder_init(&other, &rig.loop, STUN_TAILSCALE);
    assert_int_equal(try_start(&other, "::1", 0), UV_EAFNOSUPPORT);
    assert_int_equal(try_start(&other, "::", bound_port(&rig.responder)), UV_EADDRINUSE);
    stun_responder_close(&other, NULL);
    rig_stop(&rig);
}

static void test_port_is_free_when_close_returns(void **state)
{
    struct stun_responder next;
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    const uint16_t port = bound_port(&rig.responder);
    ask(&rig, 1); // waits unread
    stun_responder_close(&rig.responder, on_closed);
    stun_responder_init(&next, &rig.loop, STUN_TAILSCALE);
    assert_int_equal(try_start(&next, "127.0.0.1", port), 0);
    ask(&rig, 2);
    assert_answered(&rig, 2, "127.0.0.1");
    stun_responder_close(&next, NULL);
    rig_stop(&rig);
}

// The responder's socket is tied to a client that goes away, so that the ICMP answer to what it
// sends comes back to the socket as an error.
static void test_icmp_error_is_counted_and_does_not_stop(void **state)
{
    struct sockaddr_storage client;
    socklen_t len = sizeof(struct sockaddr_in);
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    ask(&rig, 1);
    assert_answered(&rig, 1, "127.0.0.1");
    getsockname(rig.client, (struct sockaddr *)&client, &len);
    parse_address(&client, "127.0.0.1", port_of(&client));
    close(rig.client);
    assert_int_equal(connect(rig.responder.fd, (struct sockaddr *)&client, len), 0);
    assert_int_equal(send(rig.responder.fd, "x", 1, 0), 1);
    for (int i = 0; i < 5; i++)
        turn(&rig);
    assert_int_equal(rig.counts.read_error, 1);
    assert_int_equal(rig.responder.state, STUN_RESPONDER_RUNNING);

    rig.client = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(rig.client, (struct sockaddr *)&client, len), 0);
    ask(&rig, 2);
    assert_answered(&rig, 2, "127.0.0.1");
    rig_stop(&rig);
}

// An error that receiving does not take off the socket: the error queue, which nobody reads.
static void test_lasting_error_state_pauses(void **state)
{
    struct sockaddr_storage nobody;
    uint8_t drained[256];
    struct msghdr drain = {.msg_control = drained, .msg_controllen = sizeof drained};
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    assert_int_equal(setsockopt(rig.responder.fd, IPPROTO_IP, IP_RECVERR, &(int){1}, sizeof(int)),
                     0);
    const socklen_t len = parse_address(&nobody, "127.0.0.1", 1);
    sendto(rig.responder.fd, "x", 1, 0, (struct sockaddr *)&nobody, len);
    turn_until(&rig, STUN_RESPONDER_PAUSED);
    assert_int_equal(rig.counts.read_error, 1);
    assert_true(recvmsg(rig.responder.fd, &drain, MSG_ERRQUEUE) >= 0);
    ask(&rig, 2);
    assert_answered(&rig, 2, "127.0.0.1");
    rig_stop(&rig);
}

static void test_passing_receive_errors_do_not_pause(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    faults.receive_errno = ENOMEM;
    faults.receive_failures = STUN_BATCHES_PER_TURN - 1;
    ask(&rig, 1);
    turn(&rig);
    assert_int_equal(rig.counts.read_error, STUN_BATCHES_PER_TURN - 1);
    assert_int_equal(rig.responder.state, STUN_RESPONDER_RUNNING);
    assert_answered(&rig, 1, "127.0.0.1");
    rig_stop(&rig);
}

static void test_lasting_receive_errors_pause(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    faults.receive_errno = ENOMEM;
    faults.receive_failures = STUN_BATCHES_PER_TURN;
    ask(&rig, 1);
    turn_until(&rig, STUN_RESPONDER_PAUSED);
    for (int i = 0; i < 5; i++)
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    assert_int_equal(rig.counts.read_error, STUN_BATCHES_PER_TURN);
    assert_answered(&rig, 1, "127.0.0.1");
    assert_int_equal(rig.responder.state, STUN_RESPONDER_RUNNING);

    faults.receive_failures = STUN_BATCHES_PER_TURN;
    ask(&rig, 2);
    turn_until(&rig, STUN_RESPONDER_PAUSED);
    rig_stop(&rig); // closes clean from the pause too
}

static const struct {
    const char *name;
    int err, failures, at_most;
    int success, write_error, sends;
} sendings[] = {
    {"all at once", 0, 0, 0, 5, 0, 1},
    {"two at a time", 0, 0, 2, 5, 0, 3},
    {"a firewall refuses one", EPERM, 1, 0, 4, 1, 2},
    {"a firewall refuses all", EPERM, 5, 0, 0, 5, 5},
    {"an ICMP error takes one", ECONNREFUSED, 1, 2, 4, 1, 3},
    {"no route", ENETUNREACH, 2, 0, 3, 2, 3},
    {"send queue full", EAGAIN, 1, 0, 0, 5, 1},
    {"device queue full", ENOBUFS, 1, 0, 0, 5, 1},
};

static void test_send_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sendings / sizeof sendings[0]; i++) {
        struct rig rig;

        print_message("%s\n", sendings[i].name);
        rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
        faults.send_errno = sendings[i].err;
        faults.send_failures = sendings[i].failures;
        faults.send_at_most = sendings[i].at_most;
        for (uint8_t n = 0; n < 5; n++)
            ask(&rig, n);
        turn(&rig);
        assert_int_equal(rig.counts.success, sendings[i].success);
        assert_int_equal(rig.counts.write_error, sendings[i].write_error);
        assert_int_equal(rig.counts.ipv4, 5);
        assert_int_equal(faults.sends, sendings[i].sends);
        for (uint8_t n = 5 - (uint8_t)sendings[i].success; n < 5; n++)
            assert_answered(&rig, n, "127.0.0.1");
        assert_no_answer(&rig);
        rig_stop(&rig);
    }
}

static void test_source_port_zero(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    faults.source_port_zero = true;
    ask(&rig, 1);
    ask(&rig, 2);
    turn(&rig);
    assert_int_equal(rig.counts.write_error, 2);
    faults.source_port_zero = false;
    ask(&rig, 3);
    assert_answered(&rig, 3, "127.0.0.1");
    rig_stop(&rig);
}

static void test_private_source_is_told_once(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    faults.send_nowhere = true;
    faults.source = "203.0.113.7";
    ask(&rig, 1);
    turn(&rig);
    assert_int_equal(rig.private_told, 0);
    faults.source = "172.17.0.1";
    ask(&rig, 1);
    ask(&rig, 1);
    turn(&rig);
    faults.source = "10.0.0.1";
    ask(&rig, 1);
    turn(&rig);
    assert_int_equal(rig.private_told, 1);
    assert_string_equal(rig.private_text, "172.17.0.1");
    assert_int_equal(rig.counts.private_sources, 3);
    assert_int_equal(rig.counts.success, 4);
    rig_stop(&rig);
}

static void test_may_be_closed_when_told(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    rig.close_when_told = true;
    faults.send_nowhere = true;
    faults.source = "192.168.1.1";
    for (int i = 0; i < 2 * STUN_BATCH_DATAGRAMS; i++)
        ask(&rig, 1);
    turn(&rig);
    assert_int_equal(rig.counts.success, STUN_BATCH_DATAGRAMS);
    assert_int_equal(rig.private_told, 1);
    assert_int_equal(rig.closed, 1);
    rig_stop(&rig);
}

static void *watch_counts(void *data)
{
    const struct stun_responder *responder = data;
    const uint64_t deadline = uv_hrtime() / 1000000 + DEADLINE_MS;
    struct stun_counts counts = {0};

    while (counts.success < BURST && uv_hrtime() / 1000000 < deadline)
        stun_responder_counts(responder, &counts);
    return counts.success == BURST ? data : NULL;
}

static void test_counts_are_seen_by_another_thread(void **state)
{
    struct rig rig;
    pthread_t watcher;
    void *result;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    assert_int_equal(pthread_create(&watcher, NULL, watch_counts, &rig.responder), 0);
    for (int i = 0; i < BURST; i++) {
        ask(&rig, 1);
        assert_answered(&rig, 1, "127.0.0.1");
    }
    pthread_join(watcher, &result);
    assert_non_null(result);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_from_the_address_that_was_asked),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_flood_takes_a_bounded_share_of_a_turn),
        cmocka_unit_test(test_garbage_is_counted_and_not_answered),
        cmocka_unit_test(test_cut_datagrams_are_not_stun),
        cmocka_unit_test(test_any_mode_answers_and_refuses),
        cmocka_unit_test(test_busy_port_is_an_error),
        cmocka_unit_test(test_start_may_be_tried_again),
        cmocka_unit_test(test_without_ipv6_the_wildcard_is_ipv4),
        cmocka_unit_test(test_port_is_free_when_close_returns),
        cmocka_unit_test(test_icmp_error_is_counted_and_does_not_stop),
        cmocka_unit_test(test_lasting_error_state_pauses),
        cmocka_unit_test(test_passing_receive_errors_do_not_pause),
        cmocka_unit_test(test_lasting_receive_errors_pause),
        cmocka_unit_test(test_send_errors),
        cmocka_unit_test(test_source_port_zero),
        cmocka_unit_test(test_private_source_is_told_once),
        cmocka_unit_test(test_may_be_closed_when_told),
        cmocka_unit_test(test_counts_are_seen_by_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
