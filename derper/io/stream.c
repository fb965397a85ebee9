// SPDX-License-Identifier: BSD-3-Clause
#include "io/stream.h"

#include "base/memory.h"
#include "io/engine.h"

#include <arpa/inet.h>
#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool stream_deliver(struct stream *stream, uint8_t *data, size_t len)
{
    assert(stream->io->out_len == 0); // the owner may write to any stream
    return stream->callbacks->on_data(stream, data, len) && stream->state == STREAM_OPEN;
}

bool stream_fail(struct stream *stream, enum stream_end why)
{
    if (stream->state == STREAM_OPEN) {
        uv_read_stop((uv_stream_t *)&stream->tcp);
        stream->callbacks->on_end(stream, why);
    }
    return false;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct stream *stream = handle->data;

    (void)suggested;
    // No buffer makes libuv go on to the next socket.
    *buf = uv_buf_init((char *)stream->io->read_buffer, stream->had_its_turn ? 0 : IO_READ_BYTES);
    stream->had_its_turn = false;
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
    struct stream *stream = handle->data;

    // libuv would read on while the buffer is filled, up to 32 times, before it looks at another
    // socket.
    if (n == IO_READ_BYTES)
        stream->had_its_turn = true;
    if (n == UV_ENOBUFS)
        return;
    if (n > 0)
        stream->engine->receive(stream, (uint8_t *)buf->base, (size_t)n);
    else if (n < 0)
        stream_fail(stream, n == UV_EOF ? STREAM_END_EOF : STREAM_END_RESET);
}

void stream_set_reading(struct stream *stream, bool on)
{
    if (on)
        uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_read);
    else
        uv_read_stop((uv_stream_t *)&stream->tcp);
}

static void on_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;

    counter_add(&stream->io->counters.streams, -1);
    atomic_fetch_sub_explicit(&stream->io->budget->used, 1, memory_order_relaxed);
    free(stream);
}

struct stream *stream_accept(struct io_context *io, uv_stream_t *listening, bool tls,
                             const struct stream_callbacks *callbacks, void *owner)
{
    struct stream *stream = memory_zeroed(sizeof *stream);

    stream->io = io;
    stream->engine = tls ? &engine_openssl : &engine_plain;
    stream->callbacks = callbacks;
    stream->owner = owner;
    stream->tcp.data = stream;
    counter_add(&io->counters.streams, 1);
    atomic_fetch_add_explicit(&io->budget->used, 1, memory_order_relaxed);
    uv_tcp_init(io->loop, &stream->tcp);
    if (uv_accept(listening, (uv_stream_t *)&stream->tcp) != 0 ||
        stream->engine->start(stream) != 0) {
        counter_add(&io->counters.accept_failures, 1);
        stream->state = STREAM_CLOSING;
        uv_close((uv_handle_t *)&stream->tcp, on_closed);
        return NULL;
    }
    counter_add(tls ? &io->counters.tls_accepted : &io->counters.plain_accepted, 1);
    stream_set_reading(stream, true);
    return stream;
}

void stream_log_tls(const struct stream *stream, struct log_limit *limit, const char *fault,
                    const char *hint)
{
    char address[INET6_ADDRSTRLEN];

    stream_peer_text(stream, address);
    log_limited(limit, "TLS with %s failed: %s%s", address, fault, hint);
}

void stream_set_owner(struct stream *stream, const struct stream_callbacks *callbacks, void *owner)
{
    stream->callbacks = callbacks;
    stream->owner = owner;
}

static void on_written(uv_write_t *request, int status)
{
    struct unsent *unsent = request->data;
    struct stream *stream = unsent->stream;

    const bool answer = unsent->answer;

    if (answer)
        stream->answers--;
    else
        stream->unsent = NULL;
    free(unsent);
    if (stream->state != STREAM_OPEN)
        return;
    if (status < 0)
        stream_fail(stream, STREAM_END_RESET);
    else if (!answer)
        stream->callbacks->on_drained(stream);
}

static int keep_unsent(struct stream *stream, bool answer, const uint8_t *data, size_t len)
{
    struct unsent *unsent = memory_get(sizeof *unsent + len);

    unsent->request.data = unsent;
    unsent->stream = stream;
    unsent->answer = answer;
    memcpy(unsent->data, data, len);

    const uv_buf_t buf = uv_buf_init((char *)unsent->data, (unsigned)len);
    const int err = uv_write(&unsent->request, (uv_stream_t *)&stream->tcp, &buf, 1, on_written);

    if (err < 0)
        free(unsent);
    else if (answer)
        stream->answers++;
    else
        stream->unsent = unsent;
    return err;
}

// Sends what stands in the context's `out`, behind whatever waits already.
static int flush_out(struct stream *stream, bool answer)
{
    struct io_context *io = stream->io;
    const uv_buf_t buf = uv_buf_init((char *)io->out, (unsigned)io->out_len);
    const size_t len = io->out_len;
    int n;

    io->out_len = 0;
    if (len == 0)
        return 0;
    n = uv_try_write((uv_stream_t *)&stream->tcp, &buf, 1);
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0 || (size_t)n == len)
        return n < 0 ? n : 0;
    return keep_unsent(stream, answer, io->out + n, len - (size_t)n);
}

int stream_send_answer(struct stream *stream)
{
    if (stream->answers < STREAM_ANSWERS_MAX)
        return flush_out(stream, true);
    stream->io->out_len = 0;
    return UV_ENOBUFS;
}

int stream_write(struct stream *stream, const struct stream_buf *pieces, size_t count)
{
    assert(stream->state == STREAM_OPEN && !stream->unsent && stream->io->out_len == 0);
    if (!stream->engine->seal(stream, pieces, count)) {
        stream->io->out_len = 0;
        return UV_EPROTO;
    }
    return flush_out(stream, false);
}

bool stream_blocked(const struct stream *stream)
{
    return stream->unsent != NULL;
}

size_t stream_unsent_bytes(const struct stream *stream)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp);
}

static void on_shut(uv_shutdown_t *request, int status)
{
    (void)status;
    free(request);
}

void stream_shutdown(struct stream *stream)
{
    uv_shutdown_t *request;

    if (stream->state != STREAM_OPEN || stream->shut)
        return;
    stream->shut = true;
    stream->engine->goodbye(stream);
    flush_out(stream, true);
    request = memory_get(sizeof *request);
    if (uv_shutdown(request, (uv_stream_t *)&stream->tcp, on_shut) < 0)
        free(request);
}

void stream_close(struct stream *stream)
{
    if (stream->state != STREAM_OPEN)
        return;
    if (!stream->unsent && !stream->shut) {
        stream->engine->goodbye(stream);
        flush_out(stream, true);
    }
    stream->io->out_len = 0;
    stream->state = STREAM_CLOSING;
    stream->engine->stop(stream);
    uv_close((uv_handle_t *)&stream->tcp, on_closed);
}

int stream_tls_version(const struct stream *stream)
{
    if (!stream->ready || stream->engine == &engine_plain)
        return 0;
    return stream->counted_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

void stream_peer(const struct stream *stream, struct sockaddr_in6 *out)
{
    struct sockaddr_storage address = {0};
    int len = sizeof address;

    *out = (struct sockaddr_in6){.sin6_family = AF_INET6};
    if (uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)&address, &len) != 0)
        return;
    if (address.ss_family == AF_INET6) {
        memcpy(out, &address, sizeof *out);
    } else if (address.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address;

        out->sin6_addr.s6_addr[10] = out->sin6_addr.s6_addr[11] = 0xff;
        memcpy(out->sin6_addr.s6_addr + 12, &in->sin_addr, 4);
        out->sin6_port = in->sin_port;
    }
}

void stream_peer_text(const struct stream *stream, char out[static INET6_ADDRSTRLEN])
{
    struct sockaddr_in6 peer;

    stream_peer(stream, &peer);
    if (IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr))
        inet_ntop(AF_INET, peer.sin6_addr.s6_addr + 12, out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, &peer.sin6_addr, out, INET6_ADDRSTRLEN);
}
