// SPDX-License-Identifier: BSD-3-Clause
//
// The yardstick for logins: in one process and over memory, the server's half of TLS 1.3 handshakes
// under the relay's own context, and the opening of a ClientInfo box. Prints one line of JSON with
// the CPU time of each; the client's half is not counted. What a relay needs beyond this is the
// kernel, HTTP, and what it keeps of a client.
//
// usage: handshakes [LOGINS]
#include "client_login.h"
#include "handshake.h"

#include "certgen/issue.h"
#include "certgen/meta.h"
#include "io/tls.h"
#include "proto/login.h"

#include <openssl/ec.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOGINS 2000
#define LOGINS_MAX 1000000
#define FLIGHT_MAX_BYTES 4096
#define DAY_S (24 * 60 * 60)
#define NS_PER_US 1e3
#define NS_PER_S 1e9

static void fail(const char *what)
{
    fprintf(stderr, "handshakes: %s\n", what);
    exit(1);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

// With a certificate of the kind that a relay makes for its address.
static SSL_CTX *make_context(const struct key *relay)
{
    static const uint8_t serial = 1;
    const time_t now = time(NULL);
    static const char *const name = "127.0.0.1";
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *leaf, *meta = cert_meta_new(relay->bytes, DERP_VERSION, now);
    SSL_CTX *context;

    leaf = cert_issue(&(struct cert_request){.common_name = name,
                                             .serial = &serial,
                                             .serial_len = sizeof serial,
                                             .not_before = now - DAY_S,
                                             .not_after = now + DAY_S,
                                             .names = &name,
                                             .name_count = 1},
                      key);
    if (!leaf || !meta)
        fail("no certificate");
    context = tls_context_new(&(struct tls_config){
        .identities =
            &(struct tls_identity){.pairs = {{.leaf = leaf, .key = key}}, .pair_count = 1},
        .identity_count = 1,
        .meta = meta});
    if (!context)
        fail("no TLS context");
    X509_free(meta);
    X509_free(leaf);
    EVP_PKEY_free(key);
    return context;
}

// What the client has said goes in, what the server answers comes out. Returns the server's time.
static uint64_t serve(SSL *ssl, struct buffer *in, struct buffer *out)
{
    const uint64_t begin_ns = cpu_ns();
    int n;

    BIO_write(SSL_get_rbio(ssl), buffer_head(in), (int)buffer_len(in));
    SSL_do_handshake(ssl);
    while ((n = BIO_read(SSL_get_wbio(ssl), buffer_reserve(out, FLIGHT_MAX_BYTES),
                         FLIGHT_MAX_BYTES)) > 0)
        buffer_commit(out, (size_t)n);
    buffer_consume(in, buffer_len(in));
    return cpu_ns() - begin_ns;
}

static uint64_t shake_hands(SSL_CTX *server, SSL_CTX *client)
{
    struct handshake *handshake = handshake_new(client);
    struct buffer to_client = {0}, to_server = {0};
    uint64_t begin_ns = cpu_ns(), spent_ns;
    SSL *ssl = SSL_new(server);

    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(ssl);
    spent_ns = cpu_ns() - begin_ns;
    while (!SSL_is_init_finished(ssl)) {
        if (handshake_step(handshake, &to_client, &to_server) == HANDSHAKE_FAILED ||
            buffer_len(&to_server) == 0)
            fail("a handshake failed");
        spent_ns += serve(ssl, &to_server, &to_client);
    }
    begin_ns = cpu_ns();
    SSL_set_quiet_shutdown(ssl, 1);
    SSL_free(ssl);
    spent_ns += cpu_ns() - begin_ns;
    handshake_free(handshake);
    buffer_deinit(&to_client);
    buffer_deinit(&to_server);
    return spent_ns;
}

static uint64_t open_box(const struct key_pair *relay)
{
    uint8_t frame[CLIENT_INFO_FRAME_MAX_BYTES], shared[KEY_BYTES];
    struct key_pair client;
    struct client_info info;
    uint64_t begin_ns;
    size_t len;

    key_pair_generate(&client);
    len = client_login_put_info(frame, &client, &relay->public);
    begin_ns = cpu_ns();
    if (login_open_client_info(relay, frame + FRAME_HEADER_BYTES, len - FRAME_HEADER_BYTES, &info,
                               shared) != LOGIN_OK)
        fail("a box was not opened");
    return cpu_ns() - begin_ns;
}

int main(int argc, char **argv)
{
    const unsigned long logins = argc > 1 ? strtoul(argv[1], NULL, 10) : LOGINS;
    SSL_CTX *server, *client = handshake_context(NULL);
    uint64_t handshakes_ns = 0, boxes_ns = 0;
    struct key_pair relay;

    if (argc > 2 || logins == 0 || logins > LOGINS_MAX)
        fail("usage: handshakes [LOGINS]");
    if (!client || sodium_init() < 0)
        fail("no cryptography");
    key_pair_generate(&relay);
    server = make_context(&relay.public);
    shake_hands(server, client); // fills what OpenSSL keeps
    for (unsigned long i = 0; i < logins; i++) {
        handshakes_ns += shake_hands(server, client);
        boxes_ns += open_box(&relay);
    }
    printf("{\"mode\":\"handshakes\",\"valid\":true,\"invalid\":[],\"logins\":%lu,"
           "\"handshake_us\":%.1f,\"box_us\":%.1f,\"logins_per_cpu_s\":%.0f}\n",
           logins, (double)handshakes_ns / NS_PER_US / (double)logins,
           (double)boxes_ns / NS_PER_US / (double)logins,
           (double)logins * NS_PER_S / (double)(handshakes_ns + boxes_ns));
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    return 0;
}
