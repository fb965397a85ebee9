// SPDX-License-Identifier: BSD-3-Clause
//
// The yardstick of the STUN responder: what the kernel alone costs. One thread, one socket, one
// recvmmsg that waits and one sendmmsg for each batch; each datagram is answered with its first
// bytes, as many as a STUN answer to an IPv4 client has. It knows nothing of STUN. With --pktinfo
// the control messages that make the answer leave from the address that was asked come and go as
// well, so that their cost can be seen apart.
#include "modes.h"

#include "stun_request.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_DATAGRAMS 32
#define DATAGRAM_MAX_BYTES 1500
#define RECEIVE_QUEUE_BYTES (1024 * 1024)

struct echo {
    int fd;
    bool pktinfo;
    struct mmsghdr messages[BATCH_DATAGRAMS];
    struct iovec vectors[BATCH_DATAGRAMS];
    struct sockaddr_in sources[BATCH_DATAGRAMS];
    _Alignas(
        struct cmsghdr) uint8_t controls[BATCH_DATAGRAMS][CMSG_SPACE(sizeof(struct in_pktinfo))];
    uint8_t datagrams[BATCH_DATAGRAMS][DATAGRAM_MAX_BYTES];
};

static bool open_socket(struct echo *echo, const struct sockaddr_in *address)
{
    const int bytes = RECEIVE_QUEUE_BYTES, yes = 1;

    echo->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return echo->fd >= 0 &&
           setsockopt(echo->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) == 0 &&
           (!echo->pktinfo ||
            setsockopt(echo->fd, IPPROTO_IP, IP_PKTINFO, &yes, sizeof yes) == 0) &&
           bind(echo->fd, (const struct sockaddr *)address, sizeof *address) == 0;
}

static void set_messages(struct echo *echo, int count)
{
    for (int i = 0; i < count; i++) {
        echo->vectors[i] = (struct iovec){echo->datagrams[i], DATAGRAM_MAX_BYTES};
        echo->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &echo->sources[i],
            .msg_namelen = sizeof echo->sources[i],
            .msg_iov = &echo->vectors[i],
            .msg_iovlen = 1,
            .msg_control = echo->pktinfo ? echo->controls[i] : NULL,
            .msg_controllen = echo->pktinfo ? sizeof echo->controls[i] : 0,
        };
    }
}

void mode_echo(const struct options *options, struct report *report)
{
    static struct echo echo;

    echo.pktinfo = options->pktinfo;
    if (!open_socket(&echo, &options->target.address)) {
        report_invalid(report, "the address to listen on cannot be had");
        return;
    }
    set_messages(&echo, BATCH_DATAGRAMS);
    for (;;) {
        const int received =
            recvmmsg(echo.fd, echo.messages, BATCH_DATAGRAMS, MSG_WAITFORONE, NULL);

        for (int i = 0; i < received; i++)
            echo.vectors[i].iov_len = STUN_ECHO_BYTES;
        for (int done = 0, sent; done<received; done += sent> 0 ? sent : 1)
            sent = sendmmsg(echo.fd, echo.messages + done, (unsigned int)(received - done), 0);
        set_messages(&echo, received);
    }
}
