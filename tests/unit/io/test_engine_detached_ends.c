// SPDX-License-Identifier: BSD-3-Clause
//
// Streams of both engines that we end, in every state, and those that stay with OpenSSL.
#include "io/engine.h"

#include "detached_rig.h"

#include <openssl/ssl.h>

// --- ends of our own

static void put_partial(struct conn *conn)
{
    put_raw(conn, "\x17\3\3\1\0abc", 8);
}

static void put_partial_header(struct conn *conn)
{
    put_raw(conn, "\x17\3\3", 3);
}

static void put_partial_message(struct conn *conn)
{
    put(conn, TLS13_HANDSHAKE, "\x18\0", 2);
}

static void put_request(struct conn *conn)
{
    put_key_update(conn, 1);
}

static void test_stops_in_every_state(void **state)
{
    static const builder builders[] = {
        front,       put_partial, put_partial_header, put_partial_message,
        put_request, bad_mac,     fatal_alert,        close_notify};

    (void)state;
    for (int detached = 0; detached < 2; detached++) {
        for (size_t i = 0; i < COUNT(builders); i++) {
            struct conn conn;

            conn_start(&conn, &rigs[detached], (enum tls13_suite)(i % TLS13_SUITES), 1);
            builders[i](&conn);
            send_split(&conn, SPLIT_NONE);
            settle(&conn);
            conn_stop(&conn);
        }
    }
}

// Behind a fatal alert, sent or received, nothing is sent (section 6.2).
static void test_writes_nothing_behind_a_fatal_alert(void **state)
{
    static const builder builders[] = {bad_mac, fatal_alert};

    (void)state;
    for (int detached = 0; detached < 2; detached++) {
        for (size_t i = 0; i < COUNT(builders); i++) {
            struct conn conn;

            conn_start(&conn, &rigs[detached], TLS13_AES_128_GCM_SHA256, 1);
            builders[i](&conn);
            send_split(&conn, SPLIT_NONE);
            WAIT(&conn, conn.ends == 1);
            assert_true(
                stream_write(conn.stream, &(struct stream_buf){(const uint8_t *)"x", 1}, 1) < 0);
            assert_int_equal(rigs[detached].io.out_len, 0);
            stream_shutdown(conn.stream);
            hear(&conn); // asserts it
            assert_int_equal(conn.close_notifies, 0);
            conn_stop(&conn);
        }
    }
}

// Section 6.1: nor behind our close_notify, though the peer may go on and err.
static void test_fault_behind_our_goodbye(void **state)
{
    (void)state;
    for (int detached = 0; detached < 2; detached++) {
        struct conn conn;

        conn_start(&conn, &rigs[detached], TLS13_AES_128_GCM_SHA256, 1);
        conn.silent = true;
        stream_shutdown(conn.stream);
        bad_mac(&conn);
        send_split(&conn, SPLIT_NONE);
        WAIT(&conn, conn.ends == 1);
        assert_int_equal(conn.end, STREAM_END_TLS);
        assert_int_equal(conn.got_len, 20);
        hear(&conn);
        assert_int_equal(conn.close_notifies, 1);
        conn_stop(&conn);
    }
}

// --- what stays with OpenSSL

static void assert_stays(SSL *ssl, struct rig *rig)
{
    struct conn conn = {.silent = true};

    conn_start_by(&conn, rig, ssl);
    assert_ptr_equal(conn.stream->engine, &engine_openssl);
    assert_null(conn.stream->detached);
    write_bytes(&conn, 5000);
    settle(&conn);
    for (size_t n, len = 0; len < 5000; len += n) {
        uint8_t bytes[5000];

        BIO_write(SSL_get_rbio(conn.ssl), conn.in, (int)conn.in_len);
        conn.in_len = 0;
        assert_int_equal(SSL_read_ex(conn.ssl, bytes, sizeof bytes, &n), 1);
    }
    conn_stop(&conn);
}

static void test_tls12_stays(void **state)
{
    SSL *ssl = SSL_new(client_ctx);

    (void)state;
    SSL_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
    assert_stays(ssl, &rigs[1]);
}

// RFC 6066, section 4: such a client takes no larger records.
static void test_agreed_fragment_length_stays(void **state)
{
    SSL *ssl = SSL_new(client_ctx);

    (void)state;
    SSL_set_tlsext_max_fragment_length(ssl, TLSEXT_max_fragment_length_512);
    assert_stays(ssl, &rigs[1]);
}

static void test_suite_that_the_library_lacks_stays(void **state)
{
    void **context = &rigs[1].io.ciphers.open[TLS13_AES_128_GCM_SHA256].context;
    void *saved = *context;

    (void)state;
    *context = NULL;
    assert_stays(SSL_new(client_ctx), &rigs[1]);
    *context = saved;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stops_in_every_state),
        cmocka_unit_test(test_writes_nothing_behind_a_fatal_alert),
        cmocka_unit_test(test_fault_behind_our_goodbye),
        cmocka_unit_test(test_tls12_stays),
        cmocka_unit_test(test_agreed_fragment_length_stays),
        cmocka_unit_test(test_suite_that_the_library_lacks_stays),
    };
    return cmocka_run_group_tests(tests, detached_group_setup, detached_group_teardown);
}
