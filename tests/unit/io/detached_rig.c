// SPDX-License-Identifier: BSD-3-Clause
#include "detached_rig.h"

#include "../support/identity.h"

#include <errno.h>
#include <openssl/err.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const suite_names[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                          "TLS_CHACHA20_POLY1305_SHA256"};

struct rig rigs[2];
SSL_CTX *client_ctx;
static struct identity identity;

static void keep(uint8_t **buffer, size_t *len, const void *data, size_t n)
{
    *buffer = realloc(*buffer, *len + n + 1);
    assert_non_null(*buffer);
    if (n > 0)
        memcpy(*buffer + *len, data, n);
    *len += n;
}

uint32_t dice(struct conn *conn, uint32_t below)
{
    conn->seed = conn->seed * 1664525 + 1013904223;
    return (conn->seed >> 8) % below;
}

// --- the stream's owner

static void on_ready(struct stream *stream)
{
    struct conn *conn = stream_owner(stream);

    conn->ready++;
}

static bool on_data(struct stream *stream, uint8_t *data, size_t len)
{
    struct conn *conn = stream_owner(stream);

    assert_true(len > 0);
    assert_int_equal(conn->ends, 0);
    assert_int_equal(stream->io->out_len, 0);
    keep(&conn->got, &conn->got_len, data, len);
    memset(data, 0xee, len);
    if (!conn->silent && !stream_blocked(stream))
        stream_write(stream, &(struct stream_buf){(const uint8_t *)".", 1}, 1);
    return true;
}

static void on_drained(struct stream *stream)
{
    (void)stream;
}

static void on_end(struct stream *stream, enum stream_end why)
{
    struct conn *conn = stream_owner(stream);

    conn->ends++;
    conn->end = why;
}

static const struct stream_callbacks callbacks = {
    .on_ready = on_ready, .on_data = on_data, .on_drained = on_drained, .on_end = on_end};

static void on_connection(struct listener *listener, int fd)
{
    struct rig *rig = list_entry(listener, struct rig, listener);

    rig->accepting->stream = stream_accept(&rig->io, fd, true, &callbacks, rig->accepting);
    assert_non_null(rig->accepting->stream);
}

// --- the rigs

static void rig_start(struct rig *rig, bool detach)
{
    SSL_CTX *ctx = identity_context(&identity);

    rig->budget.limit = 1000;
    uv_loop_init(&rig->loop);
    io_context_init(&rig->io, &rig->loop, &rig->budget);
    rig->io.detach = detach;
    io_context_set_tls(&rig->io, ctx);
    SSL_CTX_free(ctx);
    assert_int_equal(
        listener_start(&rig->listener, &rig->io, loopback_bind(&rig->port, 0), on_connection), 0);
}

static void rig_stop(struct rig *rig)
{
    listener_close(&rig->listener);
    // Not to the end at any price: a test that has failed leaves its stream.
    for (const uint64_t until = clock_ms() + PATIENCE_MS; clock_ms() < until;)
        if (uv_run(&rig->loop, UV_RUN_NOWAIT) == 0)
            break;
    assert_int_equal(uv_loop_alive(&rig->loop), 0);
    assert_int_equal(counter_read(&rig->io.counters.streams), 0);
    assert_int_equal(counter_read(&rig->io.counters.tls12_active), 0);
    assert_int_equal(counter_read(&rig->io.counters.tls13_active), 0);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    io_context_deinit(&rig->io);
}

// --- the client

static void take_secret(const char *line, const char *label, struct tls13_direction *direction,
                        enum tls13_suite suite)
{
    uint8_t secret[TLS13_SECRET_MAX_BYTES];
    const char *hex = strrchr(line, ' ') + 1;

    if (strncmp(line, label, strlen(label)) != 0)
        return;
    assert_int_equal(sodium_hex2bin(secret, sizeof secret, hex, strlen(hex), NULL, NULL, NULL), 0);
    assert_true(tls13_direction_start(direction, suite, secret));
}

static void on_client_keylog(const SSL *ssl, const char *line)
{
    struct conn *conn = SSL_get_app_data(ssl);

    take_secret(line, "CLIENT_TRAFFIC_SECRET_0 ", &conn->to, conn->suite);
    take_secret(line, "SERVER_TRAFFIC_SECRET_0 ", &conn->from, conn->suite);
}

void pump(struct conn *conn)
{
    uint8_t bytes[65536];
    ssize_t n = -1;

    uv_run(&conn->rig->loop, UV_RUN_NOWAIT);
    if (!conn->eof)
        n = recv(conn->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        conn->eof = true;
    if (n > 0)
        keep(&conn->in, &conn->in_len, bytes, (size_t)n);
}

void settle(struct conn *conn)
{
    for (int i = 0; i < 10; i++)
        pump(conn);
}

static void send_raw(struct conn *conn, const uint8_t *data, size_t len)
{
    const uint64_t until = clock_ms() + PATIENCE_MS;

    while (len > 0 && !conn->ends && !conn->eof) {
        const ssize_t n = send(conn->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        assert_true(n > 0 || errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
        pump(conn);
        assert_true(clock_ms() < until);
    }
}

static void shake_hands(struct conn *conn)
{
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    uint8_t bytes[16384];

    SSL_set_bio(conn->ssl, in, out);
    SSL_set_app_data(conn->ssl, conn);
    SSL_set_connect_state(conn->ssl);
    for (const uint64_t until = clock_ms() + PATIENCE_MS; !conn->ready;) {
        int n;

        SSL_do_handshake(conn->ssl);
        n = BIO_read(out, bytes, sizeof bytes);
        send_raw(conn, bytes, n > 0 ? (size_t)n : 0);
        pump(conn);
        if (conn->in_len > 0)
            BIO_write(in, conn->in, (int)conn->in_len);
        conn->in_len = 0;
        assert_true(clock_ms() < until);
    }
}

void conn_start_by(struct conn *conn, struct rig *rig, SSL *ssl)
{
    conn->rig = rig;
    conn->alert = NO_ALERT;
    conn->ssl = ssl;
    rig->accepting = conn;
    conn->fd = loopback_connect(rig->port, 0);
    shake_hands(conn);
    assert_ptr_equal(rig->accepting, conn);
}

void conn_start(struct conn *conn, struct rig *rig, enum tls13_suite suite, uint32_t seed)
{
    SSL *ssl = SSL_new(client_ctx);

    *conn = (struct conn){.suite = suite, .seed = seed};
    assert_int_equal(SSL_set_ciphersuites(ssl, suite_names[suite]), 1);
    conn_start_by(conn, rig, ssl);
    assert_ptr_equal(conn->stream->engine, rig->io.detach ? &engine_detached : &engine_openssl);
    assert_int_equal(conn->stream->ssl == NULL, rig->io.detach);
    SSL_set_quiet_shutdown(conn->ssl, 1);
    SSL_free(conn->ssl);
    conn->ssl = NULL;
}

void conn_stop(struct conn *conn)
{
    stream_close(conn->stream);
    uv_run(&conn->rig->loop, UV_RUN_NOWAIT);
    close(conn->fd);
    SSL_free(conn->ssl);
    free(conn->got);
    free(conn->wire);
    free(conn->expected);
    free(conn->in);
}

// --- what the client writes

void expect(struct conn *conn, const void *data, size_t len)
{
    if (!conn->dead)
        keep(&conn->expected, &conn->expected_len, data, len);
}

void put_raw(struct conn *conn, const void *bytes, size_t len)
{
    keep(&conn->wire, &conn->wire_len, bytes, len);
}

void put_padded(struct conn *conn, uint8_t type, const void *content, size_t len, size_t padding)
{
    static const uint8_t zeros[17000];
    static struct tls13_ciphers *ciphers;
    static uint8_t record[2 * TLS13_CIPHER_MAX_BYTES];
    const struct tls13_piece pieces[] = {
        {content, len}, {&type, padding > 0 ? 1 : 0}, {zeros, padding > 0 ? padding - 1 : 0}};

    ciphers = &conn->rig->io.ciphers;
    put_raw(conn, record,
            tls13_seal(ciphers, conn->suite, &conn->to, padding > 0 ? (enum tls13_type)0 : type,
                       pieces, COUNT(pieces), record));
}

void put(struct conn *conn, uint8_t type, const void *content, size_t len)
{
    put_padded(conn, type, content, len, 0);
}

void put_data(struct conn *conn, size_t len)
{
    uint8_t *data = malloc(len + 1);

    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)dice(conn, 256);
    put(conn, TLS13_DATA, data, len);
    expect(conn, data, len);
    free(data);
}

static void next_keys(struct conn *conn)
{
    assert_true(tls13_direction_update(&conn->to, conn->suite));
}

void put_key_update(struct conn *conn, uint8_t request)
{
    const uint8_t message[] = {24, 0, 0, 1, request};

    put(conn, TLS13_HANDSHAKE, message, sizeof message);
    conn->requests += request == 1;
    next_keys(conn);
}

// In records of the given sizes.
void put_split_key_update(struct conn *conn, const size_t *sizes, size_t count)
{
    const uint8_t message[] = {24, 0, 0, 1, 1};
    size_t at = 0;

    for (size_t i = 0; i < count; at += sizes[i++])
        put(conn, TLS13_HANDSHAKE, message + at, sizes[i]);
    assert_int_equal(at, sizeof message);
    conn->requests++;
    next_keys(conn);
}

void put_alert(struct conn *conn, uint8_t level, uint8_t alert)
{
    put(conn, TLS13_ALERT, (const uint8_t[]){level, alert}, 2);
}

// --- what the server writes

static void read_content(struct conn *conn, const struct tls13_opened *opened, const uint8_t *at)
{
    assert_int_equal(conn->alert, NO_ALERT); // nothing follows a fatal alert
    assert_int_equal(conn->close_notifies, 0);
    switch (opened->type) {
    case TLS13_DATA:
        assert_true(opened->len > 0);
        conn->data_len += opened->len;
        conn->data_behind_update = conn->updates > 0;
        break;
    case TLS13_HANDSHAKE:
        assert_int_equal(opened->len, 5);
        assert_memory_equal(at, "\x18\0\0\1", 4);
        conn->updates++;
        conn->update_requests += at[4];
        assert_true(tls13_direction_update(&conn->from, conn->suite));
        break;
    default:
        assert_int_equal(opened->type, TLS13_ALERT);
        assert_int_equal(opened->len, 2);
        if (at[1] == TLS13_CLOSE_NOTIFY)
            conn->close_notifies++;
        else
            conn->alert = at[1];
        assert_int_equal(at[0], at[1] == TLS13_CLOSE_NOTIFY ? 1 : 2);
    }
}

static void read_answers(struct conn *conn)
{
    size_t at = 0;

    while (at < conn->in_len) {
        enum tls13_alert alert;
        struct tls13_opened opened;
        const size_t n = tls13_record_bytes(conn->in + at, conn->in_len - at, &alert);
        uint8_t *place = conn->in + at + TLS13_HEADER_BYTES;

        assert_true(n > 0 && n <= conn->in_len - at);
        assert_true(tls13_open(&conn->rig->io.ciphers, conn->suite, &conn->from, conn->in + at, n,
                               place, &opened, &alert));
        read_content(conn, &opened, place);
        at += n;
    }
    conn->in_len = 0;
}

void hear(struct conn *conn)
{
    settle(conn);
    read_answers(conn);
}

// --- both ways

void send_split(struct conn *conn, enum split split)
{
    size_t at = 0;

    while (at < conn->wire_len) {
        size_t n = conn->wire_len - at;

        if (split == SPLIT_BYTES)
            n = 1;
        else if (split == SPLIT_RANDOM && n > 1)
            n = 1 + dice(conn, dice(conn, 4) == 0 ? (uint32_t)n : n < 40 ? (uint32_t)n : 40);
        send_raw(conn, conn->wire + at, n);
        at += n;
    }
    conn->wire_len = 0;
}

void write_bytes(struct conn *conn, size_t len)
{
    uint8_t *data = calloc(1, len);

    assert_int_equal(stream_write(conn->stream, &(struct stream_buf){data, len}, 1), 0);
    free(data);
}

// --- what several tests write

void front(struct conn *conn)
{
    put_data(conn, 20);
}

void put_dead(struct conn *conn, const void *bytes, size_t len)
{
    front(conn);
    put_raw(conn, bytes, len);
    conn->dead = true;
    put_data(conn, 20);
}

void bad_mac(struct conn *conn)
{
    put_dead(conn,
             "\x17\3\3\0\x20"
             "0123456789abcdef0123456789abcdef",
             37);
}

void put_end(struct conn *conn, uint8_t level, uint8_t alert)
{
    front(conn);
    put_alert(conn, level, alert);
    conn->dead = true;
    put_data(conn, 20); // section 6.1: ignored
}

void fatal_alert(struct conn *conn)
{
    put_end(conn, 2, 40);
}

void close_notify(struct conn *conn)
{
    put_end(conn, 1, TLS13_CLOSE_NOTIFY);
}

// --- the group

int detached_group_setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    identity_make(&identity, "EC", "relay.example", NULL);
    client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_keylog_callback(client_ctx, on_client_keylog);
    rig_start(&rigs[0], false);
    rig_start(&rigs[1], true);
    return 0;
}

int detached_group_teardown(void **state)
{
    (void)state;
    rig_stop(&rigs[0]);
    rig_stop(&rigs[1]);
    SSL_CTX_free(client_ctx);
    identity_free(&identity);
    return 0;
}
