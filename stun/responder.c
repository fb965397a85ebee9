// SPDX-License-Identifier: BSD-3-Clause
#include "stun/responder.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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
// of arrival. requests[0 .. used) bear what the kernel wrote into them.
struct stun_buffers {
    int used;
    struct slot slots[STUN_BATCH_DATAGRAMS];
    struct mmsghdr requests[STUN_BATCH_DATAGRAMS];
    struct mmsghdr answers[STUN_BATCH_DATAGRAMS];
    const struct slot *answered[STUN_BATCH_DATAGRAMS];
};

// Plain load and store: only the responder's thread writes.
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

        slot->answer_io.iov_base = slot->answer;
        slot->datagram_io = (struct iovec){slot->datagram, sizeof slot->datagram};
        request->msg_name = &slot->source;
        request->msg_control = slot->control;
        request->msg_iov = &slot->datagram_io;
        request->msg_iovlen = 1;
    }
    if (buffers)
        buffers->used = STUN_BATCH_DATAGRAMS;
    return buffers;
}

// Waits for datagrams and takes what is there. Their number, or a negative errno.
static int receive_batch(struct stun_responder *responder)
{
    struct stun_buffers *buffers = responder->buffers;

    for (int i = 0; i < buffers->used; i++) {
        buffers->requests[i].msg_hdr.msg_namelen = sizeof(struct sockaddr_storage);
        buffers->requests[i].msg_hdr.msg_controllen = CONTROL_BYTES;
    }
    const int n =
        recvmmsg(responder->fd, buffers->requests, STUN_BATCH_DATAGRAMS, MSG_WAITFORONE, NULL);

    buffers->used = n < 0 ? 0 : n;
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
    if (get(&counters->private_sources) == 0 && responder->on_private_source)
        responder->on_private_source(responder, &slot->from);
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

// A receive that fails has taken the error (a late ICMP message, say) off the socket. Where that
// does not help, the thread must not spin.
static void *serve(void *data)
{
    const struct timespec pause = {.tv_nsec = STUN_PAUSE_MS * 1000000L};
    struct stun_responder *responder = data;
    int failures = 0;

    for (;;) {
        const int received = receive_batch(responder);

        if (atomic_load(&responder->stopping))
            return NULL;
        if (received >= 0) {
            failures = 0;
            send_answers(responder, build_answers(responder, received));
            continue;
        }
        if (received == -EAGAIN || received == -EINTR)
            continue; // nobody asked for STUN_LOOK_UP_MS
        add(&responder->counters.read_error, 1);
        if (++failures % STUN_FAILURES_MAX == 0)
            nanosleep(&pause, NULL);
    }
}

// Signals stay with the threads that there were. 0, or a negative errno.
static int start_thread(struct stun_responder *responder)
{
    sigset_t all, before;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&responder->thread, NULL, serve, responder);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -err;
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
    const struct timeval look_up = {.tv_sec = STUN_LOOK_UP_MS / 1000};
    const bool ipv6 = address->sa_family == AF_INET6;
    const int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok;

    if (fd < 0)
        return -errno;
    set_option(fd, SOL_SOCKET, SO_RCVBUF, STUN_RECEIVE_QUEUE_BYTES);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &look_up, sizeof look_up);
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

static void release(struct stun_responder *responder)
{
    close(responder->fd);
    responder->fd = -1;
    free(responder->buffers);
    responder->buffers = NULL;
}

void stun_responder_init(struct stun_responder *responder, enum stun_mode mode)
{
    *responder = (struct stun_responder){.mode = mode, .fd = -1};
}

int stun_responder_start(struct stun_responder *responder, const struct sockaddr *address)
{
    int err;

    assert(responder->fd < 0);
    if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
        return -EAFNOSUPPORT;
    responder->fd = open_socket_or_ipv4(address);
    if (responder->fd < 0) {
        err = responder->fd;
        responder->fd = -1;
        return err;
    }
    responder->buffers = buffers_new();
    err = responder->buffers ? start_thread(responder) : -ENOMEM;
    if (err != 0)
        release(responder);
    return err;
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

void stun_responder_stop(struct stun_responder *responder)
{
    if (responder->fd < 0)
        return;
    atomic_store(&responder->stopping, true);
    shutdown(responder->fd, SHUT_RD); // fails, as there is no connection, and wakes Linux's thread
    pthread_join(responder->thread, NULL);
    atomic_store(&responder->stopping, false);
    release(responder);
}
