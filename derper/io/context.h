// SPDX-License-Identifier: BSD-3-Clause
//
// What all streams of one loop share: the large buffers, so that no stream owns one, the timer
// wheel and the counters of this room. One a worker; only its thread touches it, others may read
// the counters.
#ifndef DERPER_IO_CONTEXT_H
#define DERPER_IO_CONTEXT_H

#include "base/bucket.h"
#include "base/counter.h"
#include "base/pool.h"
#include "base/prefix.h"
#include "base/wheel.h"

#include "io/tls13_record.h"
#include "io/turns.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define IO_READ_BYTES (64 * 1024)          // one read from a socket, and its share of a loop turn
#define IO_NEWCOMER_READ_BYTES (16 * 1024) // the same before it is established
#define IO_PLAIN_BYTES (80 * 1024)         // opened records handed to the owner at once
// One write: at most IO_WRITE_PLAIN_BYTES of plaintext go into it, and records add 29 bytes at most
// for each piece and each 16 KiB.
#define IO_WRITE_PLAIN_BYTES (128 * 1024)
#define IO_WRITE_BYTES (192 * 1024)

// Why a TLS handshake failed, as far as an operator can do something about it.
enum tls_failure {
    TLS_FAILURE_NOT_TLS,      // plain HTTP or noise on the TLS port
    TLS_FAILURE_VERSION,      // no protocol version in common
    TLS_FAILURE_CIPHER,       // no cipher suite, group or signature in common
    TLS_FAILURE_SNI,          // another host name was asked for, or none
    TLS_FAILURE_ALPN,         // http/1.1 was not among the offers
    TLS_FAILURE_CLIENT_ALERT, // the client refused, most often our certificate
    TLS_FAILURE_CLOSED,       // the client went away
    TLS_FAILURE_TIMEOUT,
    TLS_FAILURE_NO_CERTIFICATE, // ours, which has yet to come
    TLS_FAILURE_NO_CHALLENGE,   // tls-alpn-01 for a name that is not being proven just now
    TLS_FAILURE_OTHER,
    TLS_FAILURES
};

const char *tls_failure_name(enum tls_failure failure);

struct io_counters {
    struct counter tls_accepted;
    struct counter plain_accepted;
    struct counter accept_failures;
    struct counter accept_pauses;      // no descriptor was free
    struct counter line_pauses;        // of accepting, as the line of newcomers was full
    struct counter accept_refused;     // over the limit of new connections
    struct counter streams;            // gauge
    struct counter proxy_refusals;     // no PROXY header where there has to be one, or a broken one
    struct counter handshakes_delayed; // steps of newcomers that had to wait for a later turn
    struct counter newcomers;          // gauge: not established, see turns.h
    struct counter newcomers_in_line;  // gauge: of those, with something to read
    struct counter newcomers_crowded_out;
    struct counter tls12_handshakes;
    struct counter tls13_handshakes;
    struct counter tls12_active; // gauge
    struct counter tls13_active; // gauge
    struct counter tls_failures[TLS_FAILURES];
    struct counter tls_record_faults; // TLS failures after the handshake, the peer's word or ours
    struct counter http_requests;
    struct counter http_bad_requests;
    struct counter http_long_heads; // of those, with more than HTTP_HEAD_MAX_BYTES or a long target
    struct counter http_floods;     // connections closed for asking on and on
    struct counter http_slow_closed; // connections closed as too much of answers waited
};

// How many connections the process may hold, below its descriptor limit, and how many new ones it
// takes; shared by all loops.
struct io_budget {
    atomic_int used;
    int limit;
    struct bucket_rate accept_rate; // of listeners that are `limited`; 0 a second = no limit
    struct shared_bucket accepted;
};

struct io_context {
    uv_loop_t *loop;
    struct io_budget *budget;
    struct wheel wheel; // run by the owner of the loop
    // From these addresses come the connections of others: with a PROXY header on TLS ports, with
    // an X-Forwarded-For field without TLS. They live as long as the process.
    const struct prefix *proxies;
    size_t proxy_count;
    SSL_CTX *tls; // for new connections; NULL while this loop serves no TLS
    bool detach;  // TLS 1.3 connections leave OpenSSL after the handshake
    // Records under one key, after which the detached engine sends a KeyUpdate or asks for one with
    // the next data that it sends: far enough below the AEAD limits of RFC 8446, section 5.5
    // (2^24.5 full records for AES-GCM) for a peer that is told something once a minute.
    uint64_t key_update_after;
    // Records that a peer may seal under one key at all: one that goes on in spite of our request
    // is cut off. 2^24 are 70 % of the limit of 2^24.5, and leave a peer that heard the request a
    // keep-alive's minute late 140,000 records a second until then.
    uint64_t key_records_max;
    struct tls13_ciphers ciphers;
    struct pool streams;
    struct pool arrivals;               // stream.c's: of those that are not established
    struct pool detached[TLS13_SUITES]; // what the detached engine keeps of one
    BIO *bio;          // shared by every SSL object of this loop, reads `in`, appends to `out`
    const uint8_t *in; // received bytes that BIO reads may still take
    size_t in_len;
    size_t out_len;
    size_t held_bytes; // of all, stream_held_bytes
    struct turns turns;
    struct list http_conns; // io/http.c's
    struct list http_slow;  // those of which an answer waits: for longest first
    size_t http_unsent_bytes;
    uint8_t *read_buffer;
    uint8_t *plain_buffer;
    uint8_t *out;
    struct io_counters counters;
};

// `loop` and `budget` must outlive the context.
void io_context_init(struct io_context *io, uv_loop_t *loop, struct io_budget *budget);

// All streams must be closed.
void io_context_deinit(struct io_context *io);

// Arms `timer` on the wheel, `after_ms` from now.
void io_context_arm(struct io_context *io, struct wheel_timer *timer, uint64_t after_ms);

// New connections use `tls` (one reference is taken); existing ones keep what they have.
void io_context_set_tls(struct io_context *io, SSL_CTX *tls);

#endif
