// SPDX-License-Identifier: BSD-3-Clause
#include "stun/message.h"

#include <string.h>

#define HEADER_BYTES 20
#define COOKIE 0x2112a442u
#define COOKIE_OFFSET 4
#define TRANSACTION_OFFSET 8
#define ATTRIBUTE_HEADER_BYTES 4
#define FINGERPRINT_BYTES 4
#define FINGERPRINT_XOR 0x5354554eu
#define COMPREHENSION_OPTIONAL 0x8000 // attribute types from here on may be ignored

enum message_type {
    BINDING_REQUEST = 0x0001,
    BINDING_SUCCESS = 0x0101,
    BINDING_ERROR = 0x0111,
};

// RFC 8489, section 18.3.
enum attribute_type {
    MAPPED_ADDRESS = 0x0001,
    USERNAME = 0x0006,
    MESSAGE_INTEGRITY = 0x0008,
    ERROR_CODE = 0x0009,
    UNKNOWN_ATTRIBUTES = 0x000a,
    REALM = 0x0014,
    NONCE = 0x0015,
    MESSAGE_INTEGRITY_SHA256 = 0x001c,
    PASSWORD_ALGORITHM = 0x001d,
    USERHASH = 0x001e,
    XOR_MAPPED_ADDRESS = 0x0020,
    SOFTWARE = 0x8022,
    FINGERPRINT = 0x8028,
};

static const char tailscale_software[] = {'t', 'a', 'i', 'l', 'n', 'o', 'd', 'e'};

// What is left of a message; every read goes through reader_take.
struct reader {
    const uint8_t *at;
    size_t left;
};

struct attribute {
    uint16_t type;
    uint16_t len; // without padding
    const uint8_t *value;
};

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t get_u32_le(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static uint8_t *put_u16(uint8_t *p, uint16_t n)
{
    *p++ = (uint8_t)(n >> 8);
    *p++ = (uint8_t)n;
    return p;
}

static size_t padded(size_t len)
{
    return (len + 3) & ~(size_t)3;
}

// NULL when fewer than `n` bytes are left.
static const uint8_t *reader_take(struct reader *reader, size_t n)
{
    const uint8_t *taken = reader->at;

    if (reader->left < n)
        return NULL;
    reader->at += n;
    reader->left -= n;
    return taken;
}

// False when what is left is no attribute with its padding.
static bool read_attribute(struct reader *reader, struct attribute *out)
{
    const uint8_t *header = reader_take(reader, ATTRIBUTE_HEADER_BYTES);

    if (!header)
        return false;
    out->type = get_u16(header);
    out->len = get_u16(header + 2);
    out->value = reader_take(reader, padded(out->len));
    return out->value != NULL;
}

// CRC-32 of ITU-T V.42, of 4 n bytes: attributes are padded. tables[i][v] is what v as the i-th
// nibble of a word adds. Eight look-ups that do not wait for each other: a request is read in 25
// ns, and in 86 with one nibble after another.
static uint32_t crc32(const uint8_t *data, size_t len)
{
    static const uint32_t tables[8][16] = {
        {0x00000000, 0xb8bc6765, 0xaa09c88b, 0x12b5afee, 0x8f629757, 0x37def032, 0x256b5fdc,
         0x9dd738b9, 0xc5b428ef, 0x7d084f8a, 0x6fbde064, 0xd7018701, 0x4ad6bfb8, 0xf26ad8dd,
         0xe0df7733, 0x58631056},
        {0x00000000, 0x5019579f, 0xa032af3e, 0xf02bf8a1, 0x9b14583d, 0xcb0d0fa2, 0x3b26f703,
         0x6b3fa09c, 0xed59b63b, 0xbd40e1a4, 0x4d6b1905, 0x1d724e9a, 0x764dee06, 0x2654b999,
         0xd67f4138, 0x866616a7},
        {0x00000000, 0x01c26a37, 0x0384d46e, 0x0246be59, 0x0709a8dc, 0x06cbc2eb, 0x048d7cb2,
         0x054f1685, 0x0e1351b8, 0x0fd13b8f, 0x0d9785d6, 0x0c55efe1, 0x091af964, 0x08d89353,
         0x0a9e2d0a, 0x0b5c473d},
        {0x00000000, 0x1c26a370, 0x384d46e0, 0x246be590, 0x709a8dc0, 0x6cbc2eb0, 0x48d7cb20,
         0x54f16850, 0xe1351b80, 0xfd13b8f0, 0xd9785d60, 0xc55efe10, 0x91af9640, 0x8d893530,
         0xa9e2d0a0, 0xb5c473d0},
        {0x00000000, 0x191b3141, 0x32366282, 0x2b2d53c3, 0x646cc504, 0x7d77f445, 0x565aa786,
         0x4f4196c7, 0xc8d98a08, 0xd1c2bb49, 0xfaefe88a, 0xe3f4d9cb, 0xacb54f0c, 0xb5ae7e4d,
         0x9e832d8e, 0x87981ccf},
        {0x00000000, 0x4ac21251, 0x958424a2, 0xdf4636f3, 0xf0794f05, 0xbabb5d54, 0x65fd6ba7,
         0x2f3f79f6, 0x3b83984b, 0x71418a1a, 0xae07bce9, 0xe4c5aeb8, 0xcbfad74e, 0x8138c51f,
         0x5e7ef3ec, 0x14bce1bd},
        {0x00000000, 0x77073096, 0xee0e612c, 0x990951ba, 0x076dc419, 0x706af48f, 0xe963a535,
         0x9e6495a3, 0x0edb8832, 0x79dcb8a4, 0xe0d5e91e, 0x97d2d988, 0x09b64c2b, 0x7eb17cbd,
         0xe7b82d07, 0x90bf1d91},
        {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158,
         0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4,
         0xa00ae278, 0xbdbdf21c},
    };
    uint32_t crc = UINT32_MAX;

    for (const uint8_t *end = data + len; data < end; data += 4) {
        const uint32_t word = crc ^ get_u32_le(data);

        crc = 0;
        for (int i = 0; i < 8; i++)
            crc ^= tables[i][word >> 4 * i & 15];
    }
    return ~crc;
}

static bool is_binding_request(const uint8_t *datagram, size_t len)
{
    return len >= HEADER_BYTES && get_u16(datagram) == BINDING_REQUEST &&
           get_u32(datagram + COOKIE_OFFSET) == COOKIE;
}

static bool is_tailscale_software(const struct attribute *attribute)
{
    return attribute->type == SOFTWARE && attribute->len == sizeof tailscale_software &&
           memcmp(attribute->value, tailscale_software, sizeof tailscale_software) == 0;
}

// `fingerprint` is the last attribute of the datagram.
static bool fingerprint_valid(const uint8_t *datagram, const struct attribute *fingerprint)
{
    const size_t covered =
        (size_t)(fingerprint->value - datagram) - ATTRIBUTE_HEADER_BYTES; // section 14.7

    return fingerprint->len == FINGERPRINT_BYTES &&
           get_u32(fingerprint->value) == (crc32(datagram, covered) ^ FINGERPRINT_XOR);
}

static bool understood(uint16_t type)
{
    switch (type) {
    case MAPPED_ADDRESS:
    case USERNAME:
    case MESSAGE_INTEGRITY:
    case ERROR_CODE:
    case UNKNOWN_ATTRIBUTES:
    case REALM:
    case NONCE:
    case MESSAGE_INTEGRITY_SHA256:
    case PASSWORD_ALGORITHM:
    case USERHASH:
    case XOR_MAPPED_ADDRESS:
        return true;
    default:
        return type >= COMPREHENSION_OPTIONAL;
    }
}

static void note_unknown(struct stun_request *request, uint16_t type)
{
    for (uint8_t i = 0; i < request->unknown_count; i++)
        if (request->unknown[i] == type)
            return;
    if (request->unknown_count < STUN_UNKNOWN_MAX)
        request->unknown[request->unknown_count++] = type;
}

// What one walk over the attributes finds out.
struct findings {
    struct attribute last; // all zero when there are none
    int fingerprints;
    bool tailscale;
};

// False when the attributes do not fill the rest of the datagram exactly.
static bool read_attributes(struct reader *reader, struct findings *found,
                            struct stun_request *request)
{
    bool sealed = false; // attributes behind an integrity attribute count for nothing: section 14.5

    while (reader->left > 0) {
        struct attribute *attribute = &found->last;

        if (!read_attribute(reader, attribute))
            return false;
        if (!sealed && !understood(attribute->type))
            note_unknown(request, attribute->type);
        sealed |= attribute->type == MESSAGE_INTEGRITY;
        sealed |= attribute->type == MESSAGE_INTEGRITY_SHA256;
        found->fingerprints += attribute->type == FINGERPRINT;
        found->tailscale |= is_tailscale_software(attribute);
    }
    return true;
}

bool stun_parse_request(const uint8_t *datagram, size_t len, enum stun_mode mode,
                        struct stun_request *out)
{
    struct reader reader = {datagram, len};
    struct findings found = {0};

    if (!is_binding_request(datagram, len))
        return false;
    reader_take(&reader, HEADER_BYTES);
    memcpy(out->transaction, datagram + TRANSACTION_OFFSET, STUN_TRANSACTION_BYTES);
    out->unknown_count = 0;
    if (!read_attributes(&reader, &found, out))
        return false;

    const bool intact = (found.tailscale || mode == STUN_ANY) && found.last.type == FINGERPRINT &&
                        fingerprint_valid(datagram, &found.last);

    if (found.tailscale && intact) {
        out->unknown_count = 0;
        return true;
    }
    return mode == STUN_ANY && get_u16(datagram + 2) == len - HEADER_BYTES &&
           (found.fingerprints == 0 || (found.fingerprints == 1 && intact));
}

static uint8_t *put_attribute_header(uint8_t *p, uint16_t type, size_t len)
{
    return put_u16(put_u16(p, type), (uint16_t)len);
}

static uint8_t *put_header(uint8_t *p, uint16_t type, size_t attributes_len,
                           const struct stun_request *request)
{
    p = put_u16(put_u16(p, type), (uint16_t)attributes_len);
    p = put_u16(put_u16(p, COOKIE >> 16), COOKIE & 0xffff);
    memcpy(p, request->transaction, STUN_TRANSACTION_BYTES);
    return p + STUN_TRANSACTION_BYTES;
}

// Section 14.2: port and address are masked with the cookie and the transaction that follow each
// other in the header.
static size_t put_success(uint8_t *out, const struct stun_request *request,
                          const struct stun_address *source)
{
    const size_t ip_len = source->ipv6 ? STUN_IPV6_BYTES : STUN_IPV4_BYTES;
    const size_t value_len = 4 + ip_len;
    uint8_t *p = put_header(out, BINDING_SUCCESS, ATTRIBUTE_HEADER_BYTES + value_len, request);
    const uint8_t *mask = out + COOKIE_OFFSET;

    p = put_attribute_header(p, XOR_MAPPED_ADDRESS, value_len);
    p = put_u16(p, source->ipv6 ? 2 : 1);
    p = put_u16(p, (uint16_t)(source->port ^ COOKIE >> 16));
    for (size_t i = 0; i < ip_len; i++)
        *p++ = source->ip[i] ^ mask[i];
    return (size_t)(p - out);
}

static size_t put_refusal(uint8_t *out, const struct stun_request *request)
{
    const size_t error_len = 4;
    const size_t list_len = 2 * (size_t)request->unknown_count;
    uint8_t *p = put_header(out, BINDING_ERROR,
                            2 * ATTRIBUTE_HEADER_BYTES + error_len + padded(list_len), request);

    p = put_attribute_header(p, ERROR_CODE, error_len);
    p = put_u16(p, 0);
    p = put_u16(p, 4 << 8 | 20); // class and number of 420
    p = put_attribute_header(p, UNKNOWN_ATTRIBUTES, list_len);
    for (uint8_t i = 0; i < request->unknown_count; i++)
        p = put_u16(p, request->unknown[i]);
    if (padded(list_len) > list_len)
        p = put_u16(p, 0);
    return (size_t)(p - out);
}

_Static_assert(HEADER_BYTES + 2 * ATTRIBUTE_HEADER_BYTES + 4 + 2 * STUN_UNKNOWN_MAX <=
                   STUN_ANSWER_MAX_BYTES,
               "a refusal fits");
_Static_assert(STUN_SUCCESS_IPV6_BYTES <= STUN_ANSWER_MAX_BYTES, "a success fits");

size_t stun_put_answer(uint8_t out[static STUN_ANSWER_MAX_BYTES],
                       const struct stun_request *request, const struct stun_address *source)
{
    return request->unknown_count > 0 ? put_refusal(out, request)
                                      : put_success(out, request, source);
}
