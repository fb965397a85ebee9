// SPDX-License-Identifier: BSD-3-Clause
//
// The detached engine beside OpenSSL's: the same records, splits and faults go to a stream of each,
// and what comes out must be the same: the bytes delivered, the end, the alert sent back, whether
// the stream lives. Where the engines differ on purpose, the table says why.
#include "io/engine.h"

#include "detached_rig.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BYTEWISE_MAX_BYTES 4000
#define PROBE "still here?"
#define RANDOM_RUNS 400

// --- the cases

static bool ends_with_probe(const struct conn *conn)
{
    const size_t n = sizeof PROBE - 1;

    return conn->got_len >= n && memcmp(conn->got + conn->got_len - n, PROBE, n) == 0;
}

// Sends what is written, waits for the end or for a last word to arrive, and reads the answers.
static void play(struct conn *conn, enum split split)
{
    if (!conn->fin) {
        put(conn, TLS13_DATA, PROBE, sizeof PROBE - 1);
        expect(conn, PROBE, sizeof PROBE - 1);
    }
    send_split(conn, split);
    if (conn->fin)
        shutdown(conn->fd, SHUT_WR);
    WAIT(conn, conn->ends > 0 || ends_with_probe(conn));
    settle(conn);
    assert_true(conn->ends <= 1);
    stream_shutdown(conn->stream);
    hear(conn);
}

struct outcome {
    int alert;      // sent back
    int end;        // -1: the stream lives
    bool complete;  // all that was to be delivered has been
    int64_t faults; // counted
    int close_notifies;
};

static void run(struct rig *rig, enum tls13_suite suite, uint32_t seed, builder build,
                enum split split, struct outcome *outcome)
{
    struct conn conn;
    const int64_t faults = counter_read(&rig->io.counters.tls_record_faults);

    conn_start(&conn, rig, suite, seed);
    build(&conn);
    if (conn.wire_len <= BYTEWISE_MAX_BYTES || split != SPLIT_BYTES)
        play(&conn, split);
    else
        play(&conn, SPLIT_RANDOM);
    *outcome = (struct outcome){
        .alert = conn.alert,
        .end = conn.ends ? (int)conn.end : -1,
        .complete = conn.got_len == conn.expected_len,
        .faults = counter_read(&rig->io.counters.tls_record_faults) - faults,
        .close_notifies = conn.close_notifies,
    };
    assert_true(conn.got_len <= conn.expected_len);
    if (conn.got_len > 0)
        assert_memory_equal(conn.got, conn.expected, conn.got_len);
    assert_true(conn.updates <= conn.requests && conn.update_requests == 0);
    if (conn.requests > 0 && !conn.ends)
        assert_true(conn.data_behind_update); // section 4.6.3: answered before the next data
    conn_stop(&conn);
}

static void many_records(struct conn *conn)
{
    for (int i = 0; i < 40; i++)
        put_data(conn, TLS13_PLAIN_MAX_BYTES);
}

static void many_small_records(struct conn *conn)
{
    for (int i = 0; i < 2000; i++)
        put_data(conn, dice(conn, 3));
}

static void put_padded_data(struct conn *conn, size_t len, size_t padding)
{
    uint8_t *data = calloc(1, len + 1);

    put_padded(conn, TLS13_DATA, data, len, padding);
    expect(conn, data, len);
    free(data);
}

static void padded(struct conn *conn)
{
    put_padded_data(conn, 10, 1);
    put_padded_data(conn, 0, 100);
    put_padded_data(conn, 1, TLS13_PLAIN_MAX_BYTES - 1);
    put_padded_data(conn, 0, TLS13_PLAIN_MAX_BYTES);
}

static void padded_too_far(struct conn *conn)
{
    front(conn);
    conn->dead = conn->rig->io.detach;
    put_padded_data(conn, TLS13_PLAIN_MAX_BYTES, 1);
}

static void update(struct conn *conn)
{
    front(conn);
    put_key_update(conn, 0);
    put_data(conn, 30);
}

static void update_requested(struct conn *conn)
{
    front(conn);
    put_key_update(conn, 1);
    put_data(conn, 30);
}

static void updates_in_a_row(struct conn *conn)
{
    for (int i = 0; i < 10; i++)
        put_key_update(conn, (uint8_t)(i % 2));
    put_data(conn, 30);
    for (int i = 0; i < 10; i++)
        put_key_update(conn, 1);
}

static void endless_updates(struct conn *conn)
{
    front(conn);
    for (int i = 0; i < 33; i++)
        put_key_update(conn, 0);
    conn->dead = true;
}

static void split_updates(struct conn *conn)
{
    put_split_key_update(conn, (const size_t[]){2, 3}, 2);
    put_data(conn, 5);
    put_split_key_update(conn, (const size_t[]){4, 1}, 2);
    put_split_key_update(conn, (const size_t[]){1, 1, 1, 1, 1}, 5);
}

static void put_handshake(struct conn *conn, const void *message, size_t len)
{
    front(conn);
    put(conn, TLS13_HANDSHAKE, message, len);
    conn->dead = true;
}

static void update_and_a_byte(struct conn *conn)
{
    put_handshake(conn, "\x18\0\0\1\0\0", 6);
}

static void update_and_update(struct conn *conn)
{
    put_handshake(conn, "\x18\0\0\1\0\x18\0\0\1\0", 10);
}

static void split_update_and_a_byte(struct conn *conn)
{
    front(conn);
    put(conn, TLS13_HANDSHAKE, "\x18\0\0", 3);
    put(conn, TLS13_HANDSHAKE, "\1\0\0", 3);
    conn->dead = true;
}

static void update_of_another_kind(struct conn *conn)
{
    put_handshake(conn, "\x18\0\0\1\2", 5);
}

static void empty_update(struct conn *conn)
{
    put_handshake(conn, "\x18\0\0\0", 4);
}

static void long_update(struct conn *conn)
{
    put_handshake(conn, "\x18\0\0\2\0\0", 6);
}

static void huge_update(struct conn *conn)
{
    put_handshake(conn, "\x18\xff\xff\xff", 4);
}

static void client_hello(struct conn *conn)
{
    put_handshake(conn, "\1\0\0\4abcd", 8);
}

static void ticket(struct conn *conn)
{
    put_handshake(conn, "\4\0\0\4abcd", 8);
}

static void certificate(struct conn *conn)
{
    put_handshake(conn, "\x0b\0\0\4\0\0\0\0", 8);
}

static void finished(struct conn *conn)
{
    put_handshake(conn, "\x14\0\0\4abcd", 8);
}

static void hello_request(struct conn *conn)
{
    put_handshake(conn, "\0\0\0\0", 4);
}

static void unknown_message(struct conn *conn)
{
    put_handshake(conn, "\x99\0\0\4abcd", 8);
}

static void empty_handshake(struct conn *conn)
{
    put_handshake(conn, "", 0);
}

static void data_in_update(struct conn *conn)
{
    front(conn);
    put(conn, TLS13_HANDSHAKE, "\x18\0", 2);
    conn->dead = true;
    put_data(conn, 20);
    put(conn, TLS13_HANDSHAKE, "\0\1\0", 3);
}

static void empty_data_in_update(struct conn *conn)
{
    front(conn);
    put(conn, TLS13_HANDSHAKE, "\x18\0", 2);
    put(conn, TLS13_DATA, "", 0);
    conn->dead = true;
}

static void alert_in_update(struct conn *conn)
{
    front(conn);
    put(conn, TLS13_HANDSHAKE, "\x18\0", 2);
    put_alert(conn, 1, TLS13_USER_CANCELED);
    conn->dead = true;
}

static void change_cipher_spec(struct conn *conn)
{
    put_dead(conn, "\x14\3\3\0\1\1", 6);
}

static void plaintext_alert(struct conn *conn)
{
    put_dead(conn, "\x15\3\3\0\2\2\x28", 7);
}

static void plaintext_close_notify(struct conn *conn)
{
    put_dead(conn, "\x15\3\3\0\2\1\0", 7);
}

static void plaintext_handshake(struct conn *conn)
{
    put_dead(conn, "\x16\3\3\0\4\1\0\0\0", 9);
}

static void heartbeat(struct conn *conn)
{
    put_dead(conn, "\x18\3\3\0\3\1\0\0", 8);
}

static void noise(struct conn *conn)
{
    put_dead(conn, "GET / HTTP/1.1\r\n\r\n", 18);
}

static void short_record(struct conn *conn)
{
    put_dead(conn,
             "\x17\3\3\0\x10"
             "0123456789abcdef",
             21);
}

static void empty_record(struct conn *conn)
{
    put_dead(conn, "\x17\3\3\0\0", 5);
}

static void huge_header(struct conn *conn)
{
    put_dead(conn, "\x17\3\3\x41\1", 5);
}

// The header is authenticated with what it says (section 5.2).
static void other_version(struct conn *conn)
{
    size_t at;

    front(conn);
    at = conn->wire_len;
    conn->dead = true;
    put_data(conn, 20);
    conn->wire[at + 2] = 1;
}

static void repeated_record(struct conn *conn)
{
    const size_t at = conn->wire_len;
    uint8_t copy[20 + TLS13_OVERHEAD_BYTES];

    front(conn);
    assert_int_equal(conn->wire_len - at, sizeof copy);
    memcpy(copy, conn->wire + at, sizeof copy);
    put_raw(conn, copy, sizeof copy);
    conn->dead = true;
}

static void skipped_record(struct conn *conn)
{
    front(conn);
    conn->to.sequence++;
    conn->dead = true;
}

static void old_keys_behind_update(struct conn *conn)
{
    const struct tls13_direction old = conn->to;

    front(conn);
    put_key_update(conn, 0);
    conn->to = old;
    conn->to.sequence = 2;
    conn->dead = true;
}

static void long_content(struct conn *conn)
{
    front(conn);
    conn->dead = true;
    put_data(conn, TLS13_PLAIN_MAX_BYTES + 1);
}

static void put_inner_type(struct conn *conn, uint8_t type)
{
    front(conn);
    put(conn, type, "abc", 3);
    conn->dead = true;
}

static void inner_change_cipher_spec(struct conn *conn)
{
    put_inner_type(conn, TLS13_CHANGE_CIPHER_SPEC);
}

static void inner_unknown_type(struct conn *conn)
{
    put_inner_type(conn, 0x42);
}

static void all_padding(struct conn *conn)
{
    front(conn);
    put(conn, 0, "\0\0\0\0", 4);
    conn->dead = true;
}

static void put_empties(struct conn *conn, int count)
{
    front(conn);
    for (int i = 0; i < count; i++)
        put(conn, TLS13_DATA, "", 0);
}

static void empty_data(struct conn *conn)
{
    put_empties(conn, 32);
    put_empties(conn, 32);
}

static void endless_empty_data(struct conn *conn)
{
    put_empties(conn, 33);
    conn->dead = true;
}

static void empty_alert(struct conn *conn)
{
    front(conn);
    put(conn, TLS13_ALERT, "", 0);
    conn->dead = true;
}

static void half_an_alert(struct conn *conn)
{
    front(conn);
    put(conn, TLS13_ALERT, "\1", 1);
    conn->dead = true;
}

static void long_alert(struct conn *conn)
{
    front(conn);
    put(conn, TLS13_ALERT, "\1\0\0", 3);
    conn->dead = true;
}

static void warning(struct conn *conn)
{
    put_end(conn, 1, 100);
}

static void unknown_alert(struct conn *conn)
{
    put_end(conn, 2, 250);
}

static void fatal_close_notify(struct conn *conn)
{
    put_end(conn, 2, TLS13_CLOSE_NOTIFY);
}

static void user_canceled(struct conn *conn)
{
    front(conn);
    put_alert(conn, 1, TLS13_USER_CANCELED);
    put_alert(conn, 2, TLS13_USER_CANCELED);
    put_data(conn, 20);
    put_alert(conn, 1, TLS13_USER_CANCELED);
    put_end(conn, 1, TLS13_CLOSE_NOTIFY);
}

static void often_canceled(struct conn *conn)
{
    front(conn);
    for (int i = 0; i < 6; i++)
        put_alert(conn, 1, TLS13_USER_CANCELED);
    conn->dead = !conn->rig->io.detach;
}

static void half_close(struct conn *conn)
{
    front(conn);
    put_key_update(conn, 1);
    conn->fin = true;
}

static void half_close_in_a_record(struct conn *conn)
{
    front(conn);
    put_raw(conn, "\x17\3\3\0\x40half of it", 15);
    conn->fin = true;
}

static void half_close_in_a_header(struct conn *conn)
{
    front(conn);
    put_raw(conn, "\x17\3", 2);
    conn->fin = true;
}

#define VERSION_IS_IGNORED                                                             \
    "section 5.1: legacy_record_version MUST be ignored for all purposes but what is " \
    "authenticated"
#define LIVES NO_ALERT, -1
#define REFUSED(alert) alert, STREAM_END_TLS
#define ENDS(why) NO_ALERT, why

// OpenSSL's own answer, where it is another one. That of 3.0: later ones may have other ways.
struct difference {
    int alert, end;
    const char *why;
};

static const struct test_case {
    const char *name;
    builder build;
    int alert, end;
    const struct difference *openssl;
    bool alone; // large, or OpenSSL's answer depends on what stands around it
} cases[] = {
    {"one record", front, LIVES},
    {"more records than the plain buffer holds", many_records, LIVES, .alone = true},
    {"small and empty records", many_small_records, LIVES},
    {"padding", padded, LIVES},
    {"padding beyond 2^14 + 1", padded_too_far, REFUSED(TLS13_RECORD_OVERFLOW),
     &(const struct difference){LIVES, "section 5.4: the full encoded TLSInnerPlaintext MUST NOT "
                                       "exceed 2^14 + 1; OpenSSL measures without the padding"}},
    {"KeyUpdate", update, LIVES},
    {"KeyUpdate with a request", update_requested, LIVES},
    {"KeyUpdates in a row", updates_in_a_row, LIVES},
    {"33 KeyUpdates in a row", endless_updates, REFUSED(TLS13_UNEXPECTED_MESSAGE),
     &(const struct difference){ENDS(STREAM_END_TLS), "the same limit, but it sends no alert"}},
    {"KeyUpdate in several records", split_updates, LIVES},
    {"KeyUpdate and a byte", update_and_a_byte, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"two KeyUpdates in a record", update_and_update, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"split KeyUpdate and a byte", split_update_and_a_byte, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"KeyUpdate that asks for 2", update_of_another_kind, REFUSED(TLS13_ILLEGAL_PARAMETER)},
    {"KeyUpdate without content", empty_update, REFUSED(TLS13_DECODE_ERROR), .alone = true},
    {"KeyUpdate of 2 bytes", long_update, REFUSED(TLS13_DECODE_ERROR),
     &(const struct difference){REFUSED(TLS13_ILLEGAL_PARAMETER),
                                "section 6: a length out of range is a decode_error"}},
    {"KeyUpdate of 16 MiB", huge_update, REFUSED(TLS13_DECODE_ERROR),
     &(const struct difference){REFUSED(TLS13_ILLEGAL_PARAMETER), "the same"}},
    {"ClientHello", client_hello, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"NewSessionTicket", ticket, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"Certificate", certificate, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"Finished", finished, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"HelloRequest", hello_request, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"unknown message", unknown_message, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"handshake record without content", empty_handshake, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"data inside a message", data_in_update, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"empty data inside a message", empty_data_in_update, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"alert inside a message", alert_in_update, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"ChangeCipherSpec", change_cipher_spec, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"alert in plaintext", plaintext_alert, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"close_notify in plaintext", plaintext_close_notify, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"handshake in plaintext", plaintext_handshake, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"heartbeat", heartbeat, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"HTTP", noise, REFUSED(TLS13_UNEXPECTED_MESSAGE),
     &(const struct difference){REFUSED(70), VERSION_IS_IGNORED}},
    {"wrong authenticator", bad_mac, REFUSED(TLS13_BAD_RECORD_MAC)},
    {"no room for an authenticator", short_record, REFUSED(TLS13_BAD_RECORD_MAC)},
    {"record without a body", empty_record, REFUSED(TLS13_BAD_RECORD_MAC)},
    {"length above 2^14 + 256", huge_header, REFUSED(TLS13_RECORD_OVERFLOW)},
    {"another version in the header", other_version, REFUSED(TLS13_BAD_RECORD_MAC),
     &(const struct difference){REFUSED(50), VERSION_IS_IGNORED}},
    {"the same record twice", repeated_record, REFUSED(TLS13_BAD_RECORD_MAC)},
    {"a record left out", skipped_record, REFUSED(TLS13_BAD_RECORD_MAC)},
    {"old keys behind KeyUpdate", old_keys_behind_update, REFUSED(TLS13_BAD_RECORD_MAC)},
    {"content above 2^14", long_content, REFUSED(TLS13_RECORD_OVERFLOW)},
    {"sealed ChangeCipherSpec", inner_change_cipher_spec, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"sealed unknown type", inner_unknown_type, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"nothing but padding", all_padding, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"32 empty records, twice", empty_data, LIVES, .alone = true},
    {"33 empty records", endless_empty_data, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"empty alert", empty_alert, REFUSED(TLS13_UNEXPECTED_MESSAGE)},
    {"half an alert", half_an_alert, REFUSED(TLS13_DECODE_ERROR),
     &(const struct difference){REFUSED(TLS13_UNEXPECTED_MESSAGE),
                                "section 6: a message that cannot be parsed is a decode_error"}},
    {"alert of 3 bytes", long_alert, REFUSED(TLS13_DECODE_ERROR),
     &(const struct difference){REFUSED(TLS13_UNEXPECTED_MESSAGE), "the same"}},
    {"fatal alert", fatal_alert, ENDS(STREAM_END_TLS)},
    {"alert of the level of a warning", warning, ENDS(STREAM_END_TLS)},
    {"unknown alert", unknown_alert, ENDS(STREAM_END_TLS)},
    {"close_notify, then data", close_notify, ENDS(STREAM_END_EOF)},
    {"close_notify of the level fatal", fatal_close_notify, ENDS(STREAM_END_EOF), .alone = true},
    {"user_canceled", user_canceled, ENDS(STREAM_END_EOF)},
    {"user_canceled 6 times", often_canceled, LIVES,
     &(const struct difference){REFUSED(TLS13_UNEXPECTED_MESSAGE),
                                "section 6.1 ignores it; both engines have a limit, ours is the "
                                "one of all records without data"}},
    {"half-close", half_close, ENDS(STREAM_END_EOF)},
    {"half-close inside a record", half_close_in_a_record, ENDS(STREAM_END_EOF)},
    {"half-close inside a header", half_close_in_a_header, ENDS(STREAM_END_EOF)},
};

static void check(const struct test_case *test, bool detached, const struct outcome *outcome)
{
    const struct difference *other = detached ? NULL : test->openssl;

    if (other && (OPENSSL_version_major() != 3 || OPENSSL_version_minor() != 0))
        return;

    const int alert = other ? other->alert : test->alert, end = other ? other->end : test->end;

    if (outcome->alert != alert || outcome->end != end)
        fail_msg("%s, %s: alert %d, end %d", test->name, detached ? "detached" : "OpenSSL",
                 outcome->alert, outcome->end);
    if (!outcome->complete)
        fail_msg("%s, %s: bytes are missing", test->name, detached ? "detached" : "OpenSSL");
    assert_int_equal(outcome->faults, end == STREAM_END_TLS ? 1 : 0);
    assert_int_equal(outcome->close_notifies, end == STREAM_END_TLS ? 0 : 1);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int split = 0; split < SPLITS; split++) {
            const enum tls13_suite suite = (enum tls13_suite)((i + (size_t)split) % TLS13_SUITES);

            for (int detached = 0; detached < 2; detached++) {
                struct outcome outcome;

                run(&rigs[detached], suite, (uint32_t)i, cases[i].build, (enum split)split,
                    &outcome);
                check(&cases[i], detached == 1, &outcome);
            }
        }
    }
}

// --- at random

static void put_harmless(struct conn *conn)
{
    switch (dice(conn, 9)) {
    case 0:
        put_key_update(conn, (uint8_t)dice(conn, 2));
        break;
    case 1:
        put_split_key_update(conn, (const size_t[]){1, 3, 1}, 3);
        break;
    case 2:
        put_padded_data(conn, dice(conn, 300), 1 + dice(conn, 300));
        break;
    case 3:
        put(conn, TLS13_DATA, "", 0);
        break;
    case 4:
        put_alert(conn, 1, TLS13_USER_CANCELED);
        put_data(conn, 1);
        break;
    case 5:
        put_data(conn, dice(conn, TLS13_PLAIN_MAX_BYTES + 1));
        break;
    default:
        put_data(conn, dice(conn, 100));
    }
}

// One bit of the last record is wrong.
static void flip_a_bit(struct conn *conn)
{
    const size_t at = conn->wire_len;

    conn->dead = true;
    put_data(conn, 1 + dice(conn, 50));
    // The length stays, so that neither engine waits for more than there is.
    conn->wire[at + TLS13_HEADER_BYTES + dice(conn, (uint32_t)(conn->wire_len - at) - 5)] ^=
        (uint8_t)(1 << dice(conn, 8));
}

static void random_script(struct conn *conn)
{
    const uint32_t count = dice(conn, 25);

    for (uint32_t i = 0; i < count; i++)
        put_harmless(conn);
    switch (dice(conn, 3)) {
    case 0:
        flip_a_bit(conn);
        break;
    case 1: {
        const struct test_case *fault = &cases[dice(conn, COUNT(cases))];

        if (!fault->openssl && !fault->alone)
            fault->build(conn);
        break;
    }
    default:
        break;
    }
    for (uint32_t i = dice(conn, 3); i > 0 && !conn->fin; i--)
        put_harmless(conn);
}

static bool same(const struct outcome *a, const struct outcome *b)
{
    return a->alert == b->alert && a->end == b->end && a->complete == b->complete &&
           a->faults == b->faults && a->close_notifies == b->close_notifies;
}

static void test_random_scripts(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < RANDOM_RUNS; seed++) {
        struct outcome outcomes[2];

        for (int detached = 0; detached < 2; detached++)
            run(&rigs[detached], (enum tls13_suite)(seed % TLS13_SUITES), seed, random_script,
                (enum split)(seed / 3 % SPLITS), &outcomes[detached]);
        if (!same(&outcomes[0], &outcomes[1]) || !outcomes[0].complete)
            fail_msg("seed %u: alert %d, end %d, complete %d, faults %d, goodbyes %d by OpenSSL; "
                     "%d, %d, %d, %d, %d detached",
                     seed, outcomes[0].alert, outcomes[0].end, outcomes[0].complete,
                     (int)outcomes[0].faults, outcomes[0].close_notifies, outcomes[1].alert,
                     outcomes[1].end, outcomes[1].complete, (int)outcomes[1].faults,
                     outcomes[1].close_notifies);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_random_scripts),
    };
    return cmocka_run_group_tests(tests, detached_group_setup, detached_group_teardown);
}
