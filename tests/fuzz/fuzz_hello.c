// SPDX-License-Identifier: BSD-3-Clause
//
// A ClientHello of TLS 1.3 that ends in whatever extensions the input holds, at a server with two
// names and a challenge of tls-alpn-01. Nothing but the one offer of that protocol may lead to the
// challenge's certificate, and whatever leads nowhere is refused for a reason.
#include "io/tls.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define INPUT_MAX_BYTES 8192
#define ALPN                       \
    "\x00\x10\x00\x0d\x00\x0b\x0a" \
    "acme-tls/1"

#define RECORD_LENGTH_AT 3
#define MESSAGE_LENGTH_AT 7

// The record, the message and the hello up to its extensions: one cipher suite, and at its end one
// way of compression, which is none.
static const uint8_t head[] = "\x16\x03\x01\0\0\x01\0\0\0\x03\x03"
                              "random random random random rand"
                              "\0\0\x02\x13\x01\x01";
// One version, group and signature, and a share of X25519.
static const uint8_t fixed[] = "\0\x2b\0\x03\x02\x03\x04"
                               "\0\x0a\0\x04\0\x02\0\x1d"
                               "\0\x0d\0\x04\0\x02\x04\x03"
                               "\0\x33\0\x26\0\x24\0\x1d\0\x20"
                               "\x09share share share share share s";

static struct challenges challenges;
static SSL_CTX *context;

static void demand(bool held)
{
    if (!held)
        abort();
}

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *cert = X509_new();

    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 60);
    demand(X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

static void begin(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = make_certificate(key);
    const struct tls_identity identities[] = {
        {"one.example", {{cert, NULL, key}}, 1},
        {"two.example", {{cert, NULL, key}}, 1},
    };

    challenges_init(&challenges);
    demand(challenges_show_tls(&challenges, "two.example", cert, key));
    context = tls_context_new(&(struct tls_config){identities, 2, NULL, &challenges});
    demand(context);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void put_length(uint8_t *at, size_t len)
{
    at[0] = (uint8_t)(len >> 8);
    at[1] = (uint8_t)len;
}

static void put_hello(BIO *bio, const uint8_t *data, size_t len)
{
    const size_t fixed_len = sizeof fixed - 1, total = sizeof head + 2 + fixed_len + len;
    uint8_t hello[sizeof head + 2 + sizeof fixed + INPUT_MAX_BYTES];

    memcpy(hello, head, sizeof head);
    put_length(hello + RECORD_LENGTH_AT, total - RECORD_LENGTH_AT - 2);
    put_length(hello + MESSAGE_LENGTH_AT, total - MESSAGE_LENGTH_AT - 2);
    put_length(hello + sizeof head, fixed_len + len);
    memcpy(hello + sizeof head + 2, fixed, fixed_len);
    memcpy(hello + sizeof head + 2 + fixed_len, data, len);
    demand(BIO_write(bio, hello, (int)total) == (int)total);
}

static bool has(const uint8_t *data, size_t size, const char *name)
{
    const size_t len = strlen(name);

    for (; size >= len; data++, size--) {
        if (strncasecmp((const char *)data, name, len) == 0)
            return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SSL *ssl;
    bool answered;

    if (size > INPUT_MAX_BYTES)
        return 0;
    if (!context)
        begin();
    ssl = SSL_new(context);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(ssl);
    put_hello(SSL_get_rbio(ssl), data, size);
    ERR_clear_error();
    demand(SSL_do_handshake(ssl) != 1);
    answered = SSL_get_error(ssl, -1) == SSL_ERROR_WANT_READ;
    demand(answered || tls_failure_of() != TLS_FAILURE_CLOSED);
    demand(BIO_pending(SSL_get_wbio(ssl)) > 0); // a flight, or an alert
    demand(!tls_was_challenge(ssl) || memmem(data, size, ALPN, sizeof ALPN - 1));
    demand(!answered || has(data, size, "two.example") ||
           (has(data, size, "one.example") && !tls_was_challenge(ssl)));
    ERR_clear_error();
    SSL_free(ssl);
    return 0;
}
