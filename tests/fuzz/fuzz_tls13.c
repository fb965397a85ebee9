// SPDX-License-Identifier: BSD-3-Clause
//
// What a peer can make of a detached TLS 1.3 stream. The input is a list of operations, so that it
// reaches behind the authentication: raw bytes, records sealed with the right keys, changes of
// keys, splits. What is delivered must be the start of what was sealed; what the stream sends must
// open and follow the rules; nothing is kept at the end.
#include "io/engine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_MAX_BYTES 16384
#define TURNS 3 // write, half-close, close
#define KEY_UPDATE_AFTER_RECORDS 6

enum operation {
    OP_RAW,        // length, bytes
    OP_SEALED,     // type, padding, length, bytes
    OP_LARGE_DATA, // length / 64
    OP_KEY_UPDATE, // request
    OP_SKIP_KEYS,  // the client's keys move on by themselves
    OP_FLUSH,      // what is written goes out up to here
    OP_WRITE,      // the owner writes
    OP_SPLIT,      // pieces of this size from here on; 0 = whole
    OPERATIONS,
};

static uv_loop_t loop;
static struct io_budget budget = {.limit = 10};
static struct io_context io;
static struct tls13_ciphers ciphers;
static const uint8_t client_secret[TLS13_SECRET_MAX_BYTES] = "of the client, for the fuzzer",
                     server_secret[TLS13_SECRET_MAX_BYTES] = "of the server, for the fuzzer";

static struct stream *stream;
static int ends;
static struct tls13_direction to, from;
static enum tls13_suite suite;
static int fd;
static size_t split;

static uint8_t wire[4 * 1024 * 1024], sealed[4 * 1024 * 1024];
static size_t wire_len, sealed_len, delivered_len;
static uint8_t in[1024 * 1024]; // from the stream
static size_t in_len;
static bool over; // an alert has come

static void demand(bool held)
{
    if (!held)
        abort();
}

static bool on_data(struct stream *s, uint8_t *data, size_t len)
{
    demand(s == stream && ends == 0 && len > 0 && io.out_len == 0);
    demand(delivered_len + len <= sealed_len);
    demand(memcmp(data, sealed + delivered_len, len) == 0);
    delivered_len += len;
    memset(data, 0xee, len);
    if (len % 3 == 0 && !stream_blocked(s))
        stream_write(s, &(struct stream_buf){(const uint8_t *)"answer", 6}, 1);
    if (len % 251 == 250) {
        stream_close(s);
        ends++;
        return false;
    }
    return true;
}

static void on_drained(struct stream *s)
{
    (void)s;
}

static void on_end(struct stream *s, enum stream_end why)
{
    demand(s == stream && ++ends == 1);
    demand(why == STREAM_END_EOF || why == STREAM_END_TLS || why == STREAM_END_RESET);
    stream_close(s);
}

static const struct stream_callbacks callbacks = {
    .on_data = on_data, .on_drained = on_drained, .on_end = on_end};

static void stop(void)
{
    uv_loop_close(&loop);
    io_context_deinit(&io);
    tls13_ciphers_deinit(&ciphers);
}

static void start_once(void)
{
    if (io.loop)
        return;
    demand(uv_loop_init(&loop) == 0);
    io_context_init(&io, &loop, &budget);
    io.key_update_after = KEY_UPDATE_AFTER_RECORDS;
    tls13_ciphers_init(&ciphers);
    atexit(stop);
}

// A stream behind its handshake, on one end of a pair of sockets.
static void stream_begin(void)
{
    int pair[2];

    demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    fd = pair[0];
    stream = pool_get(&io.streams, sizeof *stream);
    stream->io = &io;
    stream->callbacks = &callbacks;
    stream->poll.data = stream;
    stream->fd = pair[1];
    stream->ready = stream->counted_tls13 = true;
    counter_add(&io.counters.streams, 1);
    counter_add(&io.counters.tls13_active, 1);
    atomic_fetch_add(&budget.used, 1);
    demand(uv_poll_init(&loop, &stream->poll, pair[1]) == 0);
    demand(engine_detached_begin(stream, suite, client_secret, server_secret));
    demand(tls13_direction_start(&to, suite, client_secret));
    demand(tls13_direction_start(&from, suite, server_secret));
}

static void read_content(const struct tls13_opened *opened, const uint8_t *content)
{
    demand(!over);
    over = opened->type == TLS13_ALERT;
    demand(opened->type != TLS13_ALERT || opened->len == 2);
    if (opened->type == TLS13_HANDSHAKE) {
        demand(opened->len == 5 && memcmp(content, "\x18\0\0\1", 4) == 0 && content[4] <= 1);
        demand(tls13_direction_update(&from, suite));
    }
}

// What the stream has sent: records that open, KeyUpdates of the right form, and nothing behind an
// alert.
static void read_answers(void)
{
    static uint8_t plain[TLS13_CIPHER_MAX_BYTES + TLS13_HEADER_BYTES];
    const ssize_t n = recv(fd, in + in_len, sizeof in - in_len, 0);
    size_t at = 0;

    in_len += n > 0 ? (size_t)n : 0;
    while (at < in_len) {
        enum tls13_alert alert = TLS13_CLOSE_NOTIFY;
        struct tls13_opened opened;
        const size_t whole = tls13_record_bytes(in + at, in_len - at, &alert);

        demand(alert == TLS13_CLOSE_NOTIFY);
        if (whole == 0 || whole > in_len - at)
            break;
        demand(tls13_open(&ciphers, suite, &from, in + at, whole, plain, &opened, &alert));
        read_content(&opened, plain);
        at += whole;
    }
    in_len -= at;
    memmove(in, in + at, in_len);
}

static void flush_wire(void)
{
    for (size_t at = 0, n; at < wire_len && ends == 0; at += n) {
        n = wire_len - at;
        if (split > 0 && n > split)
            n = split;
        if (n > IO_READ_BYTES)
            n = IO_READ_BYTES;
        memcpy(io.read_buffer, wire + at, n);
        stream->engine->receive(stream, io.read_buffer, n);
        demand(io.out_len == 0);
    }
    wire_len = 0;
}

static void put_raw(const uint8_t *bytes, size_t len)
{
    demand(wire_len + len <= sizeof wire);
    memcpy(wire + wire_len, bytes, len);
    wire_len += len;
}

// A type of 0 is padding, too: the type is then the last byte that is not.
static void note_data(uint8_t type, const uint8_t *content, size_t len)
{
    while (type == 0 && len > 0)
        type = content[--len];
    if (type != TLS13_DATA)
        return;
    memcpy(sealed + sealed_len, content, len);
    sealed_len += len;
}

static void put_sealed(uint8_t type, const uint8_t *content, size_t len, size_t padding)
{
    static const uint8_t zeros[UINT8_MAX];
    const struct tls13_piece pieces[] = {
        {content, len}, {&type, padding > 0 ? 1 : 0}, {zeros, padding > 0 ? padding - 1 : 0}};

    demand(wire_len + len + padding + TLS13_OVERHEAD_BYTES <= sizeof wire);
    wire_len += tls13_seal(&ciphers, suite, &to, padding > 0 ? (enum tls13_type)0 : type, pieces, 3,
                           wire + wire_len);
    note_data(type, content, len);
}

struct reader {
    const uint8_t *data;
    size_t len;
};

static uint8_t take(struct reader *reader)
{
    if (reader->len == 0)
        return 0;
    reader->len--;
    return *reader->data++;
}

static const uint8_t *take_bytes(struct reader *reader, size_t *len)
{
    const uint8_t *at = reader->data;

    if (*len > reader->len)
        *len = reader->len;
    reader->data += *len;
    reader->len -= *len;
    return at;
}

static void put_key_update(uint8_t request)
{
    const uint8_t message[] = {24, 0, 0, 1, request};

    put_sealed(TLS13_HANDSHAKE, message, sizeof message, 0);
    demand(tls13_direction_update(&to, suite));
}

static void put_large_data(size_t len)
{
    static uint8_t bytes[UINT8_MAX * 64 + 128];

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + sealed_len);
    put_sealed(TLS13_DATA, bytes, len, 0);
}

static void step_sealed(struct reader *reader)
{
    const uint8_t type = take(reader), padding = take(reader);
    size_t len = take(reader);
    const uint8_t *bytes = take_bytes(reader, &len);

    put_sealed(type, bytes, len, padding);
}

static void step_write(void)
{
    static const uint8_t data[5000];

    flush_wire();
    if (ends == 0 && !stream_blocked(stream))
        demand(stream_write(stream, &(struct stream_buf){data, sizeof data}, 1) == 0);
    read_answers();
}

static void step(struct reader *reader)
{
    size_t len;
    const uint8_t *bytes;

    switch (take(reader) % OPERATIONS) {
    case OP_RAW:
        len = take(reader);
        bytes = take_bytes(reader, &len);
        put_raw(bytes, len);
        break;
    case OP_SEALED:
        step_sealed(reader);
        break;
    case OP_LARGE_DATA:
        put_large_data(take(reader) * (size_t)64 + 65);
        break;
    case OP_KEY_UPDATE:
        put_key_update(take(reader));
        break;
    case OP_SKIP_KEYS:
        demand(tls13_direction_update(&to, suite));
        break;
    case OP_FLUSH:
        flush_wire();
        break;
    case OP_WRITE:
        step_write();
        break;
    default:
        split = take(reader);
    }
}

static void finish(void)
{
    flush_wire();
    while (ends == 0 && stream_blocked(stream)) {
        read_answers();
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    if (ends == 0)
        stream_shutdown(stream);
    for (int i = 0; i < TURNS; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        read_answers();
    }
    if (ends == 0)
        stream_close(stream);
    while (counter_read(&io.counters.streams) > 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    close(fd);
    demand(counter_read(&io.counters.tls13_active) == 0);
    demand(atomic_load(&budget.used) == 0 && io.out_len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = {data, size};

    if (size > INPUT_MAX_BYTES)
        return 0;
    start_once();
    suite = (enum tls13_suite)(take(&reader) % TLS13_SUITES);
    ends = 0;
    split = wire_len = sealed_len = delivered_len = in_len = 0;
    over = false;
    stream_begin();
    // The buffers hold what operations of two bytes can make of them.
    while (reader.len > 0 && wire_len < sizeof wire / 2 && sealed_len < sizeof sealed / 2)
        step(&reader);
    finish();
    return 0;
}
