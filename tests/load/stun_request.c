// SPDX-License-Identifier: BSD-3-Clause
#include "stun_request.h"

#include <string.h>

#define HEADER_BYTES 20
#define COOKIE_AT 4
#define NUMBER_AT 12 // in the transaction
#define FINGERPRINT_AT 32
#define FINGERPRINT_MASK 0x5354554eu
#define XOR_MAPPED_ADDRESS 0x0020

static const uint8_t shape[STUN_REQUEST_BYTES] = {
    0, 1, 0,    20,   0x21, 0x12, 0xa4, 0x42, 'l', 'o', 'a', 'd', 0,   0,   0,    0,    0, 0,
    0, 0, 0x80, 0x22, 0,    8,    't',  'a',  'i', 'l', 'n', 'o', 'd', 'e', 0x80, 0x28, 0, 4,
};

static void fill_table(uint32_t table[static 256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;

        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
        table[i] = value;
    }
}

static uint32_t crc32(const uint8_t *in, size_t len)
{
    static uint32_t table[256];
    uint32_t crc = UINT32_MAX;

    if (table[1] == 0)
        fill_table(table);
    for (size_t i = 0; i < len; i++)
        crc = crc >> 8 ^ table[(crc ^ in[i]) & 0xff];
    return ~crc;
}

void stun_request_put(uint8_t out[static STUN_REQUEST_BYTES], uint64_t number)
{
    uint32_t sum;

    memcpy(out, shape, sizeof shape);
    memcpy(out + NUMBER_AT, &number, sizeof number);
    sum = crc32(out, FINGERPRINT_AT) ^ FINGERPRINT_MASK;
    for (int i = 0; i < 4; i++)
        out[FINGERPRINT_AT + 4 + i] = (uint8_t)(sum >> (24 - 8 * i));
}

static uint16_t get16(const uint8_t *in)
{
    return (uint16_t)(in[0] << 8 | in[1]);
}

bool stun_request_answer(const uint8_t *in, size_t len, uint16_t port, uint64_t *number)
{
    if (len < HEADER_BYTES || get16(in) != 0x0101 || get16(in + 2) != len - HEADER_BYTES ||
        memcmp(in + COOKIE_AT, shape + COOKIE_AT, 8) != 0)
        return false;
    memcpy(number, in + NUMBER_AT, sizeof *number);
    for (size_t at = HEADER_BYTES; at + 8 <= len; at += 4 + ((get16(in + at + 2) + 3u) & ~3u))
        if (get16(in + at) == XOR_MAPPED_ADDRESS)
            return (get16(in + at + 6) ^ 0x2112) == port;
    return false;
}

bool stun_request_echo(const uint8_t *in, size_t len, uint64_t *number)
{
    if (len != STUN_ECHO_BYTES || memcmp(in, shape, NUMBER_AT) != 0 ||
        memcmp(in + HEADER_BYTES, shape + HEADER_BYTES, STUN_ECHO_BYTES - HEADER_BYTES) != 0)
        return false;
    memcpy(number, in + NUMBER_AT, sizeof *number);
    return true;
}
