// SPDX-License-Identifier: BSD-3-Clause
//
// One UDP socket that answers STUN binding requests (RFC 8489), from the address that was asked.
// Lives on one libuv loop and takes a bounded share of each of its turns, so that a flood of
// datagrams does not starve the other handles of the loop. All functions belong to the loop's
// thread, except stun_responder_counts.
#ifndef STUN_RESPONDER_H
#define STUN_RESPONDER_H

#include "stun/address.h"
#include "stun/message.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#define STUN_DATAGRAM_MAX_BYTES 1500 // longer ones are not STUN
#define STUN_BATCH_DATAGRAMS 32      // taken from the kernel, and given to it, in one call
#define STUN_BATCHES_PER_TURN 8      // at most, in one turn of the loop
#define STUN_PAUSE_MS 100            // rest after a turn in which every receive failed
#define STUN_RECEIVE_QUEUE_BYTES (1024 * 1024) // wish to the kernel, which may grant less

struct stun_responder;
struct stun_buffers;

// The first answered request from a private address (see stun_address_private) since the start: the
// addresses that clients are told may be a gateway's. Runs from the loop, at most once; may close
// the responder.
typedef void (*stun_private_cb)(struct stun_responder *responder,
                                const struct stun_address *source);
// All handles are closed; the memory is the owner's again.
typedef void (*stun_closed_cb)(struct stun_responder *responder);

// IDLE --stun_responder_start--> RUNNING --receives fail--> PAUSED --timer--> RUNNING
// all of these --stun_responder_close--> CLOSING --last handle closed--> CLOSED
enum stun_responder_state {
    STUN_RESPONDER_IDLE,
    STUN_RESPONDER_RUNNING,
    STUN_RESPONDER_PAUSED,
    STUN_RESPONDER_CLOSING,
    STUN_RESPONDER_CLOSED,
};

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

// The same, written by the loop's thread alone.
struct stun_counters {
    _Atomic int64_t success, refused, not_stun, read_error, write_error, ipv4, ipv6;
    _Atomic int64_t private_sources;
};

// Embedded in its owner; fields are the module's own except those that are said to be the owner's.
struct stun_responder {
    uv_poll_t poll;
    uv_timer_t pause;
    enum stun_responder_state state;
    enum stun_mode mode;
    int fd; // -1 unless RUNNING or PAUSED
    int open_handles;
    bool private_told;                  // on_private_source has run
    struct stun_address private_source; // the first one, when private_sources is not 0
    struct stun_buffers *buffers;       // from the start until CLOSED
    struct stun_counters counters;
    stun_closed_cb on_closed;
    void *data;                        // the owner's, set after init
    stun_private_cb on_private_source; // the owner's, may stay NULL, set after init
};

// From here on, whatever stun_responder_start says, the responder has to be closed with
// stun_responder_close.
void stun_responder_init(struct stun_responder *responder, uv_loop_t *loop, enum stun_mode mode);

// Binds to exactly `address`, shared with no other socket, and begins to answer. "::" stands for
// all addresses of both families, or for those of IPv4 alone on a host without IPv6: the responder
// chooses, stun_responder_address tells. Port 0 lets the system choose one.
//
// 0, or a libuv error (UV_EADDRINUSE, UV_EACCES, UV_EADDRNOTAVAIL, UV_EAFNOSUPPORT, UV_ENOMEM, …):
// nothing is bound then, and the start may be tried again.
int stun_responder_start(struct stun_responder *responder, const struct sockaddr *address);

// The address that is bound. 0, or a libuv error (UV_EBADF when none is).
int stun_responder_address(const struct stun_responder *responder, struct sockaddr_storage *out);

// From any thread; each number is exact, together they may be of slightly different moments.
void stun_responder_counts(const struct stun_responder *responder, struct stun_counts *out);

// Idempotent; the port is free on return. `on_closed`, which may be NULL, runs once, from the loop.
void stun_responder_close(struct stun_responder *responder, stun_closed_cb on_closed);

#endif
