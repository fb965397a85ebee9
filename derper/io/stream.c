// SPDX-License-Identifier: BSD-3-Clause
#include "io/stream.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/memory.h"
#include "io/engine.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sodium.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define READS_BEFORE_ERROR_MAX 32
// Below the loop, more than callbacks that have to do with keys go down.
#define STACK_WIPED_BYTES (32 * 1024)

bool stream_deliver(struct stream *stream, uint8_t *data, size_t len)
{
    assert(stream->io->out_len == 0); // the owner may write to any stream
    return stream->callbacks->on_data(stream, data, len) && stream->state == STREAM_OPEN;
}

static void on_event(uv_poll_t *poll, int status, int events);

static int events_of_reading(const struct stream *stream)
{
    switch ((enum stream_reading)stream->reading) {
    case READING_ON:
        return UV_READABLE;
    case READING_PAUSED:
    case READING_THROTTLED:
        return UV_DISCONNECT; // and so the system tells of a reset as well
    case READING_MUTED:
    case READING_HALF:
    case READING_OVER:
        return 0;
    }
    return 0;
}

static void update_events(struct stream *stream)
{
    const int of_writing = stream->unsent ? UV_WRITABLE : 0;

    uv_poll_start(&stream->poll, events_of_reading(stream) | of_writing, on_event);
}

static bool may_become(const struct stream *stream, enum stream_reading to)
{
    const enum stream_reading from = stream->reading;

    switch (to) {
    case READING_ON:
    case READING_OVER:
        return from != to && from != READING_OVER;
    case READING_MUTED:
        return from == READING_ON && stream->arrival;
    case READING_PAUSED:
    case READING_THROTTLED:
        return from == READING_ON && !stream->arrival;
    case READING_HALF:
        return from == READING_THROTTLED;
    }
    return false;
}

static void set_reading(struct stream *stream, enum stream_reading to)
{
    assert(may_become(stream, to));
    stream->reading = (uint8_t)to & 7;
    update_events(stream);
}

void stream_pause(struct stream *stream)
{
    set_reading(stream, READING_PAUSED);
}

void stream_throttle(struct stream *stream)
{
    set_reading(stream, READING_THROTTLED);
}

void stream_resume(struct stream *stream)
{
    set_reading(stream, READING_ON);
}

bool stream_fail(struct stream *stream, enum stream_end why)
{
    if (stream->state != STREAM_OPEN || stream->reading == READING_OVER)
        return false;
    set_reading(stream, READING_OVER);
    // The others are counted already, by what has failed or has closed it.
    if (!stream->ready && (why == STREAM_END_EOF || why == STREAM_END_RESET))
        counter_add(&stream->io->counters.tls_failures[TLS_FAILURE_CLOSED], 1);
    stream->callbacks->on_end(stream, why);
    return false;
}

static bool receive(struct stream *stream, uint8_t *data, size_t len)
{
    const size_t before = stream->io->held_bytes;

    return stream->engine->receive(stream, data, len) &&
           (stream->io->held_bytes <= before || !stream->callbacks->on_held ||
            stream->callbacks->on_held(stream));
}

// One read, so that every socket has its turn. False at the end of the stream.
static bool on_readable(struct stream *stream)
{
    uint8_t *buffer = stream->io->read_buffer;
    const size_t most = stream->arrival ? IO_NEWCOMER_READ_BYTES : IO_READ_BYTES;
    const ssize_t n = recv(stream->fd, buffer, most, 0);

    if (n > 0)
        return receive(stream, buffer, (size_t)n);
    if (n == 0)
        return stream_fail(stream, STREAM_END_EOF);
    return errno == EAGAIN || errno == EINTR || stream_fail(stream, STREAM_END_RESET);
}

// What a stream is before it is established, and need not keep.
struct arrival {
    struct newcomer newcomer;
    struct stream *stream;
};

static struct log_limit crowd_log = LOG_LIMIT_INIT;

static void on_turn(struct newcomer *newcomer);
static void on_crowded_out(struct newcomer *newcomer);

static const struct newcomer_callbacks newcomer_callbacks = {
    .serve = on_turn,
    .crowd_out = on_crowded_out,
};

static void enter(struct stream *stream)
{
    stream->arrival = pool_get(&stream->io->arrivals, sizeof *stream->arrival);
    stream->arrival->stream = stream;
    counter_add(&stream->io->counters.newcomers, 1);
    turns_enter(&stream->io->turns, &stream->arrival->newcomer, &newcomer_callbacks);
}

static size_t memory_of(const struct stream *stream)
{
    size_t bytes = stream->engine->kept_bytes ? stream->engine->kept_bytes(stream) : 0;

    for (const struct unsent *unsent = stream->unsent; unsent; unsent = unsent->next)
        bytes += sizeof *unsent + unsent->len;
    return bytes;
}

void stream_count_held(struct stream *stream, ptrdiff_t bytes)
{
    if (!stream->arrival)
        stream->io->held_bytes += (size_t)bytes;
}

static void leave(struct stream *stream)
{
    struct io_counters *c = &stream->io->counters;

    if (!stream->arrival)
        return;
    counter_add(&c->newcomers, -1);
    counter_add(&c->newcomers_in_line, -(int64_t)turns_in_line(&stream->arrival->newcomer));
    turns_leave(&stream->io->turns, &stream->arrival->newcomer);
    pool_put(&stream->io->arrivals, stream->arrival);
    stream->arrival = NULL;
    stream_count_held(stream, (ptrdiff_t)memory_of(stream));
}

void stream_establish(struct stream *stream)
{
    leave(stream);
    if (stream->reading == READING_MUTED)
        set_reading(stream, READING_ON);
}

// Libraries leave keys on the stack: the dynamic linker saves the vector registers there at the
// first call of each function of theirs. The loop calls this one itself, so all of it is below.
static void on_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;

    sodium_stackzero(STACK_WIPED_BYTES);
    counter_add(&stream->io->counters.streams, -1);
    atomic_fetch_sub_explicit(&stream->io->budget->used, 1, memory_order_relaxed);
    pool_put(&stream->io->streams, stream);
}

static void close_handle(struct stream *stream)
{
    stream->state = STREAM_CLOSING;
    uv_close((uv_handle_t *)&stream->poll, on_closed);
    close(stream->fd);
}

static bool of_proxy(const struct stream *stream)
{
    struct sockaddr_in6 peer;

    if (stream->io->proxy_count == 0)
        return false;
    stream_peer(stream, &peer);
    return prefixes_contain(stream->io->proxies, stream->io->proxy_count, &peer.sin6_addr);
}

struct stream *stream_accept(struct io_context *io, int fd, bool tls,
                             const struct stream_callbacks *callbacks, void *owner)
{
    struct stream *stream = pool_get(&io->streams, sizeof *stream);

    stream->io = io;
    stream->fd = fd;
    stream->engine = !tls ? &engine_plain : of_proxy(stream) ? &engine_proxy : &engine_openssl;
    stream->ready = !tls;
    stream->callbacks = callbacks;
    stream->owner = owner;
    stream->poll.data = stream;
    if (uv_poll_init(io->loop, &stream->poll, fd) != 0) {
        counter_add(&io->counters.accept_failures, 1);
        close(fd);
        pool_put(&io->streams, stream);
        return NULL;
    }
    counter_add(&io->counters.streams, 1);
    atomic_fetch_add_explicit(&io->budget->used, 1, memory_order_relaxed);
    counter_add(tls ? &io->counters.tls_accepted : &io->counters.plain_accepted, 1);
    enter(stream);
    update_events(stream);
    return stream;
}

// A KeyUpdate costs us far more than its 27 bytes cost the peer. Libraries make one after
// gigabytes; a person who does it by hand has some in reserve.
bool stream_take_update(struct stream *stream)
{
    static const struct bucket_rate rate = {.per_second = 1, .burst = 32};

    return bucket_take(&stream->updates, &rate, clock_ns());
}

void stream_log_tls(const struct stream *stream, struct log_limit *limit, const char *fault,
                    const char *hint)
{
    char address[INET6_ADDRSTRLEN];

    stream_peer_text(stream, address);
    log_limited(limit, "TLS with %s failed: %s%s", address, fault, hint);
}

void *stream_owner(const struct stream *stream)
{
    return stream->owner;
}

void stream_set_owner(struct stream *stream, const struct stream_callbacks *callbacks, void *owner)
{
    stream->callbacks = callbacks;
    stream->owner = owner;
}

bool stream_pass_on(struct stream *stream, uint8_t *data, size_t len)
{
    return stream->state == STREAM_OPEN && (len == 0 || stream_deliver(stream, data, len));
}

// What the socket takes of it now, or a negative libuv error.
static ssize_t send_some(const struct stream *stream, const uint8_t *data, size_t len)
{
    const ssize_t n = send(stream->fd, data, len, MSG_NOSIGNAL);

    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? 0 : uv_translate_sys_error(errno);
}

// What stands in the context's `out` behind the first `sent` bytes.
static void keep_unsent(struct stream *stream, bool answer, size_t write_len, size_t sent)
{
    const size_t len = write_len - sent;
    struct unsent *unsent = memory_get(sizeof *unsent + len), **last = &stream->unsent;

    *unsent = (struct unsent){.answer = answer, .len = len, .write_len = write_len};
    memcpy(unsent->data, stream->io->out + sent, len);
    stream_count_held(stream, (ptrdiff_t)(sizeof *unsent + len));
    while (*last)
        last = &(*last)->next;
    *last = unsent;
    if (last == &stream->unsent)
        update_events(stream);
    if (answer)
        stream->answers++;
    else
        stream->blocked = true;
}

static void drop_unsent(struct stream *stream)
{
    struct unsent *unsent = stream->unsent;

    stream->unsent = unsent->next;
    if (unsent->answer)
        stream->answers--;
    else
        stream->blocked = false;
    stream_count_held(stream, -(ptrdiff_t)(sizeof *unsent + unsent->len));
    free(unsent);
}

// Sends what waits, as far as the socket takes it. False when that fails.
static bool send_unsent(struct stream *stream)
{
    while (stream->unsent) {
        struct unsent *unsent = stream->unsent;
        const ssize_t n =
            send_some(stream, unsent->data + unsent->sent, unsent->len - unsent->sent);

        if (n < 0)
            return false;
        unsent->sent += (size_t)n;
        if (unsent->sent < unsent->len)
            return true;
        drop_unsent(stream);
    }
    update_events(stream);
    if (stream->shut)
        shutdown(stream->fd, SHUT_WR);
    return true;
}

static void on_writable(struct stream *stream)
{
    const bool blocked = stream->blocked;

    if (!send_unsent(stream))
        stream_fail(stream, STREAM_END_RESET);
    else if (blocked && !stream->blocked)
        stream->callbacks->on_drained(stream);
}

// Clients have less patience than a long line: a handshake with those that have gone would hold up
// those that are there.
static bool has_hung_up(const struct stream *stream)
{
    struct pollfd socket = {.fd = stream->fd, .events = POLLRDHUP};

    return poll(&socket, 1, 0) > 0;
}

static void on_turn(struct newcomer *newcomer)
{
    struct stream *stream = list_entry(newcomer, struct arrival, newcomer)->stream;
    const bool delayed = stream->reading == READING_MUTED;

    counter_add(&stream->io->counters.newcomers_in_line, -1);
    if (stream->reading == READING_OVER)
        return;
    if (delayed)
        set_reading(stream, READING_ON);
    if (delayed && !stream->ready && has_hung_up(stream))
        stream_fail(stream, STREAM_END_EOF);
    else
        on_readable(stream);
}

static void on_crowded_out(struct newcomer *newcomer)
{
    struct stream *stream = list_entry(newcomer, struct arrival, newcomer)->stream;
    char address[INET6_ADDRSTRLEN];

    stream_peer_text(stream, address);
    log_limited(&crowd_log,
                "too many connections are not logged in: the one that said nothing for longest, "
                "from %s, is closed",
                address);
    counter_add(&stream->io->counters.newcomers_crowded_out, 1);
    stream_fail(stream, STREAM_END_CROWDED_OUT);
}

static void line_up(struct stream *stream)
{
    counter_add(&stream->io->counters.newcomers_in_line, 1);
    turns_line_up(&stream->io->turns, &stream->arrival->newcomer);
}

// It has not been served in the turn in which it lined up.
static void mute(struct stream *stream)
{
    counter_add(&stream->io->counters.handshakes_delayed, 1);
    set_reading(stream, READING_MUTED);
}

// An error of the socket, by which the handle is stopped. There may be data in front of it.
static void on_error(struct stream *stream)
{
    if (stream->arrival) {
        if (stream->reading == READING_ON)
            set_reading(stream, READING_MUTED);
        uv_poll_stop(&stream->poll); // or it is told again and again until its turn
        if (!turns_in_line(&stream->arrival->newcomer))
            line_up(stream);
        return;
    }
    for (int n = 0; n < READS_BEFORE_ERROR_MAX && stream->reading == READING_ON; n++)
        if (!on_readable(stream))
            return;
    stream_fail(stream, STREAM_END_RESET);
}

// False: the stream is closed.
static bool on_disconnect(struct stream *stream)
{
    if (stream->reading == READING_PAUSED)
        return stream_fail(stream, STREAM_END_EOF);
    set_reading(stream, READING_HALF);
    return true;
}

// The same.
static bool on_incoming(struct stream *stream)
{
    if (!stream->arrival)
        return on_readable(stream);
    if (turns_in_line(&stream->arrival->newcomer))
        mute(stream);
    else
        line_up(stream);
    return true;
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct stream *stream = poll->data;

    if (status < 0) {
        on_error(stream);
        return;
    }
    if (events & UV_DISCONNECT && !on_disconnect(stream))
        return;
    if (events & UV_READABLE && !on_incoming(stream))
        return;
    if (events & UV_WRITABLE)
        on_writable(stream);
}

// Sends what stands in the context's `out`, behind whatever waits already.
static int flush_out(struct stream *stream, bool answer)
{
    struct io_context *io = stream->io;
    const size_t len = io->out_len;
    ssize_t n = 0;

    io->out_len = 0;
    if (len == 0)
        return 0;
    if (!stream->unsent)
        n = send_some(stream, io->out, len);
    if (n < 0)
        return (int)n;
    if ((size_t)n < len)
        keep_unsent(stream, answer, len, (size_t)n);
    return 0;
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
    assert(stream->state == STREAM_OPEN && !stream->blocked && stream->io->out_len == 0);
    if (!stream->engine->seal(stream, pieces, count)) {
        stream->io->out_len = 0;
        return UV_EPROTO;
    }
    return flush_out(stream, false);
}

bool stream_blocked(const struct stream *stream)
{
    return stream->blocked;
}

size_t stream_unsent_bytes(const struct stream *stream)
{
    size_t bytes = 0;

    for (const struct unsent *unsent = stream->unsent; unsent; unsent = unsent->next)
        bytes += unsent->len - unsent->sent;
    return bytes;
}

size_t stream_unacked_bytes(const struct stream *stream)
{
    int in_socket = 0;

    ioctl(stream->fd, SIOCOUTQ, &in_socket);
    return stream_unsent_bytes(stream) + (size_t)in_socket;
}

size_t stream_held_bytes(const struct stream *stream)
{
    return stream->arrival ? 0 : memory_of(stream);
}

bool stream_mark_record(struct stream *stream)
{
    const bool marked = stream->marked;

    stream->marked = stream->engine->kept_bytes && stream->engine->kept_bytes(stream) > 0;
    return marked;
}

size_t stream_untaken_bytes(const struct stream *stream, size_t written)
{
    const struct unsent *unsent = stream->unsent;
    uint64_t left;

    if (!stream->blocked)
        return 0;
    while (unsent->answer)
        unsent = unsent->next;
    left = unsent->len - unsent->sent;
    return (size_t)((left * written + unsent->write_len - 1) / unsent->write_len);
}

void stream_shutdown(struct stream *stream)
{
    if (stream->state != STREAM_OPEN || stream->shut)
        return;
    stream->shut = true;
    stream->engine->goodbye(stream);
    flush_out(stream, true);
    if (!stream->unsent)
        shutdown(stream->fd, SHUT_WR);
}

void stream_close(struct stream *stream)
{
    if (stream->state != STREAM_OPEN)
        return;
    if (!stream->blocked && !stream->shut) {
        stream->engine->goodbye(stream);
        flush_out(stream, true);
    }
    stream->io->out_len = 0;
    while (stream->unsent)
        drop_unsent(stream);
    leave(stream);
    stream->engine->stop(stream);
    stream_set_peer(stream, NULL, 0);
    close_handle(stream);
}

bool stream_closed(const struct stream *stream)
{
    return stream->state != STREAM_OPEN;
}

struct io_context *stream_context(const struct stream *stream)
{
    return stream->io;
}

bool stream_ready(const struct stream *stream)
{
    return stream->ready;
}

int stream_tls_version(const struct stream *stream)
{
    if (!stream->ready || stream->engine == &engine_plain)
        return 0;
    return stream->counted_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

bool stream_is_plain(const struct stream *stream)
{
    return stream->engine == &engine_plain;
}

void stream_set_peer(struct stream *stream, const struct in6_addr *address, uint16_t port)
{
    if (!address) {
        free(stream->peer);
        stream->peer = NULL;
        return;
    }
    if (!stream->peer)
        stream->peer = memory_get(sizeof *stream->peer);
    *stream->peer = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_addr = *address, .sin6_port = htons(port)};
}

bool stream_rtt_us(const struct stream *stream, uint32_t *out)
{
    struct tcp_info info;
    socklen_t len = sizeof info;

    if (getsockopt(stream->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;
    *out = info.tcpi_rtt;
    return true;
}

// SO_PEERNAME knows the peer of a connection that was reset, which getpeername does not, but wants
// to be asked with the length of the answer.
static bool get_peer(int fd, struct sockaddr_storage *out)
{
    static const socklen_t lengths[] = {sizeof(struct sockaddr_in6), sizeof(struct sockaddr_in)};
    socklen_t len = sizeof *out;

    if (getpeername(fd, (struct sockaddr *)out, &len) == 0)
        return true;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        len = lengths[i];
        if (getsockopt(fd, SOL_SOCKET, SO_PEERNAME, out, &len) == 0)
            return true;
    }
    return false;
}

void stream_peer(const struct stream *stream, struct sockaddr_in6 *out)
{
    struct sockaddr_storage address = {0};

    *out = (struct sockaddr_in6){.sin6_family = AF_INET6};
    if (stream->peer) {
        *out = *stream->peer;
        return;
    }
    if (!get_peer(stream->fd, &address))
        return;
    if (address.ss_family == AF_INET6) {
        memcpy(out, &address, sizeof *out);
    } else if (address.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address;

        address_map(&out->sin6_addr, &in->sin_addr);
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
