// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/dial.h"

#include "certgen/address.h"
#include "certgen/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT_DEFAULT "443"
#define PORT_MAX 65535

static bool set_port(struct cert_target *target, const char *text)
{
    const size_t len = strlen(text);

    if (len == 0 || len >= sizeof target->port || strspn(text, "0123456789") != len ||
        atoi(text) < 1 || atoi(text) > PORT_MAX)
        return false;
    strcpy(target->port, text);
    return true;
}

static bool set_host(struct cert_target *target, const char *text, size_t len)
{
    if (len == 0 || len >= sizeof target->host)
        return false;
    memcpy(target->host, text, len);
    target->host[len] = '\0';
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return true;
}

static bool parse(struct cert_target *target, const char *text)
{
    const char *end = strchr(text, ']'), *colon = strchr(text, ':');

    strcpy(target->port, PORT_DEFAULT);
    if (text[0] == '[')
        return end && set_host(target, text + 1, (size_t)(end - text - 1)) &&
               cert_is_address(target->host) &&
               (end[1] == '\0' || (end[1] == ':' && set_port(target, end + 2)));
    if (!colon || cert_is_address(text))
        return set_host(target, text, strlen(text));
    return set_host(target, text, (size_t)(colon - text)) && set_port(target, colon + 1);
}

bool cert_target_parse(struct cert_target *target, const char *text, char *error, size_t size)
{
    return parse(target, text) ||
           cert_fail(error, size, "\"%s\" is no host and port: give HOST, HOST:PORT or [IPV6]:PORT",
                     text);
}

static long long clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

// False with ETIMEDOUT when the deadline has come first.
static bool wait_for(int fd, short events, long long deadline)
{
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = events};
        const long long left = deadline - clock_ms();
        const int n = left > 0 ? poll(&poll_fd, 1, (int)left) : 0;

        if (n > 0)
            return true;
        if (n == 0) {
            errno = ETIMEDOUT;
            return false;
        }
        if (errno != EINTR)
            return false;
    }
}

// A connected socket, or -1 with errno.
static int connect_to(const struct addrinfo *info, long long deadline)
{
    const int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t len = sizeof(int);
    int err = 0;

    if (fd < 0)
        return -1;
    if (connect(fd, info->ai_addr, info->ai_addrlen) == 0)
        return fd;
    err = errno;
    if (err == EINPROGRESS)
        err = !wait_for(fd, POLLOUT, deadline)                        ? errno
              : getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 ? errno
                                                                      : err;
    if (err == 0)
        return fd;
    close(fd);
    errno = err;
    return -1;
}

static void put_address(struct cert_dialed *dialed, const struct addrinfo *info)
{
    char host[INET6_ADDRSTRLEN] = "?", port[sizeof "65535"] = "?";

    getnameinfo(info->ai_addr, info->ai_addrlen, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(dialed->address, sizeof dialed->address,
             info->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

// Tries the addresses in turn; each has its share of the time that is left.
static int connect_any(struct cert_dialed *dialed, const struct addrinfo *all, long long deadline)
{
    int left = 0, fd = -1;

    for (const struct addrinfo *info = all; info; info = info->ai_next)
        left++;
    for (const struct addrinfo *info = all; info && fd < 0; info = info->ai_next) {
        const long long now = clock_ms();

        put_address(dialed, info);
        fd = connect_to(info, now + (deadline - now) / left--);
    }
    return fd;
}

static int resolve_and_connect(struct cert_dialed *dialed, const struct cert_target *target,
                               long long deadline, char *error, size_t size)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *all;
    const int err = getaddrinfo(target->host, target->port, &hints, &all);

    if (err != 0) {
        cert_fail(error, size, "%s has no address here (%s): check the name and the resolver",
                  target->host, gai_strerror(err));
        return -1;
    }
    const int fd = connect_any(dialed, all, deadline), reason = errno;
    freeaddrinfo(all);
    if (fd < 0)
        cert_fail(error, size,
                  "%s takes no connection (%s): check that the relay runs there and that every "
                  "firewall before it lets this TCP port in",
                  dialed->address, strerror(reason));
    return fd;
}

static bool fail_handshake(const struct cert_dialed *dialed, const char *name, int kind, int err,
                           char *error, size_t size)
{
    const int reason = ERR_GET_REASON(ERR_peek_error());

    if (err == ETIMEDOUT)
        return cert_fail(error, size,
                         "%s takes the connection but does not finish a TLS handshake in time: "
                         "check what listens on this port",
                         dialed->address);
    if (kind == SSL_ERROR_SSL && reason == SSL_R_TLSV1_UNRECOGNIZED_NAME)
        return cert_fail(error, size,
                         "%s does not serve the name %s: give the relay this --hostname, or ask "
                         "for the one that it has (-n NAME)",
                         dialed->address, name);
    if (kind == SSL_ERROR_SSL && reason != SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return cert_fail(error, size,
                         "%s does not shake hands in TLS (%s): check what listens on this port, "
                         "and the relay's log",
                         dialed->address, cert_reason());
    return cert_fail(error, size,
                     "%s closes the connection before TLS is established: check what listens on "
                     "this port, and the relay's log",
                     dialed->address);
}

static bool shake_hands(SSL *ssl, int fd, const struct cert_dialed *dialed, const char *name,
                        long long deadline, char *error, size_t size)
{
    for (;;) {
        ERR_clear_error();
        errno = 0;
        const int result = SSL_connect(ssl);
        const int kind = SSL_get_error(ssl, result);
        const bool again = kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE;

        if (result == 1)
            return true;
        // The clock is asked before each wait, so that bytes that come one by one do not prolong
        // it.
        if (!again || !wait_for(fd, kind == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline))
            return fail_handshake(dialed, name, kind, again ? errno : 0, error, size);
    }
}

static bool take_certificates(struct cert_dialed *dialed, SSL *ssl, char *error, size_t size)
{
    STACK_OF(X509) *certs = SSL_get_peer_cert_chain(ssl); // the leaf, too, as this is a client

    if (sk_X509_num(certs) > 0)
        dialed->certs = X509_chain_up_ref(certs);
    dialed->version = SSL_get_version(ssl);
    dialed->cipher = SSL_get_cipher_name(ssl);
    return dialed->certs ||
           cert_fail(error, size, "%s shows no certificate: check what listens on this port",
                     dialed->address);
}

static bool talk(struct cert_dialed *dialed, int fd, const char *name, long long deadline,
                 char *error, size_t size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = context ? SSL_new(context) : NULL;
    bool ok = false;

    if (!ssl || SSL_set_fd(ssl, fd) != 1 ||
        (!cert_is_address(name) && SSL_set_tlsext_host_name(ssl, name) != 1))
        cert_fail(error, size, "TLS cannot be used (%s): try again", cert_reason());
    else
        ok = shake_hands(ssl, fd, dialed, name, deadline, error, size) &&
             take_certificates(dialed, ssl, error, size);
    if (ok)
        SSL_shutdown(ssl); // only says so
    SSL_free(ssl);
    SSL_CTX_free(context);
    return ok;
}

bool cert_dial(struct cert_dialed *dialed, const struct cert_target *target, const char *name,
               int timeout_ms, char *error, size_t size)
{
    const long long deadline = clock_ms() + timeout_ms;

    *dialed = (struct cert_dialed){0};
    const int fd = resolve_and_connect(dialed, target, deadline, error, size);
    if (fd < 0)
        return false;
    const bool ok = talk(dialed, fd, name, deadline, error, size);
    close(fd);
    ERR_clear_error();
    return ok;
}

void cert_dialed_free(struct cert_dialed *dialed)
{
    sk_X509_pop_free(dialed->certs, X509_free);
    *dialed = (struct cert_dialed){0};
}
