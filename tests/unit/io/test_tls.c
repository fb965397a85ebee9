// SPDX-License-Identifier: BSD-3-Clause
//
// The TLS policy, seen by clients of all sorts. Both ends in memory.
#include "io/tls.h"

#include "../support/both.h"
#include "../support/identity.h"
#include "../support/loopback.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#define HOST "relay.example"

static struct identity ec, rsa, middle, meta;

static SSL_CTX *context_of(const struct tls_identity *identity, X509 *meta_cert)
{
    return tls_context_new(&(struct tls_config){identity, 1, meta_cert, NULL});
}

#define HTTP11 "\x08http/1.1"
#define H2 "\x02h2"
#define ALL12 "ALL:COMPLEMENTOFALL"

static const struct {
    struct offer offer;
    const char *cipher, *group; // what is agreed on; NULL: anything
    int version;
    enum tls_failure failure; // with cipher NULL, group NULL and version 0
} handshakes[] = {
    {{"all of 1.3"}, "TLS_AES_128_GCM_SHA256", "X25519", V13},
    {{"1.3, AES-256 only", .suites = "TLS_AES_256_GCM_SHA384"},
     "TLS_AES_256_GCM_SHA384",
     .version = V13},
    {{"1.3, ChaCha first",
      .suites = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"},
     "TLS_CHACHA20_POLY1305_SHA256",
     .version = V13},
    {{"1.3, AES-256 first", .suites = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"},
     "TLS_AES_128_GCM_SHA256",
     .version = V13},
    {{"1.3, CCM only", V13, V13, .suites = "TLS_AES_128_CCM_SHA256"},
     .failure = TLS_FAILURE_CIPHER},
    {{"1.3, P-256 only", .groups = "P-256"}, NULL, "P-256", V13},
    {{"1.3, share of another group first", .groups = "P-384:P-256"}, NULL, "P-256", V13},
    {{"1.3, no group in common", V13, V13, .groups = "P-384:P-521"}, .failure = TLS_FAILURE_CIPHER},
    {{"1.3, no signature in common", V13, V13, .signatures = "ed25519"},
     .failure = TLS_FAILURE_CIPHER},
    {{"1.2", V12, V12}, "ECDHE-ECDSA-AES128-GCM-SHA256", "X25519", V12},
    {{"1.2 and older", TLS1_VERSION, V12}, NULL, NULL, V12},
    {{"1.2, AES-256 first", V12, V12,
      "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"},
     "ECDHE-ECDSA-AES128-GCM-SHA256",
     .version = V12},
    {{"1.2, ChaCha first", V12, V12, "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"},
     "ECDHE-ECDSA-CHACHA20-POLY1305",
     .version = V12},
    {{"1.2, CBC only", V12, V12, "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA"},
     .failure = TLS_FAILURE_CIPHER},
    {{"1.2, without forward secrecy", V12, V12, "AES128-GCM-SHA256:AES256-GCM-SHA384"},
     .failure = TLS_FAILURE_CIPHER},
    {{"1.2, finite fields", V12, V12, "DHE-RSA-AES128-GCM-SHA256"}, .failure = TLS_FAILURE_CIPHER},
    {{"1.2, no group in common", V12, V12, .groups = "P-384"}, .failure = TLS_FAILURE_CIPHER},
    {{"1.1 at most", TLS1_VERSION, TLS1_1_VERSION, ALL12}, .failure = TLS_FAILURE_VERSION},
    {{"1.0 only", TLS1_VERSION, TLS1_VERSION, ALL12}, .failure = TLS_FAILURE_VERSION},
    {{"ALPN http/1.1", .alpn = HTTP11}, .version = V13},
    {{"ALPN h2 and http/1.1", .alpn = H2 HTTP11}, .version = V13},
    {{"ALPN h2 only", .alpn = H2}, .failure = TLS_FAILURE_ALPN},
    {{"ALPN h2 only, 1.2", V12, V12, .alpn = H2}, .failure = TLS_FAILURE_ALPN},
    {{"any name without a host name of ours", .sni = "other.example"}, .version = V13},
    {{"refuses our certificate", .verify = true}, .failure = TLS_FAILURE_CLIENT_ALERT},
    {{"refuses our certificate, 1.2", V12, V12, .verify = true},
     .failure = TLS_FAILURE_CLIENT_ALERT},
};

static void check_agreed(const struct both *both, const struct offer *offer, const char *cipher,
                         const char *group, int version)
{
    const unsigned char *alpn;
    unsigned alpn_len;

    assert_int_equal(SSL_version(both->server), version);
    if (cipher)
        assert_string_equal(SSL_get_cipher_name(both->server), cipher);
    if (group)
        assert_int_equal(SSL_get_negotiated_group(both->client),
                         strcmp(group, "X25519") == 0 ? NID_X25519 : NID_X9_62_prime256v1);
    SSL_get0_alpn_selected(both->client, &alpn, &alpn_len);
    assert_int_equal(alpn_len, offer->alpn ? 8 : 0);
    if (offer->alpn)
        assert_memory_equal(alpn, "http/1.1", 8);
}

static void test_handshakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(handshakes); i++) {
        const struct offer *offer = &handshakes[i].offer;
        const bool succeeds = handshakes[i].version != 0;
        struct both both;
        enum tls_failure failure;

        print_message("%s\n", offer->name);
        both_start(&both, identity_context(&ec), offer);
        failure = shake(&both);
        assert_int_equal(failure, succeeds ? TLS_FAILURES : handshakes[i].failure);
        if (succeeds)
            check_agreed(&both, offer, handshakes[i].cipher, handshakes[i].group,
                         handshakes[i].version);
        both_stop(&both);
    }
}

static const struct {
    const char *sni;
    bool accepted;
} names[] = {
    {HOST, true},         {"RELAY.Example", true},   {NULL, false},
    {"relay", false},     {"relay.example.", false}, {"a.relay.example", false},
    {"127.0.0.1", false}, {"elay.example", false},
};

static void test_server_names(void **state)
{
    char host[] = HOST;
    const struct tls_identity identity = {host, {{ec.cert, NULL, ec.key}}, 1};

    (void)state;
    for (size_t i = 0; i < 2 * COUNT(names); i++) {
        const int version = i % 2 ? V12 : V13;
        const char *sni = names[i / 2].sni;
        struct both both;

        print_message("%s\n", sni ? sni : "(none)");
        memcpy(host, HOST, sizeof host);
        both_start(&both, context_of(&identity, NULL),
                   &(struct offer){.least = version, .most = version, .sni = sni});
        memset(host, 'x', sizeof host - 1); // the context has a copy
        assert_int_equal(shake(&both), names[i / 2].accepted ? TLS_FAILURES : TLS_FAILURE_SNI);
        both_stop(&both);
    }
}

// The certificates that a client sees.
static void check_chain(const struct identity *identity, STACK_OF(X509) * chain, X509 *meta_cert,
                        X509 *const expected[], int count)
{
    const struct tls_identity served = {NULL, {{identity->cert, chain, identity->key}}, 1};

    for (int version = V12; version <= V13; version++) {
        struct both both;

        both_start(&both, context_of(&served, meta_cert),
                   &(struct offer){.least = version, .most = version});
        assert_int_equal(shake(&both), TLS_FAILURES);
        both_expect_chain(&both, expected, count);
        both_stop(&both);
    }
}

static void test_chains(void **state)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    STACK_OF(X509) *nothing = sk_X509_new_null();

    (void)state;
    sk_X509_push(chain, middle.cert);
    sk_X509_push(chain, rsa.cert);
    check_chain(&ec, NULL, NULL, (X509 *[]){ec.cert}, 1);
    check_chain(&ec, nothing, NULL, (X509 *[]){ec.cert}, 1);
    check_chain(&ec, NULL, meta.cert, (X509 *[]){ec.cert, meta.cert}, 2);
    check_chain(&ec, chain, NULL, (X509 *[]){ec.cert, middle.cert, rsa.cert}, 3);
    check_chain(&ec, chain, meta.cert, (X509 *[]){ec.cert, middle.cert, rsa.cert, meta.cert}, 4);
    assert_int_equal(sk_X509_num(chain), 2); // it is the caller's
    check_chain(&rsa, NULL, meta.cert, (X509 *[]){rsa.cert, meta.cert}, 2);
    sk_X509_free(chain);
    sk_X509_free(nothing);
}

// Handshakes do not change the context: the chain of the thousandth is that of the first.
static void test_many_handshakes_of_one_context(void **state)
{
    const struct tls_identity identity = {NULL, {{ec.cert, NULL, ec.key}}, 1};
    struct both both;

    (void)state;
    both_start(&both, context_of(&identity, meta.cert), &(struct offer){.name = ""});
    for (int i = 0; i < 100; i++) {
        assert_int_equal(shake(&both), TLS_FAILURES);
        assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(both.client)), 2);
        assert_int_equal(SSL_clear(both.server) + SSL_clear(both.client), 2);
        BIO_reset(both.to_server);
        BIO_reset(both.to_client);
    }
    both_stop(&both);
}

static int no_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    fail_msg("a ticket came");
    return 0;
}

static void test_no_resumption(void **state)
{
    (void)state;
    for (int version = V12; version <= V13; version++) {
        struct both both;
        SSL_SESSION *session;
        char byte = 0;

        both_start(&both, identity_context(&ec),
                   &(struct offer){.least = version, .most = version});
        SSL_CTX_set_session_cache_mode(both.client_ctx, SSL_SESS_CACHE_CLIENT);
        if (version == V13)
            SSL_CTX_sess_set_new_cb(both.client_ctx, no_ticket);
        assert_int_equal(shake(&both), TLS_FAILURES);
        assert_int_equal(SSL_write(both.server, "a", 1), 1);
        assert_int_equal(SSL_read(both.client, &byte, 1), 1);
        session = SSL_get1_session(both.client);
        assert_false(SSL_SESSION_has_ticket(session));
        // As after an orderly end; a broken one would spoil the session.
        SSL_set_shutdown(both.server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_set_shutdown(both.client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_clear(both.server);
        SSL_clear(both.client);
        SSL_set_session(both.client, session);
        SSL_SESSION_free(session);
        assert_int_equal(shake(&both), TLS_FAILURES);
        assert_false(SSL_session_reused(both.server) || SSL_session_reused(both.client));
        both_stop(&both);
    }
}

static void test_no_renegotiation(void **state)
{
    struct both both;
    char byte;

    (void)state;
    both_start(&both, identity_context(&ec), &(struct offer){.least = V12, .most = V12});
    assert_int_equal(shake(&both), TLS_FAILURES);
    assert_int_equal(SSL_renegotiate(both.client), 1);
    SSL_do_handshake(both.client);
    assert_int_equal(SSL_read(both.server, &byte, 1), -1);
    SSL_do_handshake(both.client);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    both_stop(&both);
}

static const struct {
    const char *name, *bytes;
    enum tls_failure failure;
} noises[] = {
    {"GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", TLS_FAILURE_NOT_TLS},
    {"POST", "POST /derp HTTP/1.1\r\nHost: a\r\n\r\n", TLS_FAILURE_NOT_TLS},
    {"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", TLS_FAILURE_NOT_TLS},
    {"OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", TLS_FAILURE_NOT_TLS},
    {"SSH", "SSH-2.0-OpenSSH_9.2\r\n", TLS_FAILURE_NOT_TLS},
    {"RDP", "\x03\x01\x02\x13\x0e\x0e\x0e\x0e\x0e\x0e\x0e\x0e", TLS_FAILURE_NOT_TLS},
    {"a record that is too long", "\x15\x03\x01\x7f\x02\x02\x28", TLS_FAILURE_NOT_TLS},
    {"an alert", "\x15\x03\x01\x01\x02\x02\x28", TLS_FAILURES}, // not whole yet
};

static void test_noise(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(noises); i++) {
        struct both both;

        print_message("%s\n", noises[i].name);
        both_start(&both, identity_context(&ec), &(struct offer){.name = ""});
        BIO_write(both.to_server, noises[i].bytes, (int)strlen(noises[i].bytes));
        assert_int_equal(server_step(&both), noises[i].failure);
        both_stop(&both);
    }
}

static const struct {
    int lib, reason;
    enum tls_failure failure;
} reasons[] = {
    {ERR_LIB_SSL, SSL_AD_REASON_OFFSET + SSL_AD_UNKNOWN_CA, TLS_FAILURE_CLIENT_ALERT},
    {ERR_LIB_SSL, SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL, TLS_FAILURE_CLIENT_ALERT},
    {ERR_LIB_SSL, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, TLS_FAILURE_OTHER},
    {ERR_LIB_SSL, ERR_R_MALLOC_FAILURE, TLS_FAILURE_OTHER},
    {ERR_LIB_SSL, ERR_R_INTERNAL_ERROR, TLS_FAILURE_OTHER},
    {ERR_LIB_SSL, ERR_R_EVP_LIB, TLS_FAILURE_OTHER},
    // Numbers that other libraries use for reasons of their own.
    {ERR_LIB_EVP, SSL_R_NO_SHARED_CIPHER, TLS_FAILURE_OTHER},
    {ERR_LIB_EC, SSL_R_HTTP_REQUEST, TLS_FAILURE_OTHER},
    {ERR_LIB_SYS, ECONNRESET, TLS_FAILURE_OTHER},
};

static void test_reasons(void **state)
{
    (void)state;
    ERR_clear_error();
    assert_int_equal(tls_failure_of(), TLS_FAILURE_CLOSED);
    for (size_t i = 0; i < COUNT(reasons); i++) {
        ERR_raise(reasons[i].lib, reasons[i].reason);
        assert_int_equal(tls_failure_of(), reasons[i].failure);
        ERR_clear_error();
    }
}

static void test_failure_names(void **state)
{
    (void)state;
    for (int i = 0; i < TLS_FAILURES; i++) {
        assert_non_null(tls_failure_name((enum tls_failure)i));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(tls_failure_name((enum tls_failure)i),
                                    tls_failure_name((enum tls_failure)j));
    }
}

static void test_key_of_another_certificate(void **state)
{
    (void)state;
    assert_null(context_of(&(struct tls_identity){NULL, {{ec.cert, NULL, meta.key}}, 1}, NULL));
    assert_int_not_equal(ERR_peek_error(), 0);
    assert_null(context_of(&(struct tls_identity){NULL, {{ec.cert, NULL, middle.key}}, 1}, NULL));
    assert_int_not_equal(ERR_peek_error(), 0);
    ERR_clear_error();
}

// The context lives on when what it was made from is gone, and leaves no error behind.
static void test_own_references(void **state)
{
    struct identity mine;
    SSL_CTX *ctx;

    (void)state;
    identity_make(&mine, "RSA", HOST, NULL);
    ERR_raise(ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER);
    ctx = context_of(&(struct tls_identity){HOST, {{mine.cert, NULL, mine.key}}, 1}, meta.cert);
    assert_non_null(ctx);
    assert_int_equal(ERR_peek_error(), 0);
    identity_free(&mine);
    assert_int_equal(SSL_CTX_check_private_key(ctx), 1);
    SSL_CTX_free(ctx);
}

static int group_setup(void **state)
{
    (void)state;
    identity_make(&rsa, "RSA", "root", NULL);
    identity_make(&middle, "EC", "middle", &rsa);
    identity_make(&ec, "EC", HOST, &middle);
    identity_make(&meta, "ED25519", "derpkey", NULL);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    identity_free(&rsa);
    identity_free(&middle);
    identity_free(&ec);
    identity_free(&meta);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshakes),
        cmocka_unit_test(test_server_names),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_many_handshakes_of_one_context),
        cmocka_unit_test(test_no_resumption),
        cmocka_unit_test(test_no_renegotiation),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_failure_names),
        cmocka_unit_test(test_key_of_another_certificate),
        cmocka_unit_test(test_own_references),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
