// SPDX-License-Identifier: BSD-3-Clause
//
// One DERP connection, from the upgrade to its end. Used within this room only.
#ifndef DERPER_RELAY_CLIENT_H
#define DERPER_RELAY_CLIENT_H

#include "base/bucket.h"
#include "base/list.h"
#include "io/stream.h"
#include "proto/frame.h"
#include "relay/queue.h"
#include "relay/routes.h"
#include "relay/worker.h"

#define LOGIN_LIMIT_MS 10000
#define KEEP_ALIVE_MS 60000
#define KEEP_ALIVE_JITTER_MS 5000
#define CONTROL_MAX_BYTES 65536 // control frames that wait for one client
#define HOME_MOVE_AFTER_MS 5000 // a change of preference sooner belongs to the arrival
#define NOT_HERE_PER_SECOND 1   // PeerGone(not here) frames to one sender
#define NOT_HERE_BURST 3

// LOGIN --ClientInfo accepted--> UP; LOGIN, UP --client_close--> freed.
// (Admission, when there is one, stands between: ClientInfo opened, answer awaited, reading
// paused.)
enum client_state { CLIENT_LOGIN, CLIENT_UP };

struct partial;

struct client {
    struct worker *worker;
    struct stream *stream;
    struct list node;  // in worker->clients
    struct list dirty; // in worker->dirty
    struct wheel_timer keep_alive;
    struct wheel_timer deadline; // login, later writes that make no progress
    struct key key;
    struct client_handle handle;
    struct partial *partial; // a frame that has not come whole; NULL otherwise
    uint32_t skip;           // bytes of an unknown frame still to come
    uint32_t unsent_before;  // sealed bytes that waited when `deadline` was armed
    uint32_t pong_pending : 1;
    uint32_t up : 1;
    uint32_t dup : 1; // the key may be connected more than once
    uint32_t home : 1;
    uint32_t not_ideal : 1;
    uint32_t can_ack_pings : 1;
    uint32_t doomed : 1; // a write failed: closed at the end of the turn
    uint16_t jitter_ms;
    struct queue control;
    struct queue packets[PACKET_KINDS];
    struct routes routes;
    struct bucket not_here;
    uint64_t since_ms; // upgrade
    uint64_t dropped;  // packets for this client
};

// Takes over the stream; sends `preface` and the ServerKey frame and waits for ClientInfo.
void client_start(struct worker *worker, struct stream *stream, const char *preface,
                  size_t preface_len, bool not_ideal);

// The only way out. Unregisters, tells peers, closes the stream and frees the client.
void client_close(struct client *client, enum client_end end);

// Puts a whole RecvPacket frame into the client's queue; the oldest of that kind go when it is
// full. Never closes the client.
void client_send_packet(struct client *client, enum packet_kind kind, const uint8_t *frame,
                        size_t len);

// A peer that this client got packets from has gone.
void client_send_peer_gone(struct client *client, const struct key *peer);

// At the end of a loop turn: sends what waits, in one write. May close the client.
void client_flush(struct client *client);

// The relay stops: tells the client if it understands, reads no more. Closes it as soon as its
// queues are empty.
void client_drain(struct client *client);

#endif
