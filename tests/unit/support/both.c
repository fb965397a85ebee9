// SPDX-License-Identifier: BSD-3-Clause
#include "both.h"

#include "loopback.h"

#include <openssl/err.h>
#include <string.h>

static SSL_CTX *client_ctx_new(const struct offer *offer)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_security_level(ctx, 0);
    assert_int_equal(SSL_CTX_set_min_proto_version(ctx, offer->least ? offer->least : TLS1_VERSION),
                     1);
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, offer->most), 1);
    if (offer->ciphers)
        assert_int_equal(SSL_CTX_set_cipher_list(ctx, offer->ciphers), 1);
    if (offer->suites)
        assert_int_equal(SSL_CTX_set_ciphersuites(ctx, offer->suites), 1);
    if (offer->groups)
        assert_int_equal(SSL_CTX_set1_groups_list(ctx, offer->groups), 1);
    if (offer->signatures)
        assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, offer->signatures), 1);
    if (offer->alpn)
        SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)offer->alpn,
                                (unsigned)strlen(offer->alpn));
    if (offer->verify)
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return ctx;
}

void both_start(struct both *both, SSL_CTX *server_ctx, const struct offer *offer)
{
    assert_non_null(server_ctx);
    both->server_ctx = server_ctx;
    both->client_ctx = client_ctx_new(offer);
    both->server = SSL_new(both->server_ctx);
    both->client = SSL_new(both->client_ctx);
    both->to_server = BIO_new(BIO_s_mem());
    both->to_client = BIO_new(BIO_s_mem());
    BIO_up_ref(both->to_server);
    BIO_up_ref(both->to_client);
    SSL_set_bio(both->server, both->to_server, both->to_client);
    SSL_set_bio(both->client, both->to_client, both->to_server);
    SSL_set_accept_state(both->server);
    SSL_set_connect_state(both->client);
    if (offer->sni)
        SSL_set_tlsext_host_name(both->client, offer->sni);
}

void both_stop(struct both *both)
{
    SSL_free(both->server);
    SSL_free(both->client);
    SSL_CTX_free(both->server_ctx);
    SSL_CTX_free(both->client_ctx);
    ERR_clear_error();
}

enum tls_failure server_step(struct both *both)
{
    enum tls_failure failure = TLS_FAILURES;
    int result;

    ERR_clear_error();
    result = SSL_do_handshake(both->server);
    if (result != 1 && SSL_get_error(both->server, result) != SSL_ERROR_WANT_READ)
        failure = tls_failure_of();
    ERR_clear_error();
    return failure;
}

enum tls_failure shake(struct both *both)
{
    enum tls_failure failure = TLS_FAILURES;

    for (int i = 0; i < 6 && failure == TLS_FAILURES; i++) {
        SSL_do_handshake(both->client);
        failure = server_step(both);
    }
    if (failure == TLS_FAILURES)
        assert_true(SSL_is_init_finished(both->server) && SSL_is_init_finished(both->client));
    return failure;
}

void both_expect_chain(const struct both *both, X509 *const expected[], int count)
{
    const STACK_OF(X509) *chain = SSL_get_peer_cert_chain(both->client);

    assert_int_equal(sk_X509_num(chain), count);
    for (int i = 0; i < count; i++)
        assert_int_equal(X509_cmp(sk_X509_value(chain, i), expected[i]), 0);
}
