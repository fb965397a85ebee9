// SPDX-License-Identifier: BSD-3-Clause
//
// Streams under several names, before there is a certificate, and for tls-alpn-01: each engine does
// with a name that a handshake switches to what it does with the first one.
#include "io/stream.h"

#include "../support/identity.h"
#include "../support/stream_rig.h"
#include "io/engine.h"
#include "io/tls.h"

#include <stdlib.h>
#include <string.h>

#define ONE "one.example"
#define TWO "two.example"
#define ACME \
    "\x0a"   \
    "acme-tls/1"

static struct identity one, two, later, proof;
static struct challenges challenges;

static void use_context(struct rig *rig, const struct identity *first,
                        const struct identity *second)
{
    const struct tls_identity served[] = {
        {ONE, {{first->cert, NULL, first->key}}, 1},
        {TWO, {{second->cert, NULL, second->key}}, 1},
    };
    SSL_CTX *ctx = tls_context_new(&(struct tls_config){served, 2, NULL, &challenges});

    assert_non_null(ctx);
    io_context_set_tls(&rig->io, ctx);
    SSL_CTX_free(ctx);
}

static struct far *connect_as(struct rig *rig, int i, const char *name, const char *alpn)
{
    struct far *far = rig_connect_raw(rig, i, 0);

    SSL_set_tlsext_host_name(far->ssl, name);
    if (alpn)
        SSL_set_alpn_protos(far->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    SSL_do_handshake(far->ssl);
    return far;
}

static void wait_ready(struct rig *rig, int i)
{
    WAIT(rig, SSL_is_init_finished(rig->fars[i].ssl) && rig->sides[i].ready);
}

static void expect_leaf(const struct far *far, const struct identity *identity)
{
    X509 *leaf = SSL_get1_peer_certificate(far->ssl);

    assert_int_equal(X509_cmp(leaf, identity->cert), 0);
    X509_free(leaf);
}

static bool echo(struct side *side, const uint8_t *data, size_t len)
{
    assert_int_equal(side_write(side, data, len), 0);
    return true;
}

// Data goes both ways, before and after new keys, by the engine that is to do it.
static void expect_works(struct rig *rig, int i)
{
    struct far *far = &rig->fars[i];
    struct side *side = &rig->sides[i];

    assert_ptr_equal(side->stream->engine, rig->version == TLS1_3_VERSION && rig->io.detach
                                               ? &engine_detached
                                               : &engine_openssl);
    side->on_data = echo;
    far_send(rig, far, "one", 3);
    WAIT(rig, far->got_len == 3);
    if (rig->version == TLS1_3_VERSION)
        assert_int_equal(SSL_key_update(far->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    far_send(rig, far, "two", 3);
    WAIT(rig, far->got_len == 6);
    assert_memory_equal(far->got, "onetwo", 6);
}

static void both_names(struct rig *rig)
{
    use_context(rig, &one, &two);
    connect_as(rig, 0, ONE, NULL);
    connect_as(rig, 1, TWO, NULL);
    wait_ready(rig, 0);
    wait_ready(rig, 1);
    expect_leaf(&rig->fars[0], &one);
    expect_leaf(&rig->fars[1], &two);
    expect_works(rig, 1);
    expect_works(rig, 0);
}

static void test_both_names(void **state)
{
    (void)state;
    with_each(both_names, false);
}

// The message callback, which counts them, is there under the second name, too.
static void restless_under_second_name(struct rig *rig)
{
    const uint64_t until = clock_ms() + PATIENCE_MS;
    struct far *far;

    use_context(rig, &one, &two);
    far = connect_as(rig, 0, TWO, NULL);
    wait_ready(rig, 0);
    while (rig->sides[0].ends == 0) {
        assert_int_equal(SSL_key_update(far->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        far_send(rig, far, "a", 1);
        pump(rig);
        assert_true(clock_ms() < until);
    }
    assert_int_equal(rig->sides[0].end, STREAM_END_TLS);
    assert_int_equal(counter_read(&rig->io.counters.tls_record_faults), 1);
}

static void test_restless_under_second_name(void **state)
{
    (void)state;
    with_tls13(restless_under_second_name);
}

// The certificate is replaced between two steps of a handshake: it goes on with the old one, the
// next one has the new one, and who is connected notices nothing.
static void replaced_amid_handshake(struct rig *rig)
{
    struct far *far;

    use_context(rig, &one, &two);
    far = connect_as(rig, 0, TWO, NULL);
    far_flush(rig, far);
    WAIT(rig, rig->sides[0].stream->ssl != NULL); // it has taken the ClientHello
    settle(rig);
    use_context(rig, &later, &later);
    wait_ready(rig, 0);
    expect_leaf(far, &two);
    connect_as(rig, 1, TWO, NULL);
    wait_ready(rig, 1);
    expect_leaf(&rig->fars[1], &later);
    expect_works(rig, 0);
    expect_works(rig, 1);
}

static void test_replaced_amid_handshake(void **state)
{
    (void)state;
    with_each(replaced_amid_handshake, false);
}

static void no_certificate(struct rig *rig)
{
    SSL_CTX *ctx = tls_context_new(&(struct tls_config){NULL, 0, NULL, &challenges});
    const struct counter *failures = rig->io.counters.tls_failures;
    struct far *far;

    io_context_set_tls(&rig->io, ctx);
    SSL_CTX_free(ctx);
    far = connect_as(rig, 0, ONE, NULL);
    WAIT(rig, rig->sides[0].ends == 1 && (far->eof || far->reset));
    assert_int_equal(rig->sides[0].end, STREAM_END_TLS);
    assert_int_equal(rig->sides[0].ready, 0);
    assert_true(far->failed); // by an alert
    for (int i = 0; i < TLS_FAILURES; i++)
        assert_int_equal(counter_read(&failures[i]), i == TLS_FAILURE_NO_CERTIFICATE);
    use_context(rig, &one, &two); // and then it has come
    connect_as(rig, 1, ONE, NULL);
    wait_ready(rig, 1);
    expect_works(rig, 1);
}

static void test_no_certificate(void **state)
{
    (void)state;
    with_each(no_certificate, false);
}

// Nothing is served under the certificate of a challenge: what comes with the end of the handshake
// is not read, and the connection is closed in order.
static void challenge(struct rig *rig)
{
    static uint8_t sealed[SEALED_MAX_BYTES];
    const struct io_counters *c = &rig->io.counters;
    struct far *far;

    use_context(rig, &one, &two);
    assert_true(challenges_show_tls(&challenges, TWO, proof.cert, proof.key));
    far = connect_as(rig, 0, TWO, ACME);
    far_flush(rig, far);
    while (!SSL_is_init_finished(far->ssl) && rig->version == TLS1_3_VERSION) {
        far_receive(far, SIZE_MAX);
        turn(rig);
    }
    if (rig->version == TLS1_3_VERSION) {
        const size_t len = far_seal(far, "GET / HTTP/1.1\r\n\r\n", 18, sealed);

        far_send_raw(rig, far, sealed, len);
    }
    WAIT(rig, rig->sides[0].ends == 1 && (far->eof || far->reset));
    expect_leaf(far, &proof);
    assert_int_equal(rig->sides[0].ready + rig->sides[0].data, 0);
    assert_true(far->close_notify && !far->failed);
    for (int i = 0; i < TLS_FAILURES; i++)
        assert_int_equal(counter_read(&c->tls_failures[i]), 0);
    assert_int_equal(counter_read(&c->tls12_handshakes) + counter_read(&c->tls13_handshakes), 0);
    assert_int_equal(challenges.tls_answered, 1);
    connect_as(rig, 1, TWO, NULL); // a client of everyday beside it
    wait_ready(rig, 1);
    expect_leaf(&rig->fars[1], &two);
    expect_works(rig, 1);
    challenges_hide_tls(&challenges, TWO);
    challenges.tls_answered = 0;
}

static void test_challenge(void **state)
{
    (void)state;
    with_each(challenge, false);
}

static void challenge_that_is_over(struct rig *rig)
{
    const struct counter *failures = rig->io.counters.tls_failures;
    struct far *far;

    use_context(rig, &one, &two);
    far = connect_as(rig, 0, TWO, ACME);
    WAIT(rig, rig->sides[0].ends == 1 && (far->eof || far->reset));
    assert_true(far->failed);
    for (int i = 0; i < TLS_FAILURES; i++)
        assert_int_equal(counter_read(&failures[i]), i == TLS_FAILURE_NO_CHALLENGE);
}

static void test_challenge_that_is_over(void **state)
{
    (void)state;
    with_each(challenge_that_is_over, false);
}

static int group_setup(void **state)
{
    identity_make(&one, "EC", ONE, NULL);
    identity_make(&two, "RSA", TWO, NULL);
    identity_make(&later, "EC", TWO, NULL);
    identity_make(&proof, "EC", TWO, NULL);
    challenges_init(&challenges);
    return rig_group_setup(state);
}

static int group_teardown(void **state)
{
    identity_free(&one);
    identity_free(&two);
    identity_free(&later);
    identity_free(&proof);
    challenges_deinit(&challenges);
    return rig_group_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_names),
        cmocka_unit_test(test_restless_under_second_name),
        cmocka_unit_test(test_replaced_amid_handshake),
        cmocka_unit_test(test_no_certificate),
        cmocka_unit_test(test_challenge),
        cmocka_unit_test(test_challenge_that_is_over),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
