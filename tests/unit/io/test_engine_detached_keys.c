// SPDX-License-Identifier: BSD-3-Clause
//
// The keys of the detached engine: when they change (RFC 8446, sections 4.6.3 and 5.5), and that
// they are forgotten.
#include "io/engine.h"

#include "detached_rig.h"

static void send_all(struct conn *conn, size_t expected_more)
{
    const size_t until = conn->got_len + expected_more;

    send_split(conn, SPLIT_NONE);
    WAIT(conn, conn->got_len == until);
    hear(conn);
}

// Section 5.5: new keys before the old ones are worn, and no request with them.
static void test_we_update_what_we_send(void **state)
{
    (void)state;
    rigs[1].io.key_update_after = 8;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        struct conn conn;

        conn_start(&conn, &rigs[1], (enum tls13_suite)suite, 1);
        for (int i = 0; i < 70; i++)
            write_bytes(&conn, 10);
        hear(&conn);
        assert_int_equal(conn.data_len, 700);
        // The first key seals 8 and the KeyUpdate; so does each.
        assert_int_equal(conn.updates, 8);
        assert_int_equal(conn.update_requests, 0);
        write_bytes(&conn, IO_WRITE_PLAIN_BYTES); // 8 records in one write
        WAIT(&conn, conn.in_len >= IO_WRITE_PLAIN_BYTES);
        hear(&conn);
        assert_int_equal(conn.updates, 9);
        assert_int_equal(conn.data_len, 700 + IO_WRITE_PLAIN_BYTES);
        conn_stop(&conn);
    }
    rigs[1].io.key_update_after = UINT64_MAX;
}

// The peer's keys wear, too: we ask with the next data, once, until it has answered.
static void test_we_ask_for_new_keys(void **state)
{
    struct conn conn;

    (void)state;
    rigs[1].io.key_update_after = 8;
    conn_start(&conn, &rigs[1], TLS13_AES_128_GCM_SHA256, 1);
    conn.silent = true;
    for (int i = 0; i < 20; i++)
        put_data(&conn, 5);
    send_all(&conn, 100);
    assert_int_equal(conn.updates, 0); // nothing was sent
    for (int i = 0; i < 3; i++)
        write_bytes(&conn, 1);
    hear(&conn);
    assert_int_equal(conn.updates, 1);
    assert_int_equal(conn.update_requests, 1);
    put_data(&conn, 5); // before it has heard of it
    send_all(&conn, 5);
    write_bytes(&conn, 1);
    hear(&conn);
    assert_int_equal(conn.update_requests, 1);
    put_key_update(&conn, 0);
    for (int i = 0; i < 7; i++)
        put_data(&conn, 5);
    send_all(&conn, 35);
    write_bytes(&conn, 1);
    hear(&conn);
    assert_int_equal(conn.update_requests, 1);
    put_data(&conn, 5);
    send_all(&conn, 5);
    write_bytes(&conn, 1);
    hear(&conn);
    assert_int_equal(conn.update_requests, 2);
    conn_stop(&conn);
    rigs[1].io.key_update_after = UINT64_MAX;
}

// Section 4.6.3: the answer to a request asks for nothing, even when we were about to ask.
static void test_requests_that_cross(void **state)
{
    struct conn conn;

    (void)state;
    rigs[1].io.key_update_after = 8;
    conn_start(&conn, &rigs[1], TLS13_AES_128_GCM_SHA256, 1);
    conn.silent = true;
    for (int i = 0; i < 8; i++)
        put_data(&conn, 5);
    put_key_update(&conn, 1);
    put_key_update(&conn, 1);
    put_data(&conn, 1);
    send_all(&conn, 41);
    for (int i = 0; i < 3; i++)
        write_bytes(&conn, 1);
    hear(&conn);
    assert_int_equal(conn.updates, 1);
    assert_int_equal(conn.update_requests, 0);
    assert_true(conn.data_behind_update);
    conn_stop(&conn);
    rigs[1].io.key_update_after = UINT64_MAX;
}

// Section 5.5: nobody goes on under a worn key for ever.
static void test_a_peer_that_keeps_its_worn_key(void **state)
{
    const uint64_t records_max = rigs[1].io.key_records_max;

    (void)state;
    rigs[1].io.key_update_after = 8;
    rigs[1].io.key_records_max = 16;
    for (int more = 0; more < 2; more++) {
        struct conn conn;

        conn_start(&conn, &rigs[1], TLS13_AES_128_GCM_SHA256, 1);
        for (int i = 0; i < 16; i++)
            put_data(&conn, 5);
        if (more)
            put(&conn, TLS13_DATA, "xxxxx", 5);
        send_split(&conn, SPLIT_NONE);
        WAIT(&conn, conn.got_len == 80 && conn.ends == more);
        hear(&conn);
        assert_int_equal(conn.got_len, 80);
        assert_int_equal(conn.ends, more);
        assert_int_equal(conn.alert, more ? TLS13_UNEXPECTED_MESSAGE : NO_ALERT);
        conn_stop(&conn);
    }
    rigs[1].io.key_update_after = UINT64_MAX;
    rigs[1].io.key_records_max = records_max;
}

// Data between them buys none: 32 at once, then one a second.
static void test_keys_that_change_on_and_on(void **state)
{
    struct conn conn;

    (void)state;
    conn_start(&conn, &rigs[1], TLS13_AES_128_GCM_SHA256, 1);
    for (int i = 0; i < 32; i++) {
        put_key_update(&conn, 0);
        put_data(&conn, 1);
    }
    send_all(&conn, 32);
    assert_int_equal(conn.ends, 0);
    for (int i = 0; i < 100; i++) {
        put_key_update(&conn, 0);
        put_data(&conn, 1);
    }
    send_split(&conn, SPLIT_NONE);
    WAIT(&conn, conn.ends == 1);
    assert_int_equal(conn.end, STREAM_END_TLS);
    assert_true(conn.got_len < 132);
    hear(&conn);
    assert_int_equal(conn.alert, TLS13_UNEXPECTED_MESSAGE);
    conn_stop(&conn);
}

// The cipher context does not keep the key of a connection that has ended.
static void test_the_cipher_forgets(void **state)
{
    static const struct tls13_direction nobody;

    (void)state;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        const struct tls13_cipher *open = &rigs[1].io.ciphers.open[suite];
        struct conn conn;

        conn_start(&conn, &rigs[1], (enum tls13_suite)suite, 1);
        conn.silent = true;
        put_data(&conn, 5);
        send_all(&conn, 5);
        assert_memory_equal(open->key, conn.to.key, open->key_bytes);
        conn_stop(&conn);
        assert_memory_equal(open->key, nobody.key, open->key_bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_we_update_what_we_send),
        cmocka_unit_test(test_we_ask_for_new_keys),
        cmocka_unit_test(test_requests_that_cross),
        cmocka_unit_test(test_a_peer_that_keeps_its_worn_key),
        cmocka_unit_test(test_keys_that_change_on_and_on),
        cmocka_unit_test(test_the_cipher_forgets),
    };
    return cmocka_run_group_tests(tests, detached_group_setup, detached_group_teardown);
}
