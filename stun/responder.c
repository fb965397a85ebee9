// SPDX-License-Identifier: BSD-3-Clause
#include "stun/responder.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The larger of the two control messages that tell which of our addresses was asked.
#define CONTROL_BYTES CMSG_SPACE(sizeof(struct in6_pktinfo))

// A datagram and its answer. The answer goes out with the source and control message of the
// request.
struct slot {
    struct sockaddr_storage source;
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_BYTES];
    struct stun_address from;
    struct stun_request request;
    uint8_t datagram[STUN_DATAGRAM_MAX_BYTES];
    uint8_t answer[STUN_ANSWER_MAX_BYTES];
    struct iovec datagram_io, answer_io;
};

// requests[i] always belongs to slots[i]; answers[0 .. n) belong to answered[0 .. n), in the order
// of arrival.
struct stun_buffers {
    struct slot slots[STUN_BATCH_DATAGRAMS];
    struct mmsghdr requests[STUN_BATCH_DATAGRAMS];
    struct mmsghdr answers[STUN_BATCH_DATAGRAMS];
    const struct slot *answered[STUN_BATCH_DATAGRAMS];
};

static void set_state(struct stun_responder *responder, enum stun_responder_state to)
{
    static const unsigned legal[] = {
        [STUN_RESPONDER_IDLE] = 1u << STUN_RESPONDER_RUNNING | 1u << STUN_RESPONDER_CLOSING,
        [STUN_RESPONDER_RUNNING] = 1u << STUN_RESPONDER_PAUSED | 1u << STUN_RESPONDER_CLOSING,
        [STUN_RESPONDER_PAUSED] = 1u << STUN_RESPONDER_RUNNING | 1u << STUN_RESPONDER_CLOSING,
        [STUN_RESPONDER_CLOSING] = 1u << STUN_RESPONDER_CLOSED,
        [STUN_RESPONDER_CLOSED] = 0,
    };
    assert(legal[responder->state] & 1u << to);
    responder->state = to;
}

// Plain load and store: only the loop's thread writes.
static void add(_Atomic int64_t *counter, int64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static int64_t get(const _Atomic int64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static struct stun_buffers *buffers_new(void)
{
    struct stun_buffers *buffers = calloc(1, sizeof *buffers);

    for (int i = 0; buffers && i < STUN_BATCH_DATAGRAMS; i++) {
        struct slot *slot = &buffers->slots[i];
        struct msghdr *request = &buffers->requests[i].msg_hdr;

        slot->datagram_io = (struct iovec){slot->datagram, sizeof slot->datagram};
        request->msg_name = &slot->source;
        request->msg_control = slot->control;
        request->msg_iov = &slot->datagram_io;
        request->msg_iovlen = 1;
    }
    return buffers;
}

// Datagrams received, or a negative errno.
static int receive_batch(struct stun_responder *responder)
{
    struct mmsghdr *requests = responder->buffers->requests;

    for (int i = 0; i < STUN_BATCH_DATAGRAMS; i++) {
        requests[i].msg_hdr.msg_namelen = sizeof(struct sockaddr_storage);
        requests[i].msg_hdr.msg_controllen = CONTROL_BYTES;
    }
    const int n = recvmmsg(responder->fd, requests, STUN_BATCH_DATAGRAMS, MSG_DONTWAIT, NULL);
    return n < 0 ? -errno : n;
}

// Makes the control message of a request fit for its answer: the address stays, the way out is left
// to the routing table, as it need not be the way in. IPv6 link-local addresses mean nothing
// without their interface.
static void clear_interface(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(c);

            info->ipi_ifindex = 0;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo *info = (struct in6_pktinfo *)CMSG_DATA(c);

            if (!IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr))
                info->ipi6_ifindex = 0;
        }
    }
}

static bool parse(struct slot *slot, const struct mmsghdr *received, enum stun_mode mode)
{
    return !(received->msg_hdr.msg_flags & MSG_TRUNC) &&
           stun_address_from(&slot->from, (const struct sockaddr *)&slot->source) &&
           stun_parse_request(slot->datagram, received->msg_len, mode, &slot->request);
}

// Builds the answers to `received` datagrams and returns their number.
static int build_answers(struct stun_responder *responder, int received)
{
    struct stun_buffers *buffers = responder->buffers;
    struct stun_counters *counters = &responder->counters;
    int answers = 0;

    for (int i = 0; i < received; i++) {
        struct slot *slot = &buffers->slots[i];

        if (!parse(slot, &buffers->requests[i], responder->mode)) {
            add(&counters->not_stun, 1);
            continue;
        }
        add(slot->from.ipv6 ? &counters->ipv6 : &counters->ipv4, 1);
        slot->answer_io.iov_base = slot->answer;
        slot->answer_io.iov_len = stun_put_answer(slot->answer, &slot->request, &slot->from);

        struct msghdr *answer = &buffers->answers[answers].msg_hdr;
        *answer = buffers->requests[i].msg_hdr;
        answer->msg_iov = &slot->answer_io;
        answer->msg_flags = 0;
        clear_interface(answer);
        buffers->answered[answers++] = slot;
    }
    return answers;
}

static void count_answer(struct stun_responder *responder, const struct slot *slot)
{
    struct stun_counters *counters = &responder->counters;

    if (slot->request.unknown_count > 0) {
        add(&counters->refused, 1);
        return;
    }
    add(&counters->success, 1);
    if (!stun_address_private(&slot->from))
        return;
    if (get(&counters->private_sources) == 0)
        responder->private_source = slot->from;
    add(&counters->private_sources, 1);
}

// An answer that cannot leave now is of no use later: it is dropped, not queued.
static void send_answers(struct stun_responder *responder, int answers)
{
    struct stun_buffers *buffers = responder->buffers;

    for (int done = 0; done < answers;) {
        const int rest = answers - done;
        const int sent =
            sendmmsg(responder->fd, buffers->answers + done, (unsigned)rest, MSG_DONTWAIT);

        if (sent > 0) {
            for (int i = 0; i < sent; i++)
                count_answer(responder, buffers->answered[done + i]);
            done += sent;
        } else {
            const bool full = errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
            const int lost = full ? rest : 1; // otherwise the fault is of the first one alone

            add(&responder->counters.write_error, lost);
            done += lost;
        }
    }
}

// May close the responder.
static void tell_private_source(struct stun_responder *responder)
{
    if (responder->private_told || get(&responder->counters.private_sources) == 0)
        return;
    responder->private_told = true;
    if (responder->on_private_source)
        responder->on_private_source(responder, &responder->private_source);
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    struct stun_responder *responder = timer->data;

    set_state(responder, STUN_RESPONDER_RUNNING);
    uv_poll_start(&responder->poll, UV_READABLE, on_readable);
}

static void pause_reading(struct stun_responder *responder)
{
    set_state(responder, STUN_RESPONDER_PAUSED);
    uv_poll_stop(&responder->poll);
    uv_timer_start(&responder->pause, on_pause_over, STUN_PAUSE_MS, 0);
}

// An error that waits on the socket (a late ICMP message, say) makes libuv stop the poll and call
// with a status; receiving takes the error off the socket. Errors that receiving does not take off
// would keep the loop busy, so they end in a pause.
static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct stun_responder *responder = poll->data;
    int failures = 0;

    (void)events;
    for (int i = 0; i < STUN_BATCHES_PER_TURN; i++) {
        const int received = receive_batch(responder);

        if (received == -EAGAIN || received == -EWOULDBLOCK)
            break;
        if (received < 0) {
            add(&responder->counters.read_error, 1);
            failures++;
            continue;
        }
        send_answers(responder, build_answers(responder, received));
        tell_private_source(responder);
        if (responder->state != STUN_RESPONDER_RUNNING)
            return;
        if (received < STUN_BATCH_DATAGRAMS)
            break;
    }
    if (failures == STUN_BATCHES_PER_TURN || (status < 0 && failures == 0))
        pause_reading(responder);
    else if (status < 0)
        uv_poll_start(poll, UV_READABLE, on_readable);
}

static socklen_t address_len(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}

static bool set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

// A bound descriptor, or a negative errno. No address reuse: it would hide a second process on the
// port.
static int open_socket(const struct sockaddr *address)
{
    const bool ipv6 = address->sa_family == AF_INET6;
    const int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool ok;

    if (fd < 0)
        return -errno;
    set_option(fd, SOL_SOCKET, SO_RCVBUF, STUN_RECEIVE_QUEUE_BYTES);
    if (ipv6)
        ok = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) &&
             set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    else
        ok = set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    if (ok && bind(fd, address, address_len(address)) == 0)
        return fd;

    const int err = -errno;
    close(fd);
    return err;
}

static bool is_ipv6_wildcard(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

// The same as open_socket, with IPv4 in the place of "::" where the host has no IPv6.
static int open_socket_or_ipv4(const struct sockaddr *address)
{
    const int fd = open_socket(address);

    if ((fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL) || !is_ipv6_wildcard(address))
        return fd;
    const struct sockaddr_in any = {
        .sin_family = AF_INET,
        .sin_port = ((const struct sockaddr_in6 *)address)->sin6_port,
    };
    return open_socket((const struct sockaddr *)&any);
}

void stun_responder_init(struct stun_responder *responder, uv_loop_t *loop, enum stun_mode mode)
{
    *responder = (struct stun_responder){.mode = mode, .fd = -1, .open_handles = 1};
    uv_timer_init(loop, &responder->pause);
    responder->pause.data = responder;
}

int stun_responder_start(struct stun_responder *responder, const struct sockaddr *address)
{
    assert(responder->state == STUN_RESPONDER_IDLE);
    if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
        return UV_EAFNOSUPPORT;

    struct stun_buffers *buffers = buffers_new();
    const int fd = open_socket_or_ipv4(address);
    int err = buffers ? 0 : UV_ENOMEM;

    if (fd < 0)
        err = fd;
    if (err == 0)
        err = uv_poll_init(responder->pause.loop, &responder->poll, fd);
    if (err != 0) {
        if (fd >= 0)
            close(fd);
        free(buffers);
        return err;
    }
    responder->poll.data = responder;
    responder->fd = fd;
    responder->buffers = buffers;
    responder->open_handles++;
    set_state(responder, STUN_RESPONDER_RUNNING);
    uv_poll_start(&responder->poll, UV_READABLE, on_readable);
    return 0;
}

int stun_responder_address(const struct stun_responder *responder, struct sockaddr_storage *out)
{
    socklen_t len = sizeof *out;

    return getsockname(responder->fd, (struct sockaddr *)out, &len) == 0 ? 0 : -errno;
}

void stun_responder_counts(const struct stun_responder *responder, struct stun_counts *out)
{
    const struct stun_counters *counters = &responder->counters;

    *out = (struct stun_counts){
        .success = get(&counters->success),
        .refused = get(&counters->refused),
        .not_stun = get(&counters->not_stun),
        .read_error = get(&counters->read_error),
        .write_error = get(&counters->write_error),
        .ipv4 = get(&counters->ipv4),
        .ipv6 = get(&counters->ipv6),
        .private_sources = get(&counters->private_sources),
    };
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct stun_responder *responder = handle->data;

    if (--responder->open_handles > 0)
        return;
    free(responder->buffers);
    responder->buffers = NULL;
    set_state(responder, STUN_RESPONDER_CLOSED);
    if (responder->on_closed)
        responder->on_closed(responder);
}

void stun_responder_close(struct stun_responder *responder, stun_closed_cb on_closed)
{
    if (responder->state == STUN_RESPONDER_CLOSING || responder->state == STUN_RESPONDER_CLOSED)
        return;
    set_state(responder, STUN_RESPONDER_CLOSING);
    responder->on_closed = on_closed;
    uv_close((uv_handle_t *)&responder->pause, on_handle_closed);
    if (responder->fd < 0)
        return;
    uv_close((uv_handle_t *)&responder->poll, on_handle_closed);
    close(responder->fd);
    responder->fd = -1;
}
