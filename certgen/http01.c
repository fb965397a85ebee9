// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/http01.h"

#include "certgen/file.h"
#include "certgen/paths.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX_BYTES 4096
#define BACKLOG 16

void http01_answer(struct http01 *http01, const char *request,
                   char answer[static HTTP01_ANSWER_BYTES])
{
    static const char method[] = "GET " HTTP01_PATH;
    const char *token = request + sizeof method - 1;

    answer[0] = '\0';
    if (strncmp(request, method, sizeof method - 1) != 0)
        return;
    pthread_mutex_lock(&http01->lock);
    const size_t len = strlen(http01->token);
    if (len > 0 && strncmp(token, http01->token, len) == 0 && token[len] == ' ')
        strcpy(answer, http01->answer);
    pthread_mutex_unlock(&http01->lock);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

// Until the head has ended, is too long or does not come in time.
static void read_head(int fd, char *request)
{
    const int64_t end = now_ms() + HTTP01_CONNECTION_LIMIT_MS;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    size_t len = 0;

    request[0] = '\0';
    while (len < REQUEST_MAX_BYTES - 1 && !strstr(request, "\r\n\r\n")) {
        const int64_t left = end - now_ms();
        const ssize_t n = left > 0 && poll(&readable, 1, (int)left) > 0
                              ? recv(fd, request + len, REQUEST_MAX_BYTES - 1 - len, 0)
                              : 0;

        if (n <= 0)
            break;
        len += (size_t)n;
        request[len] = '\0';
    }
}

static void serve(struct http01 *http01, int fd)
{
    char request[REQUEST_MAX_BYTES], answer[HTTP01_ANSWER_BYTES], text[HTTP01_ANSWER_BYTES + 256];
    int len;

    read_head(fd, request);
    http01_answer(http01, request, answer);
    len = snprintf(text, sizeof text,
                   "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                   "Connection: close\r\n\r\n%s",
                   *answer ? "200 OK" : "404 Not Found", strlen(answer), answer);
    if (send(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) == len) // fits the socket's buffer
        shutdown(fd, SHUT_WR);
    close(fd);
}

static void *run(void *data)
{
    struct http01 *http01 = data;

    for (;;) {
        const int fd = accept4(http01->fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0)
            serve(http01, fd);
        else if (errno == EINVAL) // shut down by http01_stop
            return NULL;
        else if (errno != ECONNABORTED && errno != EINTR)
            usleep(100 * 1000); // out of descriptors or memory
    }
}

static bool fail_port(int port, char *error, size_t size)
{
    return cert_fail(error, size,
                     "TCP port %d cannot be opened (%s): stop the program that has it, or name its "
                     "folder by --webroot",
                     port, strerror(errno));
}

static bool open_port(struct http01 *http01, int port, char *error, size_t size)
{
    const struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                         .sin6_port = htons((uint16_t)port)};
    const int one = 1, zero = 0;
    const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fail_port(port, error, size);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, BACKLOG) != 0) {
        fail_port(port, error, size);
        close(fd);
        return false;
    }
    http01->fd = fd;
    return true;
}

bool http01_start(struct http01 *http01, const char *webroot, int port, char *error, size_t size)
{
    *http01 = (struct http01){.webroot = webroot, .fd = -1};
    pthread_mutex_init(&http01->lock, NULL);
    if (webroot)
        return true;
    if (!open_port(http01, port, error, size))
        return false;
    if (pthread_create(&http01->thread, NULL, run, http01) == 0)
        return true;
    close(http01->fd);
    http01->fd = -1;
    return cert_fail(error, size, "no thread can be started: try again");
}

void http01_stop(struct http01 *http01)
{
    if (http01->fd >= 0) {
        shutdown(http01->fd, SHUT_RDWR);
        pthread_join(http01->thread, NULL);
        close(http01->fd);
    }
    pthread_mutex_destroy(&http01->lock);
}

static bool file_of(const struct http01 *http01, const char *token,
                    char path[static CERT_PATH_MAX_BYTES])
{
    const int n =
        snprintf(path, CERT_PATH_MAX_BYTES, "%s" HTTP01_PATH "%s", http01->webroot, token);

    return n >= 0 && n < CERT_PATH_MAX_BYTES;
}

// For a web server of another user: folders that it may enter, and a file that it may read.
static bool write_file(const struct http01 *http01, const struct acme_challenge *challenge)
{
    char path[CERT_PATH_MAX_BYTES], error[CERT_ERROR_BYTES];

    if (!file_of(http01, challenge->token, path))
        return false;
    for (char *slash = path + strlen(http01->webroot) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(path, 0755) == 0)
            chmod(path, 0755); // whatever the umask
        *slash = '/';
    }
    return cert_file_replace(path, challenge->authorization, strlen(challenge->authorization), 0644,
                             error, sizeof error);
}

bool http01_show(const struct acme_challenge *challenge, void *data)
{
    struct http01 *http01 = data;

    if (http01->webroot)
        return write_file(http01, challenge);
    if (strlen(challenge->token) >= HTTP01_ANSWER_BYTES ||
        strlen(challenge->authorization) >= HTTP01_ANSWER_BYTES)
        return false;
    pthread_mutex_lock(&http01->lock);
    strcpy(http01->token, challenge->token);
    strcpy(http01->answer, challenge->authorization);
    pthread_mutex_unlock(&http01->lock);
    return true;
}

void http01_hide(const struct acme_challenge *challenge, void *data)
{
    struct http01 *http01 = data;
    char path[CERT_PATH_MAX_BYTES];

    if (http01->webroot) {
        if (file_of(http01, challenge->token, path))
            unlink(path);
        return;
    }
    pthread_mutex_lock(&http01->lock);
    http01->token[0] = http01->answer[0] = '\0';
    pthread_mutex_unlock(&http01->lock);
}
