// SPDX-License-Identifier: BSD-3-Clause
//
// TLS 1.3 without OpenSSL's connection: OpenSSL does the handshake, its keylog callback yields the
// two traffic secrets, the SSL object is freed, and from then on records are opened and sealed
// here, straight from and into the loop's buffers. What a connection keeps is its keys. RFC 8446,
// sections 4.6.3, 5 and 6.
#include "io/engine.h"

#include "base/log.h"
#include "base/memory.h"
#include "io/tls13_record.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define KEY_UPDATE_TYPE 24
#define KEY_UPDATE_BYTES 5
#define KEY_UPDATE_HEAD_BYTES 4
// Records without data in a row (empty, KeyUpdate, alerts that end nothing): more is an attack on
// our time.
#define IDLE_RECORDS_MAX 32
#define PARTIAL_START_BYTES 2048
#define PARTIAL_MAX_BYTES (TLS13_HEADER_BYTES + TLS13_CIPHER_MAX_BYTES)

// The bytes of a record that has not come whole. Grows with what comes.
struct partial_record {
    size_t len, capacity;
    uint8_t data[];
};

// An idle connection is this: as much of it as its suite needs.
struct detached {
    struct partial_record *partial;
    uint8_t direction_bytes;
    uint8_t idle_records;
    uint8_t suite : 2;         // enum tls13_suite
    uint8_t handshake_len : 3; // bytes of a KeyUpdate that has not come whole
    bool have_in : 1;          // the keylog callback has brought the secret
    bool have_out : 1;
    bool update_due : 1;       // a KeyUpdate goes out before the next data
    bool update_requests : 1;  // and asks for one in return
    bool requested : 1;        // we have asked, and not been answered
    bool over : 1;             // a fatal alert went out or came in: nothing is sent any more
    struct tls13_direction in; // `out` is behind it, where the suite's length ends
};

static size_t detached_bytes(enum tls13_suite suite)
{
    return offsetof(struct detached, in) + 2 * tls13_direction_bytes(suite);
}

static struct tls13_direction *out_of(struct detached *state)
{
    return (void *)((uint8_t *)&state->in + state->direction_bytes);
}

static struct log_limit fault_log = LOG_LIMIT_INIT;

static bool read_hex(const char *text, uint8_t *out, size_t size)
{
    size_t n;

    return sodium_hex2bin(out, size, text, strlen(text), NULL, &n, NULL) == 0;
}

static struct detached *state_of(struct stream *stream, enum tls13_suite suite)
{
    if (!stream->detached) {
        stream->detached = pool_get(&stream->io->detached[suite], detached_bytes(suite));
        stream->detached->suite = (uint8_t)suite & 3;
        stream->detached->direction_bytes = (uint8_t)tls13_direction_bytes(suite);
    }
    return stream->detached;
}

// The line is "LABEL <client random> <secret>", both in hex.
static bool is_secret(const char *line, const char *label)
{
    const size_t len = strlen(label);

    return strncmp(line, label, len) == 0 && line[len] == ' ';
}

static bool start_direction(struct tls13_direction *direction, enum tls13_suite suite,
                            const char *line)
{
    uint8_t secret[TLS13_SECRET_MAX_BYTES];
    const bool ok = read_hex(strrchr(line, ' ') + 1, secret, sizeof secret) &&
                    tls13_direction_start(direction, suite, secret);

    sodium_memzero(secret, sizeof secret);
    return ok;
}

static void on_keylog(const SSL *ssl, const char *line)
{
    struct stream *stream = SSL_get_app_data(ssl);
    const bool of_client = is_secret(line, "CLIENT_TRAFFIC_SECRET_0");
    enum tls13_suite suite;
    struct detached *state;

    if (!of_client && !is_secret(line, "SERVER_TRAFFIC_SECRET_0"))
        return;
    SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl), NULL);
    if (!tls13_suite_from_id(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)), &suite) ||
        !tls13_ciphers_have(&stream->io->ciphers, suite))
        return;
    state = state_of(stream, suite);
    if (of_client)
        state->have_in = start_direction(&state->in, suite, line);
    else
        state->have_out = start_direction(out_of(state), suite, line);
}

// The traffic secrets come behind each side's Finished. OpenSSL makes a line by 64 calls of
// sprintf: there is no callback for the lines of a handshake that come before.
void engine_detached_on_finished(struct stream *stream)
{
    if (stream->io->detach && SSL_version(stream->ssl) == TLS1_3_VERSION)
        SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(stream->ssl), on_keylog);
}

bool engine_detached_begin(struct stream *stream, enum tls13_suite suite, const uint8_t *in_secret,
                           const uint8_t *out_secret)
{
    struct detached *state = state_of(stream, suite);

    stream->engine = &engine_detached;
    return tls13_direction_start(&state->in, suite, in_secret) &&
           tls13_direction_start(out_of(state), suite, out_secret);
}

// A connection with smaller records (RFC 6066, section 4) stays where it is, and so does one of
// which OpenSSL holds bytes, which it does not when it reads no further than it needs.
static bool may_leave(const struct stream *stream)
{
    const struct detached *state = stream->detached;
    const SSL *ssl = stream->ssl;

    return state && state->have_in && state->have_out &&
           SSL_SESSION_get_max_fragment_length(SSL_get0_session(ssl)) == 0 && !SSL_has_pending(ssl);
}

bool engine_detached_take(struct stream *stream)
{
    if (may_leave(stream)) {
        stream->engine = &engine_detached;
        return true;
    }
    engine_detached_free(stream);
    return false;
}

static size_t kept_bytes(const struct stream *stream)
{
    const struct partial_record *partial = stream->detached->partial;

    return partial ? sizeof *partial + partial->capacity : 0;
}

// The record that is kept has ended, and is the caller's.
static struct partial_record *take_partial(struct stream *stream)
{
    struct partial_record *partial = stream->detached->partial;

    stream_count_held(stream, -(ptrdiff_t)kept_bytes(stream));
    stream->detached->partial = NULL;
    stream->marked = false;
    return partial;
}

void engine_detached_free(struct stream *stream)
{
    struct detached *state = stream->detached;
    struct pool *pool;

    if (!state)
        return;
    tls13_cipher_forget(&stream->io->ciphers.open[state->suite], &state->in);
    tls13_cipher_forget(&stream->io->ciphers.seal[state->suite], out_of(state));
    pool = &stream->io->detached[state->suite];
    free(take_partial(stream));
    sodium_memzero(state, detached_bytes(state->suite));
    pool_put(pool, state);
    stream->detached = NULL;
}

// Appends one record to `out`. False when the library fails.
static bool put_record(struct stream *stream, enum tls13_type type,
                       const struct tls13_piece *pieces, size_t count)
{
    struct io_context *io = stream->io;
    struct detached *state = stream->detached;
    const size_t n = tls13_seal(&io->ciphers, state->suite, out_of(state), type, pieces, count,
                                io->out + io->out_len);

    io->out_len += n;
    return n > 0;
}

static void put_alert(struct stream *stream, enum tls13_alert alert)
{
    const uint8_t bytes[2] = {alert == TLS13_CLOSE_NOTIFY ? 1 : 2, (uint8_t)alert};

    put_record(stream, TLS13_ALERT, &(struct tls13_piece){bytes, sizeof bytes}, 1);
}

// Section 4.6.3: the record with the message is the last one under the old key, which the cipher
// context forgets with the data that follows.
static bool put_key_update(struct stream *stream)
{
    struct detached *state = stream->detached;
    const uint8_t message[KEY_UPDATE_BYTES] = {KEY_UPDATE_TYPE, 0, 0, 1, state->update_requests};

    state->update_due = state->update_requests = false;
    return put_record(stream, TLS13_HANDSHAKE, &(struct tls13_piece){message, sizeof message}, 1) &&
           tls13_direction_update(out_of(state), state->suite);
}

static bool end(struct stream *stream, uint8_t alert, const char *hint)
{
    stream->detached->over = true;
    counter_add(&stream->io->counters.tls_record_faults, 1);
    stream_log_tls(stream, &fault_log, SSL_alert_desc_string_long(alert), hint);
    return stream_fail(stream, STREAM_END_TLS);
}

// Section 6.2. Nothing may follow a close_notify, not even this. `why` is for the log, behind the
// alert's name.
static bool fail_because(struct stream *stream, enum tls13_alert alert, const char *why)
{
    if (!stream->shut) {
        put_alert(stream, alert);
        stream_send_answer(stream);
    }
    return end(stream, (uint8_t)alert, why);
}

static bool fail(struct stream *stream, enum tls13_alert alert)
{
    return fail_because(stream, alert, "");
}

// The level does not matter (section 6).
static bool on_alert(struct stream *stream, const uint8_t *content, size_t len)
{
    if (len != 2)
        return fail(stream, len == 0 ? TLS13_UNEXPECTED_MESSAGE : TLS13_DECODE_ERROR);
    switch (content[1]) {
    case TLS13_USER_CANCELED: // close_notify follows
        return true;
    case TLS13_CLOSE_NOTIFY:
        return stream_fail(stream, STREAM_END_EOF);
    default:
        return end(stream, content[1], "; so the client says");
    }
}

static bool on_key_update(struct stream *stream, uint8_t request)
{
    struct detached *state = stream->detached;

    if (request > 1)
        return fail(stream, TLS13_ILLEGAL_PARAMETER);
    if (!stream_take_update(stream))
        return fail_because(stream, TLS13_UNEXPECTED_MESSAGE, "; it changes keys on and on");
    // It answers what we have asked or were about to ask; what we answer asks for nothing.
    state->requested = state->update_requests = false;
    if (request == 1)
        state->update_due = true;
    tls13_cipher_forget(&stream->io->ciphers.open[state->suite], &state->in);
    return tls13_direction_update(&state->in, state->suite) || fail(stream, TLS13_INTERNAL_ERROR);
}

// Only KeyUpdate may come, in one record or in several; nothing may stand behind it under the old
// key (section 5.1).
static bool on_handshake(struct stream *stream, const uint8_t *content, size_t len)
{
    static const uint8_t head[KEY_UPDATE_HEAD_BYTES] = {KEY_UPDATE_TYPE, 0, 0, 1};
    struct detached *state = stream->detached;
    const size_t have = state->handshake_len; // all of them as they must be
    const size_t of_head = have < sizeof head ? sizeof head - have : 0;
    const size_t left = KEY_UPDATE_BYTES - have;

    if (len == 0 || (have == 0 && content[0] != KEY_UPDATE_TYPE))
        return fail(stream, TLS13_UNEXPECTED_MESSAGE);
    if (memcmp(content, head + have, len < of_head ? len : of_head) != 0)
        return fail(stream, TLS13_DECODE_ERROR);
    if (len > left)
        return fail(stream, TLS13_UNEXPECTED_MESSAGE);
    state->handshake_len = len < left ? (uint8_t)(have + len) & 7 : 0;
    return len < left || on_key_update(stream, content[left - 1]);
}

// A record other than data. False when the stream is gone.
static bool on_control(struct stream *stream, uint8_t type, const uint8_t *content, size_t len)
{
    switch (type) {
    case TLS13_ALERT:
        return on_alert(stream, content, len);
    case TLS13_HANDSHAKE:
        return on_handshake(stream, content, len);
    default:
        return fail(stream, TLS13_UNEXPECTED_MESSAGE);
    }
}

// What records have opened to and the owner has not heard yet.
struct opened {
    size_t len; // in the plain buffer
};

static bool deliver(struct stream *stream, struct opened *opened)
{
    const size_t n = opened->len;

    opened->len = 0;
    return n == 0 || stream_deliver(stream, stream->io->plain_buffer, n);
}

// What came before a fault is still the peer's word. After it the keys may be another stream's
// memory, so the delivery comes first.
static bool deliver_and_fail(struct stream *stream, struct opened *opened, enum tls13_alert alert)
{
    return deliver(stream, opened) && fail(stream, alert);
}

static bool no_data(struct stream *stream, struct opened *opened)
{
    if (++stream->detached->idle_records <= IDLE_RECORDS_MAX)
        return true;
    return deliver_and_fail(stream, opened, TLS13_UNEXPECTED_MESSAGE);
}

// A record other than data, whose content stands in the plain buffer.
static bool take_control(struct stream *stream, const uint8_t *at,
                         const struct tls13_opened *content, struct opened *opened)
{
    uint8_t copy[KEY_UPDATE_BYTES + 1]; // a byte too many is seen
    const size_t n = content->len < sizeof copy ? content->len : sizeof copy;

    // The owner may change the buffer when it hears of the data in front.
    memcpy(copy, at, n);
    return deliver(stream, opened) && on_control(stream, content->type, copy, n) &&
           no_data(stream, opened);
}

// Section 5.5. We ask for new keys with the next data that we send, once. False when the peer went
// on without them for too long.
static bool note_wear(struct stream *stream)
{
    struct detached *state = stream->detached;

    if (!state->requested)
        state->requested = state->update_requests = state->update_due = true;
    return state->in.sequence <= stream->io->key_records_max;
}

// Opens one whole record behind what is opened already. False when the stream is gone.
static bool open_record(struct stream *stream, const uint8_t *record, size_t len,
                        struct opened *opened)
{
    struct io_context *io = stream->io;
    struct detached *state = stream->detached;
    uint8_t *out;
    struct tls13_opened content;
    enum tls13_alert alert;

    if (opened->len + len > IO_PLAIN_BYTES && !deliver(stream, opened))
        return false;
    out = io->plain_buffer + opened->len;
    if (!tls13_open(&io->ciphers, state->suite, &state->in, record, len, out, &content, &alert))
        return deliver_and_fail(stream, opened, alert);
    if (state->in.sequence >= io->key_update_after && !note_wear(stream))
        return deliver(stream, opened) &&
               fail_because(stream, TLS13_UNEXPECTED_MESSAGE, "; it does not change its worn key");
    // A message that is split may not be interleaved with anything (section 5.1).
    if (state->handshake_len > 0 && content.type != TLS13_HANDSHAKE)
        return deliver_and_fail(stream, opened, TLS13_UNEXPECTED_MESSAGE);
    if (content.type != TLS13_DATA)
        return take_control(stream, out, &content, opened);
    if (content.len == 0)
        return no_data(stream, opened);
    state->idle_records = 0;
    opened->len += content.len;
    return true;
}

static struct partial_record *grow(struct stream *stream, size_t capacity)
{
    struct partial_record *partial = stream->detached->partial;

    stream_count_held(stream, -(ptrdiff_t)kept_bytes(stream));
    partial = memory_resize(partial, sizeof *partial + capacity);
    partial->capacity = capacity;
    stream->detached->partial = partial;
    stream_count_held(stream, (ptrdiff_t)kept_bytes(stream));
    return partial;
}

static void keep(struct stream *stream, const uint8_t *data, size_t len)
{
    struct partial_record *partial = stream->detached->partial;
    const size_t have = partial ? partial->len : 0;

    if (!partial || have + len > partial->capacity) {
        size_t capacity = PARTIAL_START_BYTES;

        if (have + len > capacity)
            capacity = (have + len) * 2 < PARTIAL_MAX_BYTES ? (have + len) * 2 : PARTIAL_MAX_BYTES;
        partial = grow(stream, capacity);
    }
    memcpy(partial->data + have, data, len);
    partial->len = have + len;
}

// Goes on with the record that is kept. Returns the bytes used; `*alive` is false when the stream
// is gone.
static size_t read_on(struct stream *stream, const uint8_t *data, size_t len, struct opened *opened,
                      bool *alive)
{
    struct detached *state = stream->detached;
    struct partial_record *partial;
    enum tls13_alert alert = TLS13_CLOSE_NOTIFY;
    size_t used = 0, whole, n;

    if (state->partial->len < TLS13_HEADER_BYTES) {
        n = TLS13_HEADER_BYTES - state->partial->len;
        used = n < len ? n : len;
        keep(stream, data, used);
        if (state->partial->len < TLS13_HEADER_BYTES)
            return used;
    }
    whole = tls13_record_bytes(state->partial->data, state->partial->len, &alert);
    if (whole == 0) {
        *alive = deliver_and_fail(stream, opened, alert);
        return len;
    }
    n = whole - state->partial->len;
    n = n < len - used ? n : len - used;
    keep(stream, data + used, n);
    if (state->partial->len == whole) {
        partial = take_partial(stream);
        *alive = open_record(stream, partial->data, whole, opened);
        free(partial);
    }
    return used + n;
}

// A record that starts at `data`. The same words.
static size_t read_record(struct stream *stream, const uint8_t *data, size_t len,
                          struct opened *opened, bool *alive)
{
    enum tls13_alert alert = TLS13_CLOSE_NOTIFY;
    const size_t whole = tls13_record_bytes(data, len, &alert);

    if (whole == 0 && len >= TLS13_HEADER_BYTES) {
        *alive = deliver_and_fail(stream, opened, alert);
        return len;
    }
    if (whole == 0 || len < whole) {
        keep(stream, data, len);
        return len;
    }
    *alive = open_record(stream, data, whole, opened);
    return whole;
}

static bool receive(struct stream *stream, uint8_t *data, size_t len)
{
    struct opened opened = {0};
    bool alive = true;

    assert(stream->io->out_len == 0);
    while (len > 0 && alive) {
        const size_t used = stream->detached->partial
                                ? read_on(stream, data, len, &opened, &alive)
                                : read_record(stream, data, len, &opened, &alive);

        data += used;
        len -= used;
    }
    return alive && deliver(stream, &opened);
}

// Fills one record from the pieces, moving on in them.
static size_t gather(struct tls13_piece *record, const struct stream_buf **pieces, size_t *count,
                     size_t *offset)
{
    size_t len = 0, n = 0;

    while (*count > 0 && len < TLS13_PLAIN_MAX_BYTES) {
        const size_t left = (*pieces)->len - *offset;
        const size_t room = TLS13_PLAIN_MAX_BYTES - len;
        const size_t take = left < room ? left : room;

        if (take > 0)
            record[n++] = (struct tls13_piece){(*pieces)->data + *offset, take};
        len += take;
        *offset += take;
        if (*offset == (*pieces)->len) {
            (*pieces)++;
            (*count)--;
            *offset = 0;
        }
    }
    return n;
}

static bool seal_records(struct stream *stream, const struct stream_buf *pieces, size_t count)
{
    struct detached *state = stream->detached;
    struct tls13_piece record[STREAM_PIECES_MAX];
    size_t offset = 0;

    while (count > 0) {
        const size_t n = gather(record, &pieces, &count, &offset);

        if (n == 0)
            continue;
        if ((state->update_due || out_of(state)->sequence >= stream->io->key_update_after) &&
            !put_key_update(stream))
            return false;
        if (!put_record(stream, TLS13_DATA, record, n))
            return false;
    }
    return true;
}

static bool seal(struct stream *stream, const struct stream_buf *pieces, size_t count)
{
    struct detached *state = stream->detached;

    state->over = state->over || !seal_records(stream, pieces, count);
    return !state->over;
}

static void goodbye(struct stream *stream)
{
    if (!stream->detached->over)
        put_alert(stream, TLS13_CLOSE_NOTIFY);
}

static void stop(struct stream *stream)
{
    counter_add(&stream->io->counters.tls13_active, -1);
    engine_detached_free(stream);
    stream->ready = false;
}

const struct engine engine_detached = {
    .receive = receive,
    .seal = seal,
    .goodbye = goodbye,
    .stop = stop,
    .kept_bytes = kept_bytes,
};
