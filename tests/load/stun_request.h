// SPDX-License-Identifier: BSD-3-Clause
//
// STUN binding requests as Tailscale's clients send them, and the check of their answers (RFC 8489;
// SOFTWARE "tailnode", FINGERPRINT last).
#ifndef LOAD_STUN_REQUEST_H
#define LOAD_STUN_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STUN_REQUEST_BYTES 40
#define STUN_ANSWER_BYTES 64
#define STUN_ECHO_BYTES 32 // as an answer that tells an IPv4 address

void stun_request_put(uint8_t out[static STUN_REQUEST_BYTES], uint64_t number);

// True for a success that tells the port (host order) that asked; `number` is that of the request.
bool stun_request_answer(const uint8_t *in, size_t len, uint16_t port, uint64_t *number);

// True for the first STUN_ECHO_BYTES of a request.
bool stun_request_echo(const uint8_t *in, size_t len, uint64_t *number);

#endif
