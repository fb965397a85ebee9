// SPDX-License-Identifier: BSD-3-Clause
#include "proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

static const struct {
    const char *name;
    uint8_t bytes[FRAME_HEADER_BYTES];
    uint8_t type;
    uint32_t payload_bytes;
} headers[] = {
    {"empty keep-alive", {0x06, 0, 0, 0, 0}, FRAME_KEEP_ALIVE, 0},
    {"empty packet", {0x04, 0, 0, 0, 32}, FRAME_SEND_PACKET, FRAME_SEND_MIN_BYTES},
    {"largest packet", {0x04, 0, 1, 0, 32}, FRAME_SEND_PACKET, FRAME_SEND_MAX_BYTES},
    {"every byte has its place", {0x0a, 0x12, 0x34, 0x56, 0x78}, FRAME_FORWARD_PACKET, 0x12345678},
    {"second byte", {0x02, 0, 0, 0xff, 0}, FRAME_CLIENT_INFO, 0xff00},
    {"highest bit", {0x12, 0x80, 0, 0, 0}, FRAME_PING, 0x80000000},
    {"largest length", {0x05, 0xff, 0xff, 0xff, 0xff}, FRAME_RECV_PACKET, UINT32_MAX},
    {"unknown type", {0xff, 0, 0, 1, 0}, 0xff, 256},
    {"type zero", {0, 0, 0, 0, 1}, 0, 1},
};

// At every length: on the heap and exact, so that a sanitizer sees a byte read too many.
static void check_header_at(size_t c, size_t len)
{
    const struct frame_header untouched = {0x5a, 0x5a5a5a5a};
    struct frame_header header = untouched;
    uint8_t *buf = malloc(len);

    memset(buf, 0xee, len);
    memcpy(buf, headers[c].bytes, len < FRAME_HEADER_BYTES ? len : FRAME_HEADER_BYTES);
    assert_int_equal(frame_parse_header(buf, len, &header), len >= FRAME_HEADER_BYTES);
    if (len >= FRAME_HEADER_BYTES) {
        assert_int_equal(header.type, headers[c].type);
        assert_int_equal(header.payload_bytes, headers[c].payload_bytes);
    } else {
        assert_int_equal(header.type, untouched.type);
        assert_int_equal(header.payload_bytes, untouched.payload_bytes);
    }
    free(buf);
}

static void test_headers(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof headers / sizeof headers[0]; c++) {
        uint8_t put[FRAME_HEADER_BYTES];

        print_message("%s\n", headers[c].name);
        for (size_t len = 0; len < 3 * FRAME_HEADER_BYTES; len++)
            check_header_at(c, len);
        frame_put_header(put, headers[c].type, headers[c].payload_bytes);
        assert_memory_equal(put, headers[c].bytes, FRAME_HEADER_BYTES);
    }
}

static void test_every_type_and_bit_round_trips(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        for (unsigned bit = 0; bit < 32; bit++) {
            uint8_t buf[FRAME_HEADER_BYTES];
            struct frame_header header;

            frame_put_header(buf, (uint8_t)type, UINT32_C(1) << bit);
            assert_true(frame_parse_header(buf, sizeof buf, &header));
            assert_int_equal(header.type, type);
            assert_int_equal(header.payload_bytes, UINT32_C(1) << bit);
        }
    }
}

static void fill(uint8_t *bytes, size_t len, uint8_t first)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(first + i * 7);
}

static void test_send_to_recv(void **state)
{
    static const size_t packets[] = {0, 1, 62, 1280, FRAME_PACKET_MAX_BYTES};
    struct key source;

    (void)state;
    fill(source.bytes, KEY_BYTES, 0x80);
    for (size_t i = 0; i < sizeof packets / sizeof packets[0]; i++) {
        const size_t len = FRAME_HEADER_BYTES + KEY_BYTES + packets[i];
        uint8_t *frame = malloc(len), *before = malloc(len);

        fill(frame, len, 1);
        frame_put_header(frame, FRAME_SEND_PACKET, (uint32_t)(KEY_BYTES + packets[i]));
        memcpy(before, frame, len);
        frame_send_to_recv(frame, &source);
        assert_int_equal(frame[0], FRAME_RECV_PACKET);
        assert_memory_equal(frame + 1, before + 1, FRAME_HEADER_BYTES - 1);
        assert_memory_equal(frame + FRAME_HEADER_BYTES, source.bytes, KEY_BYTES);
        if (packets[i] > 0)
            assert_memory_equal(frame + len - packets[i], before + len - packets[i], packets[i]);
        free(frame);
        free(before);
    }
}

// The whole frame as the wire page has it, byte by byte, and nothing written behind it.
static void assert_frame(const uint8_t *out, size_t size, const uint8_t *expected)
{
    struct frame_header header;

    assert_memory_equal(out, expected, size);
    assert_int_equal(out[size], 0xcc);
    assert_true(frame_parse_header(out, size, &header));
    assert_int_equal(header.payload_bytes, size - FRAME_HEADER_BYTES);
}

static void test_fixed_frames(void **state)
{
    static const uint8_t echoed[FRAME_PING_BYTES] = {9, 8, 7, 6, 5, 4, 3, 0};
    uint8_t key_frame[45] = {0x01, 0, 0, 0, 40, 0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91};
    uint8_t gone[38] = {0x08, 0, 0, 0, 33}, out[64];
    struct key key;

    (void)state;
    fill(key.bytes, KEY_BYTES, 3);
    memcpy(key_frame + 13, key.bytes, KEY_BYTES);
    memcpy(gone + 5, key.bytes, KEY_BYTES);
    memset(out, 0xcc, sizeof out);
    frame_put_keep_alive(out);
    assert_frame(out, FRAME_KEEP_ALIVE_BYTES, (const uint8_t[]){0x06, 0, 0, 0, 0});
    frame_put_pong(out, echoed);
    assert_frame(out, FRAME_PONG_BYTES,
                 (const uint8_t[]){0x13, 0, 0, 0, 8, 9, 8, 7, 6, 5, 4, 3, 0});
    memset(out, 0xcc, sizeof out);
    frame_put_restarting(out, 0x01020304, 0xfffefdfc);
    assert_frame(out, FRAME_RESTARTING_BYTES,
                 (const uint8_t[]){0x15, 0, 0, 0, 8, 1, 2, 3, 4, 0xff, 0xfe, 0xfd, 0xfc});
    frame_put_peer_gone(out, &key, PEER_GONE_DISCONNECTED);
    assert_frame(out, FRAME_PEER_GONE_BYTES, gone);
    gone[37] = 1;
    frame_put_peer_gone(out, &key, PEER_GONE_NOT_HERE);
    assert_frame(out, FRAME_PEER_GONE_BYTES, gone);
    frame_put_server_key(out, &key);
    assert_frame(out, FRAME_SERVER_KEY_BYTES, key_frame);
}

// A stream of frames of all types walked with what has come so far: whatever the cut, a frame is
// seen only when its header is whole, and then as what it is.
static void test_stream_byte_by_byte(void **state)
{
    enum { FRAMES = 24 };
    uint8_t stream[FRAMES * (FRAME_HEADER_BYTES + FRAMES)];
    size_t starts[FRAMES + 1] = {0};

    (void)state;
    for (uint8_t i = 0; i < FRAMES; i++) {
        frame_put_header(stream + starts[i], i, i);
        memset(stream + starts[i] + FRAME_HEADER_BYTES, 0xff, i);
        starts[i + 1] = starts[i] + FRAME_HEADER_BYTES + i;
    }
    for (size_t have = 0; have <= starts[FRAMES]; have++) {
        struct frame_header header;
        size_t at = 0, seen = 0;

        while (at <= have && frame_parse_header(stream + at, have - at, &header)) {
            assert_int_equal(at, starts[seen]);
            assert_int_equal(header.type, seen);
            assert_int_equal(header.payload_bytes, seen);
            at += FRAME_HEADER_BYTES + header.payload_bytes;
            seen++;
        }
        assert_true(seen == FRAMES || have < starts[seen] + FRAME_HEADER_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_every_type_and_bit_round_trips),
        cmocka_unit_test(test_send_to_recv),
        cmocka_unit_test(test_fixed_frames),
        cmocka_unit_test(test_stream_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
