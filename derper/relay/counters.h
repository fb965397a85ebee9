// SPDX-License-Identifier: BSD-3-Clause
//
// What a worker counts. The names on the metrics page are web/'s; the meaning is that of the
// metrics page of the wire facts.
#ifndef DERPER_RELAY_COUNTERS_H
#define DERPER_RELAY_COUNTERS_H

#include "base/counter.h"
#include "proto/login.h"

enum packet_kind { PACKET_DISCO, PACKET_OTHER, PACKET_KINDS };

const char *packet_kind_name(enum packet_kind kind);

enum drop_reason {
    DROP_UNKNOWN_DEST,        // the destination is not connected
    DROP_UNKNOWN_DEST_ON_FWD, // the same for a packet that came through the mesh
    DROP_GONE_DISCONNECTED,   // it left while the packet was under way or queued
    DROP_QUEUE_HEAD,          // the oldest of a full queue
    DROP_QUEUE_TAIL,          // the newest: another worker's inbox is full
    DROP_QUEUE_CODEL,         // by CoDel, of a queue that stays long; not the original's
    DROP_QUEUE_AGE,           // it has waited too long to be of use; not the original's
    DROP_QUEUE_MEMORY,        // too much waits on the worker; not the original's
    DROP_WRITE_ERROR,         // its connection broke in a write
    DROP_DUP_CLIENT,          // reserved: several connections with one key
    DROP_REASONS
};

const char *drop_reason_name(enum drop_reason reason);

enum client_end {
    CLIENT_END_EOF,           // the client closed in order
    CLIENT_END_RESET,         // the connection broke
    CLIENT_END_TLS,           // a TLS failure
    CLIENT_END_LOGIN_TIMEOUT, // no ClientInfo in time
    CLIENT_END_CROWDED_OUT,   // before its login, by newer connections
    CLIENT_END_LOGIN_REFUSED, // see login_refused
    CLIENT_END_NOT_ADMITTED,  // refused, or not answered about, before its login
    CLIENT_END_NO_VERDICT,    // in time: who was asked about it was stuck
    CLIENT_END_WITHDRAWN,     // refused when asked about again
    CLIENT_END_BAD_FRAME,     // a length that its type does not allow
    CLIENT_END_NOT_MESH,      // a mesh frame from a client that is not a mesh peer
    CLIENT_END_WRITE_TIMEOUT, // took nothing for the write timeout
    CLIENT_END_WRITE_ERROR,
    CLIENT_END_FRAME_TIMEOUT, // began a frame and did not end it
    // Held more than its part while too much waited on its worker, or there was no room for what a
    // client must be told.
    CLIENT_END_MEMORY,
    CLIENT_END_SHUTDOWN,
    CLIENT_ENDS
};

const char *client_end_name(enum client_end end);

#define LOGIN_RESULTS (LOGIN_TOO_MANY + 1)

// Frames in one write: bounds of the histogram, the last bucket is +Inf.
#define WRITE_FRAMES_BOUNDS                \
    {                                      \
        1, 2, 5, 10, 20, 50, 100, 200, 500 \
    }
#define WRITE_FRAMES_BUCKETS 10

// Kernel's smoothed round-trip time, sampled at keep-alives: 10, 20, 50, 100, 150, 250, 500 ms,
// more.
#define RTT_BUCKETS 8

struct relay_counters {
    struct counter accepts; // upgrades to DERP, before login
    struct counter bytes_received;
    struct counter bytes_sent;
    struct counter packets_received;
    struct counter packets_sent; // the kernel has their last byte
    struct counter packets_received_kind[PACKET_KINDS];
    struct counter packets_dropped[DROP_REASONS][PACKET_KINDS];
    struct counter bytes_dropped[DROP_REASONS][PACKET_KINDS];
    struct counter unknown_frames;
    struct counter home_moves_in;
    struct counter home_moves_out;
    struct counter got_ping;
    struct counter sent_pong;
    struct counter peer_gone_disconnected_frames;
    struct counter peer_gone_not_here_frames;
    struct counter peer_gone_limited; // not-here answers that the sender's limiter held back
    struct counter rate_pauses;       // of reading from a client that sent faster than it may
    struct counter write_timeouts;
    struct counter control_dropped; // control frames for which there was no room
    struct counter sent_to_full;    // packets to peers beyond those that a client may remember
    struct counter login_refused[LOGIN_RESULTS];
    struct counter client_ends[CLIENT_ENDS];
    struct counter write_frames[WRITE_FRAMES_BUCKETS];
    struct counter write_frames_sum;
    struct counter tcp_rtt[RTT_BUCKETS];
    struct counter queue_ms_sum;  // time that written chunks of frames had waited
    struct counter queue_samples; // their number
    struct counter inbox_packets; // packets that came from other workers
    struct counter inbox_wakeups; // times this worker woke another

    struct counter waiting_bytes;        // gauge: see outgoing_waiting_bytes
    struct counter connections;          // gauge: logged in
    struct counter home_connections;     // gauge
    struct counter notideal_connections; // gauge
    struct counter logins_pending;       // gauge: upgraded, not logged in yet
};

#endif
