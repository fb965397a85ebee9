// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/http01.h"

#include "material.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
#define GET "GET " HTTP01_PATH

static const struct acme_challenge challenge = {ACME_HTTP_01, "a.test", TOKEN, TOKEN ".thumb"};

// A port that was free a moment ago.
static int free_port(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    socklen_t len = sizeof address;
    const int fd = socket(AF_INET6, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin6_port);
}

static int dial(int port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void ask(int port, const char *request, char *answer, size_t size)
{
    const int fd = dial(port);
    size_t len = 0;
    ssize_t n;

    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    while (len < size - 1 && (n = recv(fd, answer + len, size - 1 - len, 0)) > 0)
        len += (size_t)n;
    answer[len] = '\0';
    close(fd);
}

static void test_port(void **state)
{
    struct http01 http01, second;
    char error[CERT_ERROR_BYTES], answer[1024];
    const int port = free_port();

    (void)state;
    assert_true(http01_start(&http01, NULL, port, error, sizeof error));
    assert_false(http01_start(&second, NULL, port, error, sizeof error));
    assert_sentence(error, (const char *const[]){"--webroot", NULL});
    ask(port, GET TOKEN " HTTP/1.1\r\n\r\n", answer, sizeof answer);
    assert_non_null(strstr(answer, " 404 "));
    assert_true(http01_show(&challenge, &http01));
    ask(port, GET TOKEN " HTTP/1.1\r\nHost: a.test\r\n\r\n", answer, sizeof answer);
    assert_non_null(strstr(answer, " 200 "));
    assert_non_null(strstr(answer, "\r\n\r\n" TOKEN ".thumb"));
    http01_hide(&challenge, &http01);
    ask(port, GET TOKEN " HTTP/1.1\r\n\r\n", answer, sizeof answer);
    assert_non_null(strstr(answer, " 404 "));
    http01_stop(&http01);
}

// Nobody who says nothing, or slowly, keeps others out, however many they are.
static void test_silent_connection(void **state)
{
    struct http01 http01;
    char error[CERT_ERROR_BYTES], answer[1024];
    const int port = free_port();
    struct timespec before, after;
    int silent[2 * HTTP01_CONNECTIONS_MAX];

    (void)state;
    assert_true(http01_start(&http01, NULL, port, error, sizeof error));
    http01_show(&challenge, &http01);
    for (size_t i = 0; i < COUNT(silent); i++) {
        silent[i] = dial(port);
        assert_int_equal(send(silent[i], "GET ", 4, 0), 4);
    }
    clock_gettime(CLOCK_MONOTONIC, &before);
    ask(port, GET TOKEN " HTTP/1.1\r\n\r\n", answer, sizeof answer);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_non_null(strstr(answer, TOKEN ".thumb"));
    assert_true(after.tv_sec - before.tv_sec < HTTP01_CONNECTION_LIMIT_MS / 1000);
    for (size_t i = 0; i < COUNT(silent); i++)
        close(silent[i]);
    http01_stop(&http01);
}

// One that stays silent is closed, and one that comes in pieces is answered.
static void test_slow_connections(void **state)
{
    struct http01 http01;
    char error[CERT_ERROR_BYTES], byte, answer[1024] = "";
    const int port = free_port();
    const char *request = GET TOKEN " HTTP/1.1\r\n\r\n";
    int silent, slow;

    (void)state;
    assert_true(http01_start(&http01, NULL, port, error, sizeof error));
    http01_show(&challenge, &http01);
    silent = dial(port);
    slow = dial(port);
    for (; *request; request++) {
        assert_int_equal(send(slow, request, 1, 0), 1);
        usleep(1000);
    }
    assert_true(recv(slow, answer, sizeof answer - 1, MSG_WAITALL) > 0);
    assert_non_null(strstr(answer, TOKEN ".thumb"));
    assert_int_equal(recv(silent, &byte, 1, 0), 0);
    close(silent);
    close(slow);
    http01_stop(&http01);
}

static void test_requests(void **state)
{
    static const char *const refused[] = {
        "",
        "GET / HTTP/1.1\r\n\r\n",
        "HEAD " HTTP01_PATH TOKEN " HTTP/1.1\r\n\r\n",
        GET TOKEN,
        GET TOKEN "x HTTP/1.1\r\n\r\n",
        GET "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ HTTP/1.1\r\n\r\n",
        GET " HTTP/1.1\r\n\r\n",
    };
    struct http01 http01 = {.fd = -1, .token = TOKEN, .answer = TOKEN ".thumb"};
    char answer[HTTP01_ANSWER_BYTES];

    (void)state;
    pthread_mutex_init(&http01.lock, NULL);
    for (size_t i = 0; i < COUNT(refused); i++) {
        http01_answer(&http01, refused[i], answer);
        assert_string_equal(answer, "");
    }
    http01_answer(&http01, GET TOKEN " HTTP/1.0\r\n\r\n", answer);
    assert_string_equal(answer, TOKEN ".thumb");
    http01.token[0] = '\0';
    http01_answer(&http01, GET " HTTP/1.1\r\n\r\n", answer);
    assert_string_equal(answer, "");
    pthread_mutex_destroy(&http01.lock);
}

static void test_webroot(void **state)
{
    struct http01 http01;
    char error[CERT_ERROR_BYTES], folder[FOLDER_BYTES], path[PATH_BYTES * 2], text[64];
    const mode_t mask = umask(077);
    struct stat st;
    FILE *file;

    (void)state;
    folder_make(folder);
    assert_true(http01_start(&http01, folder, 0, error, sizeof error));
    assert_true(http01_show(&challenge, &http01));
    snprintf(path, sizeof path, "%s" HTTP01_PATH TOKEN, folder);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    assert_string_equal(text, TOKEN ".thumb");
    fclose(file);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    snprintf(path, sizeof path, "%s/.well-known", folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    http01_hide(&challenge, &http01);
    snprintf(path, sizeof path, "%s" HTTP01_PATH TOKEN, folder);
    assert_int_not_equal(stat(path, &st), 0);
    http01_stop(&http01);
    umask(mask);
    snprintf(path, sizeof path, "%s/.well-known/acme-challenge", folder);
    assert_int_equal(rmdir(path), 0);
    snprintf(path, sizeof path, "%s/.well-known", folder);
    assert_int_equal(rmdir(path), 0);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_port),
        cmocka_unit_test(test_silent_connection),
        cmocka_unit_test(test_slow_connections),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_webroot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
