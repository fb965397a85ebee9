// SPDX-License-Identifier: BSD-3-Clause
#include "io/tls.h"

#include "io/engine.h"

#include <assert.h>
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

// --- Who asks for what. ---

// Lists of one protocol, as they go over the wire (RFC 7301, section 3.1).
#define ALPN_HTTP11 "\x08http/1.1"
#define ALPN_CHALLENGE \
    "\x0a"             \
    "acme-tls/1"

// Reasons of OpenSSL's that it has no use for itself in a handshake, with texts that fit.
#define REASON_NO_CERTIFICATE SSL_R_NO_CERTIFICATE_SET
#define REASON_NO_CHALLENGE SSL_R_NO_CERTIFICATE_ASSIGNED

// What server names lead to. Hangs on the context of the first identity, which SSL objects are made
// of and keep a reference to even when they have switched to another; only that one calls back with
// a server name.
struct names {
    size_t count;
    struct name {
        char *hostname; // NULL: all others, and none
        SSL_CTX *ctx;   // the first is the one that this hangs on
        bool has_certificate;
    } all[TLS_IDENTITIES_MAX];
    struct challenges *challenges; // NULL: none
    SSL_CTX *challenge_ctx;
};

static const struct name *find_name(const struct names *names, const char *hostname)
{
    const struct name *others = NULL;

    for (size_t i = 0; i < names->count; i++) {
        const struct name *name = &names->all[i];

        if (!name->hostname)
            others = name;
        else if (hostname && strcasecmp(hostname, name->hostname) == 0)
            return name;
    }
    return others;
}

static int choose_identity(SSL *ssl, int *alert, void *arg)
{
    const struct names *names = arg;
    const char *hostname = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct name *name = find_name(names, hostname);

    *alert = SSL_AD_INTERNAL_ERROR;
    if (names->count == 0 || (name && !name->has_certificate)) {
        ERR_raise(ERR_LIB_SSL, REASON_NO_CERTIFICATE);
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    if (!name) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    if (!SSL_set_SSL_CTX(ssl, name->ctx))
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return name->hostname ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    const unsigned char *ours = arg;
    unsigned char *chosen;

    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_len, ours, 1u + ours[0], in, in_len) !=
        OPENSSL_NPN_NEGOTIATED) {
        if (in_len == sizeof ALPN_CHALLENGE - 1 && memcmp(in, ALPN_CHALLENGE, in_len) == 0)
            ERR_raise(ERR_LIB_SSL, REASON_NO_CHALLENGE);
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

// --- tls-alpn-01. A context of its own answers, so that no other handshake has to look. ---

// OpenSSL has not looked at the extension yet; there is one way only to write this offer.
static bool offers_challenge_alone(SSL *ssl)
{
    static const unsigned char offer[] = "\x00\x0b" ALPN_CHALLENGE;
    const unsigned char *data;
    size_t len;

    return SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data,
                                     &len) == 1 &&
           len == sizeof offer - 1 && memcmp(data, offer, len) == 0;
}

static int notice_challenge(SSL *ssl, int *alert, void *arg)
{
    const struct names *names = arg;

    *alert = SSL_AD_INTERNAL_ERROR;
    if (challenges_any(names->challenges) && offers_challenge_alone(ssl) &&
        !SSL_set_SSL_CTX(ssl, names->challenge_ctx))
        return SSL_CLIENT_HELLO_ERROR;
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int choose_challenge(SSL *ssl, int *alert, void *arg)
{
    const char *hostname = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    X509 *cert;
    EVP_PKEY *key;
    bool ok;

    if (!hostname || !challenges_tls(arg, hostname, &cert, &key)) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        ERR_raise(ERR_LIB_SSL, REASON_NO_CHALLENGE);
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *alert = SSL_AD_INTERNAL_ERROR;
    ok = SSL_use_certificate(ssl, cert) == 1 && SSL_use_PrivateKey(ssl, key) == 1;
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

bool tls_was_challenge(const SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)) != NULL;
}

// --- Contexts. ---

// Each context needs all of it: an SSL object that switches takes over certificates and the ALPN
// callback, and keeps the rest.
static bool set_policy(SSL_CTX *ctx, const char *alpn)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_msg_callback(ctx, engine_openssl_message);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, (void *)alpn);
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

static bool add_pair(SSL_CTX *ctx, const struct tls_pair *pair, X509 *meta)
{
    if (SSL_CTX_use_certificate(ctx, pair->leaf) != 1 ||
        SSL_CTX_use_PrivateKey(ctx, pair->key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        return false;
    for (int i = 0; i < sk_X509_num(pair->chain); i++) {
        if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(pair->chain, i)) != 1)
            return false;
    }
    return !meta || SSL_CTX_add1_chain_cert(ctx, meta) == 1;
}

static SSL_CTX *context_new(const struct tls_pair *pairs, size_t count, X509 *meta,
                            const char *alpn)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    bool ok = ctx && set_policy(ctx, alpn);

    for (size_t i = 0; i < count && ok; i++)
        ok = add_pair(ctx, &pairs[i], meta);
    if (ok)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

static SSL_CTX *identity_context_new(const struct tls_identity *identity, X509 *meta)
{
    return context_new(identity ? identity->pairs : NULL, identity ? identity->pair_count : 0, meta,
                       ALPN_HTTP11);
}

static void free_names(void *parent, void *data, CRYPTO_EX_DATA *ad, int index, long argl,
                       void *argp)
{
    struct names *names = data;

    (void)ad, (void)index, (void)argl, (void)argp;
    if (!names)
        return;
    for (size_t i = 0; i < names->count; i++) {
        OPENSSL_free(names->all[i].hostname);
        if (names->all[i].ctx != parent)
            SSL_CTX_free(names->all[i].ctx);
    }
    SSL_CTX_free(names->challenge_ctx);
    OPENSSL_free(names);
}

static int names_index = -1;

static void make_names_index(void)
{
    names_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_names);
}

// Empty names, which the context owns from then on. NULL when memory is exhausted.
static struct names *hang_names(SSL_CTX *ctx)
{
    static uv_once_t once = UV_ONCE_INIT;
    struct names *names = OPENSSL_zalloc(sizeof *names);

    uv_once(&once, make_names_index);
    if (!names || SSL_CTX_set_ex_data(ctx, names_index, names) != 1) {
        OPENSSL_free(names);
        return NULL;
    }
    SSL_CTX_set_tlsext_servername_callback(ctx, choose_identity);
    SSL_CTX_set_tlsext_servername_arg(ctx, names);
    return names;
}

static bool add_name(struct names *names, const struct tls_identity *identity, SSL_CTX *ctx)
{
    struct name *name = &names->all[names->count++];

    name->ctx = ctx;
    name->has_certificate = identity->pair_count > 0;
    if (identity->hostname)
        name->hostname = OPENSSL_strdup(identity->hostname);
    return ctx && (!identity->hostname || name->hostname);
}

static bool answer_challenges(SSL_CTX *ctx, struct names *names, struct challenges *challenges)
{
    names->challenge_ctx = context_new(NULL, 0, NULL, ALPN_CHALLENGE);
    if (!names->challenge_ctx)
        return false;
    SSL_CTX_set_tlsext_servername_callback(names->challenge_ctx, choose_challenge);
    SSL_CTX_set_tlsext_servername_arg(names->challenge_ctx, challenges);
    SSL_CTX_set_app_data(names->challenge_ctx, challenges);
    names->challenges = challenges;
    SSL_CTX_set_client_hello_cb(ctx, notice_challenge, names);
    return true;
}

SSL_CTX *tls_context_new(const struct tls_config *config)
{
    const struct tls_identity *identities = config->identities;
    const size_t count = config->identity_count;
    struct names *names;
    SSL_CTX *ctx;
    bool ok;

    assert(count <= TLS_IDENTITIES_MAX);
    ERR_clear_error();
    ctx = identity_context_new(count > 0 ? &identities[0] : NULL, config->meta);
    names = ctx ? hang_names(ctx) : NULL;
    ok = names != NULL;
    for (size_t i = 0; i < count && ok; i++)
        ok = add_name(names, &identities[i],
                      i == 0 ? ctx : identity_context_new(&identities[i], config->meta));
    if (ok && (!config->challenges || answer_challenges(ctx, names, config->challenges)))
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
    case REASON_NO_CERTIFICATE:
        return TLS_FAILURE_NO_CERTIFICATE;
    case REASON_NO_CHALLENGE:
        return TLS_FAILURE_NO_CHALLENGE;
    case SSL_R_CLIENTHELLO_TLSEXT:
    case SSL_R_CALLBACK_FAILED:
        return TLS_FAILURE_SNI;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return TLS_FAILURE_ALPN;
    default:
        return TLS_FAILURE_OTHER;
    }
}
