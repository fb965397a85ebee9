// SPDX-License-Identifier: BSD-3-Clause
//
// One UDP socket that answers STUN binding requests (RFC 8489), from the address that was asked, on
// a thread of its own that does nothing else: what floods it with datagrams takes one thread's
// share of the processor, and no turn of anybody's loop. What it cannot answer at once is dropped
// by the kernel, whose queue is bounded, or by the responder; nothing grows.
//
// All functions belong to one thread, the owner's, except stun_responder_counts.
#ifndef STUN_RESPONDER_H
#define STUN_RESPONDER_H

#include "stun/address.h"
#include "stun/message.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define STUN_DATAGRAM_MAX_BYTES 1500 // longer ones are not STUN
#define STUN_BATCH_DATAGRAMS 32      // taken from the kernel, and given to it, in one call
#define STUN_FAILURES_MAX 8          // receives that fail in a row: then a pause
#define STUN_PAUSE_MS 100
#define STUN_LOOK_UP_MS 4000 // the longest wait, where a kernel does not wake the thread to stop
#define STUN_RECEIVE_QUEUE_BYTES (1024 * 1024) // wish to the kernel, which may grant less

struct stun_responder;
struct stun_buffers;

// The first answered request from a private address (see stun_address_private) since the start: the
// addresses that clients are told may be a gateway's. Runs at most once, on the responder's thread,
// and must not stop the responder.
typedef void (*stun_private_cb)(struct stun_responder *responder,
                                const struct stun_address *source);

// Datagrams, since stun_responder_init.
struct stun_counts {
    int64_t success;         // answered with the source's address
    int64_t refused;         // answered with error 420 (STUN_ANY only)
    int64_t not_stun;        // not for us, malformed or too long: no answer
    int64_t read_error;      // receive calls that failed
    int64_t write_error;     // answers that the system did not take
    int64_t ipv4, ipv6;      // requests worth an answer, by their source's family
    int64_t private_sources; // those of `success` whose source is private
};

// The same, written by the responder's thread alone.
struct stun_counters {
    _Atomic int64_t success, refused, not_stun, read_error, write_error, ipv4, ipv6;
    _Atomic int64_t private_sources;
};

// Embedded in its owner; fields are the module's own except those that are said to be the owner's.
struct stun_responder {
    enum stun_mode mode;
    int fd; // -1 unless it runs
    pthread_t thread;
    atomic_bool stopping;
    struct stun_buffers *buffers; // the thread's, while it runs
    struct stun_counters counters;
    void *data;                        // the owner's, set after init
    stun_private_cb on_private_source; // the owner's, may stay NULL, set after init
};

void stun_responder_init(struct stun_responder *responder, enum stun_mode mode);

// Binds to exactly `address`, shared with no other socket, and begins to answer. "::" stands for
// all addresses of both families, or for those of IPv4 alone on a host without IPv6: the responder
// chooses, stun_responder_address tells. Port 0 lets the system choose one.
//
// 0, or a negative errno (EADDRINUSE, EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, ENOMEM, EAGAIN, …):
// nothing is bound then, and the start may be tried again.
int stun_responder_start(struct stun_responder *responder, const struct sockaddr *address);

// The address that is bound. 0, or a negative errno (EBADF when none is).
int stun_responder_address(const struct stun_responder *responder, struct sockaddr_storage *out);

// From any thread; each number is exact, together they may be of slightly different moments.
void stun_responder_counts(const struct stun_responder *responder, struct stun_counts *out);

// Idempotent, also before a start. On return the thread has ended (at once on Linux,
// within STUN_LOOK_UP_MS elsewhere) and the port is free. The responder may be started again.
void stun_responder_stop(struct stun_responder *responder);

#endif
