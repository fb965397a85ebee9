// SPDX-License-Identifier: BSD-3-Clause
//
// The directory against a naive model, and under threads.
#include "relay/directory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 12
#define CONNS_MAX 8

static struct key key_of(uint32_t n)
{
    struct key key = {{0}};

    memcpy(key.bytes, &n, sizeof n);
    return key;
}

static struct client_handle handle_of(uint32_t n)
{
    return (struct client_handle){.slot = n, .generation = n * 2 + 1, .worker = (uint16_t)(n % 5)};
}

// What was kept is a number behind a pointer: merging adds.
static void *merge(void *old, void *new)
{
    return (void *)((uintptr_t)old + (uintptr_t) new);
}

static bool add(struct directory *directory, uint32_t key, uint32_t conn,
                struct client_handle *first)
{
    const struct key k = key_of(key);
    const struct client_handle handle = handle_of(conn);

    bool full, dup;

    dup = directory_add(directory, &k, &handle, first, &full);
    assert_false(full);
    return dup;
}

static bool remove_conn(struct directory *directory, uint32_t key, uint32_t conn, uintptr_t keep,
                        uintptr_t *kept)
{
    const struct key k = key_of(key);
    const struct client_handle handle = handle_of(conn);
    void *out = (void *)1;
    const bool last = directory_remove(directory, &k, &handle, (void *)keep, merge, &out);

    *kept = (uintptr_t)out;
    return last;
}

static bool touch(struct directory *directory, uint32_t key, uint32_t conn)
{
    const struct key k = key_of(key);
    const struct client_handle handle = handle_of(conn);

    return directory_touch(directory, &k, &handle);
}

static bool find(struct directory *directory, uint32_t key, struct client_handle *out,
                 uint32_t *epoch)
{
    const struct key k = key_of(key);

    return directory_find(directory, &k, key_hash(&k), out, epoch);
}

static uint32_t epoch_of(const struct directory *directory, uint32_t key)
{
    const struct key k = key_of(key);

    return directory_epoch(directory, key_hash(&k));
}

static void assert_active(struct directory *directory, uint32_t key, uint32_t conn)
{
    const struct client_handle expected = handle_of(conn);
    const struct key k = key_of(key);
    struct client_handle out;
    uint32_t epoch;

    assert_true(find(directory, key, &out, &epoch));
    assert_true(client_handle_equal(&out, &expected));
    assert_true(directory_find_hash(directory, key_hash(&k), &out));
    assert_true(client_handle_equal(&out, &expected));
    assert_int_equal(epoch, epoch_of(directory, key));
}

static void assert_absent(struct directory *directory, uint32_t key)
{
    const struct key k = key_of(key);
    struct client_handle out;
    uint32_t epoch;

    assert_false(find(directory, key, &out, &epoch));
    assert_false(directory_find_hash(directory, key_hash(&k), &out));
}

static void assert_gauges(const struct directory *directory, int64_t keys, int64_t dup_keys,
                          int64_t dup_conns)
{
    assert_int_equal(directory->keys, keys);
    assert_int_equal(directory->dup_keys, dup_keys);
    assert_int_equal(directory->dup_conns, dup_conns);
}

static void test_one_connection(void **state)
{
    struct directory directory;
    struct client_handle out = {.slot = 77};
    uintptr_t kept;
    uint32_t epoch;

    (void)state;
    directory_init(&directory);
    assert_false(find(&directory, 1, &out, &epoch));
    assert_int_equal(out.slot, 77);
    assert_int_equal(epoch, epoch_of(&directory, 1));
    assert_false(add(&directory, 1, 10, &out));
    assert_int_equal(out.generation, 0);
    assert_active(&directory, 1, 10);
    assert_gauges(&directory, 1, 0, 0);
    epoch = epoch_of(&directory, 1);
    assert_false(touch(&directory, 1, 10));
    assert_int_equal(epoch_of(&directory, 1), epoch); // nothing has changed
    assert_true(remove_conn(&directory, 1, 10, 5, &kept));
    assert_int_equal(kept, 0); // what the last one brings is its own
    assert_false(find(&directory, 1, &out, &epoch));
    assert_gauges(&directory, 0, 0, 0);
    directory_deinit(&directory);
}

// Steps with one key: '+' adds, '-' removes, '!' touches a connection; then who is active ('.' no
// one), and what the gauge of duplicate connections says.
static const struct {
    const char *name;
    struct {
        char what;
        uint32_t conn;
        char active;
        int dup_conns;
    } steps[10];
} stories[] = {
    {"the newest is active", {{'+', 1, 1, 0}, {'+', 2, 2, 2}, {'+', 3, 3, 3}}},
    {"the newest that is left",
     {{'+', 1, 1, 0}, {'+', 2, 2, 2}, {'+', 3, 3, 3}, {'-', 3, 2, 2}, {'-', 2, 1, 0}}},
    {"one that is not active leaves",
     {{'+', 1, 1, 0}, {'+', 2, 2, 2}, {'+', 3, 3, 3}, {'-', 1, 3, 2}, {'-', 2, 3, 0}}},
    {"the last writer",
     {{'+', 1, 1, 0}, {'+', 2, 2, 2}, {'!', 1, 1, 2}, {'!', 2, 2, 2}, {'!', 1, 1, 2}}},
    {"the last writer stays when others leave",
     {{'+', 1, 1, 0},
      {'+', 2, 2, 2},
      {'+', 3, 3, 3},
      {'!', 2, 2, 3},
      {'-', 1, 2, 2},
      {'-', 3, 2, 0}}},
    {"the last writer leaves",
     {{'+', 1, 1, 0}, {'+', 2, 2, 2}, {'+', 3, 3, 3}, {'!', 1, 1, 3}, {'-', 1, 3, 2}}},
    {"alone, then not alone",
     {{'+', 1, 1, 0},
      {'+', 2, 2, 2},
      {'-', 1, 2, 0},
      {'+', 3, 3, 2},
      {'+', 4, 4, 3},
      {'-', 4, 3, 2},
      {'-', 3, 2, 0}}},
    {"all leave and one returns",
     {{'+', 1, 1, 0}, {'+', 2, 2, 2}, {'-', 1, 2, 0}, {'-', 2, '.', 0}, {'+', 1, 1, 0}}},
};

static void step(struct directory *directory, char what, uint32_t conn)
{
    struct client_handle first;
    uintptr_t kept;

    if (what == '+')
        add(directory, 1, conn, &first);
    else if (what == '-')
        remove_conn(directory, 1, conn, 0, &kept);
    else
        touch(directory, 1, conn);
}

static void test_stories(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof stories / sizeof stories[0]; i++) {
        struct directory directory;
        bool present[8] = {false};
        uintptr_t kept;

        print_message("%s\n", stories[i].name);
        directory_init(&directory);
        for (size_t j = 0; stories[i].steps[j].what; j++) {
            const char active = stories[i].steps[j].active;
            const uint32_t conn = stories[i].steps[j].conn;

            step(&directory, stories[i].steps[j].what, conn);
            present[conn] = stories[i].steps[j].what != '-';
            if (active != '.')
                assert_active(&directory, 1, (uint32_t)active);
            assert_gauges(&directory, active != '.', stories[i].steps[j].dup_conns > 0,
                          stories[i].steps[j].dup_conns);
        }
        for (uint32_t conn = 0; conn < 8; conn++)
            if (present[conn])
                remove_conn(&directory, 1, conn, 0, &kept);
        directory_deinit(&directory);
    }
}

static void test_first_is_named_once(void **state)
{
    struct directory directory;
    struct client_handle first, one = handle_of(1), three = handle_of(3);
    uintptr_t kept;

    (void)state;
    directory_init(&directory);
    assert_false(add(&directory, 1, 1, &first));
    assert_true(add(&directory, 1, 2, &first));
    assert_true(client_handle_equal(&first, &one));
    assert_true(add(&directory, 1, 3, &first));
    assert_int_equal(first.generation, 0);
    assert_int_equal(directory.dup_total, 2);
    assert_false(remove_conn(&directory, 1, 1, 0, &kept));
    assert_false(remove_conn(&directory, 1, 2, 0, &kept));
    assert_false(touch(&directory, 1, 3)); // alone again
    assert_true(add(&directory, 1, 4, &first));
    assert_true(client_handle_equal(&first, &three));
    assert_int_equal(directory.dup_total, 3);
    assert_false(remove_conn(&directory, 1, 3, 0, &kept));
    assert_true(remove_conn(&directory, 1, 4, 0, &kept));
    directory_deinit(&directory);
}

static void test_kept(void **state)
{
    struct directory directory;
    struct client_handle first;
    uintptr_t kept;

    (void)state;
    directory_init(&directory);
    for (uint32_t conn = 0; conn < 4; conn++)
        add(&directory, 1, conn, &first);
    assert_false(remove_conn(&directory, 1, 0, 0x10, &kept));
    assert_int_equal(kept, 0);
    assert_false(remove_conn(&directory, 1, 1, 0, &kept)); // has nothing to keep
    assert_false(remove_conn(&directory, 1, 2, 0x300, &kept));
    assert_int_equal(kept, 0);
    assert_true(remove_conn(&directory, 1, 3, 0x4000, &kept));
    assert_int_equal(kept, 0x310);
    assert_false(add(&directory, 1, 5, &first)); // forgotten with the entry
    assert_true(remove_conn(&directory, 1, 5, 0, &kept));
    assert_int_equal(kept, 0);
    directory_deinit(&directory);
}

#define EPOCHS (DIRECTORY_SHARDS * DIRECTORY_EPOCHS)

static uint32_t epoch_at(const struct directory *directory, unsigned i)
{
    const struct directory_shard *shard = &directory->shards[i / DIRECTORY_EPOCHS];

    return atomic_load(&shard->epochs[i % DIRECTORY_EPOCHS]);
}

static void test_epochs(void **state)
{
    struct directory directory;
    struct client_handle out;
    uintptr_t kept;
    uint32_t epoch, before[EPOCHS];
    const struct key key = key_of(1);
    const unsigned mine =
        directory_shard_of(key_hash(&key)) * DIRECTORY_EPOCHS + directory_epoch_of(key_hash(&key));

    (void)state;
    directory_init(&directory);
    for (unsigned i = 0; i < EPOCHS; i++)
        before[i] = epoch_at(&directory, i);
    add(&directory, 1, 1, &out);
    assert_int_not_equal(epoch_of(&directory, 1), before[mine]);
    before[mine] = epoch_of(&directory, 1);
    add(&directory, 1, 2, &out);
    assert_int_not_equal(epoch_of(&directory, 1), before[mine]);
    before[mine] = epoch_of(&directory, 1);
    find(&directory, 1, &out, &epoch);
    touch(&directory, 1, 2); // is active already
    assert_int_equal(epoch_of(&directory, 1), before[mine]);
    touch(&directory, 1, 1);
    assert_int_not_equal(epoch_of(&directory, 1), before[mine]);
    before[mine] = epoch_of(&directory, 1);
    remove_conn(&directory, 1, 1, 0, &kept);
    assert_int_not_equal(epoch_of(&directory, 1), before[mine]);
    before[mine] = epoch_of(&directory, 1);
    remove_conn(&directory, 1, 2, 0, &kept);
    assert_int_not_equal(epoch_of(&directory, 1), before[mine]);
    for (unsigned i = 0; i < EPOCHS; i++)
        if (i != mine)
            assert_int_equal(epoch_at(&directory, i), before[i]);
    directory_deinit(&directory);
}

// --- against a model

struct model_key {
    uint32_t conns[CONNS_MAX]; // oldest first
    uint32_t count, active;
    uintptr_t kept;
};

static void model_check(struct directory *directory, const struct model_key *keys)
{
    int64_t present = 0, dup_keys = 0, dup_conns = 0;

    for (uint32_t k = 0; k < KEYS; k++) {
        present += keys[k].count > 0;
        dup_keys += keys[k].count > 1;
        dup_conns += keys[k].count > 1 ? keys[k].count : 0;
        if (keys[k].count > 0)
            assert_active(directory, k, keys[k].conns[keys[k].active]);
        else
            assert_absent(directory, k);
    }
    assert_gauges(directory, present, dup_keys, dup_conns);
}

static void model_add(struct directory *directory, struct model_key *key, uint32_t k, uint32_t conn)
{
    const struct client_handle old = handle_of(key->conns[0]);
    struct client_handle first;

    assert_int_equal(add(directory, k, conn, &first), key->count > 0);
    if (key->count == 1)
        assert_true(client_handle_equal(&first, &old));
    else
        assert_int_equal(first.generation, 0);
    key->active = key->count;
    key->conns[key->count++] = conn;
}

static void model_remove(struct directory *directory, struct model_key *key, uint32_t k)
{
    const uint32_t i = (uint32_t)rand() % key->count;
    const uintptr_t keep = (uintptr_t)(rand() % 3);
    const bool last = key->count == 1;
    uintptr_t kept;

    assert_int_equal(remove_conn(directory, k, key->conns[i], keep, &kept), last);
    assert_int_equal(kept, last ? key->kept : 0);
    key->kept = last ? 0 : key->kept + keep;
    memmove(&key->conns[i], &key->conns[i + 1], (key->count - i - 1) * sizeof key->conns[0]);
    key->count--;
    if (key->active == i)
        key->active = key->count > 0 ? key->count - 1 : 0;
    else if (key->active > i)
        key->active--;
}

static void test_against_model(void **state)
{
    static struct model_key keys[KEYS];
    struct directory directory;

    (void)state;
    srand(2);
    directory_init(&directory);
    for (uint32_t n = 1; n < 20000; n++) {
        const uint32_t k = (uint32_t)rand() % KEYS;
        struct model_key *key = &keys[k];
        const int dice = rand() % 3;

        if (dice == 0 && key->count < CONNS_MAX) {
            model_add(&directory, key, k, n);
        } else if (dice == 1 && key->count > 0) {
            model_remove(&directory, key, k);
        } else if (key->count > 0) {
            key->active = (uint32_t)rand() % key->count;
            assert_int_equal(touch(&directory, k, key->conns[key->active]), key->count > 1);
        }
        model_check(&directory, keys);
    }
    for (uint32_t k = 0; k < KEYS; k++)
        while (keys[k].count > 0)
            model_remove(&directory, &keys[k], k);
    model_check(&directory, keys);
    directory_deinit(&directory);
}

// --- under threads

#define THREADS 4
#define STRESS_KEYS 40
#define STRESS_STEPS 40000
#define MINE_MAX 64

// Each thread plays a worker: it adds, touches and removes its own connections, and looks up any
// key. Connections of one key are spread over all threads.
struct thread_state {
    struct directory *directory;
    uint32_t index;
    uint32_t keys[MINE_MAX], conns[MINE_MAX];
    uint32_t count;
    int64_t joined;             // adds that met the key connected
    uintptr_t left, taken_over; // handed to `keep`; received, or thrown away by the last
};

static void stress_remove(struct thread_state *mine, uint32_t i, unsigned *seed)
{
    const uintptr_t keep = (uintptr_t)(rand_r(seed) % 100);
    uintptr_t kept;

    mine->left += keep;
    if (remove_conn(mine->directory, mine->keys[i], mine->conns[i], keep, &kept))
        mine->taken_over += keep + kept;
    mine->count--;
    mine->keys[i] = mine->keys[mine->count];
    mine->conns[i] = mine->conns[mine->count];
}

static void stress_add(struct thread_state *mine, uint32_t n, uint32_t key)
{
    const uint32_t conn = mine->index * STRESS_STEPS + n;
    struct client_handle first;

    mine->joined += add(mine->directory, key, conn, &first);
    mine->keys[mine->count] = key;
    mine->conns[mine->count++] = conn;
}

static void stress_find(struct thread_state *mine, uint32_t key)
{
    struct client_handle out;
    uint32_t epoch;

    if (find(mine->directory, key, &out, &epoch))
        assert_int_equal(out.generation, out.slot * 2 + 1); // never torn
    // Epochs only go on.
    assert_true((int32_t)(epoch_of(mine->directory, key) - epoch) >= 0);
}

static void *stress(void *data)
{
    struct thread_state *mine = data;
    unsigned seed = mine->index + 1;

    for (uint32_t n = 0; n < STRESS_STEPS; n++) {
        const uint32_t key = (uint32_t)rand_r(&seed) % STRESS_KEYS;
        const uint32_t i = mine->count ? (uint32_t)rand_r(&seed) % mine->count : 0;
        const int dice = rand_r(&seed) % 4;

        if (dice == 0 && mine->count < MINE_MAX)
            stress_add(mine, n, key);
        else if (dice == 1 && mine->count > 0)
            stress_remove(mine, i, &seed);
        else if (dice == 2 && mine->count > 0)
            touch(mine->directory, mine->keys[i], mine->conns[i]);
        else
            stress_find(mine, key);
    }
    return NULL;
}

// The gauges are what counting everything gives; the active one is one of the key's.
static void check_stressed(struct directory *directory, const struct thread_state *threads)
{
    int64_t present = 0, dup_keys = 0, dup_conns = 0, joined = 0;

    for (uint32_t key = 0; key < STRESS_KEYS; key++) {
        struct client_handle out = {0};
        uint32_t epoch, count = 0;
        const bool found = find(directory, key, &out, &epoch);
        bool active = false;

        for (int t = 0; t < THREADS; t++) {
            for (uint32_t i = 0; i < threads[t].count; i++) {
                count += threads[t].keys[i] == key;
                active = active || (threads[t].keys[i] == key && threads[t].conns[i] == out.slot);
            }
        }
        assert_int_equal(found, count > 0);
        assert_int_equal(active, found);
        present += count > 0;
        dup_keys += count > 1;
        dup_conns += count > 1 ? count : 0;
    }
    for (int t = 0; t < THREADS; t++)
        joined += threads[t].joined;
    assert_gauges(directory, present, dup_keys, dup_conns);
    assert_int_equal(directory->dup_total, joined);
}

static void test_under_threads(void **state)
{
    static struct thread_state states[THREADS];
    struct directory directory;
    pthread_t threads[THREADS];
    uintptr_t left = 0, taken_over = 0;
    unsigned seed = 9;

    (void)state;
    directory_init(&directory);
    for (uint32_t t = 0; t < THREADS; t++) {
        states[t] = (struct thread_state){.directory = &directory, .index = t};
        pthread_create(&threads[t], NULL, stress, &states[t]);
    }
    for (uint32_t t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    check_stressed(&directory, states);
    for (uint32_t t = 0; t < THREADS; t++) {
        while (states[t].count > 0)
            stress_remove(&states[t], 0, &seed);
    }
    for (uint32_t t = 0; t < THREADS; t++) {
        left += states[t].left;
        taken_over += states[t].taken_over;
    }
    assert_int_equal(left, taken_over); // nothing that was kept is lost
    assert_gauges(&directory, 0, 0, 0);
    directory_deinit(&directory);
}

static void test_connections_of_a_key_are_bounded(void **state)
{
    struct directory directory;
    const struct key key = key_of(7);
    const struct client_handle late = handle_of(1000);
    struct client_handle first;
    uintptr_t kept;
    bool full;

    (void)state;
    directory_init(&directory);
    for (uint32_t i = 0; i < DIRECTORY_CONNECTIONS_MAX; i++)
        add(&directory, 7, i, &first);
    assert_true(directory_add(&directory, &key, &late, &first, &full));
    assert_true(full);
    assert_int_equal(directory.dup_conns, DIRECTORY_CONNECTIONS_MAX);
    assert_false(remove_conn(&directory, 7, 0, 0, &kept));
    directory_add(&directory, &key, &late, &first, &full);
    assert_false(full);
    assert_false(remove_conn(&directory, 7, 1000, 0, &kept));
    for (uint32_t i = 1; i < DIRECTORY_CONNECTIONS_MAX; i++)
        remove_conn(&directory, 7, i, 0, &kept);
    assert_int_equal(directory.keys, 0);
    directory_deinit(&directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_connection),
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_first_is_named_once),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_connections_of_a_key_are_bounded),
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_under_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
