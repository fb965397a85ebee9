// SPDX-License-Identifier: BSD-3-Clause
//
// Streams over loopback and a real loop, each case with every engine. The peer lives in the same
// thread: it is pumped between turns of the loop.
#include "io/stream.h"

#include "../support/identity.h"
#include "../support/loopback.h"
#include "base/clock.h"
#include "io/engine.h"
#include "io/listener.h"
#include "io/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define SMALL_BUFFER 4096
#define SIDES 2
#define SEALED_MAX_BYTES (1024 * 1024)
#define GOODBYE "\x17\x03\x03\x00\x20noise that is no record at all..."

static const struct flavour {
    const char *name;
    int version; // 0: no TLS
    bool detach;
} no_tls = {"plain"}, openssl_tls13 = {"TLS 1.3 by OpenSSL", TLS1_3_VERSION},
  detached_tls13 = {"TLS 1.3 detached", TLS1_3_VERSION, true};

static const struct flavour *const flavours[] = {
    &no_tls, &(const struct flavour){"TLS 1.2", TLS1_2_VERSION, true}, &openssl_tls13,
    &detached_tls13};

// The end that we test, and what its owner has seen.
struct side {
    struct stream *stream;
    uint8_t *got;
    size_t got_len;
    int ready, data, drained, ends;
    enum stream_end end;
    void (*on_ready)(struct side *side);
    bool (*on_data)(struct side *side, const uint8_t *data, size_t len);
    void (*on_drained)(struct side *side);
    bool keep_at_end; // on_end leaves the stream open
    struct side *other;
};

// The client at the other end.
struct far {
    int fd; // non-blocking
    SSL *ssl;
    BIO *in, *out;
    uint8_t *got;
    size_t got_len;
    bool eof, reset, close_notify, failed;
};

struct rig {
    uv_loop_t loop;
    struct io_budget budget;
    struct io_context io;
    struct listener listener;
    uint16_t port;
    int version;
    SSL_CTX *client_ctx;
    struct side sides[SIDES]; // taken in the order of connecting
    struct far fars[SIDES];
    int accepted;
    size_t descriptors;
};

static struct identity identity;

static void close_side(struct side *side)
{
    stream_close(side->stream);
    side->stream = NULL;
}

static void keep(uint8_t **buffer, size_t *len, const void *data, size_t n)
{
    if (n == 0)
        return;
    *buffer = realloc(*buffer, *len + n);
    assert_non_null(*buffer);
    memcpy(*buffer + *len, data, n);
    *len += n;
}

static void on_ready(struct stream *stream)
{
    struct side *side = stream_owner(stream);

    side->ready++;
    if (side->on_ready)
        side->on_ready(side);
}

static bool on_data(struct stream *stream, uint8_t *data, size_t len)
{
    struct side *side = stream_owner(stream);
    bool open = true;

    assert_true(len > 0);
    assert_int_equal(side->ends, 0);
    side->data++;
    keep(&side->got, &side->got_len, data, len);
    if (side->on_data)
        open = side->on_data(side, data, len);
    memset(data, 0xee, len); // it is ours to write to
    return open;
}

static void on_drained(struct stream *stream)
{
    struct side *side = stream_owner(stream);

    assert_false(stream_blocked(stream));
    side->drained++;
    if (side->on_drained)
        side->on_drained(side);
}

static void on_end(struct stream *stream, enum stream_end why)
{
    struct side *side = stream_owner(stream);

    side->ends++;
    side->end = why;
    if (!side->keep_at_end)
        close_side(side);
}

static const struct stream_callbacks callbacks = {
    .on_ready = on_ready,
    .on_data = on_data,
    .on_drained = on_drained,
    .on_end = on_end,
};

static void on_connection(struct listener *listener, int fd)
{
    struct rig *rig = listener->data;
    struct side *side = &rig->sides[rig->accepted++];

    side->stream = stream_accept(&rig->io, fd, rig->version != 0, &callbacks, side);
}

static void set_versions(SSL_CTX *ctx, int version)
{
    assert_int_equal(SSL_CTX_set_min_proto_version(ctx, version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, version), 1);
}

static void rig_start(struct rig *rig, const struct flavour *flavour)
{
    const int version = flavour->version;

    memset(rig, 0, sizeof *rig);
    rig->descriptors = descriptors_open();
    rig->version = version;
    rig->budget.limit = 100;
    uv_loop_init(&rig->loop);
    io_context_init(&rig->io, &rig->loop, &rig->budget);
    rig->io.detach = flavour->detach;
    rig->listener.data = rig;
    assert_int_equal(listener_start(&rig->listener, &rig->io,
                                    loopback_bind(&rig->port, SMALL_BUFFER), on_connection),
                     0);
    for (int i = 0; i < SIDES; i++) {
        rig->sides[i].other = &rig->sides[SIDES - 1 - i];
        rig->fars[i].fd = -1;
    }
    if (version) {
        SSL_CTX *ctx =
            tls_context_new(&(struct tls_identity){.leaf = identity.cert, .key = identity.key});

        assert_non_null(ctx);
        io_context_set_tls(&rig->io, ctx);
        SSL_CTX_free(ctx);
        rig->client_ctx = SSL_CTX_new(TLS_client_method());
        set_versions(rig->client_ctx, version);
    }
}

static void turn(struct rig *rig)
{
    uv_run(&rig->loop, UV_RUN_NOWAIT);
}

// Sends sealed bytes as they stand.
static void far_send_raw(struct rig *rig, struct far *far, const void *bytes, size_t len)
{
    const uint64_t until = clock_ms() + PATIENCE_MS;
    const uint8_t *at = bytes;

    while (len > 0) {
        const ssize_t n = send(far->fd, at, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return; // the other end has closed
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
        turn(rig);
        assert_true(clock_ms() < until);
    }
}

static size_t far_sealed(struct far *far, uint8_t *out)
{
    const int n = BIO_read(far->out, out, SEALED_MAX_BYTES);

    assert_true(n < SEALED_MAX_BYTES);
    return n > 0 ? (size_t)n : 0;
}

// What the client's TLS has to say goes out.
static void far_flush(struct rig *rig, struct far *far)
{
    static uint8_t sealed[SEALED_MAX_BYTES];

    if (far->ssl)
        far_send_raw(rig, far, sealed, far_sealed(far, sealed));
}

static void far_open_records(struct far *far)
{
    uint8_t plain[16384];
    size_t n;
    int result;

    if (!SSL_is_init_finished(far->ssl))
        SSL_do_handshake(far->ssl);
    while ((result = SSL_read_ex(far->ssl, plain, sizeof plain, &n)) == 1)
        keep(&far->got, &far->got_len, plain, n);
    switch (SSL_get_error(far->ssl, result)) {
    case SSL_ERROR_ZERO_RETURN:
        far->close_notify = true;
        break;
    case SSL_ERROR_WANT_READ:
        break;
    default:
        far->failed = true;
    }
    ERR_clear_error();
}

// Takes up to `most` bytes from the socket.
static void far_receive(struct far *far, size_t most)
{
    uint8_t bytes[16384];
    const ssize_t n = recv(far->fd, bytes, most < sizeof bytes ? most : sizeof bytes, 0);

    if (n == 0)
        far->eof = true;
    if (n < 0 && errno != EAGAIN)
        far->reset = true;
    if (n <= 0)
        return;
    if (far->ssl) {
        BIO_write(far->in, bytes, (int)n);
        far_open_records(far);
    } else {
        keep(&far->got, &far->got_len, bytes, (size_t)n);
    }
}

// One step of everything.
static void pump(struct rig *rig)
{
    for (int i = 0; i < SIDES; i++) {
        struct far *far = &rig->fars[i];

        if (far->fd < 0)
            continue;
        if (!far->eof && !far->reset)
            far_receive(far, SIZE_MAX);
        far_flush(rig, far);
    }
    turn(rig);
}

#define WAIT(rig, condition)                              \
    do {                                                  \
        const uint64_t until_ = clock_ms() + PATIENCE_MS; \
        while (!(condition)) {                            \
            assert_true(clock_ms() < until_);             \
            pump(rig);                                    \
        }                                                 \
    } while (0)

// Some turns in which nothing is expected to happen.
static void settle(struct rig *rig)
{
    for (int i = 0; i < 20; i++)
        pump(rig);
}

static struct far *rig_connect_raw(struct rig *rig, int i, int receive_bytes)
{
    struct far *far = &rig->fars[i];

    far->fd = loopback_connect(rig->port, receive_bytes);
    assert_int_equal(fcntl(far->fd, F_SETFL, O_NONBLOCK), 0);
    if (rig->version) {
        far->ssl = SSL_new(rig->client_ctx);
        far->in = BIO_new(BIO_s_mem());
        far->out = BIO_new(BIO_s_mem());
        SSL_set_bio(far->ssl, far->in, far->out);
        SSL_set_connect_state(far->ssl);
    }
    WAIT(rig, rig->accepted > i);
    return far;
}

// A connection with its handshake done. Always in the order of the sides.
static struct far *rig_connect(struct rig *rig, int i, int receive_bytes)
{
    struct far *far = rig_connect_raw(rig, i, receive_bytes);

    if (far->ssl) {
        SSL_do_handshake(far->ssl);
        WAIT(rig, SSL_is_init_finished(far->ssl) && rig->sides[i].ready);
    }
    return far;
}

static void far_close(struct far *far)
{
    if (far->fd >= 0)
        close(far->fd);
    far->fd = -1;
    SSL_free(far->ssl);
    free(far->got);
    *far = (struct far){.fd = -1};
}

static void rig_stop(struct rig *rig)
{
    const struct io_counters *c = &rig->io.counters;

    for (int i = 0; i < SIDES; i++) {
        if (rig->sides[i].stream)
            close_side(&rig->sides[i]);
        free(rig->sides[i].got);
    }
    listener_close(&rig->listener);
    assert_int_equal(uv_run(&rig->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(rig->io.out_len, 0);
    assert_int_equal(counter_read(&c->streams), 0);
    assert_int_equal(counter_read(&c->tls12_active) + counter_read(&c->tls13_active), 0);
    assert_int_equal(atomic_load(&rig->budget.used), 0);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    for (int i = 0; i < SIDES; i++)
        far_close(&rig->fars[i]);
    io_context_deinit(&rig->io);
    SSL_CTX_free(rig->client_ctx);
    assert_int_equal(descriptors_open(), rig->descriptors);
}

// Seals plaintext without sending it; plain passes through.
static size_t far_seal(struct far *far, const void *data, size_t len, uint8_t *out)
{
    size_t n;

    if (!far->ssl) {
        memcpy(out, data, len);
        return len;
    }
    assert_int_equal(SSL_write_ex(far->ssl, data, len, &n), 1);
    return far_sealed(far, out);
}

static void far_send(struct rig *rig, struct far *far, const void *data, size_t len)
{
    uint8_t *sealed = malloc(SEALED_MAX_BYTES);

    far_send_raw(rig, far, sealed, far_seal(far, data, len, sealed));
    free(sealed);
}

static int side_write(struct side *side, const void *data, size_t len)
{
    const struct stream_buf piece = {data, len};

    return stream_write(side->stream, &piece, 1);
}

static uint8_t *noise(size_t len)
{
    uint8_t *data = malloc(len);

    assert_int_equal(RAND_bytes(data, (int)len), 1);
    return data;
}

typedef void (*scenario)(struct rig *rig);

static void with_one(const struct flavour *flavour, scenario run)
{
    struct rig rig;

    print_message("%s\n", flavour->name);
    rig_start(&rig, flavour);
    run(&rig);
    rig_stop(&rig);
}

static void with_each(scenario run, bool with_plain)
{
    for (size_t i = with_plain ? 0 : 1; i < COUNT(flavours); i++)
        with_one(flavours[i], run);
}

static void with_tls13(scenario run)
{
    with_one(&openssl_tls13, run);
    with_one(&detached_tls13, run);
}

// --- bytes

static void bytes_at_once(struct rig *rig)
{
    const size_t len = 700000;
    uint8_t *data = noise(len);
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    far_send(rig, far, data, len);
    WAIT(rig, side->got_len == len);
    assert_memory_equal(side->got, data, len);
    assert_int_equal(side->ready, rig->version ? 1 : 0);
    assert_int_equal(stream_tls_version(side->stream), rig->version);
    free(data);
}

static void test_bytes_at_once(void **state)
{
    (void)state;
    with_each(bytes_at_once, true);
}

static void send_one_by_one(struct rig *rig, struct far *far, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        far_send_raw(rig, far, bytes + i, 1);
}

static void bytes_one_by_one(struct rig *rig)
{
    static uint8_t sealed[SEALED_MAX_BYTES];
    uint8_t *data = noise(300);
    struct far *far = rig_connect_raw(rig, 0, 0);
    struct side *side = &rig->sides[0];

    while (far->ssl && !(side->ready && SSL_is_init_finished(far->ssl))) {
        SSL_do_handshake(far->ssl);
        ERR_clear_error();
        send_one_by_one(rig, far, sealed, far_sealed(far, sealed));
        far_receive(far, SIZE_MAX);
        turn(rig);
    }
    send_one_by_one(rig, far, sealed, far_seal(far, data, 300, sealed));
    WAIT(rig, side->got_len == 300);
    assert_memory_equal(side->got, data, 300);
    free(data);
}

static void test_bytes_one_by_one(void **state)
{
    (void)state;
    with_each(bytes_one_by_one, true);
}

// The handshake's last flight and the first data in one segment.
static void data_behind_handshake(struct rig *rig)
{
    static uint8_t sealed[SEALED_MAX_BYTES];
    struct far *far = rig_connect_raw(rig, 0, 0);
    struct side *side = &rig->sides[0];
    size_t len;

    while (!SSL_is_init_finished(far->ssl)) {
        SSL_do_handshake(far->ssl);
        ERR_clear_error();
        if (!SSL_is_init_finished(far->ssl)) {
            far_flush(rig, far);
            far_receive(far, SIZE_MAX);
            turn(rig);
        }
    }
    len = far_sealed(far, sealed);
    len += far_seal(far, "early", 5, sealed + len);
    far_send_raw(rig, far, sealed, len);
    WAIT(rig, side->got_len == 5);
    assert_memory_equal(side->got, "early", 5);
    assert_int_equal(side->ready, 1);
}

static void test_data_behind_handshake(void **state)
{
    (void)state;
    with_each(data_behind_handshake, false);
}

static void assert_peer(const struct side *side, const char *expected)
{
    char text[INET6_ADDRSTRLEN];

    stream_peer_text(side->stream, text);
    assert_string_equal(text, expected);
}

static void addresses(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct sockaddr_in here;
    struct sockaddr_in6 peer;
    socklen_t len = sizeof here;
    const uint8_t mapped[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};

    getsockname(far->fd, (struct sockaddr *)&here, &len);
    stream_peer(rig->sides[0].stream, &peer);
    assert_memory_equal(&peer.sin6_addr, mapped, sizeof mapped);
    assert_peer(&rig->sides[0], "127.0.0.1");
    assert_int_equal(peer.sin6_port, here.sin_port);
}

static void test_addresses(void **state)
{
    (void)state;
    with_each(addresses, true);
}

static void ipv6_address(struct rig *rig)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct side *side = &rig->sides[0];
    socklen_t len = sizeof address;
    const int listening = socket(AF_INET6, SOCK_STREAM, 0), far = socket(AF_INET6, SOCK_STREAM, 0);

    assert_int_equal(bind(listening, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(connect(far, (struct sockaddr *)&address, len), 0);
    side->keep_at_end = true;
    side->stream = stream_accept(&rig->io, accept4(listening, NULL, NULL, SOCK_NONBLOCK), false,
                                 &callbacks, side);
    assert_peer(side, "::1");
    loopback_reset(far);
    WAIT(rig, side->ends == 1);
    assert_peer(side, "::1");
    close(listening);
}

static void test_ipv6_address(void **state)
{
    (void)state;
    with_one(&no_tls, ipv6_address);
}

// --- writing

static void many_pieces(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct stream_buf pieces[STREAM_PIECES_MAX];
    const size_t each = IO_WRITE_PLAIN_BYTES / STREAM_PIECES_MAX;
    struct far *far = rig_connect(rig, 0, 0);

    for (size_t i = 0; i < STREAM_PIECES_MAX; i++)
        pieces[i] = (struct stream_buf){data + i * each, each};
    assert_int_equal(stream_write(rig->sides[0].stream, pieces, STREAM_PIECES_MAX), 0);
    WAIT(rig, far->got_len == IO_WRITE_PLAIN_BYTES && !stream_blocked(rig->sides[0].stream));
    assert_memory_equal(far->got, data, IO_WRITE_PLAIN_BYTES);
    assert_int_equal(stream_write(rig->sides[0].stream, pieces, 0), 0);
    pieces[0].len = 0;
    assert_int_equal(stream_write(rig->sides[0].stream, pieces, 1), 0);
    settle(rig);
    assert_int_equal(far->got_len, IO_WRITE_PLAIN_BYTES);
    free(data);
}

static void test_many_pieces(void **state)
{
    (void)state;
    with_each(many_pieces, true);
}

static void blocks_and_drains(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];
    size_t before;

    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    assert_true(stream_blocked(side->stream));
    turn(rig);
    assert_int_equal(side->drained, 0);
    for (int i = 0; i < 5; i++) {
        const uint64_t until = clock_ms() + PATIENCE_MS;

        before = stream_unsent_bytes(side->stream);
        assert_true(before > 0 && before < IO_WRITE_BYTES);
        while (stream_unsent_bytes(side->stream) == before) {
            far_receive(far, 2048);
            turn(rig);
            assert_true(clock_ms() < until);
        }
        assert_true(stream_unsent_bytes(side->stream) < before);
    }
    WAIT(rig, far->got_len == IO_WRITE_PLAIN_BYTES && side->drained);
    assert_memory_equal(far->got, data, IO_WRITE_PLAIN_BYTES);
    assert_int_equal(side->drained, 1);
    assert_int_equal(stream_unsent_bytes(side->stream), 0);
    free(data);
}

static void test_blocks_and_drains(void **state)
{
    (void)state;
    with_each(blocks_and_drains, true);
}

static uint8_t *flow;
static int flow_left;

static void write_on(struct side *side)
{
    while (flow_left > 0 && !stream_blocked(side->stream)) {
        flow_left--;
        assert_int_equal(side_write(side, flow, IO_WRITE_PLAIN_BYTES), 0);
    }
}

// What the kernel had taken comes; the rest goes with the close.
static void untaken_at_close(struct rig *rig)
{
    const size_t len = IO_WRITE_PLAIN_BYTES;
    uint8_t *data = noise(len);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];
    size_t taken;

    assert_int_equal(stream_untaken_bytes(side->stream, len), 0);
    assert_int_equal(side_write(side, data, len), 0);
    assert_in_range(stream_untaken_bytes(side->stream, len), 1, len);
    far_receive(far, 20000);
    for (int i = 0; i < 10; i++)
        turn(rig);
    taken = len - stream_untaken_bytes(side->stream, len);
    close_side(side);
    WAIT(rig, far->eof);
    if (rig->version)
        assert_in_range(far->got_len, taken - (taken < 16384 ? taken : 16384), taken);
    else
        assert_int_equal(far->got_len, taken);
    free(data);
}

static void test_untaken_at_close(void **state)
{
    (void)state;
    with_each(untaken_at_close, true);
}

static void writes_in_on_drained(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    flow = noise(IO_WRITE_PLAIN_BYTES);
    flow_left = 10;
    side->on_drained = write_on;
    write_on(side);
    WAIT(rig, far->got_len == (size_t)10 * IO_WRITE_PLAIN_BYTES);
    for (size_t i = 0; i < 10; i++)
        assert_memory_equal(far->got + i * IO_WRITE_PLAIN_BYTES, flow, IO_WRITE_PLAIN_BYTES);
    free(flow);
}

static void test_writes_in_on_drained(void **state)
{
    (void)state;
    with_each(writes_in_on_drained, true);
}

// Answers on the other stream with what came, in the midst of the first one's read.
static bool copy_to_other(struct side *side, const uint8_t *data, size_t len)
{
    const struct stream_buf piece = {data, len};

    if (!stream_blocked(side->other->stream))
        assert_int_equal(stream_write(side->other->stream, &piece, 1), 0);
    return true;
}

static void writes_to_another(struct rig *rig)
{
    uint8_t *data = noise(200000);
    struct far *first = rig_connect(rig, 0, 0), *second = rig_connect(rig, 1, 0);

    rig->sides[0].on_data = copy_to_other;
    rig->sides[1].on_data = copy_to_other;
    for (size_t at = 0; at < 200000; at += 20000) {
        far_send(rig, first, data + at, 20000);
        far_send(rig, second, data + at, 10000);
        WAIT(rig, second->got_len == at + 20000 && first->got_len == at / 2 + 10000 &&
                      !stream_blocked(rig->sides[0].stream) &&
                      !stream_blocked(rig->sides[1].stream));
    }
    assert_memory_equal(second->got, data, 200000);
    assert_memory_equal(first->got, data, 10000);
    free(data);
}

static void test_writes_to_another(void **state)
{
    (void)state;
    with_each(writes_to_another, true);
}

static void write_to_a_peer_that_left(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    loopback_reset(far->fd);
    far->fd = -1;
    assert_true(side_write(side, "abc", 3) < 0);
    assert_false(stream_blocked(side->stream));
    WAIT(rig, side->ends == 1);
}

static void test_write_to_a_peer_that_left(void **state)
{
    (void)state;
    with_each(write_to_a_peer_that_left, true);
}

// --- ends

static void peer_ends_in_order(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    far_send(rig, far, "last", 4);
    if (far->ssl)
        SSL_shutdown(far->ssl);
    far_flush(rig, far);
    if (!far->ssl)
        shutdown(far->fd, SHUT_WR);
    WAIT(rig, side->ends == 1);
    assert_int_equal(side->end, STREAM_END_EOF);
    assert_memory_equal(side->got, "last", 4);
    WAIT(rig, far->eof);
    assert_int_equal(far->close_notify, far->ssl != NULL);
}

static void test_peer_ends_in_order(void **state)
{
    (void)state;
    with_each(peer_ends_in_order, true);
}

// As Tailscale's Rust client does.
static void peer_ends_without_goodbye(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    far_send(rig, far, "last", 4);
    shutdown(far->fd, SHUT_WR);
    WAIT(rig, side->ends == 1);
    assert_int_equal(side->end, STREAM_END_EOF);
    assert_int_equal(side->got_len, 4);
    settle(rig);
    assert_int_equal(side->ends, 1);
}

static void test_peer_ends_without_goodbye(void **state)
{
    (void)state;
    with_each(peer_ends_without_goodbye, true);
}

static void peer_leaves_during_handshake(struct rig *rig)
{
    const struct counter *closed = &rig->io.counters.tls_failures[TLS_FAILURE_CLOSED];
    struct far *far = rig_connect_raw(rig, 0, 0);

    SSL_do_handshake(far->ssl);
    far_flush(rig, far);
    assert_int_equal(counter_read(closed), 0);
    shutdown(far->fd, SHUT_RDWR);
    WAIT(rig, rig->sides[0].ends == 1);
    assert_int_equal(counter_read(closed), 1);
    far = rig_connect(rig, 1, 0);
    shutdown(far->fd, SHUT_RDWR);
    WAIT(rig, rig->sides[1].ends == 1);
    assert_int_equal(counter_read(closed), 1); // that one was behind it
}

static void test_peer_leaves_during_handshake(void **state)
{
    (void)state;
    with_each(peer_leaves_during_handshake, false);
}

static void peer_resets(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);

    rig->sides[0].keep_at_end = true;
    loopback_reset(far->fd);
    far->fd = -1;
    WAIT(rig, rig->sides[0].ends == 1);
    assert_int_equal(rig->sides[0].end, STREAM_END_RESET);
    assert_peer(&rig->sides[0], "127.0.0.1"); // for the log
}

static void test_peer_resets(void **state)
{
    (void)state;
    with_each(peer_resets, true);
}

static void peer_resets_while_blocked(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];

    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    assert_true(stream_blocked(side->stream));
    loopback_reset(far->fd);
    far->fd = -1;
    WAIT(rig, side->ends == 1);
    assert_int_equal(side->end, STREAM_END_RESET);
    assert_int_equal(side->drained, 0);
    settle(rig);
    assert_int_equal(side->ends, 1);
    free(data);
}

static void test_peer_resets_while_blocked(void **state)
{
    (void)state;
    with_each(peer_resets_while_blocked, true);
}

static void our_close_says_goodbye(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);

    assert_int_equal(side_write(&rig->sides[0], "bye", 3), 0);
    stream_close(rig->sides[0].stream);
    stream_close(rig->sides[0].stream); // idempotent
    rig->sides[0].stream = NULL;
    WAIT(rig, far->eof);
    assert_memory_equal(far->got, "bye", 3);
    assert_int_equal(far->close_notify, far->ssl != NULL);
    assert_int_equal(rig->sides[0].ends, 0);
}

static void test_our_close_says_goodbye(void **state)
{
    (void)state;
    with_each(our_close_says_goodbye, true);
}

// After our half-close the peer may speak on.
static void shutdown_then_close(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    assert_int_equal(side_write(side, "bye", 3), 0);
    stream_shutdown(side->stream);
    stream_shutdown(side->stream); // once is enough
    WAIT(rig, far->eof);
    assert_int_equal(far->got_len, 3);
    assert_int_equal(far->close_notify, far->ssl != NULL);
    far_send(rig, far, "still here", 10);
    WAIT(rig, side->got_len == 10);
    close_side(side);
    settle(rig);
    assert_int_equal(side->ends, 0);
}

static void test_shutdown_then_close(void **state)
{
    (void)state;
    with_each(shutdown_then_close, true);
}

static void shutdown_of_slow_reader(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];

    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    WAIT(rig, side->drained == 1);
    stream_shutdown(side->stream);
    WAIT(rig, far->eof);
    assert_int_equal(far->got_len, IO_WRITE_PLAIN_BYTES);
    assert_memory_equal(far->got, data, IO_WRITE_PLAIN_BYTES);
    assert_int_equal(far->close_notify, far->ssl != NULL);
    free(data);
}

static void test_shutdown_of_slow_reader(void **state)
{
    (void)state;
    with_each(shutdown_of_slow_reader, true);
}

// --- closing inside callbacks

static void close_in_on_ready(struct rig *rig)
{
    static uint8_t sealed[SEALED_MAX_BYTES];
    struct far *far = rig_connect_raw(rig, 0, 0);
    size_t len;

    rig->sides[0].on_ready = close_side;
    while (!SSL_is_init_finished(far->ssl)) {
        SSL_do_handshake(far->ssl);
        ERR_clear_error();
        if (!SSL_is_init_finished(far->ssl)) {
            far_flush(rig, far);
            far_receive(far, SIZE_MAX);
            turn(rig);
        }
    }
    len = far_sealed(far, sealed);
    len += far_seal(far, "more", 4, sealed + len);
    far_send_raw(rig, far, sealed, len);
    WAIT(rig, far->eof || far->reset);
    assert_int_equal(rig->sides[0].ready, 1);
    assert_int_equal(rig->sides[0].data + rig->sides[0].ends, 0);
}

static void test_close_in_on_ready(void **state)
{
    (void)state;
    with_each(close_in_on_ready, false);
}

static bool close_on_data(struct side *side, const uint8_t *data, size_t len)
{
    (void)data, (void)len;
    close_side(side);
    return false;
}

static void close_in_on_data(struct rig *rig)
{
    uint8_t *data = noise(600000);
    struct far *far = rig_connect(rig, 0, 0);

    rig->sides[0].on_data = close_on_data;
    far_send(rig, far, data, 600000);
    WAIT(rig, far->eof || far->reset);
    assert_int_equal(rig->sides[0].data, 1);
    assert_int_equal(rig->sides[0].ends, 0);
    free(data);
}

static void test_close_in_on_data(void **state)
{
    (void)state;
    with_each(close_in_on_data, true);
}

static bool close_other_on_data(struct side *side, const uint8_t *data, size_t len)
{
    (void)data, (void)len;
    if (side->other->stream)
        close_side(side->other);
    return true;
}

static void close_another_in_on_data(struct rig *rig)
{
    uint8_t *data = noise(600000);
    struct far *first = rig_connect(rig, 0, 0), *second = rig_connect(rig, 1, 0);

    rig->sides[0].on_data = close_other_on_data;
    far_send(rig, first, data, 600000);
    WAIT(rig, rig->sides[0].got_len == 600000 && second->eof);
    assert_memory_equal(rig->sides[0].got, data, 600000);
    assert_int_equal(second->close_notify, second->ssl != NULL);
    free(data);
}

static void test_close_another_in_on_data(void **state)
{
    (void)state;
    with_each(close_another_in_on_data, true);
}

static void close_in_on_drained(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];

    side->on_drained = close_side;
    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    assert_true(stream_blocked(side->stream));
    WAIT(rig, far->eof);
    assert_int_equal(far->got_len, IO_WRITE_PLAIN_BYTES);
    assert_int_equal(far->close_notify, far->ssl != NULL);
    free(data);
}

static void test_close_in_on_drained(void **state)
{
    (void)state;
    with_each(close_in_on_drained, true);
}

static void close_while_blocked(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct side *side = &rig->sides[0];

    rig_connect(rig, 0, SMALL_BUFFER);
    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    assert_true(stream_blocked(side->stream));
    close_side(side);
    settle(rig);
    assert_int_equal(side->drained + side->ends, 0);
    free(data);
}

static void test_close_while_blocked(void **state)
{
    (void)state;
    with_each(close_while_blocked, true);
}

static void close_during_handshake(struct rig *rig)
{
    struct far *far = rig_connect_raw(rig, 0, 0);

    far_send_raw(rig, far, "\x16\x03\x01", 3);
    close_side(&rig->sides[0]);
    WAIT(rig, far->eof || far->reset);
    assert_int_equal(far->got_len, 0);
}

static void test_close_during_handshake(void **state)
{
    (void)state;
    with_each(close_during_handshake, false);
}

// --- owners

static int second_owner_got;

static bool second_owner_on_data(struct stream *stream, uint8_t *data, size_t len)
{
    (void)data;
    assert_ptr_equal(stream_owner(stream), &second_owner_got);
    second_owner_got += (int)len;
    return true;
}

static void second_owner(struct rig *rig)
{
    static const struct stream_callbacks second = {.on_data = second_owner_on_data};
    struct far *far = rig_connect(rig, 0, 0);

    second_owner_got = 0;
    far_send(rig, far, "one", 3);
    WAIT(rig, rig->sides[0].got_len == 3);
    stream_set_owner(rig->sides[0].stream, &second, &second_owner_got);
    far_send(rig, far, "three", 5);
    WAIT(rig, second_owner_got == 5);
    assert_int_equal(rig->sides[0].got_len, 3);
}

static void test_second_owner(void **state)
{
    (void)state;
    with_each(second_owner, true);
}

static void test_tls_without_context_is_refused(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, &openssl_tls13);
    io_context_set_tls(&rig.io, NULL);
    SSL_do_handshake(rig_connect_raw(&rig, 0, 0)->ssl);
    WAIT(&rig, rig.fars[0].eof || rig.fars[0].reset);
    assert_int_equal(rig.sides[0].ends, 1);
    assert_int_equal(rig.sides[0].end, STREAM_END_TLS);
    assert_int_equal(counter_read(&rig.io.counters.tls_failures[TLS_FAILURE_OTHER]), 1);
    assert_int_equal(counter_read(&rig.io.counters.plain_accepted), 0);
    rig_stop(&rig);
}

static void test_counters(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(flavours); i++) {
        const int version = flavours[i]->version;
        struct rig rig;
        const struct io_counters *c = &rig.io.counters;

        rig_start(&rig, flavours[i]);
        rig_connect(&rig, 0, 0);
        rig_connect(&rig, 1, 0);
        close_side(&rig.sides[0]);
        settle(&rig);
        assert_int_equal(counter_read(&c->tls_accepted), version ? 2 : 0);
        assert_int_equal(counter_read(&c->plain_accepted), version ? 0 : 2);
        assert_int_equal(counter_read(&c->streams), 1);
        assert_int_equal(atomic_load(&rig.budget.used), 1);
        assert_int_equal(counter_read(&c->tls12_handshakes), version == TLS1_2_VERSION ? 2 : 0);
        assert_int_equal(counter_read(&c->tls13_handshakes), version == TLS1_3_VERSION ? 2 : 0);
        assert_int_equal(counter_read(&c->tls12_active), version == TLS1_2_VERSION ? 1 : 0);
        assert_int_equal(counter_read(&c->tls13_active), version == TLS1_3_VERSION ? 1 : 0);
        rig_stop(&rig);
    }
}

// --- TLS

static bool answer(struct side *side, const uint8_t *data, size_t len)
{
    (void)data, (void)len;
    if (side->other->stream && !stream_blocked(side->other->stream))
        assert_int_equal(side_write(side->other, "to another", 10), 0);
    if (!stream_blocked(side->stream) && side_write(side, "answer", 6) < 0) {
        close_side(side);
        return false;
    }
    return true;
}

// A good record and a bad one in one segment: the good one counts, its owner may write to any
// stream from there, and the alert goes to the one that it is meant for.
static void fault_behind_data(struct rig *rig)
{
    static uint8_t sealed[SEALED_MAX_BYTES];
    struct far *first = rig_connect(rig, 0, 0), *second = rig_connect(rig, 1, 0);
    struct side *side = &rig->sides[0];
    size_t len = far_seal(first, "question", 8, sealed);

    memcpy(sealed + len, GOODBYE, sizeof GOODBYE - 1);
    side->on_data = answer;
    far_send_raw(rig, first, sealed, len + sizeof GOODBYE - 1);
    WAIT(rig, second->got_len == 10 && (first->eof || first->reset));
    assert_memory_equal(second->got, "to another", 10);
    assert_false(second->failed);
    assert_true(first->failed); // it has got the alert
    assert_memory_equal(side->got, "question", 8);
    assert_true(side->ends == 0 || side->end == STREAM_END_TLS);
    assert_int_equal(counter_read(&rig->io.counters.tls_record_faults), 1);
}

static void test_fault_behind_data(void **state)
{
    (void)state;
    with_each(fault_behind_data, false);
}

static bool silent(struct side *side, const uint8_t *data, size_t len)
{
    (void)side, (void)data, (void)len;
    return true;
}

static void fault_alone(struct rig *rig)
{
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    side->on_data = silent;
    far_send_raw(rig, far, GOODBYE, sizeof GOODBYE - 1);
    WAIT(rig, side->ends == 1 && (far->eof || far->reset));
    assert_int_equal(side->end, STREAM_END_TLS);
    assert_true(far->failed);
    assert_int_equal(counter_read(&rig->io.counters.tls_record_faults), 1);
}

static void test_fault_alone(void **state)
{
    (void)state;
    with_each(fault_alone, false);
}

static void handshake_failure_is_told_and_counted(struct rig *rig)
{
    struct far *far = rig_connect_raw(rig, 0, 0);

    far_send_raw(rig, far, "GET / HTTP/1.1\r\n\r\n", 18);
    WAIT(rig, rig->sides[0].ends == 1);
    assert_int_equal(rig->sides[0].end, STREAM_END_TLS);
    assert_int_equal(rig->sides[0].ready, 0);
    assert_int_equal(counter_read(&rig->io.counters.tls_failures[TLS_FAILURE_NOT_TLS]), 1);
}

static void test_handshake_failure_is_told_and_counted(void **state)
{
    (void)state;
    with_each(handshake_failure_is_told_and_counted, false);
}

static size_t seal_key_update(struct far *far, uint8_t *out)
{
    assert_int_equal(SSL_key_update(far->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(far->ssl), 1);
    return far_sealed(far, out);
}

// Data, the request, data under the new keys, our answer, goodbye: all in one segment.
static void key_update_between_data(struct rig *rig)
{
    static uint8_t sealed[SEALED_MAX_BYTES];
    size_t len;

    struct far *far = rig_connect(rig, 0, 0), *other = rig_connect(rig, 1, 0);

    rig->sides[0].on_data = answer;
    len = far_seal(far, "one", 3, sealed);
    len += seal_key_update(far, sealed + len);
    len += far_seal(far, "two", 3, sealed + len);
    SSL_shutdown(far->ssl);
    len += far_sealed(far, sealed + len);
    far_send_raw(rig, far, sealed, len);
    WAIT(rig, far->eof && other->got_len >= 10);
    assert_int_equal(rig->sides[0].end, STREAM_END_EOF);
    assert_memory_equal(rig->sides[0].got, "onetwo", 6);
    assert_true(far->got_len >= 6);
    assert_memory_equal(far->got, "answer", 6);
    assert_false(far->failed || other->failed);
}

static void test_key_update_between_data(void **state)
{
    (void)state;
    with_tls13(key_update_between_data);
}

static void send_key_update(struct rig *rig, struct far *far)
{
    uint8_t sealed[1024];

    far_send_raw(rig, far, sealed, seal_key_update(far, sealed));
}

// The peer asks for new keys again and again while data flows both ways.
static void key_updates_while_data_flows(struct rig *rig)
{
    uint8_t *data = noise(30000);
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];

    flow = noise(IO_WRITE_PLAIN_BYTES);
    flow_left = 40;
    side->on_drained = write_on;
    write_on(side);
    for (int i = 0; i < 30; i++) {
        send_key_update(rig, far);
        far_send(rig, far, data + i * 1000, 1000);
        pump(rig);
    }
    WAIT(rig, far->got_len == (size_t)40 * IO_WRITE_PLAIN_BYTES && side->got_len == 30000);
    for (size_t i = 0; i < 40; i++)
        assert_memory_equal(far->got + i * IO_WRITE_PLAIN_BYTES, flow, IO_WRITE_PLAIN_BYTES);
    assert_memory_equal(side->got, data, 30000);
    assert_false(far->failed);
    assert_int_equal(side->ends, 0);
    free(flow);
    free(data);
}

static void test_key_updates_while_data_flows(void **state)
{
    (void)state;
    with_tls13(key_updates_while_data_flows);
}

// A slow reader's request is answered in its place, behind what waits for the socket.
static void key_update_of_a_slow_reader(struct rig *rig)
{
    uint8_t *data = noise(IO_WRITE_PLAIN_BYTES);
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];

    assert_int_equal(side_write(side, data, IO_WRITE_PLAIN_BYTES), 0);
    assert_true(stream_blocked(side->stream));
    send_key_update(rig, far);
    far_send(rig, far, "abc", 3);
    for (int i = 0; side->got_len < 3; i++)
        turn(rig);
    assert_int_equal(side->ends, 0);
    WAIT(rig, side->drained == 1);
    assert_int_equal(side_write(side, "def", 3), 0);
    WAIT(rig, far->got_len == IO_WRITE_PLAIN_BYTES + 3);
    assert_memory_equal(far->got, data, IO_WRITE_PLAIN_BYTES);
    assert_memory_equal(far->got + IO_WRITE_PLAIN_BYTES, "def", 3);
    settle(rig);
    assert_int_equal(side->drained, 1);
    free(data);
}

static void test_key_update_of_a_slow_reader(void **state)
{
    (void)state;
    with_tls13(key_update_of_a_slow_reader);
}

// One that asks without end and never reads: OpenSSL answers each request and such a peer is cut
// off; the detached engine owes it one answer in front of the next data, however often it asks (RFC
// 8446, section 4.6.3), and the owner's limits are what ends it. Meanwhile the owner may write.
static void key_updates_without_reading(struct rig *rig)
{
    uint8_t sealed[4096];
    struct far *far = rig_connect(rig, 0, SMALL_BUFFER);
    struct side *side = &rig->sides[0];
    const uint64_t until = clock_ms() + PATIENCE_MS;
    int asked = 0;

    side->on_data = answer;
    while (side->ends == 0 && (!rig->io.detach || asked < 5000)) {
        size_t len = seal_key_update(far, sealed);

        len += far_seal(far, "a", 1, sealed + len);
        far_send_raw(rig, far, sealed, len);
        turn(rig);
        asked++;
        assert_true(clock_ms() < until);
        assert_true(side->ends || side->stream->answers <= STREAM_ANSWERS_MAX);
    }
    if (rig->io.detach) {
        assert_int_equal(side->ends, 0);
        assert_int_equal(side->stream->answers, 0);
    } else {
        assert_int_equal(side->end, STREAM_END_RESET);
    }
}

static void test_key_updates_without_reading(void **state)
{
    (void)state;
    with_tls13(key_updates_without_reading);
}

// Nothing but KeyUpdates, which cost us far more than their bytes: either engine ends it soon.
static void key_updates_without_data(struct rig *rig)
{
    uint8_t sealed[4096];
    struct far *far = rig_connect(rig, 0, 0);
    struct side *side = &rig->sides[0];
    size_t sent = 0;

    while (side->ends == 0 && sent < 256 * 1024) {
        size_t len = 0;

        for (int i = 0; i < 20; i++) {
            assert_int_equal(SSL_key_update(far->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(far->ssl), 1);
            len += far_sealed(far, sealed + len);
        }
        far_send_raw(rig, far, sealed, len);
        sent += len;
        turn(rig);
    }
    assert_int_equal(side->end, STREAM_END_TLS);
    assert_true(sent < 40 * 1024);
    assert_int_equal(counter_read(&rig->io.counters.tls_record_faults), 1);
}

static void test_key_updates_without_data(void **state)
{
    (void)state;
    with_tls13(key_updates_without_data);
}

static int group_setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); // as the program does
    identity_make(&identity, "EC", "relay.example", NULL);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    identity_free(&identity);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_at_once),
        cmocka_unit_test(test_bytes_one_by_one),
        cmocka_unit_test(test_data_behind_handshake),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_ipv6_address),
        cmocka_unit_test(test_many_pieces),
        cmocka_unit_test(test_blocks_and_drains),
        cmocka_unit_test(test_untaken_at_close),
        cmocka_unit_test(test_writes_in_on_drained),
        cmocka_unit_test(test_writes_to_another),
        cmocka_unit_test(test_write_to_a_peer_that_left),
        cmocka_unit_test(test_peer_ends_in_order),
        cmocka_unit_test(test_peer_ends_without_goodbye),
        cmocka_unit_test(test_peer_leaves_during_handshake),
        cmocka_unit_test(test_peer_resets),
        cmocka_unit_test(test_peer_resets_while_blocked),
        cmocka_unit_test(test_our_close_says_goodbye),
        cmocka_unit_test(test_shutdown_then_close),
        cmocka_unit_test(test_shutdown_of_slow_reader),
        cmocka_unit_test(test_close_in_on_ready),
        cmocka_unit_test(test_close_in_on_data),
        cmocka_unit_test(test_close_another_in_on_data),
        cmocka_unit_test(test_close_in_on_drained),
        cmocka_unit_test(test_close_while_blocked),
        cmocka_unit_test(test_close_during_handshake),
        cmocka_unit_test(test_second_owner),
        cmocka_unit_test(test_tls_without_context_is_refused),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_fault_behind_data),
        cmocka_unit_test(test_fault_alone),
        cmocka_unit_test(test_handshake_failure_is_told_and_counted),
        cmocka_unit_test(test_key_update_between_data),
        cmocka_unit_test(test_key_updates_while_data_flows),
        cmocka_unit_test(test_key_update_of_a_slow_reader),
        cmocka_unit_test(test_key_updates_without_reading),
        cmocka_unit_test(test_key_updates_without_data),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
