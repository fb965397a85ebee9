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
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 5000
#define BURST 200

#define FLOOD 20000

// What goes wrong next. All zero: nothing. The responder's thread reads it, and counts.
static struct {
    atomic_int receive_errno, receive_failures; // the next calls fail
    atomic_int gather;                          // datagrams that a call waits for
    atomic_bool hold;                           // no call returns
    atomic_int send_errno, send_failures;
    atomic_int send_at_most;      // datagrams a call takes
    atomic_bool send_nowhere;     // sending succeeds, and nothing leaves
    atomic_bool no_ipv6;          // IPv6 sockets cannot be had
    const char *_Atomic source;   // IPv4 address that datagrams seem to come from
    atomic_bool source_port_zero; // and port
    atomic_int sends, pauses;     // calls counted
    atomic_int thread_errno;      // no thread can be had
} faults;

int __real_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *timeout);
int __real_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);
int __real_socket(int family, int type, int protocol);
int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *data);
int __wrap_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *timeout);
int __wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);
int __wrap_socket(int family, int type, int protocol);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *data);

int __wrap_recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                    struct timespec *timeout)
{
    if (faults.receive_failures > 0) {
        faults.receive_failures--;
        errno = faults.receive_errno;
        return -1;
    }
    int n = __real_recvmmsg(fd, messages, count, flags, timeout);

    while (n > 0 && n < faults.gather)
        n += __real_recvmmsg(fd, messages + n, count - (unsigned)n, flags, timeout);
    while (faults.hold)
        usleep(1000);
    for (int i = 0; i < n; i++) {
        struct sockaddr_in *source = messages[i].msg_hdr.msg_name;
        const char *ip = faults.source;

        if (ip)
            inet_pton(AF_INET, ip, &source->sin_addr);
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

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    faults.pauses++;
    return __real_nanosleep(time, left);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *data)
{
    return faults.thread_errno ? faults.thread_errno
                               : __real_pthread_create(thread, attributes, start, data);
}

// A responder and a client.
struct rig {
    struct stun_responder responder;
    int client;
    struct sockaddr_storage asked; // where the client sends to
    struct stun_counts counts;
    atomic_int private_told; // after the text
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

static void on_private(struct stun_responder *responder, const struct stun_address *source)
{
    struct rig *rig = responder->data;

    stun_address_text(source, rig->private_text);
    rig->private_told++;
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
    stun_responder_init(&rig->responder, mode);
    rig->responder.data = rig;
    rig->responder.on_private_source = on_private;
    assert_int_equal(try_start(&rig->responder, bind_ip, 0), 0);
    parse_address(&rig->asked, ask_ip, bound_port(&rig->responder));
    rig->client = socket(rig->asked.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(rig->client >= 0);
}

static void rig_stop(struct rig *rig)
{
    stun_responder_stop(&rig->responder);
    stun_responder_stop(&rig->responder);
    memset(&faults, 0, sizeof faults);
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

// Waits until `wanted` datagrams are dealt with, in whatever way, and `errors` receives have
// failed.
static void wait_for(struct rig *rig, int64_t wanted, int64_t errors)
{
    for (int ms = 0; ms < DEADLINE_MS; ms++) {
        const struct stun_counts *counts = &rig->counts;

        stun_responder_counts(&rig->responder, &rig->counts);
        if (counts->success + counts->refused + counts->not_stun + counts->write_error == wanted &&
            counts->read_error == errors)
            return;
        usleep(1000);
    }
    fail_msg("not all was dealt with");
}

// Waits for the next answer to the client; its size.
static size_t answer(struct rig *rig, uint8_t out[static 2048], struct sockaddr_storage *from)
{
    struct pollfd waiting = {.fd = rig->client, .events = POLLIN};
    socklen_t len = sizeof *from;
    ssize_t n;

    assert_int_equal(poll(&waiting, 1, DEADLINE_MS), 1);
    n = recvfrom(rig->client, out, 2048, 0, (struct sockaddr *)from, &len);
    assert_true(n > 0);
    return (size_t)n;
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
        wait_for(&rig, 1, 0);
        assert_int_equal(rig.counts.success, 1);
        assert_int_equal(rig.counts.ipv6, askings[i].ipv6);
        assert_int_equal(rig.counts.ipv4, !askings[i].ipv6);
        assert_int_equal(rig.counts.private_sources, 0);
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
    wait_for(&rig, BURST, 0);
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

static void wait_until_read(const struct rig *rig)
{
    int waiting = 1;

    while (waiting > 0)
        assert_int_equal(ioctl(rig->responder.fd, FIONREAD, &waiting), 0);
}

// What comes while the responder is behind is kept by the kernel, within bounds.
static void test_flood_is_dropped_and_passes(void **state)
{
    struct sockaddr_storage from;
    struct rig rig;
    uint8_t got[2048];

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    faults.hold = true;
    for (int i = 0; i < FLOOD; i++)
        ask(&rig, 1);
    faults.hold = false;
    wait_until_read(&rig);
    while (recv(rig.client, got, sizeof got, 0) > 0)
        ;
    ask(&rig, 2);
    do
        answer(&rig, got, &from);
    while (got[8] != 2);
    stun_responder_counts(&rig.responder, &rig.counts);
    assert_in_range(rig.counts.success, STUN_BATCH_DATAGRAMS, FLOOD / 2);
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
    wait_for(&rig, count + 1, 0);
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
    wait_for(&rig, 2, 0);
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
    wait_for(&rig, 2, 0);
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

        stun_responder_init(&second, STUN_TAILSCALE);
        assert_int_equal(try_start(&second, others[i], bound_port(&rig.responder)), -EADDRINUSE);
        stun_responder_stop(&second);
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

    (void)state;
    stun_responder_init(&responder, STUN_TAILSCALE);
    assert_int_equal(stun_responder_start(&responder, (const struct sockaddr *)&unix_socket),
                     -EAFNOSUPPORT);
    assert_int_equal(try_start(&responder, "192.0.2.1", 0), -EADDRNOTAVAIL);
    assert_int_equal(stun_responder_address(&responder, &bound), -EBADF);
    faults.thread_errno = EAGAIN;
    assert_int_equal(try_start(&responder, "127.0.0.1", 0), -EAGAIN);
    assert_int_equal(stun_responder_address(&responder, &bound), -EBADF);
    faults.thread_errno = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(try_start(&responder, "127.0.0.1", 0), 0);
        bound_port(&responder);
        stun_responder_stop(&responder);
    }
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

    stun_responder_init(&other, STUN_TAILSCALE);
    assert_int_equal(try_start(&other, "::1", 0), -EAFNOSUPPORT);
    assert_int_equal(try_start(&other, "::", bound_port(&rig.responder)), -EADDRINUSE);
    rig_stop(&rig);
}

static void test_port_is_free_when_stop_returns(void **state)
{
    struct stun_responder next;
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    const uint16_t port = bound_port(&rig.responder);
    stun_responder_stop(&rig.responder);
    stun_responder_init(&next, STUN_TAILSCALE);
    assert_int_equal(try_start(&next, "127.0.0.1", port), 0);
    ask(&rig, 2);
    assert_answered(&rig, 2, "127.0.0.1");
    stun_responder_stop(&next);
    rig_stop(&rig);
}

static void *nothing(void *data)
{
    return data;
}

// Where a kernel does not wake the thread to stop, it looks up by itself; that is no fault.
static void test_silence_is_no_fault(void **state)
{
    struct timespec limit;
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    atomic_store(&rig.responder.stopping, true); // all that a stop does but to wake it
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 4 * STUN_LOOK_UP_MS / 1000;
    assert_int_equal(pthread_timedjoin_np(rig.responder.thread, NULL, &limit), 0);
    assert_int_equal(rig.responder.counters.read_error, 0);
    pthread_create(&rig.responder.thread, NULL, nothing, NULL); // for the stop to join
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
    const int same_socket = dup(rig.responder.fd);
    assert_int_equal(connect(same_socket, (struct sockaddr *)&client, len), 0);
    assert_int_equal(send(same_socket, "x", 1, 0), 1);
    close(same_socket);
    wait_for(&rig, 1, 1);

    rig.client = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(rig.client, (struct sockaddr *)&client, len), 0);
    ask(&rig, 2);
    assert_answered(&rig, 2, "127.0.0.1");
    rig_stop(&rig);
}

// The call that waits already takes the first request.
static void receive_errors(int failures, int pauses)
{
    struct rig rig;

    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    faults.receive_errno = ENOMEM;
    faults.receive_failures = failures;
    ask(&rig, 1);
    assert_answered(&rig, 1, "127.0.0.1");
    wait_for(&rig, 1, failures);
    ask(&rig, 2);
    assert_answered(&rig, 2, "127.0.0.1");
    assert_int_equal(faults.pauses, pauses);
    rig_stop(&rig);
}

static void test_passing_receive_errors_do_not_pause(void **state)
{
    (void)state;
    receive_errors(STUN_FAILURES_MAX - 1, 0);
}

static void test_lasting_receive_errors_pause(void **state)
{
    (void)state;
    receive_errors(STUN_FAILURES_MAX, 1);
    receive_errors(3 * STUN_FAILURES_MAX - 1, 2);
}

static void test_stops_out_of_a_pause(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, STUN_TAILSCALE, "127.0.0.1", "127.0.0.1");
    faults.receive_errno = ENOMEM;
    faults.receive_failures = 1000000;
    ask(&rig, 1);
    while (faults.pauses == 0)
        usleep(1000);
    rig_stop(&rig);
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
        faults.gather = 5;
        for (uint8_t n = 0; n < 5; n++)
            ask(&rig, n);
        wait_for(&rig, 5, 0);
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
    wait_for(&rig, 2, 0);
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
    wait_for(&rig, 1, 0);
    assert_int_equal(rig.private_told, 0);
    faults.source = "172.17.0.1";
    ask(&rig, 1);
    ask(&rig, 1);
    wait_for(&rig, 3, 0);
    faults.source = "10.0.0.1";
    ask(&rig, 1);
    wait_for(&rig, 4, 0);
    assert_int_equal(rig.private_told, 1);
    assert_string_equal(rig.private_text, "172.17.0.1");
    assert_int_equal(rig.counts.private_sources, 3);
    assert_int_equal(rig.counts.success, 4);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_from_the_address_that_was_asked),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_flood_is_dropped_and_passes),
        cmocka_unit_test(test_garbage_is_counted_and_not_answered),
        cmocka_unit_test(test_cut_datagrams_are_not_stun),
        cmocka_unit_test(test_any_mode_answers_and_refuses),
        cmocka_unit_test(test_busy_port_is_an_error),
        cmocka_unit_test(test_start_may_be_tried_again),
        cmocka_unit_test(test_without_ipv6_the_wildcard_is_ipv4),
        cmocka_unit_test(test_port_is_free_when_stop_returns),
        cmocka_unit_test(test_silence_is_no_fault),
        cmocka_unit_test(test_icmp_error_is_counted_and_does_not_stop),
        cmocka_unit_test(test_passing_receive_errors_do_not_pause),
        cmocka_unit_test(test_lasting_receive_errors_pause),
        cmocka_unit_test(test_stops_out_of_a_pause),
        cmocka_unit_test(test_send_errors),
        cmocka_unit_test(test_source_port_zero),
        cmocka_unit_test(test_private_source_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
