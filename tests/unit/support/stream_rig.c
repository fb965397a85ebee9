// SPDX-License-Identifier: BSD-3-Clause
#include "stream_rig.h"

#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const struct flavour no_tls = {"plain"}, openssl_tls13 = {"TLS 1.3 by OpenSSL", TLS1_3_VERSION},
                     detached_tls13 = {"TLS 1.3 detached", TLS1_3_VERSION, true};

static const struct flavour *const flavours[] = {
    &no_tls, &(const struct flavour){"TLS 1.2", TLS1_2_VERSION, true}, &openssl_tls13,
    &detached_tls13};

static struct identity identity;

void close_side(struct side *side)
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

void side_accept(struct rig *rig, struct side *side, int fd, bool tls)
{
    side->stream = stream_accept(&rig->io, fd, tls, &callbacks, side);
}

static void on_connection(struct listener *listener, int fd)
{
    struct rig *rig = list_entry(listener, struct rig, listener);
    struct side *side = &rig->sides[rig->accepted++];

    side_accept(rig, side, fd, rig->version != 0);
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
    assert_int_equal(listener_start(&rig->listener, &rig->io,
                                    loopback_bind(&rig->port, SMALL_BUFFER), on_connection),
                     0);
    for (int i = 0; i < SIDES; i++) {
        rig->sides[i].other = &rig->sides[SIDES - 1 - i];
        rig->fars[i].fd = -1;
    }
    if (version) {
        SSL_CTX *ctx = identity_context(&identity);

        io_context_set_tls(&rig->io, ctx);
        SSL_CTX_free(ctx);
        rig->client_ctx = SSL_CTX_new(TLS_client_method());
        set_versions(rig->client_ctx, version);
    }
}

void turn(struct rig *rig)
{
    uv_run(&rig->loop, UV_RUN_NOWAIT);
}

void far_send_raw(struct rig *rig, struct far *far, const void *bytes, size_t len)
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

size_t far_sealed(struct far *far, uint8_t *out)
{
    const int n = BIO_read(far->out, out, SEALED_MAX_BYTES);

    assert_true(n < SEALED_MAX_BYTES);
    return n > 0 ? (size_t)n : 0;
}

void far_flush(struct rig *rig, struct far *far)
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

void far_receive(struct far *far, size_t most)
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

void pump(struct rig *rig)
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

void settle(struct rig *rig)
{
    for (int i = 0; i < 20; i++)
        pump(rig);
}

struct far *rig_connect_raw(struct rig *rig, int i, int receive_bytes)
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

struct far *rig_connect(struct rig *rig, int i, int receive_bytes)
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

size_t far_seal(struct far *far, const void *data, size_t len, uint8_t *out)
{
    size_t n;

    if (!far->ssl) {
        memcpy(out, data, len);
        return len;
    }
    assert_int_equal(SSL_write_ex(far->ssl, data, len, &n), 1);
    return far_sealed(far, out);
}

void far_send(struct rig *rig, struct far *far, const void *data, size_t len)
{
    uint8_t *sealed = malloc(SEALED_MAX_BYTES);

    far_send_raw(rig, far, sealed, far_seal(far, data, len, sealed));
    free(sealed);
}

int side_write(struct side *side, const void *data, size_t len)
{
    const struct stream_buf piece = {data, len};

    return stream_write(side->stream, &piece, 1);
}

uint8_t *noise(size_t len)
{
    uint8_t *data = malloc(len);

    assert_int_equal(RAND_bytes(data, (int)len), 1);
    return data;
}

void side_expect_peer(const struct side *side, const char *address)
{
    char text[INET6_ADDRSTRLEN];

    stream_peer_text(side->stream, text);
    assert_string_equal(text, address);
}

static void write_on(struct side *side)
{
    while (side->flow_left > 0 && !stream_blocked(side->stream)) {
        side->flow_left--;
        assert_int_equal(side_write(side, side->flow, IO_WRITE_PLAIN_BYTES), 0);
    }
}

void flow_start(struct side *side, int times)
{
    side->flow = noise(IO_WRITE_PLAIN_BYTES);
    side->flow_left = times;
    side->on_drained = write_on;
    write_on(side);
}

void flow_expect(struct rig *rig, struct side *side, const struct far *far, int times)
{
    WAIT(rig, far->got_len == (size_t)times * IO_WRITE_PLAIN_BYTES);
    for (size_t i = 0; i < (size_t)times; i++)
        assert_memory_equal(far->got + i * IO_WRITE_PLAIN_BYTES, side->flow, IO_WRITE_PLAIN_BYTES);
    free(side->flow);
}

void with_one(const struct flavour *flavour, scenario run)
{
    struct rig rig;

    print_message("%s\n", flavour->name);
    rig_start(&rig, flavour);
    run(&rig);
    rig_stop(&rig);
}

void with_each(scenario run, bool with_plain)
{
    for (size_t i = with_plain ? 0 : 1; i < COUNT(flavours); i++)
        with_one(flavours[i], run);
}

void with_tls13(scenario run)
{
    with_one(&openssl_tls13, run);
    with_one(&detached_tls13, run);
}

int rig_group_setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); // as the program does
    identity_make(&identity, "EC", "relay.example", NULL);
    return 0;
}

int rig_group_teardown(void **state)
{
    (void)state;
    identity_free(&identity);
    return 0;
}
