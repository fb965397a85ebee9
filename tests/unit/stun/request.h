// SPDX-License-Identifier: BSD-3-Clause
//
// Builds STUN messages for the tests, right and wrong ones, without the code that is tested.
#ifndef TESTS_STUN_REQUEST_H
#define TESTS_STUN_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#define REQUEST_MAX_BYTES 4096
#define REQUEST_HEADER_BYTES 20

struct request {
    size_t len;
    uint8_t bytes[REQUEST_MAX_BYTES];
};

// A binding request without attributes; its transaction is twelve times `fill`.
void request_begin(struct request *request, uint8_t fill);

// Adds an attribute, padded with `padding` bytes of 0xff, and keeps the header's length right.
void request_add(struct request *request, uint16_t type, const void *value, size_t len,
                 size_t padding);

// Adds a valid FINGERPRINT, over a header whose length counts it.
void request_seal(struct request *request);

// The same over a header that says `length`.
void request_seal_as(struct request *request, uint16_t length);

// The request that Tailscale's clients send: 40 bytes.
void request_tailscale(struct request *request, uint8_t fill);

#endif
