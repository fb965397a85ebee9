// SPDX-License-Identifier: BSD-3-Clause
#include "request.h"

#include <string.h>

static void put_u16(uint8_t *p, size_t n)
{
    p[0] = (uint8_t)(n >> 8);
    p[1] = (uint8_t)n;
}

static uint32_t crc32_bitwise(const uint8_t *data, size_t len)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

void request_begin(struct request *request, uint8_t fill)
{
    static const uint8_t start[8] = {0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42};

    memcpy(request->bytes, start, sizeof start);
    memset(request->bytes + sizeof start, fill, REQUEST_HEADER_BYTES - sizeof start);
    request->len = REQUEST_HEADER_BYTES;
}

void request_add(struct request *request, uint16_t type, const void *value, size_t len,
                 size_t padding)
{
    uint8_t *p = request->bytes + request->len;

    put_u16(p, type);
    put_u16(p + 2, len);
    if (len > 0)
        memcpy(p + 4, value, len);
    memset(p + 4 + len, 0xff, padding);
    request->len += 4 + len + padding;
    put_u16(request->bytes + 2, request->len - REQUEST_HEADER_BYTES);
}

void request_seal(struct request *request)
{
    request_seal_as(request, (uint16_t)(request->len + 8 - REQUEST_HEADER_BYTES));
}

void request_seal_as(struct request *request, uint16_t length)
{
    const size_t covered = request->len;
    uint32_t crc;

    request_add(request, 0x8028, "\0\0\0\0", 4, 0);
    put_u16(request->bytes + 2, length);
    crc = crc32_bitwise(request->bytes, covered) ^ 0x5354554e;
    put_u16(request->bytes + covered + 4, crc >> 16);
    put_u16(request->bytes + covered + 6, crc & 0xffff);
}

void request_tailscale(struct request *request, uint8_t fill)
{
    request_begin(request, fill);
    request_add(request, 0x8022, "tailnode", 8, 0);
    request_seal(request);
}
