// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/http01.h"

#include "certgen/file.h"
#include "certgen/paths.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX_BYTES 4096
#define BACKLOG 64
#define TICK_MS 100 // between looks at who has waited for too long

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

// --- Those who ask: the first of a table, in the order in which they came. ---

struct asker {
    int fd;
    int64_t end_ms;
    size_t len;
    char request[REQUEST_MAX_BYTES];
};

struct askers {
    size_t count;
    struct asker all[HTTP01_CONNECTIONS_MAX];
};

static void remove_asker(struct askers *askers, size_t i)
{
    close(askers->all[i].fd);
    askers->count--;
    memmove(&askers->all[i], &askers->all[i + 1], (askers->count - i) * sizeof askers->all[0]);
}

// When the table is full, who has waited for the longest makes room: an authority asks at once.
static void add_asker(struct askers *askers, int fd)
{
    struct asker *asker;

    if (askers->count == HTTP01_CONNECTIONS_MAX)
        remove_asker(askers, 0);
    asker = &askers->all[askers->count++];
    asker->fd = fd;
    asker->end_ms = now_ms() + HTTP01_CONNECTION_LIMIT_MS;
    asker->len = 0;
    asker->request[0] = '\0';
}

static void answer(struct http01 *http01, const struct asker *asker)
{
    char answer[HTTP01_ANSWER_BYTES], text[HTTP01_ANSWER_BYTES + 256];
    int len;

    http01_answer(http01, asker->request, answer);
    len = snprintf(text, sizeof text,
                   "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                   "Connection: close\r\n\r\n%s",
                   *answer ? "200 OK" : "404 Not Found", strlen(answer), answer);
    if (send(asker->fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) == len) // fits its buffer
        shutdown(asker->fd, SHUT_WR);
}

// Reads what has come. True until the head has ended, is too long, or nothing comes any more.
static bool read_more(struct asker *asker)
{
    const size_t room = REQUEST_MAX_BYTES - 1 - asker->len;
    const ssize_t n = recv(asker->fd, asker->request + asker->len, room, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    asker->len += (size_t)n;
    asker->request[asker->len] = '\0';
    return n > 0 && (size_t)n < room && !strstr(asker->request, "\r\n\r\n");
}

// From the last to the first, as those who go make room.
static void serve(struct http01 *http01, struct askers *askers, const struct pollfd *fds)
{
    for (size_t i = askers->count; i-- > 0;) {
        struct asker *asker = &askers->all[i];

        if (fds[i].revents ? read_more(asker) : now_ms() < asker->end_ms)
            continue;
        if (fds[i].revents)
            answer(http01, asker);
        remove_asker(askers, i);
    }
}

// False when the port was shut down by http01_stop.
static bool accept_asker(struct http01 *http01, struct askers *askers)
{
    const int fd = accept4(http01->fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0)
        add_asker(askers, fd);
    else if (errno == EINVAL)
        return false;
    else if (errno != ECONNABORTED && errno != EINTR && errno != EAGAIN)
        usleep(100 * 1000); // out of descriptors or memory
    return true;
}

static void *run(void *data)
{
    struct http01 *http01 = data;
    struct askers *askers = http01->askers;
    struct pollfd fds[HTTP01_CONNECTIONS_MAX + 1];
    bool open = true;

    while (open) {
        const size_t count = askers->count;

        for (size_t i = 0; i < count; i++)
            fds[i] = (struct pollfd){.fd = askers->all[i].fd, .events = POLLIN};
        fds[count] = (struct pollfd){.fd = http01->fd, .events = POLLIN};
        if (poll(fds, count + 1, count > 0 ? TICK_MS : -1) < 0)
            continue;
        serve(http01, askers, fds);
        if (fds[count].revents)
            open = accept_asker(http01, askers);
    }
    while (askers->count > 0)
        remove_asker(askers, 0);
    return NULL;
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
    http01->askers = calloc(1, sizeof *http01->askers);
    if (http01->askers && pthread_create(&http01->thread, NULL, run, http01) == 0)
        return true;
    free(http01->askers);
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
        free(http01->askers);
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
