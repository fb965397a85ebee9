// SPDX-License-Identifier: BSD-3-Clause
//
// The handshake and the detached records against a TLS server of OpenSSL over memory.
#include "handshake.h"
#include "record.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define DATA_MAX_BYTES 40000

struct session {
    SSL_CTX *server_context, *client_context;
    SSL *server;
    BIO *to_server, *from_server; // owned by server
    struct record_side seal, open;
    struct buffer in; // from the server, not yet opened
};

static const char *const suites[] = {
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
};
#define SUITES (sizeof suites / sizeof suites[0])

static const size_t sizes[] = {1, 2, 63, 64, 1237, 16383, 16384, 16385, 32768, DATA_MAX_BYTES};
#define SIZES (sizeof sizes / sizeof sizes[0])

static SSL_CTX *server_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();

    X509_set_version(certificate, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return context;
}

static void take_from_server(struct session *session, size_t at_most)
{
    const int n =
        BIO_read(session->from_server, buffer_reserve(&session->in, at_most), (int)at_most);

    if (n > 0)
        buffer_commit(&session->in, (size_t)n);
}

// `chunk` bytes at a time from the server to the client.
static void shake_hands(struct session *session, size_t chunk)
{
    struct handshake *client = handshake_new(session->client_context);
    struct buffer out = {0};
    enum handshake_result result;

    assert_non_null(client);
    while ((result = handshake_step(client, &session->in, &out)) == HANDSHAKE_MORE) {
        BIO_write(session->to_server, buffer_head(&out), (int)buffer_len(&out));
        buffer_consume(&out, buffer_len(&out));
        SSL_do_handshake(session->server);
        take_from_server(session, chunk);
    }
    assert_int_equal(result, HANDSHAKE_DONE);
    BIO_write(session->to_server, buffer_head(&out), (int)buffer_len(&out));
    assert_int_equal(SSL_do_handshake(session->server), 1);
    assert_true(handshake_sides(client, &session->seal, &session->open));
    handshake_free(client);
    buffer_deinit(&out);
}

static void session_init(struct session *session, const char *suite, size_t chunk)
{
    *session = (struct session){.server_context = server_context(),
                                .client_context = handshake_context(suite)};
    assert_non_null(session->client_context);
    session->server = SSL_new(session->server_context);
    session->to_server = BIO_new(BIO_s_mem());
    session->from_server = BIO_new(BIO_s_mem());
    SSL_set_bio(session->server, session->to_server, session->from_server);
    SSL_set_accept_state(session->server);
    shake_hands(session, chunk);
    assert_string_equal(SSL_CIPHER_get_name(SSL_get_current_cipher(session->server)), suite);
}

static void session_deinit(struct session *session)
{
    record_side_deinit(&session->seal);
    record_side_deinit(&session->open);
    buffer_deinit(&session->in);
    SSL_free(session->server);
    SSL_CTX_free(session->server_context);
    SSL_CTX_free(session->client_context);
}

static void fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 31 + len);
}

static void read_at_server(struct session *session, uint8_t *out, size_t len)
{
    size_t at = 0;

    while (at < len) {
        const int n = SSL_read(session->server, out + at, (int)(len - at));
        assert_true(n > 0);
        at += (size_t)n;
    }
}

static void check_seal(struct session *session, uint8_t *data, uint8_t *other, size_t len)
{
    const size_t sealed = record_sealed_bytes(len);
    uint8_t *records = memory_get(sealed);

    fill(data, len);
    record_seal_data(&session->seal, data, len, records);
    assert_int_equal(BIO_write(session->to_server, records, (int)sealed), sealed);
    read_at_server(session, other, len);
    assert_memory_equal(data, other, len);
    assert_int_equal(BIO_pending(session->to_server), 0);
    free(records);
}

// Opens records, fed `chunk` bytes at a time, until `len` bytes of data are there. Tickets come
// first and are passed over.
static size_t open_data(struct session *session, uint8_t *out, size_t len, size_t chunk)
{
    size_t at = 0, others = 0;

    while (at < len) {
        struct record_opened opened;
        uint8_t plain[RECORD_BODY_MAX_BYTES];
        const enum record_result result = record_open(&session->open, buffer_head(&session->in),
                                                      buffer_len(&session->in), plain, &opened);

        assert_int_not_equal(result, RECORD_BAD);
        if (result == RECORD_INCOMPLETE) {
            assert_true(BIO_pending(session->from_server) > 0);
            take_from_server(session, chunk);
            continue;
        }
        buffer_consume(&session->in, opened.used);
        if (opened.type != RECORD_DATA) {
            assert_int_equal(opened.type, RECORD_HANDSHAKE);
            others++;
            continue;
        }
        memcpy(out + at, plain, opened.bytes);
        at += opened.bytes;
    }
    assert_int_equal(at, len);
    return others;
}

static void test_round_trips(void **state)
{
    static uint8_t data[DATA_MAX_BYTES], other[DATA_MAX_BYTES];

    (void)state;
    for (size_t s = 0; s < SUITES; s++) {
        struct session session;
        size_t others = 0;

        print_message("%s\n", suites[s]);
        session_init(&session, suites[s], 100000);
        for (size_t i = 0; i < SIZES; i++) {
            check_seal(&session, data, other, sizes[i]);
            fill(data, sizes[i]);
            assert_int_equal(SSL_write(session.server, data, (int)sizes[i]), sizes[i]);
            others += open_data(&session, other, sizes[i], 100000);
            assert_memory_equal(data, other, sizes[i]);
        }
        assert_int_equal(others, 2); // OpenSSL's two session tickets
        session_deinit(&session);
    }
}

static void test_byte_by_byte(void **state)
{
    struct session session;
    uint8_t data[1237], other[1237];

    (void)state;
    session_init(&session, suites[0], 1);
    fill(data, sizeof data);
    SSL_write(session.server, data, sizeof data);
    open_data(&session, other, sizeof data, 1);
    assert_memory_equal(data, other, sizeof data);
    check_seal(&session, data, other, sizeof data);
    session_deinit(&session);
}

// What the server sent with its last flight belongs to the records, not to the handshake.
static void test_bytes_behind_the_handshake_stay(void **state)
{
    struct session session;
    uint8_t other[5];

    (void)state;
    session_init(&session, suites[0], 100000);
    SSL_write(session.server, "hello", 5);
    take_from_server(&session, 100000);
    assert_int_equal(open_data(&session, other, 5, 1), 2);
    assert_memory_equal(other, "hello", 5);
    assert_int_equal(buffer_len(&session.in), 0);
    session_deinit(&session);
}

static void test_padding_is_removed(void **state)
{
    struct session session;
    uint8_t other[5];

    (void)state;
    session_init(&session, suites[0], 100000);
    SSL_set_block_padding(session.server, 512);
    SSL_write(session.server, "hello", 5);
    open_data(&session, other, 5, 100000);
    assert_memory_equal(other, "hello", 5);
    session_deinit(&session);
}

static void test_changed_records_do_not_open(void **state)
{
    static const size_t places[] = {0, 3, 5, 20};

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct session session;
        struct record_opened opened;
        uint8_t other[1], plain[RECORD_BODY_MAX_BYTES];
        enum record_result result;

        session_init(&session, suites[0], 100000);
        SSL_write(session.server, "a", 1);
        open_data(&session, other, 1, 100000);
        SSL_write(session.server, "hello", 5);
        take_from_server(&session, 100000);
        buffer_head(&session.in)[places[i]] ^= 0x80;
        result = record_open(&session.open, buffer_head(&session.in), buffer_len(&session.in),
                             plain, &opened);
        assert_int_equal(result, RECORD_BAD);
        session_deinit(&session);
    }
}

static void test_close_notify_is_understood(void **state)
{
    struct session session;
    uint8_t record[2 + RECORD_OVERHEAD_BYTES], byte;
    const uint8_t close_notify[] = {1, 0};

    (void)state;
    session_init(&session, suites[0], 100000);
    assert_int_equal(record_seal(&session.seal, RECORD_ALERT, close_notify, 2, record),
                     sizeof record);
    BIO_write(session.to_server, record, sizeof record);
    assert_int_equal(SSL_read(session.server, &byte, 1), 0);
    assert_int_equal(SSL_get_shutdown(session.server), SSL_RECEIVED_SHUTDOWN);
    session_deinit(&session);
}

static void test_garbage_ends_the_handshake(void **state)
{
    SSL_CTX *context = handshake_context(NULL);
    struct handshake *client = handshake_new(context);
    struct buffer in = {0}, out = {0};

    (void)state;
    assert_int_equal(handshake_step(client, &in, &out), HANDSHAKE_MORE);
    assert_true(buffer_len(&out) > 100);
    buffer_append(&in, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    assert_int_equal(handshake_step(client, &in, &out), HANDSHAKE_FAILED);
    buffer_deinit(&in);
    buffer_deinit(&out);
    handshake_free(client);
    SSL_CTX_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_bytes_behind_the_handshake_stay),
        cmocka_unit_test(test_padding_is_removed),
        cmocka_unit_test(test_changed_records_do_not_open),
        cmocka_unit_test(test_close_notify_is_understood),
        cmocka_unit_test(test_garbage_ends_the_handshake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
