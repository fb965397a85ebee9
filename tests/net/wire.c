// SPDX-License-Identifier: BSD-3-Clause
//
// A wire between two network namespaces with a rate, a delay and a buffer, for kernels without
// netem: a TAP device in each, and this process in between. Each is named by a process in it.
//
//   usage: wire PID DEVICE PID DEVICE MBIT_PER_S DELAY_MS BUFFER_MS LOSS_PERCENT
//
// The rate counts for each direction, the delay for one way. A packet that would wait longer than
// the buffer is dropped, as a router drops it, and so are some by chance. Says "ready" when the
// devices are there; ends when its standard input does.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX_BYTES 2048
#define OVERHEAD_BYTES 24 // Ethernet's preamble, checksum and gap
#define WAITING_MAX 16384 // a power of two
#define READS_PER_TURN 64
#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull

struct waiting {
    uint64_t due_ns;
    uint32_t len;
    uint8_t frame[FRAME_MAX_BYTES];
};

struct direction {
    int from, to;
    uint64_t free_ns; // when the last bit of what waits has left
    uint32_t first, end;
    unsigned long long passed, dropped;
    struct waiting *ring;
};

static double ns_per_byte;
static uint64_t delay_ns, buffer_ns;
static long lost_of_2_31; // as many random numbers mean a loss

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static int open_tap(const char *pid, const char *device)
{
    char path[128];
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int ns, fd;

    snprintf(path, sizeof path, "/proc/%s/ns/net", pid);
    ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) != 0)
        die(path);
    close(ns);
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
        die(device);
    return fd;
}

static void take(struct direction *direction)
{
    for (int i = 0; i < READS_PER_TURN; i++) {
        struct waiting *slot = &direction->ring[direction->end % WAITING_MAX];
        const ssize_t len = read(direction->from, slot->frame, sizeof slot->frame);
        const uint64_t now = now_ns();

        if (len <= 0)
            return;
        if (direction->free_ns < now)
            direction->free_ns = now;
        if (direction->free_ns - now > buffer_ns ||
            direction->end - direction->first == WAITING_MAX - 1 || random() < lost_of_2_31) {
            direction->dropped++;
            continue;
        }
        direction->free_ns += (uint64_t)((double)(len + OVERHEAD_BYTES) * ns_per_byte);
        slot->due_ns = direction->free_ns + delay_ns;
        slot->len = (uint32_t)len;
        direction->end++;
    }
}

// Hands over what has arrived. Returns when the next one does, or `never`.
static uint64_t give(struct direction *direction, uint64_t never)
{
    while (direction->first != direction->end) {
        const struct waiting *slot = &direction->ring[direction->first % WAITING_MAX];

        if (slot->due_ns > now_ns())
            return slot->due_ns;
        if (write(direction->to, slot->frame, slot->len) == (ssize_t)slot->len)
            direction->passed++;
        else
            direction->dropped++;
        direction->first++;
    }
    return never;
}

static void run(struct direction directions[2])
{
    struct pollfd fds[] = {{directions[0].from, POLLIN, 0},
                           {directions[1].from, POLLIN, 0},
                           {STDIN_FILENO, POLLIN, 0}};

    while (!fds[2].revents) {
        const uint64_t never = now_ns() + NS_PER_S;
        const uint64_t next[] = {give(&directions[0], never), give(&directions[1], never)};
        const uint64_t due = next[0] < next[1] ? next[0] : next[1], now = now_ns();
        const uint64_t rest = due > now ? due - now : 0;
        const struct timespec timeout = {(time_t)(rest / NS_PER_S), (long)(rest % NS_PER_S)};

        if (ppoll(fds, 3, &timeout, NULL) < 0)
            die("poll");
        for (int i = 0; i < 2; i++)
            if (fds[i].revents)
                take(&directions[i]);
    }
}

int main(int argc, char **argv)
{
    struct direction directions[2] = {0};

    if (argc != 9) {
        fprintf(stderr, "usage: wire PID DEVICE PID DEVICE MBIT_PER_S DELAY_MS BUFFER_MS "
                        "LOSS_PERCENT\n");
        return 2;
    }
    ns_per_byte = 8e3 / atof(argv[5]);
    delay_ns = (uint64_t)(atof(argv[6]) * NS_PER_MS);
    buffer_ns = (uint64_t)(atof(argv[7]) * NS_PER_MS);
    lost_of_2_31 = (long)(atof(argv[8]) / 100 * 0x7fffffff);
    directions[0].from = directions[1].to = open_tap(argv[1], argv[2]);
    directions[1].from = directions[0].to = open_tap(argv[3], argv[4]);
    for (int i = 0; i < 2; i++) {
        directions[i].ring = calloc(WAITING_MAX, sizeof *directions[i].ring);
        if (!directions[i].ring)
            die("memory");
    }
    puts("ready");
    fflush(stdout);
    run(directions);
    for (int i = 0; i < 2; i++)
        printf("%s -> %s: %llu passed, %llu dropped\n", argv[2 + 2 * i], argv[4 - 2 * i],
               directions[i].passed, directions[i].dropped);
    return 0;
}
