// SPDX-License-Identifier: BSD-3-Clause
#include "handshake.h"

#include "base/memory.h"

#include <openssl/err.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define BIO_CHUNK_BYTES 4096

struct secret {
    uint8_t bytes[EVP_MAX_MD_SIZE];
    size_t len;
};

struct handshake {
    SSL *ssl;
    BIO *from_peer, *to_peer; // owned by ssl
    struct secret client, server;
};

// A line is LABEL, client random, secret: the last two in hex.
static void take_secret(struct secret *secret, const char *line, const char *label)
{
    const char *hex;

    if (strncmp(line, label, strlen(label)) != 0 || !(hex = strrchr(line, ' ')))
        return;
    hex++;
    if (sodium_hex2bin(secret->bytes, sizeof secret->bytes, hex, strlen(hex), NULL, &secret->len,
                       NULL) != 0)
        secret->len = 0;
}

static void on_keylog(const SSL *ssl, const char *line)
{
    struct handshake *handshake = SSL_get_app_data(ssl);

    take_secret(&handshake->client, line, "CLIENT_TRAFFIC_SECRET_0 ");
    take_secret(&handshake->server, line, "SERVER_TRAFFIC_SECRET_0 ");
}

SSL_CTX *handshake_context(const char *suites)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context, suites ? suites : DEFAULT_SUITES) != 1 ||
        SSL_CTX_set1_groups_list(context, "X25519:P-256") != 1 ||
        SSL_CTX_set_alpn_protos(context, alpn, sizeof alpn - 1) != 0) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_keylog_callback(context, on_keylog);
    return context;
}

struct handshake *handshake_new(SSL_CTX *context)
{
    struct handshake *handshake = memory_zeroed(sizeof *handshake);

    handshake->ssl = SSL_new(context);
    handshake->from_peer = BIO_new(BIO_s_mem());
    handshake->to_peer = BIO_new(BIO_s_mem());
    if (!handshake->ssl || !handshake->from_peer || !handshake->to_peer) {
        BIO_free(handshake->from_peer);
        BIO_free(handshake->to_peer);
        SSL_free(handshake->ssl);
        free(handshake);
        return NULL;
    }
    SSL_set_bio(handshake->ssl, handshake->from_peer, handshake->to_peer);
    SSL_set_app_data(handshake->ssl, handshake);
    SSL_set_connect_state(handshake->ssl);
    return handshake;
}

void handshake_free(struct handshake *handshake)
{
    if (!handshake)
        return;
    SSL_free(handshake->ssl);
    sodium_memzero(handshake, sizeof *handshake);
    free(handshake);
}

static void drain_bio(BIO *bio, struct buffer *out)
{
    int n;

    while ((n = BIO_read(bio, buffer_reserve(out, BIO_CHUNK_BYTES), BIO_CHUNK_BYTES)) > 0)
        buffer_commit(out, (size_t)n);
}

enum handshake_result handshake_step(struct handshake *handshake, struct buffer *in,
                                     struct buffer *out)
{
    int result, error;

    if (buffer_len(in) > 0) {
        BIO_write(handshake->from_peer, buffer_head(in), (int)buffer_len(in));
        buffer_consume(in, buffer_len(in));
    }
    ERR_clear_error();
    result = SSL_do_handshake(handshake->ssl);
    error = SSL_get_error(handshake->ssl, result);
    ERR_clear_error();
    drain_bio(handshake->to_peer, out);
    if (result == 1) {
        drain_bio(handshake->from_peer, in);
        return HANDSHAKE_DONE;
    }
    return error == SSL_ERROR_WANT_READ ? HANDSHAKE_MORE : HANDSHAKE_FAILED;
}

bool handshake_sides(struct handshake *handshake, struct record_side *seal,
                     struct record_side *open)
{
    const SSL_CIPHER *suite = SSL_get_current_cipher(handshake->ssl);
    const struct secret *client = &handshake->client, *server = &handshake->server;

    return client->len > 0 && server->len > 0 &&
           record_side_init(seal, suite, client->bytes, client->len, true) &&
           record_side_init(open, suite, server->bytes, server->len, false);
}
