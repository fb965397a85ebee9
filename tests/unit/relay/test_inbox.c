// SPDX-License-Identifier: BSD-3-Clause
#include "relay/inbox.h"

#include "proto/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_BODY (FRAME_HEADER_BYTES + FRAME_SEND_MAX_BYTES)

static struct batch_pool pool;

static void append(struct outbox *outbox, uint32_t n, size_t len)
{
    static uint8_t body[LARGEST_BODY];
    const struct client_handle to = {
        .slot = n, .generation = n + 1, .worker = (uint16_t)(n % 1000)};

    memset(body, (int)(n & 0xff), len);
    outbox_append(outbox, &pool, &to, (enum message_type)(n % 4), body, len);
}

static void check(const struct message *message, uint32_t n, size_t len)
{
    const uint8_t *body = message_body(message);

    assert_int_equal(message->to.slot, n);
    assert_int_equal(message->to.generation, n + 1);
    assert_int_equal(message->to.worker, n % 1000);
    assert_int_equal(message->type, n % 4);
    assert_int_equal(message->len, len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(body[i], n & 0xff);
}

// Sizes around the borders of messages and batches.
static size_t len_of(uint32_t n)
{
    static const size_t sizes[] = {0,  1,    7,     8,     9,     32,           37,   1317,
                                   69, 8000, 16383, 16384, 16385, LARGEST_BODY, 2048, 3};

    return sizes[n * 7 % (sizeof sizes / sizeof sizes[0])];
}

static uint32_t check_all(const struct batch *batches, uint32_t from)
{
    for (const struct batch *batch = batches; batch; batch = batch->next) {
        const struct message *message;
        size_t offset = 0;

        assert_true(batch->len > 0 && batch->len <= batch->capacity);
        while ((message = batch_next(batch, &offset))) {
            assert_int_equal((uintptr_t)message % 8, 0);
            check(message, from, len_of(from));
            from++;
        }
        assert_int_equal(offset, batch->len);
    }
    return from;
}

#define ROUNDS 11
#define PER_ROUND 90u

static void test_order_and_sizes(void **state)
{
    struct inbox inbox;
    struct outbox outbox = {0};
    struct batch *batches;
    size_t bytes = 0;
    uint32_t n = 0;

    (void)state;
    inbox_init(&inbox);
    assert_null(inbox_take(&inbox));
    for (int round = 0; round < ROUNDS; round++) {
        const size_t before = bytes;

        for (uint32_t i = 0; i < PER_ROUND; i++, n++) {
            append(&outbox, n, len_of(n));
            bytes += (sizeof(struct message) + len_of(n) + 7) / 8 * 8;
            assert_int_equal(outbox.bytes, bytes - before);
        }
        assert_int_equal(inbox_receive(&inbox, &outbox), round == 0);
        assert_true(!outbox.head && !outbox.tail && outbox.bytes == 0);
        assert_int_equal(atomic_load(&inbox.bytes), bytes);
    }
    batches = inbox_take(&inbox);
    assert_int_equal(check_all(batches, 0), ROUNDS * PER_ROUND);
    assert_int_equal(atomic_load(&inbox.bytes), 0);
    assert_null(inbox_take(&inbox));
    batch_free_all(batches);
    inbox_deinit(&inbox);
}

static void test_wakes_once_per_emptiness(void **state)
{
    struct inbox inbox;
    struct outbox first = {0}, second = {0};

    (void)state;
    inbox_init(&inbox);
    for (int round = 1; round <= 3; round++) {
        append(&first, 1, 10);
        append(&second, 2, 10);
        assert_true(inbox_receive(&inbox, &first));
        assert_false(inbox_receive(&inbox, &second));
        append(&first, 3, 20000);
        assert_false(inbox_receive(&inbox, &first));
        batch_free_all(inbox_take(&inbox));
    }
    inbox_deinit(&inbox);
}

static void test_closed(void **state)
{
    struct inbox inbox;
    struct outbox outbox = {0};

    (void)state;
    inbox_init(&inbox);
    append(&outbox, 1, 100);
    assert_true(inbox_receive(&inbox, &outbox));
    inbox_close(&inbox); // frees what is there
    assert_null(inbox_take(&inbox));
    append(&outbox, 2, 100);
    append(&outbox, 3, 20000);
    assert_false(inbox_receive(&inbox, &outbox)); // refused, and freed
    assert_null(outbox.head);
    assert_int_equal(outbox.bytes, 0);
    assert_null(inbox_take(&inbox));
    inbox_deinit(&inbox);
}

static void test_freed_with_what_waits(void **state)
{
    struct inbox inbox;
    struct outbox outbox = {0};

    (void)state;
    inbox_init(&inbox);
    append(&outbox, 1, 100);
    inbox_receive(&inbox, &outbox);
    inbox_deinit(&inbox);
}

// What was received is filled again; unusual sizes and too many are freed (the sanitizers look).
static void test_spare_batches(void **state)
{
    struct batch_pool spare = {0};
    struct inbox inbox;
    struct outbox outbox = {0};
    const struct client_handle to = {.generation = 1};
    static uint8_t body[20000];
    const struct batch *used;

    (void)state;
    inbox_init(&inbox);
    for (int i = 0; i < 2 * BATCH_POOL_MAX; i++) {
        outbox_append(&outbox, &spare, &to, MESSAGE_PACKET_OTHER, body, 16000);
        outbox_append(&outbox, &spare, &to, MESSAGE_PACKET_OTHER, body, sizeof body);
    }
    inbox_receive(&inbox, &outbox);
    batch_pool_put(&spare, inbox_take(&inbox));
    assert_int_equal(spare.count, BATCH_POOL_MAX);
    used = spare.head;
    outbox_append(&outbox, &spare, &to, MESSAGE_PACKET_OTHER, body, 100);
    assert_ptr_equal(outbox.head, used);
    assert_int_equal(spare.count, BATCH_POOL_MAX - 1);
    outbox_append(&outbox, &spare, &to, MESSAGE_PACKET_OTHER, body, sizeof body);
    assert_true(outbox.tail->capacity >= sizeof body);
    assert_int_equal(spare.count, BATCH_POOL_MAX - 1);
    batch_free_all(outbox.head);
    batch_free_all(spare.head);
    inbox_deinit(&inbox);
}

static void test_room(void **state)
{
    struct inbox inbox;
    struct outbox outbox = {0};
    uint32_t n = 0;

    (void)state;
    inbox_init(&inbox);
    while (inbox_bytes(&inbox, &outbox) < INBOX_MAX_BYTES) {
        append(&outbox, n++, LARGEST_BODY);
        if (n == 50)
            inbox_receive(&inbox, &outbox);
    }
    assert_true(n > 110);
    assert_true(atomic_load(&inbox.bytes) + outbox.bytes < INBOX_MAX_BYTES + LARGEST_BODY + 64);
    batch_free_all(inbox_take(&inbox));
    assert_true(inbox_bytes(&inbox, &outbox) < INBOX_MAX_BYTES);
    batch_free_all(outbox.head);
    inbox_deinit(&inbox);
}

// --- many producers, one consumer

#define PRODUCERS 4
#define EACH 40000u

struct stress {
    struct inbox inbox;
    atomic_int wakes; // given and not yet consumed
    atomic_int done;
};

struct producer {
    struct stress *stress;
    uint32_t index;
    struct batch_pool pool;
};

static void *produce(void *data)
{
    struct producer *producer = data;
    struct stress *stress = producer->stress;
    struct outbox outbox = {0};
    unsigned seed = producer->index + 1;

    for (uint32_t n = 0; n < EACH; n++) {
        const struct client_handle to = {.slot = n, .worker = (uint16_t)producer->index};
        uint8_t body[600];
        const size_t len = (size_t)rand_r(&seed) % sizeof body;

        memset(body, (int)(n & 0xff), len);
        outbox_append(&outbox, &producer->pool, &to, MESSAGE_PACKET_OTHER, body, len);
        (void)inbox_bytes(&stress->inbox, &outbox);
        if (rand_r(&seed) % 20 != 0 && n < EACH - 1)
            continue;
        if (inbox_receive(&stress->inbox, &outbox))
            atomic_fetch_add(&stress->wakes, 1);
    }
    atomic_fetch_add(&stress->done, 1);
    return NULL;
}

static void consume(struct stress *stress, uint32_t next[PRODUCERS])
{
    struct batch *batches;

    if (atomic_exchange(&stress->wakes, 0) == 0) {
        sched_yield();
        return;
    }
    batches = inbox_take(&stress->inbox);
    for (const struct batch *batch = batches; batch; batch = batch->next) {
        const struct message *message;
        size_t offset = 0;

        while ((message = batch_next(batch, &offset))) {
            assert_int_equal(message->to.slot, next[message->to.worker]);
            next[message->to.worker]++;
            if (message->len > 0)
                assert_int_equal(message_body(message)[message->len - 1], message->to.slot & 0xff);
        }
    }
    batch_free_all(batches);
}

// The consumer takes only when it was woken, and yet gets everything: no wake-up is lost.
static void test_many_producers(void **state)
{
    static struct stress stress;
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    uint32_t next[PRODUCERS] = {0};

    (void)state;
    inbox_init(&stress.inbox);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.stress = &stress, .index = i};
        pthread_create(&threads[i], NULL, produce, &producers[i]);
    }
    while (atomic_load(&stress.done) < PRODUCERS || atomic_load(&stress.wakes) > 0)
        consume(&stress, next);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(next[i], EACH);
    }
    assert_null(inbox_take(&stress.inbox));
    inbox_deinit(&stress.inbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_sizes), cmocka_unit_test(test_wakes_once_per_emptiness),
        cmocka_unit_test(test_closed),          cmocka_unit_test(test_freed_with_what_waits),
        cmocka_unit_test(test_spare_batches),   cmocka_unit_test(test_room),
        cmocka_unit_test(test_many_producers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
