// SPDX-License-Identifier: BSD-3-Clause
//
// What each frame of a client does.
#ifndef DERPER_RELAY_FRAMES_H
#define DERPER_RELAY_FRAMES_H

#include "relay/state.h"

// For the client's frame_reader; the owner is the client. They stop it when the client is to
// close, client->end says why, and when it is ASKING.
extern const struct frame_reader_callbacks frames_callbacks;

#endif
