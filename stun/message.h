// SPDX-License-Identifier: BSD-3-Clause
//
// STUN binding requests and their answers (RFC 8489, sections 5, 6 and 14).
// Pure codec: no I/O, no allocation, no state.
#ifndef STUN_MESSAGE_H
#define STUN_MESSAGE_H

#include "stun/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STUN_TRANSACTION_BYTES 12
#define STUN_SUCCESS_IPV4_BYTES 32
#define STUN_SUCCESS_IPV6_BYTES 44
#define STUN_UNKNOWN_MAX 16 // unknown attributes that a refusal names; further ones are left out
#define STUN_ANSWER_MAX_BYTES 64 // clients read answers into buffers of this size

// Whom we answer.
enum stun_mode {
    // What Tailscale's server answers: requests with SOFTWARE "tailnode" and a final, valid
    // FINGERPRINT, whatever the header says of their length and whatever else they carry.
    STUN_TAILSCALE,
    // Those, in the same way, and every well-formed binding request: lengths agree, and a
    // FINGERPRINT, if there is one, is last and valid (section 14.7). Credentials are not read.
    STUN_ANY,
};

struct stun_request {
    uint8_t transaction[STUN_TRANSACTION_BYTES];
    // Comprehension-required attributes that nobody has taught us, each once: the answer is then a
    // refusal. Always none in a Tailscale request.
    uint8_t unknown_count;
    uint16_t unknown[STUN_UNKNOWN_MAX];
};

// Reads one datagram. False when it is not to be answered; `out` then holds nothing of use.
bool stun_parse_request(const uint8_t *datagram, size_t len, enum stun_mode mode,
                        struct stun_request *out);

// Writes the answer to a request from `source` and returns its size: success with
// XOR-MAPPED-ADDRESS (STUN_SUCCESS_IPV4_BYTES or STUN_SUCCESS_IPV6_BYTES), or error 420 with
// UNKNOWN-ATTRIBUTES (sections 6.3.1, 14.8, 14.13) and an empty reason phrase, so that forged
// sources are not sent more than they are worth.
size_t stun_put_answer(uint8_t out[static STUN_ANSWER_MAX_BYTES],
                       const struct stun_request *request, const struct stun_address *source);

#endif
