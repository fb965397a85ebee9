// SPDX-License-Identifier: BSD-3-Clause
//
// Binding requests from a few sockets, a batch at a time: each socket asks again when its batch is
// answered or given up, and not before its turn in the wanted rate.
#include "modes.h"

#include "base/clock.h"
#include "base/memory.h"
#include "histogram.h"
#include "stun_request.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS 4
#define WINDOW_MAX 64
#define GIVEN_UP_NS (1000 * (uint64_t)NS_PER_MS) // lost, not held up by a busy machine
#define LIMIT_NS 300000000000ULL
#define LATE_P99_MAX_NS 1000000
#define LOSS_MAX 0.001

struct asker {
    int fd;
    uint16_t port;
    uint64_t first, missing; // numbers of the batch under way: first, …; those not yet answered
    uint64_t asked_ns;
    bool answered[WINDOW_MAX];
    struct mmsghdr messages[WINDOW_MAX];
    struct iovec vectors[WINDOW_MAX];
    uint8_t bytes[WINDOW_MAX][STUN_ANSWER_BYTES];
};

struct stun {
    struct asker askers[SOCKETS];
    uint64_t window, wanted, asked, answered, lost, wrong;
    uint64_t start_ns, interval_ns; // between batches; 0: none
    uint64_t batches;
    bool echo; // the target echoes
    const char *failure;
    struct histogram took, late;
};

static bool open_asker(struct asker *asker, const struct sockaddr_in *address)
{
    struct sockaddr_in own;
    socklen_t len = sizeof own;

    asker->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (asker->fd < 0 ||
        connect(asker->fd, (const struct sockaddr *)address, sizeof *address) < 0 ||
        getsockname(asker->fd, (struct sockaddr *)&own, &len) < 0)
        return false;
    asker->port = ntohs(own.sin_port);
    return true;
}

static void set_messages(struct asker *asker, size_t bytes)
{
    for (int i = 0; i < WINDOW_MAX; i++) {
        asker->vectors[i] = (struct iovec){asker->bytes[i], bytes};
        asker->messages[i] =
            (struct mmsghdr){.msg_hdr = {.msg_iov = &asker->vectors[i], .msg_iovlen = 1}};
    }
}

static void ask(struct stun *stun, struct asker *asker)
{
    const uint64_t left = stun->wanted - stun->asked;
    const uint64_t n = left < stun->window ? left : stun->window;
    int sent;

    set_messages(asker, STUN_REQUEST_BYTES);
    asker->first = stun->asked;
    for (uint64_t i = 0; i < n; i++)
        stun_request_put(asker->bytes[i], asker->first + i);
    memset(asker->answered, 0, sizeof asker->answered);
    asker->asked_ns = clock_ns();
    sent = sendmmsg(asker->fd, asker->messages, (unsigned int)n, 0);
    if (sent <= 0) {
        stun->failure = "a send failed";
        return;
    }
    asker->missing = (uint64_t)sent;
    stun->asked += (uint64_t)sent;
    stun->batches++;
}

static void take_answer(struct stun *stun, struct asker *asker, const uint8_t *in, size_t len)
{
    uint64_t number;

    if (!(stun->echo ? stun_request_echo(in, len, &number)
                     : stun_request_answer(in, len, asker->port, &number))) {
        stun->wrong++;
        return;
    }
    number -= asker->first;
    if (number >= WINDOW_MAX || asker->answered[number] || asker->missing == 0)
        return; // given up before, or twice
    asker->answered[number] = true;
    asker->missing--;
    stun->answered++;
    histogram_add(&stun->took, clock_ns() - asker->asked_ns, 1);
}

static void take(struct stun *stun, struct asker *asker)
{
    int n;

    set_messages(asker, STUN_ANSWER_BYTES);
    n = recvmmsg(asker->fd, asker->messages, WINDOW_MAX, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++)
        take_answer(stun, asker, asker->bytes[i], asker->messages[i].msg_len);
    if (asker->missing > 0 && clock_ns() > asker->asked_ns + GIVEN_UP_NS) {
        stun->lost += asker->missing;
        asker->missing = 0;
    }
}

// When the next batch may go. Lateness counts only where a socket was free to send it.
static bool may_ask(struct stun *stun)
{
    const uint64_t now = clock_ns();
    const uint64_t due = stun->start_ns + stun->batches * stun->interval_ns;

    if (stun->asked >= stun->wanted || now < due)
        return false;
    if (stun->interval_ns)
        histogram_add(&stun->late, now - due, 1);
    return true;
}

static void run(struct stun *stun)
{
    bool busy = true;

    stun->start_ns = clock_ns();
    while (busy && !stun->failure) {
        busy = stun->asked < stun->wanted;
        for (int i = 0; i < SOCKETS; i++) {
            struct asker *asker = &stun->askers[i];

            if (asker->missing > 0)
                take(stun, asker);
            else if (may_ask(stun))
                ask(stun, asker);
            busy |= asker->missing > 0;
        }
        if (clock_ns() > stun->start_ns + LIMIT_NS)
            stun->failure = "the requests were not answered in time";
    }
}

static void report_stun(struct stun *stun, struct report *report)
{
    const double seconds = (double)(report->end_ns - report->begin_ns) / 1e9;
    const double loss = stun->asked ? (double)stun->lost / (double)stun->asked : 0;

    report_count(report, "requests", stun->asked);
    report_count(report, "answers", stun->answered);
    report_count(report, "wrong", stun->wrong);
    report_real(report, "loss", loss);
    report_real(report, "answers_per_s", (double)stun->answered / seconds);
    report_json(report, "took_us", histogram_json(&stun->took));
    report_json(report, "late_us", histogram_json(&stun->late));
    if (stun->failure)
        report_invalid(report, "%s", stun->failure);
    if (stun->wrong)
        report_invalid(report, "answers that are none");
    if (stun->answered == 0 || loss > LOSS_MAX)
        report_invalid(report, "%.3f %% of the requests have no answer", 100 * loss);
    if (histogram_at(&stun->late, 0.99) > LATE_P99_MAX_NS)
        report_invalid(report, "late generator, or too slow answers for this rate and window");
    report_costs(report, "answers_per_cpu_s", stun->answered);
}

void mode_stun(const struct options *options, struct report *report)
{
    struct stun *stun = memory_zeroed(sizeof *stun);

    stun->echo = options->echo;
    stun->window = options->window;
    stun->wanted = options->requests;
    if (options->rate)
        stun->interval_ns = stun->window * 1000000000ULL / options->rate;
    for (int i = 0; i < SOCKETS; i++)
        if (!open_asker(&stun->askers[i], &options->target.address))
            stun->failure = "a socket could not be opened";
    report_begin(report);
    run(stun);
    report_end(report);
    report_count(report, "window", SOCKETS * stun->window);
    report_count(report, "rate", options->rate);
    report_stun(stun, report);
    for (int i = 0; i < SOCKETS; i++)
        if (stun->askers[i].fd >= 0)
            close(stun->askers[i].fd);
    free(stun);
}
