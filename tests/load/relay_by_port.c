// SPDX-License-Identifier: BSD-3-Clause
//
// The relay of this tree with a port for each worker, so that whoever connects chooses the worker,
// and with a count of its locks and wake-ups: for measuring what several workers cost. Otherwise as
// derper runs it, less HTTP routes and STUN. At SIGUSR1 it prints the counts as a line of JSON.
#include "calls.h"

#include "io/tls.h"
#include "relay/relay.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DAY_S (24 * 60 * 60)
#define CONNECTIONS_MAX 19000

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static SSL_CTX *make_tls(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *cert = X509_new();
    SSL_CTX *tls;

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"127.0.0.1", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(cert), DAY_S);
    X509_set_pubkey(cert, key);
    X509_sign(cert, key, EVP_sha256());
    tls = tls_context_new(&(struct tls_config){
        .identities =
            &(struct tls_identity){.pairs = {{.leaf = cert, .key = key}}, .pair_count = 1},
        .identity_count = 1});
    X509_free(cert);
    EVP_PKEY_free(key);
    if (!tls)
        fail("certificate");
    return tls;
}

static int bind_port(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        fail("bind");
    return fd;
}

static void on_request(struct http_conn *conn, const struct http_request *request)
{
    (void)request;
    relay_accept_client(http_data(conn), http_take_stream(conn), "", 0, false);
}

static int64_t sum(struct relay *relay, size_t offset)
{
    int64_t total = 0;

    for (size_t i = 0; i < relay_workers(relay); i++) {
        struct worker_snapshot snapshot;

        relay_worker_snapshot(relay, i, &snapshot);
        total += counter_read((const struct counter *)((const char *)&snapshot.relay + offset));
    }
    return total;
}

static void print_counts(struct relay *relay)
{
    printf("{\"sent\": %lld, \"crossed\": %lld",
           (long long)sum(relay, offsetof(struct relay_counters, packets_sent)),
           (long long)sum(relay, offsetof(struct relay_counters, inbox_packets)));
    for (int i = 0; i < CALLS; i++)
        printf(", \"%s\": %lld", calls_name((enum call)i), (long long)calls_total((enum call)i));
    printf("}\n");
    fflush(stdout);
}

static void serve(size_t workers, uint16_t port)
{
    static struct relay relay;
    struct http_service service = {.handler = on_request, .data = &relay};
    struct relay_config config = {.workers = workers,
                                  .queue_packets = RELAY_QUEUE_PACKETS_DEFAULT,
                                  .queue_bytes = RELAY_QUEUE_BYTES_DEFAULT,
                                  .waiting_bytes = RELAY_WAITING_BYTES_DEFAULT,
                                  .write_timeout_ms = 2000,
                                  .connections_max = CONNECTIONS_MAX};
    sigset_t signals;
    int number;

    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL); // in the workers as well
    key_pair_generate(&config.key);
    if (relay_start(&relay, &config) != 0)
        fail("workers");
    for (size_t i = 0; i < workers; i++) {
        SSL_CTX *tls = make_tls(); // one for each: the detached engine changes its callbacks

        relay_set_tls(&relay, i, tls);
        SSL_CTX_free(tls);
        relay_listen(&relay, i, bind_port((uint16_t)(port + i)),
                     &(struct relay_port){.service = &service, .tls = true});
    }
    while (sigwait(&signals, &number) == 0 && number == SIGUSR1)
        print_counts(&relay);
    relay_stop(&relay);
}

int main(int argc, char **argv)
{
    const int workers = argc == 3 ? atoi(argv[1]) : 0, port = argc == 3 ? atoi(argv[2]) : 0;

    if (workers < 1 || workers > RELAY_WORKERS_MAX || port < 1 || port + workers > UINT16_MAX) {
        fprintf(stderr, "usage: relay-by-port WORKERS FIRST_PORT\n");
        return 2;
    }
    if (sodium_init() < 0)
        return 1;
    signal(SIGPIPE, SIG_IGN);
    serve((size_t)workers, (uint16_t)port);
    return 0;
}
