// SPDX-License-Identifier: BSD-3-Clause
#include "proto/reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define TAKEN 0x04
#define SKIPPED 0x7f
#define STOPPING 0x66

// What a reader has handed out, as one string of bytes with the frames' lengths in front.
struct heard {
    uint8_t bytes[1 << 20];
    size_t len;
    int headers, frames;
    int stop_at_frame; // on_frame says stop at this one; 0 = never
};

static enum reader_verdict on_header(void *owner, const struct frame_header *header)
{
    struct heard *heard = owner;

    heard->headers++;
    if (header->type == STOPPING)
        return READER_STOP;
    return header->type == SKIPPED ? READER_SKIP : READER_TAKE;
}

static bool on_frame(void *owner, uint8_t *frame, size_t len)
{
    struct heard *heard = owner;

    assert_true(heard->len + sizeof len + len <= sizeof heard->bytes);
    memcpy(heard->bytes + heard->len, &len, sizeof len);
    memcpy(heard->bytes + heard->len + sizeof len, frame, len);
    heard->len += sizeof len + len;
    memset(frame, 0xee, len); // the frame is ours to change
    return ++heard->frames != heard->stop_at_frame;
}

static const struct frame_reader_callbacks callbacks = {on_header, on_frame};

static size_t put_frame(uint8_t *out, uint8_t type, uint32_t payload)
{
    frame_put_header(out, type, payload);
    for (uint32_t i = 0; i < payload; i++)
        out[FRAME_HEADER_BYTES + i] = (uint8_t)(i * 7 + type);
    return FRAME_HEADER_BYTES + payload;
}

// Feeds a copy of the stream in pieces whose lengths `next` gives.
static bool feed(struct heard *heard, const uint8_t *stream, size_t len, size_t (*next)(void))
{
    struct frame_reader reader = {0};
    bool go_on = true;
    size_t at = 0;

    memset(heard, 0, offsetof(struct heard, stop_at_frame));
    while (at < len && go_on) {
        size_t n = next();
        uint8_t *piece;

        n = n < len - at ? n : len - at;
        piece = malloc(n);
        memcpy(piece, stream + at, n);
        go_on = frame_reader_feed(&reader, &callbacks, heard, piece, n);
        free(piece);
        at += n;
    }
    frame_reader_deinit(&reader);
    return go_on;
}

static size_t one(void)
{
    return 1;
}

static size_t all(void)
{
    return SIZE_MAX;
}

static size_t some(void)
{
    return 1 + (size_t)rand() % (rand() % 8 ? 40 : 5000);
}

static size_t make_stream(uint8_t *stream, size_t frames)
{
    static const uint32_t payloads[] = {0, 1, 32, 1200, 2043, 2044, 4096, 65568};
    size_t len = 0;

    for (size_t i = 0; i < frames; i++)
        len += put_frame(stream + len, i % 3 == 2 ? SKIPPED : TAKEN,
                         payloads[(size_t)rand() % (sizeof payloads / sizeof *payloads)]);
    return len;
}

static void test_pieces_do_not_matter(void **state)
{
    static uint8_t stream[1 << 20];
    static struct heard whole, pieces;

    (void)state;
    srand(1);
    for (int round = 0; round < 60; round++) {
        const size_t len = make_stream(stream, 1 + (size_t)rand() % 12);

        assert_true(feed(&whole, stream, len, all));
        assert_true(feed(&pieces, stream, len, round % 8 ? some : one));
        assert_int_equal(whole.headers, pieces.headers);
        assert_int_equal(whole.frames, pieces.frames);
        assert_int_equal(whole.len, pieces.len);
        assert_memory_equal(whole.bytes, pieces.bytes, whole.len);
    }
}

static void test_frames_come_whole_and_skipped_ones_do_not(void **state)
{
    static uint8_t stream[4096];
    static struct heard heard;
    uint8_t first[FRAME_HEADER_BYTES + 40];
    size_t len;

    (void)state;
    len = put_frame(stream, TAKEN, 40);
    memcpy(first, stream, len);
    len += put_frame(stream + len, SKIPPED, 900);
    len += put_frame(stream + len, SKIPPED, 0);
    len += put_frame(stream + len, TAKEN, 0);
    assert_true(feed(&heard, stream, len, all));
    assert_int_equal(heard.headers, 4);
    assert_int_equal(heard.frames, 2);
    assert_memory_equal(heard.bytes + sizeof(size_t), first, sizeof first);
}

static void test_stops_at_a_header_and_at_a_frame(void **state)
{
    static uint8_t stream[4096];
    static struct heard heard;
    size_t (*const ways[])(void) = {one, all};
    size_t len = 0;

    (void)state;
    len += put_frame(stream, TAKEN, 10);
    len += put_frame(stream + len, STOPPING, 10);
    len += put_frame(stream + len, TAKEN, 10);
    for (int i = 0; i < 2; i++) {
        heard.stop_at_frame = 0;
        assert_false(feed(&heard, stream, len, ways[i]));
        assert_int_equal(heard.frames, 1);
        assert_int_equal(heard.headers, 2);
        heard.stop_at_frame = 1;
        assert_false(feed(&heard, stream, len, ways[i]));
        assert_int_equal(heard.headers, 1);
    }
}

// A length costs nothing before its bytes come, and what is skipped is never kept.
static void test_lengths_alone_cost_nothing(void **state)
{
    uint8_t stream[FRAME_HEADER_BYTES + 100] = {0};
    struct frame_reader reader = {0};
    static struct heard heard;

    (void)state;
    memset(&heard, 0, sizeof heard);
    frame_put_header(stream, SKIPPED, UINT32_MAX);
    assert_true(frame_reader_feed(&reader, &callbacks, &heard, stream, sizeof stream));
    assert_null(reader.partial);
    assert_int_equal(reader.skip, UINT32_MAX - 100);

    reader = (struct frame_reader){0};
    frame_put_header(stream, TAKEN, UINT32_MAX);
    assert_true(frame_reader_feed(&reader, &callbacks, &heard, stream, sizeof stream));
    assert_non_null(reader.partial);
    assert_int_equal(heard.frames, 0);
    frame_reader_deinit(&reader);
    assert_null(reader.partial);
}

// What stands behind the frame at which it was stopped is the owner's.
static void test_tells_what_is_left(void **state)
{
    uint8_t stream[64];
    const size_t first = put_frame(stream, TAKEN, 10);
    const size_t len = first + put_frame(stream + first, TAKEN, 20);
    struct frame_reader reader = {0};
    static struct heard heard;

    (void)state;
    for (size_t split = 0; split <= first; split++) {
        uint8_t copy[64];

        memset(&heard, 0, sizeof heard);
        heard.stop_at_frame = 1;
        memcpy(copy, stream, len);
        if (split < first)
            assert_true(frame_reader_feed(&reader, &callbacks, &heard, copy, split));
        assert_int_equal(reader.left, 0);
        assert_false(frame_reader_feed(&reader, &callbacks, &heard,
                                       copy + (split < first ? split : 0),
                                       len - (split < first ? split : 0)));
        assert_int_equal(reader.left, len - first);
        heard.stop_at_frame = 0;
        assert_true(frame_reader_feed(&reader, &callbacks, &heard, copy + first, reader.left));
        assert_int_equal(heard.frames, 2);
        assert_int_equal(reader.left, 0);
    }
    frame_reader_deinit(&reader);
}

#define OWN_BYTES 8     // of the reader's, in front of a frame that it keeps
#define MALLOC_BYTES 24 // that it may give beyond what was asked for

// What a frame holds while it comes in pieces of one length.
static void feed_one(uint32_t payload, size_t piece)
{
    static uint8_t stream[FRAME_HEADER_BYTES + 70000];
    static struct heard heard;
    struct frame_reader reader = {0};
    const size_t whole = put_frame(stream, TAKEN, payload);

    memset(&heard, 0, sizeof heard);
    for (size_t at = 0; at < whole; at += piece) {
        const size_t n = piece < whole - at ? piece : whole - at, come = at + n;
        // Before its length is known, no more than a header.
        const size_t most = come < FRAME_HEADER_BYTES ? FRAME_HEADER_BYTES : whole;

        assert_true(frame_reader_feed(&reader, &callbacks, &heard, stream + at, n));
        if (come == whole)
            break;
        assert_true(reader.held_bytes >= OWN_BYTES + come);
        assert_true(reader.held_bytes <= OWN_BYTES + (2 * come < most ? 2 * come : most));
        assert_true(malloc_usable_size(reader.partial) <= reader.held_bytes + MALLOC_BYTES);
    }
    assert_int_equal(heard.frames, 1);
    assert_null(reader.partial);
    assert_int_equal(reader.held_bytes, 0);
}

static void test_holds_no_more_than_the_frame_and_twice_what_has_come(void **state)
{
    static const uint32_t payloads[] = {0, 1, 3, 1200, 2044, 65568};
    static const size_t pieces[] = {1, 2, 4, 5, 7, 1000, 16384, 40000, 65572};

    (void)state;
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++)
        for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++)
            feed_one(payloads[i], pieces[k]);
}

static void test_stalls(void **state)
{
    uint8_t stream[2 * (FRAME_HEADER_BYTES + 100)];
    struct frame_reader reader = {0};
    static struct heard heard;

    (void)state;
    memset(&heard, 0, sizeof heard);
    assert_false(frame_reader_mark(&reader));
    assert_false(frame_reader_mark(&reader));
    put_frame(stream, TAKEN, 100);
    assert_true(frame_reader_feed(&reader, &callbacks, &heard, stream, 2));
    assert_false(frame_reader_mark(&reader));
    assert_true(frame_reader_mark(&reader));
    assert_true(frame_reader_feed(&reader, &callbacks, &heard, stream + 2, 90));
    assert_true(frame_reader_mark(&reader));
    // It ends, and the next one is begun with the same bytes.
    put_frame(stream + 105, TAKEN, 100);
    assert_true(frame_reader_feed(&reader, &callbacks, &heard, stream + 92, 20));
    assert_false(frame_reader_mark(&reader));
    assert_true(frame_reader_mark(&reader));
    frame_reader_deinit(&reader);
    assert_false(frame_reader_mark(&reader));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_do_not_matter),
        cmocka_unit_test(test_frames_come_whole_and_skipped_ones_do_not),
        cmocka_unit_test(test_stops_at_a_header_and_at_a_frame),
        cmocka_unit_test(test_lengths_alone_cost_nothing),
        cmocka_unit_test(test_holds_no_more_than_the_frame_and_twice_what_has_come),
        cmocka_unit_test(test_stalls),
        cmocka_unit_test(test_tells_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
