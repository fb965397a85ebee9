// SPDX-License-Identifier: BSD-3-Clause
//
// TLS by an SSL object per stream. All SSL objects of a loop share one BIO: it reads from the bytes
// that the stream in hand has just received and appends to the loop's write buffer, so OpenSSL
// never sees a socket.
#include "io/engine.h"

#include "io/tls.h"

#include <assert.h>
#include <openssl/err.h>
#include <string.h>

#define SLICE_BYTES 16384
#define BARREN_MAX_BYTES \
    (20 * 1024) // received without one byte of data: more than the largest record
#define RECORD_PLAIN_MAX_BYTES 16384 // RFC 8446, section 5.1
// OpenSSL's, of one connection.
#define READ_BUFFER_BYTES \
    (SSL3_RT_HEADER_LENGTH + RECORD_PLAIN_MAX_BYTES + SSL3_RT_MAX_ENCRYPTED_OVERHEAD)

static int bio_read(BIO *bio, char *data, size_t len, size_t *taken)
{
    struct io_context *io = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (io->in_len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *taken = len < io->in_len ? len : io->in_len;
    memcpy(data, io->in, *taken);
    io->in += *taken;
    io->in_len -= *taken;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *taken)
{
    struct io_context *io = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (len > IO_WRITE_BYTES - io->out_len)
        return 0;
    memcpy(io->out + io->out_len, data, len);
    io->out_len += len;
    *taken = len;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method;

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "loop");
    if (!bio_method)
        return;
    BIO_meth_set_read_ex(bio_method, bio_read);
    BIO_meth_set_write_ex(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

// The one BIO of the loop, made with its first TLS stream. NULL when memory is exhausted.
static BIO *shared_bio(struct io_context *io)
{
    static uv_once_t once = UV_ONCE_INIT;

    if (io->bio)
        return io->bio;
    uv_once(&once, make_bio_method);
    io->bio = bio_method ? BIO_new(bio_method) : NULL;
    if (io->bio) {
        BIO_set_data(io->bio, io);
        BIO_set_init(io->bio, 1);
    }
    return io->bio;
}

// With the first bytes, so that a connection that says nothing costs nothing here.
static bool begin(struct stream *stream)
{
    struct io_context *io = stream->io;
    BIO *bio = shared_bio(io);

    ERR_clear_error();
    stream->ssl = bio && io->tls ? SSL_new(io->tls) : NULL;
    if (!stream->ssl)
        return false;
    BIO_up_ref(bio);
    SSL_set_bio(stream->ssl, bio, bio);
    SSL_set_app_data(stream->ssl, stream);
    SSL_set_accept_state(stream->ssl);
    return true;
}

// Without the first line, freeing an SSL object that did not say goodbye drops its session, which
// costs a lock.
static void free_ssl(struct stream *stream)
{
    if (stream->ssl)
        SSL_set_quiet_shutdown(stream->ssl, 1);
    tls_free(stream->ssl);
    stream->ssl = NULL;
}

static void count_ready(struct stream *stream)
{
    struct io_counters *c = &stream->io->counters;

    stream->ready = true;
    stream->counted_tls13 = SSL_version(stream->ssl) == TLS1_3_VERSION;
    counter_add(stream->counted_tls13 ? &c->tls13_handshakes : &c->tls12_handshakes, 1);
    counter_add(stream->counted_tls13 ? &c->tls13_active : &c->tls12_active, 1);
}

// What an operator can do about it, behind OpenSSL's words.
static const char *const hints[TLS_FAILURES] = {
    [TLS_FAILURE_NOT_TLS] = "; this port speaks TLS",
    [TLS_FAILURE_SNI] = "; it asked for another host name than --hostname, or for none",
    [TLS_FAILURE_CLIENT_ALERT] =
        "; the client refused, most often because of our certificate: is its pin (certname) in the "
        "DERP map the one printed at the start, or its authority one that the client knows?",
    [TLS_FAILURE_NO_CERTIFICATE] =
        "; there is no certificate for this name yet, and clients are refused until it has come: "
        "the log says what it waits for, and so does /debug/",
};

static struct log_limit failure_logs[TLS_FAILURES] = {[0 ... TLS_FAILURES - 1] = LOG_LIMIT_INIT};

// Before OpenSSL's error queue is cleared. Clients that just go away are counted only, and so is an
// authority that comes again when all is proven.
static void log_failure(const struct stream *stream, enum tls_failure failure)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    if (failure == TLS_FAILURE_CLOSED || failure == TLS_FAILURE_NO_CHALLENGE)
        return;
    stream_log_tls(stream, &failure_logs[failure], reason ? reason : tls_failure_name(failure),
                   hints[failure] ? hints[failure] : "");
}

// Counts a failure and sends the alert that OpenSSL has put into `out`. Returns what the owner is
// to be told.
static enum stream_end note_end(struct stream *stream, int ssl_error)
{
    const bool in_order = ssl_error == SSL_ERROR_ZERO_RETURN;

    if (!in_order) {
        const enum tls_failure failure = tls_failure_of();
        struct io_counters *c = &stream->io->counters;

        counter_add(stream->ready ? &c->tls_record_faults : &c->tls_failures[failure], 1);
        log_failure(stream, failure);
    }
    ERR_clear_error();
    stream_send_answer(stream);
    return in_order ? STREAM_END_EOF : STREAM_END_TLS;
}

void engine_openssl_message(int sent, int version, int type, const void *data, size_t len, SSL *ssl,
                            void *arg)
{
    struct stream *stream = SSL_get_app_data(ssl);
    const uint8_t message = type == SSL3_RT_HANDSHAKE && len > 0 ? *(const uint8_t *)data : 0;

    (void)version, (void)arg;
    if (!stream)
        return;
    if (message == SSL3_MT_FINISHED)
        engine_detached_on_finished(stream);
    else if (message == SSL3_MT_KEY_UPDATE && !sent && !stream_take_update(stream))
        stream->restless = true;
}

// tls-alpn-01 ends with its handshake, so that nothing is served under its certificate. -1, always.
static int end_challenge(struct stream *stream)
{
    SSL_shutdown(stream->ssl);
    ERR_clear_error();
    stream_send_answer(stream);
    stream_fail(stream, STREAM_END_TLS);
    return -1;
}

// 1 when complete, 0 when more bytes are needed, -1 when the stream is gone.
static int shake_hands(struct stream *stream)
{
    int result;

    if (!stream->ssl && !begin(stream)) {
        counter_add(&stream->io->counters.tls_failures[TLS_FAILURE_OTHER], 1);
        log_failure(stream, TLS_FAILURE_OTHER);
        ERR_clear_error();
        stream_fail(stream, STREAM_END_TLS);
        return -1;
    }
    result = SSL_do_handshake(stream->ssl);
    if (result != 1) {
        const int error = SSL_get_error(stream->ssl, result);

        if (error != SSL_ERROR_WANT_READ) {
            stream_fail(stream, note_end(stream, error));
            return -1;
        }
    }
    if (result == 1 && tls_was_challenge(stream->ssl))
        return end_challenge(stream);
    if (stream_send_answer(stream) < 0) {
        stream_fail(stream, STREAM_END_RESET);
        return -1;
    }
    if (result != 1)
        return 0;
    count_ready(stream);
    if (engine_detached_take(stream))
        free_ssl(stream);
    if (stream->callbacks->on_ready)
        stream->callbacks->on_ready(stream);
    return stream->state == STREAM_OPEN ? 1 : -1;
}

// Opens records into the plain buffer until it is full or no whole record is left. Returns the
// bytes; `error` is an SSL_ERROR, SSL_ERROR_NONE when there may be more.
static size_t open_records(struct stream *stream, int *error)
{
    uint8_t *plain = stream->io->plain_buffer;
    size_t len = 0;

    *error = SSL_ERROR_NONE;
    while (len + RECORD_PLAIN_MAX_BYTES <= IO_PLAIN_BYTES) {
        size_t n;
        const int result = SSL_read_ex(stream->ssl, plain + len, RECORD_PLAIN_MAX_BYTES, &n);

        if (stream->restless) {
            SSL_set_shutdown(stream->ssl, SSL_SENT_SHUTDOWN); // a fault has no close_notify
            *error = SSL_ERROR_SSL;
            break;
        }
        if (result != 1) {
            *error = SSL_get_error(stream->ssl, result);
            break;
        }
        len += n;
    }
    return len;
}

// OpenSSL has a buffer for the largest record from a record's first byte to its end, as it releases
// it then. (It does not call a header alone pending.)
static void set_partial(struct stream *stream, bool partial)
{
    if (partial != stream->partial)
        stream_count_held(stream, partial ? READ_BUFFER_BYTES : -READ_BUFFER_BYTES);
    stream->partial = partial;
}

static bool is_amid_record(const SSL *ssl)
{
    return SSL_has_pending(ssl) || strcmp(SSL_rstate_string(ssl), "RB") == 0;
}

static size_t kept_bytes(const struct stream *stream)
{
    return stream->partial ? READ_BUFFER_BYTES : 0;
}

// Opens what is in hand and delivers it. `out` is empty before the owner hears of anything, as it
// may write to any stream from there.
static bool read_records(struct stream *stream)
{
    struct io_context *io = stream->io;
    int error;

    do {
        enum stream_end why = STREAM_END_RESET;
        size_t n;
        bool ended;

        ERR_clear_error();
        n = open_records(stream, &error);
        ended = error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ;
        if (ended)
            why = note_end(stream, error);
        else
            ended = stream_send_answer(stream) < 0;
        if (n > 0) {
            stream->barren = 0;
            stream->marked = false; // a record without data in between makes no difference
        }
        set_partial(stream, is_amid_record(stream->ssl));
        // What came before the fault is still the peer's word.
        if (n > 0 && !stream_deliver(stream, io->plain_buffer, n))
            return false;
        if (ended)
            return stream_fail(stream, why);
    } while (error == SSL_ERROR_NONE);
    return true;
}

// Reads slice by slice, so that a stream of records without data, each of which costs a hundred
// times its bytes, is noticed.
static bool read_slices(struct stream *stream, const uint8_t *data, size_t len)
{
    struct io_context *io = stream->io;

    while (len > 0) {
        const size_t slice = len < SLICE_BYTES ? len : SLICE_BYTES;

        io->in = data;
        io->in_len = slice;
        stream->barren += (uint32_t)slice;
        if (!read_records(stream))
            return false;
        if (stream->barren > BARREN_MAX_BYTES) {
            counter_add(&io->counters.tls_record_faults, 1);
            return stream_fail(stream, STREAM_END_TLS);
        }
        data += slice;
        len -= slice;
    }
    return true;
}

static bool receive(struct stream *stream, uint8_t *data, size_t len)
{
    struct io_context *io = stream->io;

    assert(io->out_len == 0);
    io->in = data;
    io->in_len = len;
    if (!stream->ready) {
        int done;

        ERR_clear_error();
        done = shake_hands(stream);
        if (done <= 0)
            return done == 0;
        // What is in hand behind the handshake is the next engine's.
        if (stream->engine != &engine_openssl) {
            const size_t left = io->in_len;

            io->in_len = 0;
            return left == 0 || stream->engine->receive(stream, data + len - left, left);
        }
        data += len - io->in_len;
        len = io->in_len;
    }
    return read_slices(stream, data, len);
}

static bool seal(struct stream *stream, const struct stream_buf *pieces, size_t count)
{
    struct io_context *io = stream->io;
    const uint8_t *in = io->in;
    const size_t in_len = io->in_len;
    bool ok = true;

    // Another stream's received bytes may be in hand: they are not this one's to read.
    io->in_len = 0;
    ERR_clear_error();
    for (size_t i = 0; i < count && ok; i++) {
        size_t n;

        if (pieces[i].len > 0)
            ok = SSL_write_ex(stream->ssl, pieces[i].data, pieces[i].len, &n) == 1 &&
                 n == pieces[i].len;
    }
    ERR_clear_error();
    io->in = in;
    io->in_len = in_len;
    return ok;
}

static void goodbye(struct stream *stream)
{
    if (!stream->ready)
        return;
    ERR_clear_error();
    SSL_shutdown(stream->ssl);
    ERR_clear_error();
}

static void stop(struct stream *stream)
{
    struct io_counters *c = &stream->io->counters;

    if (stream->ready)
        counter_add(stream->counted_tls13 ? &c->tls13_active : &c->tls12_active, -1);
    set_partial(stream, false);
    free_ssl(stream);
    engine_detached_free(stream);
    stream->ready = false;
}

const struct engine engine_openssl = {
    .receive = receive,
    .seal = seal,
    .goodbye = goodbye,
    .stop = stop,
    .kept_bytes = kept_bytes,
};
