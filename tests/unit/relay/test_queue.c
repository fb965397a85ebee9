// SPDX-License-Identifier: BSD-3-Clause
//
// Queues against a naive model: a list of the frames that should be in them.
#include "relay/queue.h"

#include "proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LARGEST_FRAME (FRAME_HEADER_BYTES + FRAME_SEND_MAX_BYTES)
#define MODEL_MAX 4096

// Frames are told apart by their number, which their payload repeats.
struct model {
    struct {
        uint32_t payload, number;
    } frames[MODEL_MAX];
    size_t first, count;
    size_t bytes;
};

static uint8_t frame_bytes[LARGEST_FRAME];

static uint8_t byte_of(uint32_t number, size_t i)
{
    return (uint8_t)(number * 31 + i);
}

static size_t put_frame(uint8_t *out, uint32_t payload, uint32_t number)
{
    frame_put_header(out, FRAME_RECV_PACKET, payload);
    for (size_t i = 0; i < payload; i++)
        out[FRAME_HEADER_BYTES + i] = byte_of(number, i);
    return FRAME_HEADER_BYTES + payload;
}

static void model_append(struct model *model, uint32_t payload, uint32_t number)
{
    const size_t i = (model->first + model->count++) % MODEL_MAX;

    assert_true(model->count <= MODEL_MAX);
    model->frames[i].payload = payload;
    model->frames[i].number = number;
    model->bytes += FRAME_HEADER_BYTES + payload;
}

static uint32_t model_drop(struct model *model)
{
    const uint32_t payload = model->frames[model->first].payload;

    model->first = (model->first + 1) % MODEL_MAX;
    model->count--;
    model->bytes -= FRAME_HEADER_BYTES + payload;
    return payload;
}

static void append(struct queue *queue, struct chunk_pool *pool, struct model *model,
                   uint32_t payload, uint32_t number, size_t split)
{
    const size_t len = put_frame(frame_bytes, payload, number);
    const size_t bytes = queue->bytes + queue_growth(queue, number, len);

    split = split < len ? split : len;
    queue_append(queue, pool, number, frame_bytes, split, frame_bytes + split, len - split);
    assert_int_equal(queue->bytes, bytes);
    model_append(model, payload, number);
}

static void check_counts(const struct queue *queue, const struct model *model)
{
    size_t frames = 0, bytes = 0, capacity = 0;

    for (const struct chunk *chunk = queue_first(queue); chunk; chunk = queue_next(queue, chunk)) {
        assert_true(chunk->start < chunk->end && chunk->end <= chunk->capacity);
        assert_true(chunk->frames > 0);
        assert_non_null(chunk->next);
        frames += chunk->frames;
        bytes += chunk->end - chunk->start;
        capacity += chunk->capacity;
    }
    assert_int_equal(queue_empty(queue), model->count == 0);
    assert_true(!queue->last == queue_empty(queue));
    assert_int_equal(queue->frames, model->count);
    assert_int_equal(queue->bytes, capacity);
    assert_int_equal(frames, model->count);
    assert_int_equal(bytes, model->bytes);
}

// A piece is a run of whole frames, the next ones of the model.
static void check_piece(const struct stream_buf *piece, struct model *model)
{
    static uint8_t expected[LARGEST_FRAME];
    size_t at = 0;

    while (at < piece->len) {
        const size_t i = model->first;
        size_t len;

        assert_true(model->count > 0);
        len = put_frame(expected, model->frames[i].payload, model->frames[i].number);
        assert_true(piece->len - at >= len);
        assert_memory_equal(piece->data + at, expected, len);
        at += len;
        model_drop(model);
    }
}

struct told {
    size_t chunks, frames, bytes;
};

static void on_released(const struct chunk *chunk, void *data)
{
    struct told *told = data;

    told->chunks++;
    told->frames += chunk->frames;
    told->bytes += chunk->end - chunk->start;
}

// Takes pieces within the limits, checks and releases them.
static void take(struct queue *queue, struct chunk_pool *pool, struct model *model,
                 size_t max_pieces, size_t max_bytes)
{
    struct stream_buf pieces[STREAM_PIECES_MAX];
    struct told told = {0};
    size_t used = 0, bytes = 0, sum = 0;
    const size_t before = model->count;
    const bool all = queue_pieces(queue, pieces, max_pieces, &used, max_bytes, &bytes);

    assert_true(used <= max_pieces && (bytes <= max_bytes || used == 1));
    for (size_t i = 0; i < used; i++) {
        sum += pieces[i].len;
        check_piece(&pieces[i], model);
    }
    assert_int_equal(sum, bytes);
    assert_int_equal(all, model->count == 0);
    queue_release(queue, pool, used, on_released, &told);
    assert_int_equal(told.chunks, used);
    assert_int_equal(told.bytes, bytes);
    assert_int_equal(told.frames, before - model->count);
    // What was left out would not have fitted.
    if (!all)
        assert_true(used == max_pieces ||
                    bytes + queue_first(queue)->end - queue_first(queue)->start > max_bytes);
}

static void check_pool(const struct chunk_pool *pool)
{
    size_t bytes = 0;

    for (const struct chunk *chunk = pool->small; chunk; chunk = chunk->next)
        bytes += CHUNK_SMALL_BYTES;
    for (const struct chunk *chunk = pool->large; chunk; chunk = chunk->next)
        bytes += CHUNK_LARGE_BYTES;
    assert_int_equal(pool->bytes, bytes);
    assert_true(bytes <= CHUNK_POOL_MAX_BYTES);
}

static size_t capacity_of(const struct queue *queue)
{
    size_t capacity = 0;

    for (const struct chunk *chunk = queue_first(queue); chunk; chunk = queue_next(queue, chunk))
        capacity += chunk->capacity;
    return capacity;
}

static uint32_t random_payload(void)
{
    static const uint32_t borders[] = {
        0,
        32,
        1280,
        CHUNK_SMALL_BYTES - FRAME_HEADER_BYTES - 1,
        CHUNK_SMALL_BYTES - FRAME_HEADER_BYTES,
        CHUNK_SMALL_BYTES - FRAME_HEADER_BYTES + 1,
        CHUNK_LARGE_BYTES - FRAME_HEADER_BYTES - 1,
        CHUNK_LARGE_BYTES - FRAME_HEADER_BYTES,
        CHUNK_LARGE_BYTES - FRAME_HEADER_BYTES + 1,
        FRAME_SEND_MAX_BYTES - 1,
        FRAME_SEND_MAX_BYTES,
    };
    switch (rand() % 4) {
    case 0:
        return borders[(size_t)rand() % COUNT(borders)];
    case 1:
        return 32 + (uint32_t)(rand() % 20000);
    default:
        return 32 + (uint32_t)(rand() % 1500);
    }
}

static void random_step(struct queue *queue, struct chunk_pool *pool, struct model *model,
                        uint32_t number, bool growing)
{
    const int dice = rand() % 100;

    if (dice < (growing ? 70 : 40) && model->count < MODEL_MAX) {
        append(queue, pool, model, random_payload(), number, 1 + (size_t)rand() % 60);
    } else if (dice < 85) {
        if (model->count > 0)
            assert_int_equal(queue_drop_oldest(queue, pool), model_drop(model));
    } else if (dice < 99) {
        take(queue, pool, model, 1 + (size_t)rand() % STREAM_PIECES_MAX,
             LARGEST_FRAME + (size_t)rand() % IO_WRITE_PLAIN_BYTES);
    } else {
        queue_clear(queue, pool);
        *model = (struct model){.count = 0};
    }
}

static void test_random_steps(void **state)
{
    static struct model models[3];
    struct queue queues[3] = {0};
    struct chunk_pool pool = {0};

    (void)state;
    srand(1);
    for (uint32_t number = 1; number < 60000; number++) {
        const size_t i = (size_t)rand() % 3;

        random_step(&queues[i], &pool, &models[i], number, number / 5000 % 2);
        check_counts(&queues[i], &models[i]);
        if (number % 64 == 0)
            check_pool(&pool);
        assert_int_equal(pool.queued_bytes, capacity_of(&queues[0]) + capacity_of(&queues[1]) +
                                                capacity_of(&queues[2]));
    }
    for (size_t i = 0; i < 3; i++)
        queue_clear(&queues[i], &pool);
    check_pool(&pool);
    chunk_pool_deinit(&pool);
    assert_int_equal(pool.bytes, 0);
}

// Capacity of the chunk that holds a frame of this size, in an empty queue and behind another one.
static const struct {
    size_t frame;
    uint32_t alone, behind;
} capacities[] = {
    {FRAME_HEADER_BYTES, CHUNK_SMALL_BYTES, CHUNK_SMALL_BYTES},
    {CHUNK_SMALL_BYTES - 1, CHUNK_SMALL_BYTES, CHUNK_LARGE_BYTES},
    {CHUNK_SMALL_BYTES, CHUNK_SMALL_BYTES, CHUNK_LARGE_BYTES},
    {CHUNK_SMALL_BYTES + 1, CHUNK_LARGE_BYTES, CHUNK_LARGE_BYTES},
    {CHUNK_LARGE_BYTES, CHUNK_LARGE_BYTES, CHUNK_LARGE_BYTES},
    {CHUNK_LARGE_BYTES + 1, CHUNK_LARGE_BYTES + 1, CHUNK_LARGE_BYTES + 1},
    {LARGEST_FRAME, LARGEST_FRAME, LARGEST_FRAME},
};

static void test_chunk_borders(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(capacities); i++) {
        const uint32_t payload = (uint32_t)(capacities[i].frame - FRAME_HEADER_BYTES);
        struct queue queue = {0};
        struct chunk_pool pool = {0};
        struct model model = {.count = 0};

        append(&queue, &pool, &model, payload, 1, 5);
        assert_int_equal(queue.last->capacity, capacities[i].alone);
        assert_int_equal(queue.last->since_ms, 1);
        queue_clear(&queue, &pool);
        model = (struct model){.count = 0};
        append(&queue, &pool, &model, 100, 2, 5);
        append(&queue, &pool, &model, payload, 3, 5);
        assert_int_equal(queue.last->capacity, capacities[i].behind);
        check_counts(&queue, &model);
        take(&queue, &pool, &model, 2, IO_WRITE_PLAIN_BYTES);
        chunk_pool_deinit(&pool);
    }
}

// A chunk is filled to its last byte, and not beyond.
static void test_exact_fit(void **state)
{
    struct queue queue = {0};
    struct chunk_pool pool = {0};
    struct model model = {.count = 0};
    const uint32_t half = CHUNK_SMALL_BYTES / 2 - FRAME_HEADER_BYTES;

    (void)state;
    append(&queue, &pool, &model, half, 1, 5);
    append(&queue, &pool, &model, half, 2, 5);
    assert_ptr_equal(queue_first(&queue), queue.last);
    assert_int_equal(queue_first(&queue)->end, CHUNK_SMALL_BYTES);
    append(&queue, &pool, &model, 0, 3, 5);
    assert_ptr_not_equal(queue_first(&queue), queue.last);
    check_counts(&queue, &model);
    take(&queue, &pool, &model, 2, IO_WRITE_PLAIN_BYTES);
    assert_null(queue_first(&queue));
    chunk_pool_deinit(&pool);
}

// Frames of one chunk are of nearly the same age.
static void test_time_borders(void **state)
{
    struct queue queue = {0};
    struct chunk_pool pool = {0};
    struct model model = {.count = 0};

    (void)state;
    assert_int_equal(queue_waited_ms(&queue, 7), 0);
    append(&queue, &pool, &model, 100, 1000, 5);
    append(&queue, &pool, &model, 100, 1000 + CHUNK_SPAN_MS, 5);
    assert_ptr_equal(queue_first(&queue), queue.last);
    append(&queue, &pool, &model, 100, 1000 + CHUNK_SPAN_MS + 1, 5);
    assert_ptr_not_equal(queue_first(&queue), queue.last);
    assert_int_equal(queue_waited_ms(&queue, 3000), 2000);
    queue_drop_oldest(&queue, &pool);
    queue_drop_oldest(&queue, &pool);
    assert_int_equal(queue_waited_ms(&queue, 3000), 2000 - CHUNK_SPAN_MS - 1);
    queue_clear(&queue, &pool);
    assert_int_equal(pool.queued_bytes, 0);
    chunk_pool_deinit(&pool);
}

// Small frames that come seldom take little, and a burst behind them whole records.
static void test_seldom(void **state)
{
    struct queue queue = {0};
    struct chunk_pool pool = {0};
    struct model model = {.count = 0};
    uint32_t number = 1;

    (void)state;
    for (int i = 0; i < 100; i++, number += CHUNK_SPAN_MS + 1)
        append(&queue, &pool, &model, 40, number, 5);
    assert_int_equal(queue.bytes, 100 * CHUNK_SMALL_BYTES);
    for (int i = 0; i < 10; i++)
        append(&queue, &pool, &model, 1000, number, 5);
    assert_int_equal(queue.bytes, 101 * CHUNK_SMALL_BYTES + CHUNK_LARGE_BYTES);
    assert_int_equal(pool.queued_bytes, queue.bytes);
    check_counts(&queue, &model);
    queue_clear(&queue, &pool);
    assert_int_equal(queue.bytes, 0);
    assert_int_equal(pool.queued_bytes, 0);
    chunk_pool_deinit(&pool);
}

// The oldest frame that is left is as old as it is, not as those that were dropped.
static void test_waited_after_drops(void **state)
{
    struct queue queue = {0};
    struct chunk_pool pool = {0};
    struct model model = {.count = 0};

    (void)state;
    for (uint32_t i = 0; i < 5; i++)
        append(&queue, &pool, &model, 100, 1000 + 20 * i, 5);
    assert_ptr_equal(queue_first(&queue), queue.last);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(queue_waited_ms(&queue, 1200), 200 - 20 * i);
        queue_drop_oldest(&queue, &pool);
    }
    assert_int_equal(queue_waited_ms(&queue, 1200), 0);
    chunk_pool_deinit(&pool);
}

static void test_pieces_count_on(void **state)
{
    struct queue queue = {0};
    struct chunk_pool pool = {0};
    struct model model = {.count = 0};
    struct stream_buf pieces[4];
    size_t used = 2, bytes = 1000;

    (void)state;
    for (uint32_t i = 0; i < 3; i++)
        append(&queue, &pool, &model, CHUNK_LARGE_BYTES - FRAME_HEADER_BYTES, i, 5);
    assert_false(queue_pieces(&queue, pieces, 4, &used, 100000, &bytes));
    assert_int_equal(used, 4);
    assert_int_equal(bytes, 1000 + 2 * CHUNK_LARGE_BYTES);
    used = 0, bytes = 1000;
    assert_false(queue_pieces(&queue, pieces, 4, &used, 999 + 3 * CHUNK_LARGE_BYTES, &bytes));
    assert_int_equal(used, 2);
    used = 0, bytes = 1000;
    assert_true(queue_pieces(&queue, pieces, 4, &used, 1000 + 3 * CHUNK_LARGE_BYTES, &bytes));
    assert_int_equal(used, 3);
    queue_clear(&queue, &pool);
    chunk_pool_deinit(&pool);
}

static void test_pool_gives_back(void **state)
{
    struct queue queue = {0};
    struct chunk_pool pool = {0};
    struct model model = {.count = 0};
    const struct chunk *small, *large;

    (void)state;
    append(&queue, &pool, &model, 100, 1, 5);
    append(&queue, &pool, &model, 3000, 2, 5);
    append(&queue, &pool, &model, 20000, 3, 5);
    small = queue_first(&queue);
    large = queue_first(&queue)->next;
    queue_clear(&queue, &pool);
    assert_int_equal(pool.bytes, CHUNK_SMALL_BYTES + CHUNK_LARGE_BYTES); // not the odd one
    model = (struct model){.count = 0};
    append(&queue, &pool, &model, 200, 4, 5);
    append(&queue, &pool, &model, 3000, 5, 5);
    assert_ptr_equal(queue_first(&queue), small);
    assert_ptr_equal(queue.last, large);
    assert_int_equal(pool.bytes, 0);
    check_counts(&queue, &model);
    take(&queue, &pool, &model, 2, IO_WRITE_PLAIN_BYTES);
    chunk_pool_deinit(&pool);
}

static void test_pool_is_bounded(void **state)
{
    static struct model model;
    struct queue queue = {0};
    struct chunk_pool pool = {0};

    (void)state;
    for (uint32_t i = 0; i < 2 * CHUNK_POOL_MAX_BYTES / CHUNK_LARGE_BYTES; i++)
        append(&queue, &pool, &model, CHUNK_LARGE_BYTES - FRAME_HEADER_BYTES, i, 5);
    while (!queue_empty(&queue))
        queue_drop_oldest(&queue, &pool);
    check_pool(&pool);
    assert_int_equal(pool.bytes, CHUNK_POOL_MAX_BYTES);
    chunk_pool_deinit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_steps),       cmocka_unit_test(test_chunk_borders),
        cmocka_unit_test(test_exact_fit),          cmocka_unit_test(test_pieces_count_on),
        cmocka_unit_test(test_pool_gives_back),    cmocka_unit_test(test_pool_is_bounded),
        cmocka_unit_test(test_time_borders),       cmocka_unit_test(test_seldom),
        cmocka_unit_test(test_waited_after_drops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
