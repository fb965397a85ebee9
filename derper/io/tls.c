// SPDX-License-Identifier: BSD-3-Clause
#include "io/tls.h"

#include "io/engine.h"

#include <malloc.h>
#include <openssl/err.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CIPHERS_TLS12                                            \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_TLS13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256"
#define GROUPS_HYBRID "X25519MLKEM768:" GROUPS // OpenSSL 3.5 and newer; Go's clients offer it first

// The SSL object that this thread is about to free.
static _Thread_local const void *doomed;

static void on_free(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    if (memory && memory == doomed)
        sodium_memzero(memory, malloc_usable_size(memory));
    free(memory);
}

bool tls_init(void)
{
    return CRYPTO_set_mem_functions(NULL, NULL, on_free) == 1;
}

void tls_free(SSL *ssl)
{
    doomed = ssl;
    SSL_free(ssl);
    doomed = NULL;
}

static const unsigned char alpn_http11[] = "\x08http/1.1";

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    unsigned char *chosen;

    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, alpn_http11, sizeof alpn_http11 - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int check_server_name(SSL *ssl, int *alert, void *arg)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    if (name && strcasecmp(name, arg) == 0)
        return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void free_name(void *parent, void *name, CRYPTO_EX_DATA *ad, int index, long argl,
                      void *argp)
{
    (void)parent, (void)ad, (void)index, (void)argl, (void)argp;
    OPENSSL_free(name);
}

static int name_index = -1;

static void make_name_index(void)
{
    name_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_name);
}

// The context owns its copy of the name, as it outlives the configuration it was made from.
static bool require_name(SSL_CTX *ctx, const char *hostname)
{
    static uv_once_t once = UV_ONCE_INIT;
    char *copy = OPENSSL_strdup(hostname);

    uv_once(&once, make_name_index);
    if (!copy || SSL_CTX_set_ex_data(ctx, name_index, copy) != 1)
        return false;
    SSL_CTX_set_tlsext_servername_callback(ctx, check_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, copy);
    return true;
}

static bool set_policy(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_msg_callback(ctx, engine_openssl_message);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    ERR_set_mark();
    if (SSL_CTX_set1_groups_list(ctx, GROUPS_HYBRID) != 1) {
        ERR_pop_to_mark();
        if (SSL_CTX_set1_groups_list(ctx, GROUPS) != 1)
            return false;
    } else {
        ERR_clear_last_mark();
    }
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, CIPHERS_TLS13) == 1;
}

static bool set_identity(SSL_CTX *ctx, const struct tls_identity *identity)
{
    if (SSL_CTX_use_certificate(ctx, identity->leaf) != 1 ||
        SSL_CTX_use_PrivateKey(ctx, identity->key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        return false;
    for (int i = 0; i < sk_X509_num(identity->chain); i++) {
        if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(identity->chain, i)) != 1)
            return false;
    }
    return !identity->meta || SSL_CTX_add1_chain_cert(ctx, identity->meta) == 1;
}

SSL_CTX *tls_context_new(const struct tls_identity *identity)
{
    SSL_CTX *ctx;

    ERR_clear_error();
    ctx = SSL_CTX_new(TLS_server_method());
    if (ctx && set_policy(ctx) && set_identity(ctx, identity) &&
        (!identity->hostname || require_name(ctx, identity->hostname)))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

enum tls_failure tls_failure_of(void)
{
    const unsigned long error = ERR_peek_error();
    const int reason = ERR_GET_REASON(error);

    if (error == 0)
        return TLS_FAILURE_CLOSED;
    // Other libraries use the same numbers for other reasons.
    if (ERR_GET_LIB(error) != ERR_LIB_SSL)
        return TLS_FAILURE_OTHER;
    if (reason > SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + UINT8_MAX)
        return TLS_FAILURE_CLIENT_ALERT;
    switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_RECORD_LENGTH_MISMATCH:
        return TLS_FAILURE_NOT_TLS;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_VERSION_TOO_LOW:
        return TLS_FAILURE_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        return TLS_FAILURE_CIPHER;
    case SSL_R_CLIENTHELLO_TLSEXT:
    case SSL_R_CALLBACK_FAILED:
        return TLS_FAILURE_SNI;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return TLS_FAILURE_ALPN;
    default:
        return TLS_FAILURE_OTHER;
    }
}
