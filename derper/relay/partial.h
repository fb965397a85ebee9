// SPDX-License-Identifier: BSD-3-Clause
//
// The packets of a write that the socket has taken in part. A packet counts as sent when the kernel
// has its last byte, as dropped when the connection ends before that, so their lengths are kept
// until the write is through.
#ifndef DERPER_RELAY_PARTIAL_H
#define DERPER_RELAY_PARTIAL_H

#include "relay/state.h"

// The stream has blocked in a write of these pieces: `of_queue[0]` of control frames, then as many
// as it says of each kind of packets. Counts the packets that the kernel has taken and keeps the
// others in mind. To be called while the queues have them still.
void partial_keep(struct client *client, const struct stream_buf *pieces,
                  const size_t of_queue[static 1 + PACKET_KINDS], size_t written);

// The last such write, if there was one, is through: all its packets are sent.
void partial_sent(struct client *client);

// The connection is to end: the packets of the last such write that the kernel has taken are sent,
// the others lost for this reason.
void partial_lost(struct client *client, enum drop_reason reason);

#endif
