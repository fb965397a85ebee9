// SPDX-License-Identifier: BSD-3-Clause
//
// Tells discovery messages from WireGuard packets, by their unencrypted envelope (wire page,
// section 2).
#ifndef DERPER_PROTO_DISCO_H
#define DERPER_PROTO_DISCO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISCO_MAGIC_BYTES 6
#define DISCO_MIN_BYTES (DISCO_MAGIC_BYTES + 32 + 24) // magic, sender's disco key, nonce

bool disco_looks_like(const uint8_t *packet, size_t len);

#endif
