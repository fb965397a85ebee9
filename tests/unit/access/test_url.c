// SPDX-License-Identifier: BSD-3-Clause
#include "access/url.h"

#include "access_rig.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

// --- By itself

static const struct {
    const char *from, *to;
    long status;
    bool complete, followed;
} redirects[] = {
    {"http://a/", "http://b/", 307, true, true},
    {"http://a/", "http://b/", 308, true, true},
    {"http://a/", "https://b/", 307, true, true},
    {"https://a/", "https://b/", 307, true, true},
    {"https://a/", "http://b/", 307, true, false}, // anybody on the way could have answered there
    {"https://a/", "http://b/", 308, true, false},
    {"http://a/", "http://b/", 303, true, false}, // would be a GET
    {"http://a/", "http://b/", 301, true, false},
    {"http://a/", "http://b/", 200, true, false},
    {"http://a/", "http://b/", 307, false, false},
    {"http://a/", "", 307, true, false},
    {"http://a/", "file:///etc/passwd", 307, true, false},
    {"http://a/", "ftp://b/", 307, true, false},
};

static void test_follow(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(redirects); i++) {
        struct fetch_request request = {.body = "asked"};
        struct fetch_result result = {.complete = redirects[i].complete,
                                      .status = redirects[i].status};
        bool followed;

        strcpy(request.url, redirects[i].from);
        strcpy(result.redirect, redirects[i].to);
        followed = url_follow(&request, &result);
        if (followed != redirects[i].followed)
            fail_msg("row %zu", i);
        assert_string_equal(request.url, followed ? redirects[i].to : redirects[i].from);
        assert_string_equal(request.body, "asked");
    }
}

// --- Asked

#define BLANKS_64 "                                                                "
#define BLANKS_512 BLANKS_64 BLANKS_64 BLANKS_64 BLANKS_64 BLANKS_64 BLANKS_64 BLANKS_64 BLANKS_64
#define FIVE_KIB                                                                            \
    BLANKS_512 BLANKS_512 BLANKS_512 BLANKS_512 BLANKS_512 BLANKS_512 BLANKS_512 BLANKS_512 \
        BLANKS_512 BLANKS_512

static const struct {
    const char *reply;
    enum access_verdict strict, open; // without and with fail-open
    enum access_reason reason;
} urls[] = {
    {ALLOW, ACCESS_ALLOWED, ACCESS_ALLOWED, ACCESS_MEMBER},
    {DENY, ACCESS_REFUSED, ACCESS_REFUSED, ACCESS_NOT_MEMBER},
    {OK("14\r\nContent-Type: text/plain\r\n\r\n{\"allow\":true}"), ACCESS_ALLOWED, ACCESS_ALLOWED,
     ACCESS_MEMBER},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: "
     "chunked\r\n\r\n4\r\n{\"Al\r\na\r\nlow\":true}\r\n0\r\n\r\n",
     ACCESS_ALLOWED, ACCESS_ALLOWED, ACCESS_MEMBER},
    {"HTTP/1.0 200 OK\r\n\r\n{\"Allow\":true}", ACCESS_ALLOWED, ACCESS_ALLOWED, ACCESS_MEMBER},
    {"HTTP/1.1 100 Continue\r\n\r\n" ALLOW, ACCESS_ALLOWED, ACCESS_ALLOWED, ACCESS_MEMBER},
    {OK("2\r\n\r\n{}"), ACCESS_REFUSED, ACCESS_REFUSED, ACCESS_NOT_MEMBER},
    {OK("30\r\n\r\n{\"Allow\":true,\"Allow\":false}  "), ACCESS_REFUSED, ACCESS_REFUSED,
     ACCESS_NOT_MEMBER},
    {OK("16\r\n\r\n{\"Allow\":\"true\"}"), ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
    {OK("11\r\n\r\n{\"Allow\":1}"), ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
    {OK("6\r\n\r\n[true]"), ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
    {OK("13\r\n\r\n<html></html>"), ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
    {EMPTY("200 OK"), ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
    // More than is read: an answer that is whole before that counts, one that is not does not.
    {"HTTP/1.0 200 OK\r\n\r\n{\"Allow\":true}" FIVE_KIB, ACCESS_ALLOWED, ACCESS_ALLOWED,
     ACCESS_MEMBER},
    {"HTTP/1.0 200 OK\r\n\r\n" FIVE_KIB "{\"Allow\":true}", ACCESS_UNANSWERED, ACCESS_UNANSWERED,
     ACCESS_BAD_ANSWER},
    // A body that is cut, also one that looks whole.
    {OK("20\r\n\r\n{\"Allow\":true}"), ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
    {OK("14\r\n\r\n{\"Allow\":t"), ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
    {EMPTY("500 Oops"), ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_STATUS},
    {EMPTY("403 Forbidden"), ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_STATUS},
    {"HTTP/1.1 201 OK\r\nContent-Length: 14\r\n\r\n{\"Allow\":true}", ACCESS_UNANSWERED,
     ACCESS_UNANSWERED, ACCESS_BAD_STATUS},
    {"HTTP/1.1 302 Found\r\nLocation: /verify\r\nContent-Length: 0\r\n\r\n", ACCESS_UNANSWERED,
     ACCESS_UNANSWERED, ACCESS_BAD_STATUS},
    {"HTTP/1.1 307 Temporary\r\nLocation: /verify\r\nContent-Length: 0\r\n\r\n", ACCESS_UNANSWERED,
     ACCESS_UNANSWERED, ACCESS_BAD_REDIRECT},
    {EMPTY("308 Permanent"), ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_REDIRECT},
    {"HTTP/1.1 307 T\r\nLocation: http://127.0.0.1:99999/\r\nContent-Length: 0\r\n\r\n",
     ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_REDIRECT},
    {"HTTP/1.1 307 T\r\nLocation: http://[::1/\r\nContent-Length: 0\r\n\r\n", ACCESS_UNANSWERED,
     ACCESS_UNANSWERED, ACCESS_BAD_REDIRECT},
    {"HTTP/1.1 307 T\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
     ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_REDIRECT},
    // No answer: these are what fail-open is about.
    {"", ACCESS_UNANSWERED, ACCESS_ALLOWED, ACCESS_CUT},
    {"HTTP/1.1 200 OK\r\nContent-Le", ACCESS_UNANSWERED, ACCESS_ALLOWED, ACCESS_CUT},
    {"HTTP/1.1 100 Continue\r\n\r\n", ACCESS_UNANSWERED, ACCESS_ALLOWED, ACCESS_CUT},
    {"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 200 O", ACCESS_UNANSWERED,
     ACCESS_ALLOWED, ACCESS_CUT},
    {"noise\n", ACCESS_UNANSWERED, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
};

static void test_url_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4 * COUNT(urls); i++) {
        const size_t row = i / 4;
        const bool open = i % 2;
        const enum access_verdict expected = open ? urls[row].open : urls[row].strict;
        static struct fake_server server;
        struct access *access;
        enum access_verdict verdict;

        server = (struct fake_server){
            .respond = respond_text, .data = (char *)urls[row].reply, .slow = i % 4 >= 2};
        if (server.slow && strlen(urls[row].reply) > 1000)
            continue;
        fake_server_start_tcp(&server);
        access = make_url(server.url, open, 60000);
        verdict = ask(access, 1);
        if (verdict != expected)
            fail_msg("row %zu, fail-open %d: %s", row, open, access_verdict_name(verdict));
        assert_answered(access, urls[row].reason, 1);
        end(access);
        fake_server_stop(&server);
    }
}

static void test_url_request(void **state)
{
    static struct fake_server server;
    const struct key key = {{1, 0x0d, 0x0c, 0x0b, 0x0a}};
    struct access *access;
    char name[KEY_NAME_CHARS + 1], body[160];

    (void)state;
    key_name(&key, name);
    serve_url(&server, ALLOW);
    access = make_url(server.url, false, 0);
    assert_int_equal(ask(access, 0x0a0b0c0d), ACCESS_ALLOWED);
    assert_int_equal(strncmp(server.last_request, "POST /verify HTTP/1.1\r\n", 23), 0);
    assert_non_null(strstr(server.last_request, "\r\nContent-Type: application/json\r\n"));
    snprintf(body, sizeof body, "\r\n\r\n{\"NodePublic\":\"%s\",\"Source\":\"" ADDRESS "\"}", name);
    assert_non_null(strstr(server.last_request, body));
    end(access);
    fake_server_stop(&server);
}

#define HEAD_WITHOUT_END_BYTES (FETCH_HEAD_MAX_BYTES + 16384)

// It is not read to its end, and so is no silence.
static void test_url_head_without_end(void **state)
{
    static const char line[] = "X-Padding: and so on\r\n";
    static char head[HEAD_WITHOUT_END_BYTES];
    static struct fake_server server;
    struct access *access;

    (void)state;
    strcpy(head, "HTTP/1.1 200 OK\r\n");
    for (size_t at = strlen(head); at + sizeof line <= sizeof head; at += sizeof line - 1)
        strcpy(head + at, line);
    serve_url(&server, head);
    access = make_url(server.url, true, 0);
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    assert_answered(access, ACCESS_BAD_ANSWER, 1);
    end(access);
    fake_server_stop(&server);
}

static const char *respond_redirect(const char *request, void *data)
{
    static const char *const steps[] = {"POST /verify ", "POST /two ", "POST /three "};
    static const char *const replies[] = {
        "HTTP/1.1 307 T\r\nLocation: /two\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 308 P\r\nLocation: three\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        ALLOW,
    };

    (void)data;
    for (size_t i = 0; i < COUNT(steps); i++)
        if (strncmp(request, steps[i], strlen(steps[i])) == 0 && strstr(request, "NodePublic"))
            return replies[i];
    return EMPTY("404 Not Found");
}

static void test_url_redirect(void **state)
{
    static struct fake_server server;
    struct access *access;

    (void)state;
    server = (struct fake_server){.respond = respond_redirect};
    fake_server_start_tcp(&server);
    access = make_url(server.url, false, 0);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    assert_int_equal(server.requests, 3);
    end(access);
    fake_server_stop(&server);
}

static void test_url_unreachable(void **state)
{
    char url[64];
    uint16_t port;
    const int fd = loopback_bind(&port, 0); // nobody listens

    (void)state;
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", port);
    for (int open = 0; open < 2; open++) {
        struct access *access = make_url(url, open, 0);

        assert_int_equal(ask(access, 1), open ? ACCESS_ALLOWED : ACCESS_UNANSWERED);
        assert_answered(access, ACCESS_UNREACHABLE, 1);
        assert_int_equal(counter_read(&access_counters(access)->failed_open), open);
        end(access);
    }
    close(fd);
}

// A URL of https where the greeting gets no TLS for an answer.
static void test_url_tls_fails(void **state)
{
    static struct fake_server server;
    struct access *access;
    char url[70];

    (void)state;
    server = (struct fake_server){.respond = respond_text, .data = ALLOW, .greets = true};
    fake_server_start_tcp(&server);
    snprintf(url, sizeof url, "https%.60s", server.url + 4);
    access = make_url(url, false, 0);
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    assert_answered(access, ACCESS_TLS_FAILED, 1);
    end(access);
    fake_server_stop(&server);
}

// How often `words` stand in what is logged while a source fails every other time.
static int told_while_failing(const char *words)
{
    const char *path = in_folder("log");
    const int real_stderr = dup(STDERR_FILENO);
    static struct fake_server server;
    struct access *access;
    char line[1024];
    FILE *file = fopen(path, "w+");
    int times = 0;

    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    server = (struct fake_server){.respond = respond_text};
    fake_server_start_tcp(&server);
    access = make_url(server.url, false, 0);
    for (uint32_t i = 0; i < 100; i++) {
        server.data = i % 2 ? ALLOW : EMPTY("500 Oops");
        ask(access, i);
    }
    end(access);
    fake_server_stop(&server);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    rewind(file);
    while (fgets(line, sizeof line, file))
        times += strstr(line, words) != NULL;
    fclose(file);
    return times;
}

static void test_log_of_a_failing_url(void **state)
{
    (void)state;
    assert_int_equal(told_while_failing("answers again"), 1);
    assert_int_equal(told_while_failing("answered with HTTP status 500"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_answers),          cmocka_unit_test(test_url_request),
        cmocka_unit_test(test_url_head_without_end), cmocka_unit_test(test_url_redirect),
        cmocka_unit_test(test_url_unreachable),      cmocka_unit_test(test_url_tls_fails),
        cmocka_unit_test(test_log_of_a_failing_url), cmocka_unit_test(test_follow),
    };
    return cmocka_run_group_tests(tests, access_group_setup, access_group_teardown);
}
