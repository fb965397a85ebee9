// SPDX-License-Identifier: BSD-3-Clause
//
// The whole room against servers that answer well, badly, late, or not at all.
#include "access/access.h"

#include "../support/fake_server.h"
#include "../support/loopback.h"
#include "access/health.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADDRESS "192.0.2.7"
#define OK(body) "HTTP/1.1 200 OK\r\nContent-Length: " body
#define ALLOW OK("14\r\n\r\n{\"Allow\":true}")
#define DENY OK("15\r\n\r\n{\"Allow\":false}")
#define EMPTY(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\n\r\n"
#define LATE_MS (ACCESS_LIMIT_MS + 4500) // for a busy machine; a login may take twice the limit
#define SOON_MS 20000

static uv_loop_t loop;
static char folder[] = "/tmp/access-XXXXXX";

struct asker {
    struct access_ask ask;
    int verdict; // -1 = none yet
    uint64_t took_ms;
    uint64_t begun_ms;
};

static void on_verdict(struct access_ask *ask, enum access_verdict verdict)
{
    struct asker *asker = list_entry(ask, struct asker, ask);

    assert_int_equal(asker->verdict, -1);
    asker->verdict = (int)verdict;
    asker->took_ms = clock_ms() - asker->begun_ms;
}

static void begin_with(struct access *access, struct asker *asker, uint32_t who,
                       const struct access_past *past)
{
    struct key key = {{1}};

    memcpy(key.bytes + 1, &who, sizeof who);
    asker->verdict = -1;
    asker->begun_ms = clock_ms();
    access_ask(access, &asker->ask, &key, ADDRESS, past, on_verdict);
}

static void begin(struct access *access, struct asker *asker, uint32_t who)
{
    begin_with(access, asker, who, NULL);
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

static void await(const struct asker *asker)
{
    while (asker->verdict < 0) {
        assert_true(clock_ms() - asker->begun_ms < LATE_MS);
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static enum access_verdict ask(struct access *access, uint32_t who)
{
    struct asker asker;

    begin(access, &asker, who);
    await(&asker);
    return (enum access_verdict)asker.verdict;
}

// Whether the client that came in by `past` may stay.
static enum access_verdict ask_again(struct access *access, uint32_t who, struct access_past *past)
{
    struct asker asker;

    begin_with(access, &asker, who, past);
    await(&asker);
    *past = asker.ask.past;
    return (enum access_verdict)asker.verdict;
}

static struct access *make(struct access_config config)
{
    char error[512] = "";
    struct access *access;

    config.loop = &loop;
    access = access_new(&config, error, sizeof error);
    assert_string_equal(error, "");
    return access;
}

static void end(struct access *access)
{
    assert_int_equal(counter_read(&access_counters(access)->pending), 0);
    for (size_t i = 0; access_source(access, i); i++) {
        assert_int_equal(counter_read(&access_source(access, i)->counters.open), 0);
        assert_int_equal(counter_read(&access_source(access, i)->counters.waiting), 0);
    }
    access_close(access);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); // nothing is left open
}

static struct access *make_url(const char *url, bool fail_open, uint64_t grace_ms)
{
    static const char *urls[1];

    urls[0] = url;
    return make((struct access_config){
        .urls = urls, .url_count = 1, .fail_open = fail_open, .grace_ms = grace_ms});
}

static struct access *make_agent(const char *path, uint64_t grace_ms)
{
    static const char *sockets[1];

    sockets[0] = path;
    return make(
        (struct access_config){.sockets = sockets, .socket_count = 1, .grace_ms = grace_ms});
}

static const char *in_folder(const char *name)
{
    static char path[4][100];
    static unsigned next;
    char *out = path[next++ % 4];

    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

static void assert_answered(const struct access *access, enum access_reason reason, int64_t times)
{
    for (int i = 0; i < ACCESS_REASONS; i++) {
        const int64_t n = counter_read(&access_source(access, 0)->counters.answers[i]);

        if (n != ((enum access_reason)i == reason ? times : 0))
            fail_msg("%s: %d", access_reason_name((enum access_reason)i), (int)n);
    }
}

// --- An agent ---

struct agent {
    const char *whois, *status;
};

static const char *respond_agent(const char *request, void *data)
{
    const struct agent *agent = data;

    if (!strstr(request, "Host: local-tailscaled.sock\r\n"))
        return EMPTY("403 Forbidden");
    if (strncmp(request, "GET /localapi/v0/whois?addr=nodekey:01", 38) == 0)
        return agent->whois;
    if (strncmp(request, "GET /localapi/v0/status?peers=false ", 36) == 0)
        return agent->status;
    return EMPTY("400 Bad Request");
}

#define RUNNING OK("26\r\n\r\n{\"BackendState\":\"Running\"}")
#define ONLINE(online) \
    "HTTP/1.0 200 OK\r\n\r\n{\"BackendState\":\"Running\",\"Self\":{\"Online\":" online "}}"
#define NEEDS_LOGIN OK("29\r\n\r\n{\"BackendState\":\"NeedsLogin\"}")
#define UNKNOWN "HTTP/1.1 404 Not Found\r\nContent-Length: 20\r\n\r\nno match for IP:port"

static const struct {
    struct agent agent;
    enum access_verdict verdict;
    enum access_reason reason;
} agents[] = {
    {{OK("2\r\n\r\n{}"), NULL}, ACCESS_ALLOWED, ACCESS_MEMBER},
    {{OK("3000\r\n\r\n{"), NULL}, ACCESS_ALLOWED, ACCESS_MEMBER},
    {{UNKNOWN, RUNNING}, ACCESS_REFUSED, ACCESS_NOT_MEMBER},
    {{UNKNOWN, ONLINE("true")}, ACCESS_REFUSED, ACCESS_NOT_MEMBER},
    {{UNKNOWN, ONLINE("null")}, ACCESS_REFUSED, ACCESS_NOT_MEMBER},
    {{UNKNOWN, ONLINE("false")}, ACCESS_UNANSWERED, ACCESS_OFFLINE},
    {{UNKNOWN, NEEDS_LOGIN}, ACCESS_UNANSWERED, ACCESS_NOT_RUNNING},
    {{UNKNOWN, EMPTY("500 Oops")}, ACCESS_UNANSWERED, ACCESS_BAD_STATUS},
    {{UNKNOWN, OK("4\r\n\r\nnope")}, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
    {{UNKNOWN, OK("2\r\n\r\n{}")}, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
    {{UNKNOWN, EMPTY("200 OK")}, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
    {{UNKNOWN, ""}, ACCESS_UNANSWERED, ACCESS_CUT}, // it restarts
    {{UNKNOWN, OK("26\r\n\r\n{\"Backend")}, ACCESS_UNANSWERED, ACCESS_CUT},
    {{EMPTY("400 Bad Request"), NULL}, ACCESS_UNANSWERED, ACCESS_TOO_OLD},
    {{EMPTY("403 Forbidden"), NULL}, ACCESS_UNANSWERED, ACCESS_NOT_PERMITTED},
    {{EMPTY("500 Oops"), NULL}, ACCESS_UNANSWERED, ACCESS_BAD_STATUS},
    {{EMPTY("302 Found"), NULL}, ACCESS_UNANSWERED, ACCESS_BAD_STATUS},
    {{"", NULL}, ACCESS_UNANSWERED, ACCESS_CUT},
    {{"HTTP/1.1 200 OK\r\nContent-", NULL}, ACCESS_UNANSWERED, ACCESS_CUT},
    {{"noise\n", NULL}, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
    {{"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n", NULL}, ACCESS_UNANSWERED, ACCESS_BAD_ANSWER},
};

static void test_agent_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(agents); i++) {
        const size_t row = i / 2;
        struct agent agent = agents[row].agent;
        static struct fake_server server;
        struct access *access;
        enum access_verdict verdict;

        server = (struct fake_server){.respond = respond_agent, .data = &agent, .slow = i % 2};
        fake_server_start_unix(&server, in_folder("agent"));
        access = make_agent(server.path, 60000);
        verdict = ask(access, 1);
        if (verdict != agents[row].verdict)
            fail_msg("row %zu: %s", row, access_verdict_name(verdict));
        assert_answered(access, agents[row].reason, 1);
        end(access);
        fake_server_stop(&server);
    }
}

// It has come up between the questions about the key and how it is.
static const char *respond_starting(const char *request, void *data)
{
    static struct agent member = {EMPTY("200 OK"), NULL}, starting = {UNKNOWN, RUNNING};
    struct fake_server *server = data;

    return respond_agent(request, server->requests < 3 ? &starting : &member);
}

static void test_agent_starts_meanwhile(void **state)
{
    static struct fake_server server;
    struct access *access;

    (void)state;
    server = (struct fake_server){.respond = respond_starting, .data = &server};
    fake_server_start_unix(&server, in_folder("starting"));
    access = make_agent(server.path, 0);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    assert_int_equal(server.requests, 3);
    assert_answered(access, ACCESS_MEMBER, 1);
    end(access);
    fake_server_stop(&server);
}

static void test_agent_absent(void **state)
{
    static struct fake_server server;
    struct agent agent = {.whois = EMPTY("200 OK")};
    struct access *access = make_agent(in_folder("gone"), 0);

    (void)state;
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    assert_answered(access, ACCESS_NO_SOCKET, 1);
    end(access);

    // A socket that stayed behind, and then a fresh start: nothing has to be told to the relay.
    server = (struct fake_server){.respond = respond_agent, .data = &agent};
    fake_server_start_unix(&server, in_folder("stale"));
    fake_server_stop(&server);
    access = make_agent(in_folder("stale"), 0);
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    assert_answered(access, ACCESS_NOT_LISTENING, 1);
    server = (struct fake_server){.respond = respond_agent, .data = &agent};
    fake_server_start_unix(&server, in_folder("stale"));
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    end(access);
    fake_server_stop(&server);
}

// --- A URL ---

static const char *respond_text(const char *request, void *data)
{
    (void)request;
    return data;
}

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
    server = (struct fake_server){.respond = respond_text, .data = ALLOW};
    fake_server_start_tcp(&server);
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
    server = (struct fake_server){.respond = respond_text, .data = head};
    fake_server_start_tcp(&server);
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

// --- Several sources, several checks ---

// The metrics tell them apart.
static void test_names(void **state)
{
    static const char *const given[] = {"http://127.0.0.1/verify?net=a", "http://127.0.0.1/verify",
                                        "http://127.0.0.1/", "http://x@127.0.0.1/verify?net=b"};
    const char *sockets[] = {in_folder("one"), in_folder("two")};
    struct access *access = make((struct access_config){
        .urls = given, .url_count = COUNT(given), .sockets = sockets, .socket_count = 2});

    (void)state;
    assert_string_equal(access_source(access, 0)->name, sockets[0]);
    assert_string_equal(access_source(access, 2)->name, "http://127.0.0.1/verify");
    assert_string_equal(access_source(access, 3)->name, "http://127.0.0.1/verify (2)");
    assert_string_equal(access_source(access, 4)->name, "http://127.0.0.1/");
    assert_string_equal(access_source(access, 5)->name, "http://127.0.0.1/verify (3)");
    end(access);
}

static void test_any_agent(void **state)
{
    static struct fake_server first, second;
    struct agent stranger = {UNKNOWN, RUNNING}, member = {EMPTY("200 OK"), NULL};
    const char *sockets[] = {in_folder("first"), in_folder("second"), in_folder("third")};
    const struct access_config config = {.sockets = sockets, .socket_count = 3};
    struct access *access;

    (void)state;
    first = (struct fake_server){.respond = respond_agent, .data = &stranger};
    second = (struct fake_server){.respond = respond_agent, .data = &member, .delay_ms = 50};
    fake_server_start_unix(&first, sockets[0]);
    fake_server_start_unix(&second, sockets[1]);
    access = make(config); // nobody behind the third
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    second.data = &stranger;
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    end(access);
    access = make((struct access_config){.sockets = sockets, .socket_count = 2});
    assert_int_equal(ask(access, 1), ACCESS_REFUSED);
    end(access);
    fake_server_stop(&first);
    fake_server_stop(&second);
}

static void write_list(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

#define KEY_1 "nodekey:0101000000000000000000000000000000000000000000000000000000000000\n"
#define KEY_2 "nodekey:0102000000000000000000000000000000000000000000000000000000000000\n"

// Each check must allow, and one that refuses ends it: the next is not asked.
static void test_all_checks(void **state)
{
    static struct fake_server agent, url;
    struct agent stranger = {UNKNOWN, RUNNING}, member = {EMPTY("200 OK"), NULL};
    const char *sockets[] = {in_folder("agent")}, *list = in_folder("list"), *all_urls[1];
    struct access *access;

    (void)state;
    write_list(list, KEY_1);
    agent = (struct fake_server){.respond = respond_agent, .data = &member};
    url = (struct fake_server){.respond = respond_text, .data = ALLOW};
    fake_server_start_unix(&agent, sockets[0]);
    fake_server_start_tcp(&url);
    all_urls[0] = url.url;
    access = make((struct access_config){.allow_keys = list,
                                         .sockets = sockets,
                                         .socket_count = 1,
                                         .urls = all_urls,
                                         .url_count = 1,
                                         .fail_open = true});
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    assert_int_equal(agent.requests, 1);
    assert_int_equal(url.requests, 1);
    assert_int_equal(ask(access, 2), ACCESS_REFUSED);
    assert_int_equal(agent.requests, 1);
    assert_int_equal(counter_read(&access_counters(access)->allow_keys[0]), 1);
    url.data = DENY;
    assert_int_equal(ask(access, 1), ACCESS_REFUSED);
    url.data = ALLOW;
    agent.data = &stranger;
    assert_int_equal(ask(access, 1), ACCESS_REFUSED);
    assert_int_equal(url.requests, 2);
    end(access);
    fake_server_stop(&agent);
    fake_server_stop(&url);
}

// Who passes one check by grace or by fail-open and is refused by the next was not let in by
// either.
static void test_refused_after_all(void **state)
{
    static struct fake_server agent, url;
    struct agent member = {EMPTY("200 OK"), NULL};
    const char *sockets[] = {in_folder("vouched")}, *all_urls[1];
    struct access *access;

    (void)state;
    agent = (struct fake_server){.respond = respond_agent, .data = &member};
    url = (struct fake_server){.respond = respond_text, .data = ALLOW};
    fake_server_start_unix(&agent, sockets[0]);
    fake_server_start_tcp(&url);
    all_urls[0] = url.url;
    access = make((struct access_config){.sockets = sockets,
                                         .socket_count = 1,
                                         .urls = all_urls,
                                         .url_count = 1,
                                         .fail_open = true,
                                         .grace_ms = 60000});
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    fake_server_stop(&agent);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    assert_int_equal(counter_read(&access_counters(access)->graced), 1);
    url.data = DENY;
    assert_int_equal(ask(access, 1), ACCESS_REFUSED);
    assert_int_equal(counter_read(&access_counters(access)->graced), 1);
    assert_int_equal(counter_read(&access_counters(access)->failed_open), 0);
    end(access);
    fake_server_stop(&url);
}

// --- The list ---

static void run_for(uint64_t ms)
{
    const uint64_t until_ms = clock_ms() + ms;
    uv_timer_t timer;

    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_wake, ms, 0);
    while (clock_ms() < until_ms)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void await_verdict(struct access *access, uint32_t who, enum access_verdict verdict)
{
    const uint64_t until_ms = clock_ms() + SOON_MS;

    while (ask(access, who) != verdict) {
        assert_true(clock_ms() < until_ms);
        run_for(50);
    }
}

static void count_removal(void *data)
{
    ++*(int *)data;
}

static void test_list_changes(void **state)
{
    int removals = 0;
    const char *list = in_folder("changing");
    char error[512];
    struct access *access;

    (void)state;
    write_list(list, "x\n");
    assert_null(access_new(&(struct access_config){.loop = &loop, .allow_keys = list}, error,
                           sizeof error));
    assert_non_null(strstr(error, "line 1"));
    write_list(list, KEY_1);
    access = make(
        (struct access_config){.allow_keys = list, .on_removal = count_removal, .data = &removals});
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    assert_int_equal(ask(access, 2), ACCESS_REFUSED);
    write_list(list, KEY_2 "# the other one\n");
    access_reload(access, "test");
    assert_int_equal(removals, 1);
    assert_int_equal(ask(access, 1), ACCESS_REFUSED);
    assert_int_equal(ask(access, 2), ACCESS_ALLOWED);
    write_list(list, KEY_1 "junk\n");
    access_reload(access, "test");
    assert_int_equal(ask(access, 2), ACCESS_ALLOWED); // the present list holds
    write_list(list, KEY_1 KEY_2 "\n\n");
    await_verdict(access, 1, ACCESS_ALLOWED);
    unlink(list);
    run_for(2500); // at least one look
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    assert_int_equal(removals, 1); // none since
    end(access);
}

// Whoever is asked about at a source while its key is taken out is not let in by the old list.
static void test_list_changes_meanwhile(void **state)
{
    static struct fake_server server;
    const char *list = in_folder("meanwhile"), *urls_given[1];
    struct access *access;
    struct asker asker;

    (void)state;
    write_list(list, KEY_1 KEY_2);
    server = (struct fake_server){.respond = respond_text, .data = ALLOW, .delay_ms = 200};
    fake_server_start_tcp(&server);
    urls_given[0] = server.url;
    access = make((struct access_config){.allow_keys = list, .urls = urls_given, .url_count = 1});
    begin(access, &asker, 1);
    write_list(list, KEY_2);
    access_reload(access, "test");
    await(&asker);
    assert_int_equal(asker.verdict, ACCESS_REFUSED);
    assert_int_equal(server.requests, 1);
    end(access);
    fake_server_stop(&server);
}

// --- Grace ---

static void test_grace(void **state)
{
    static struct fake_server server;
    struct agent member = {EMPTY("200 OK"), NULL}, stranger = {UNKNOWN, RUNNING};
    const char *path = in_folder("graced");
    struct access *access;

    (void)state;
    server = (struct fake_server){.respond = respond_agent, .data = &member};
    fake_server_start_unix(&server, path);
    access = make_agent(path, 3000);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    assert_int_equal(ask(access, 3), ACCESS_ALLOWED);
    server.data = &stranger;
    assert_int_equal(ask(access, 3), ACCESS_REFUSED);
    fake_server_stop(&server);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);    // the outage
    assert_int_equal(ask(access, 2), ACCESS_UNANSWERED); // never seen
    assert_int_equal(ask(access, 3), ACCESS_UNANSWERED); // refused meanwhile
    run_for(600);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    run_for(2500); // being let in by grace has not renewed it
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    assert_int_equal(counter_read(&access_counters(access)->graced), 2);
    end(access);
}

static void test_no_grace(void **state)
{
    static struct fake_server server;
    struct agent member = {EMPTY("200 OK"), NULL};
    struct access *access;

    (void)state;
    server = (struct fake_server){.respond = respond_agent, .data = &member};
    fake_server_start_unix(&server, in_folder("strict"));
    access = make_agent(server.path, 0);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    fake_server_stop(&server);
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    end(access);
}

// One agent's silence does not vouch for what another one let in, and now refuses.
static void test_grace_is_of_the_source(void **state)
{
    static struct fake_server first, second;
    struct agent member = {EMPTY("200 OK"), NULL}, stranger = {UNKNOWN, RUNNING};
    const char *sockets[] = {in_folder("a"), in_folder("b")};
    struct access *access;

    (void)state;
    first = (struct fake_server){.respond = respond_agent, .data = &member};
    second = (struct fake_server){.respond = respond_agent, .data = &stranger};
    fake_server_start_unix(&first, sockets[0]);
    fake_server_start_unix(&second, sockets[1]);
    access = make((struct access_config){.sockets = sockets, .socket_count = 2, .grace_ms = 60000});
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    first.data = &stranger;
    fake_server_stop(&second);
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    end(access);
    fake_server_stop(&first);
}

// Nor what one has taken back, whatever another one's silence made of the verdict.
static void test_grace_ends_with_the_no_of_its_source(void **state)
{
    static struct fake_server first, second;
    struct agent member = {EMPTY("200 OK"), NULL}, stranger = {UNKNOWN, RUNNING};
    const char *sockets[] = {in_folder("a"), in_folder("b")};
    struct access *access;

    (void)state;
    first = (struct fake_server){.respond = respond_agent, .data = &member};
    second = (struct fake_server){.respond = respond_agent, .data = &stranger};
    fake_server_start_unix(&first, sockets[0]);
    fake_server_start_unix(&second, sockets[1]);
    access = make((struct access_config){.sockets = sockets, .socket_count = 2, .grace_ms = 60000});
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    fake_server_stop(&second);
    first.data = &stranger;
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    fake_server_stop(&first);
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    end(access);
}

// --- Who is in ---

// Two agents, of which a test says what they answer.
struct pair {
    struct fake_server servers[2];
    struct agent member, stranger, out_of_order;
    struct access *access;
};

static struct pair *pair_start(uint64_t grace_ms)
{
    static struct pair pair;
    const char *sockets[] = {in_folder("a"), in_folder("b")};

    pair.member = (struct agent){EMPTY("200 OK"), NULL};
    pair.stranger = (struct agent){UNKNOWN, RUNNING};
    pair.out_of_order = (struct agent){EMPTY("500 Oops"), NULL};
    for (size_t i = 0; i < COUNT(pair.servers); i++) {
        pair.servers[i] = (struct fake_server){.respond = respond_agent};
        fake_server_start_unix(&pair.servers[i], sockets[i]);
    }
    pair.access =
        make((struct access_config){.sockets = sockets, .socket_count = 2, .grace_ms = grace_ms});
    return &pair;
}

static void pair_answer(struct pair *pair, struct agent *first, struct agent *second)
{
    pair->servers[0].data = first;
    pair->servers[1].data = second;
}

static void pair_stop(struct pair *pair)
{
    end(pair->access);
    for (size_t i = 0; i < COUNT(pair->servers); i++)
        fake_server_stop(&pair->servers[i]);
}

// One that never knew the client keeps nobody by having no answer.
static void test_withdrawn_by_who_vouched(void **state)
{
    struct pair *pair = pair_start(0);
    struct access_past past = {0};

    (void)state;
    pair_answer(pair, &pair->member, &pair->stranger);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_ALLOWED);
    pair_answer(pair, &pair->out_of_order, &pair->out_of_order);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_UNANSWERED); // silence closes nobody
    pair_answer(pair, &pair->out_of_order, &pair->stranger);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_UNANSWERED);
    pair_answer(pair, &pair->stranger, &pair->out_of_order);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_REFUSED);
    assert_int_equal(ask(pair->access, 1), ACCESS_UNANSWERED); // at the door
    pair_stop(pair);
}

// Two have, one after the other: both must take it back, and need not at once.
static void test_withdrawn_by_both(void **state)
{
    struct pair *pair = pair_start(0);
    struct access_past past = {0};

    (void)state;
    pair_answer(pair, &pair->member, &pair->stranger);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_ALLOWED);
    pair_answer(pair, &pair->out_of_order, &pair->member);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_ALLOWED);
    pair_answer(pair, &pair->stranger, &pair->out_of_order);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_UNANSWERED);
    pair_answer(pair, &pair->out_of_order, &pair->stranger);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_REFUSED);
    pair_stop(pair);
}

// Grace counts as the word of whom it is of.
static void test_grace_vouches(void **state)
{
    struct pair *pair = pair_start(60000);
    struct access_past past = {0};

    (void)state;
    pair_answer(pair, &pair->member, &pair->stranger);
    assert_int_equal(ask(pair->access, 1), ACCESS_ALLOWED);
    pair_answer(pair, &pair->out_of_order, &pair->stranger);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_ALLOWED);
    pair_answer(pair, &pair->stranger, &pair->out_of_order);
    assert_int_equal(ask_again(pair->access, 1, &past), ACCESS_REFUSED);
    pair_stop(pair);
}

// Let in by fail-open is not let in by the source.
static void test_fail_open_gives_no_grace(void **state)
{
    static struct fake_server server;
    struct access *access;

    (void)state;
    server = (struct fake_server){.respond = respond_text, .data = ""};
    fake_server_start_tcp(&server);
    access = make_url(server.url, true, 60000);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    server.data = EMPTY("500 Oops");
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    server.data = ALLOW;
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    server.data = EMPTY("500 Oops");
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    end(access);
    fake_server_stop(&server);
}

// Nor do the others that were asked then: fail-open renews nobody's grace.
static void test_fail_open_renews_no_grace(void **state)
{
    static struct fake_server agent, url;
    struct agent member = {EMPTY("200 OK"), NULL}, out_of_order = {EMPTY("500 Oops"), NULL};
    const char *sockets[] = {in_folder("opened")}, *all_urls[1];
    struct access *access;

    (void)state;
    agent = (struct fake_server){.respond = respond_agent, .data = &member};
    url = (struct fake_server){.respond = respond_text, .data = ""};
    fake_server_start_unix(&agent, sockets[0]);
    fake_server_start_tcp(&url);
    all_urls[0] = url.url;
    access = make((struct access_config){.sockets = sockets,
                                         .socket_count = 1,
                                         .urls = all_urls,
                                         .url_count = 1,
                                         .fail_open = true,
                                         .grace_ms = 60000});
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    agent.data = &out_of_order;
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    end(access);
    fake_server_stop(&agent);
    fake_server_stop(&url);
}

// --- Time and crowds ---

static const char *respond_never(const char *request, void *data)
{
    (void)request, (void)data;
    return NULL;
}

// A crowd in front of servers that hang: 64 have been asked about, the rest has not, and nobody is
// in for that, fail-open or not.
#define CROWD 1000

static void test_hanging(void **state)
{
    static struct fake_server agent, url;
    static struct asker at_agent[CROWD], at_url[CROWD];
    struct access *strict, *open;
    int allowed = 0;

    (void)state;
    agent = (struct fake_server){.respond = respond_never};
    url = (struct fake_server){.respond = respond_never};
    fake_server_start_unix(&agent, in_folder("hanging"));
    fake_server_start_tcp(&url);
    strict = make_agent(agent.path, 60000);
    open = make_url(url.url, true, 60000);
    for (uint32_t i = 0; i < CROWD; i++) {
        begin(strict, &at_agent[i], i);
        begin(open, &at_url[i], i);
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        await(&at_agent[i]);
        await(&at_url[i]);
        assert_int_equal(at_agent[i].verdict, ACCESS_UNANSWERED);
        assert_in_range(at_agent[i].took_ms, ACCESS_LIMIT_MS - 20, LATE_MS);
        allowed += at_url[i].verdict == ACCESS_ALLOWED;
    }
    assert_int_equal(allowed, SOURCE_OPEN_MAX);
    assert_int_equal(url.requests, SOURCE_OPEN_MAX);
    assert_int_equal(counter_read(&access_source(strict, 0)->counters.answers[ACCESS_TIMED_OUT]),
                     SOURCE_OPEN_MAX);
    assert_int_equal(counter_read(&access_source(strict, 0)->counters.answers[ACCESS_BUSY]),
                     CROWD - SOURCE_OPEN_MAX);
    // Whoever was in line is not asked about when its time ends, too, in the next moment.
    assert_int_equal(counter_read(&access_source(strict, 0)->counters.durations), SOURCE_OPEN_MAX);
    assert_int_equal(counter_read(&access_source(open, 0)->counters.durations), SOURCE_OPEN_MAX);
    end(strict);
    end(open);
    fake_server_stop(&agent);
    fake_server_stop(&url);
}

// Each counts once, the one that has answered with its answer; and who was asked in vain has taken
// time, too.
static void test_one_of_two_hangs(void **state)
{
    struct pair *pair = pair_start(0);
    struct agent hung = {NULL, NULL};
    const struct source_counters *first = &access_source(pair->access, 0)->counters;
    const struct source_counters *second = &access_source(pair->access, 1)->counters;

    (void)state;
    pair_answer(pair, &pair->stranger, &hung);
    assert_int_equal(ask(pair->access, 1), ACCESS_UNANSWERED);
    assert_answered(pair->access, ACCESS_NOT_MEMBER, 1);
    assert_int_equal(counter_read(&second->answers[ACCESS_TIMED_OUT]), 1);
    assert_int_equal(counter_read(&first->durations), 1);
    assert_int_equal(counter_read(&second->durations), 1);
    assert_true(counter_read(&second->duration_ms_sum) > ACCESS_LIMIT_MS - 500);
    pair_stop(pair);
}

// An agent that hangs takes all the time: the URL behind it is neither asked nor blamed.
static void test_no_time_left(void **state)
{
    static struct fake_server agent, url;
    struct agent member = {EMPTY("200 OK"), NULL}, hung = {NULL, NULL};
    const char *sockets[] = {in_folder("slowly")}, *all_urls[1];
    const struct source_counters *counters;
    struct access *access;

    (void)state;
    agent = (struct fake_server){.respond = respond_agent, .data = &member};
    url = (struct fake_server){.respond = respond_text, .data = ALLOW};
    fake_server_start_unix(&agent, sockets[0]);
    fake_server_start_tcp(&url);
    all_urls[0] = url.url;
    access = make((struct access_config){.sockets = sockets,
                                         .socket_count = 1,
                                         .urls = all_urls,
                                         .url_count = 1,
                                         .fail_open = true,
                                         .grace_ms = 60000});
    counters = &access_source(access, 1)->counters;
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    agent.data = &hung;
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED); // both have vouched for it
    assert_int_equal(counter_read(&counters->answers[ACCESS_BUSY]), 0);
    assert_int_equal(counter_read(&counters->answers[ACCESS_MEMBER]), 1);
    assert_int_equal(url.requests, 1);
    assert_int_equal(counter_read(&access_counters(access)->graced), 1);
    end(access);
    fake_server_stop(&agent);
    fake_server_stop(&url);
}

// A crowd in front of a slow agent: as many as it can, in the order of their coming, and no more
// than it was asked about.
#define SLOW_CROWD 3000

static void test_slow_agent(void **state)
{
    static struct fake_server server;
    static struct asker askers[SLOW_CROWD];
    struct agent member = {EMPTY("200 OK"), NULL};
    struct access *access;
    int allowed = 0;

    (void)state;
    server = (struct fake_server){.respond = respond_agent, .data = &member, .delay_ms = 300};
    fake_server_start_unix(&server, in_folder("slow"));
    access = make_agent(server.path, 60000);
    for (uint32_t i = 0; i < SLOW_CROWD; i++)
        begin(access, &askers[i], i);
    for (uint32_t i = 0; i < SLOW_CROWD; i++) {
        await(&askers[i]);
        assert_true(askers[i].took_ms < LATE_MS);
        allowed += askers[i].verdict == ACCESS_ALLOWED;
    }
    print_message("%d of %d in time, %d open at once\n", allowed, SLOW_CROWD, server.most_open);
    assert_in_range(allowed, SOURCE_OPEN_MAX, SLOW_CROWD - 1);
    assert_true(allowed <= server.requests);
    assert_true(server.most_open <= SOURCE_OPEN_MAX);
    assert_int_equal(askers[0].verdict, ACCESS_ALLOWED);
    assert_int_equal(askers[SLOW_CROWD - 1].verdict, ACCESS_UNANSWERED);
    end(access);
    fake_server_stop(&server);
}

// Those who are in and are asked about again leave the line to who comes.
static void test_newcomers_go_first(void **state)
{
    static struct fake_server server;
    static struct asker stayers[4 * SOURCE_OPEN_MAX], newcomer;
    const struct access_past past = {.admitted = true};
    struct agent member = {EMPTY("200 OK"), NULL};
    struct access *access;
    size_t answered = 0;

    (void)state;
    server = (struct fake_server){.respond = respond_agent, .data = &member, .delay_ms = 300};
    fake_server_start_unix(&server, in_folder("crowded"));
    access = make_agent(server.path, 0);
    for (uint32_t i = 0; i < COUNT(stayers); i++)
        begin_with(access, &stayers[i], i, &past);
    begin(access, &newcomer, COUNT(stayers));
    await(&newcomer);
    for (size_t i = 0; i < COUNT(stayers); i++)
        answered += stayers[i].verdict >= 0;
    assert_true(answered <= 3 * SOURCE_OPEN_MAX);
    for (size_t i = 0; i < COUNT(stayers); i++) {
        await(&stayers[i]);
        assert_int_equal(stayers[i].verdict, ACCESS_ALLOWED);
    }
    end(access);
    fake_server_stop(&server);
}

static void test_cancel(void **state)
{
    static struct fake_server server;
    static struct asker askers[200];
    struct access *access;

    (void)state;
    server = (struct fake_server){.respond = respond_never};
    fake_server_start_unix(&server, in_folder("cancelled"));
    access = make_agent(server.path, 0);
    for (uint32_t i = 0; i < COUNT(askers); i++)
        begin(access, &askers[i], i);
    run_for(100);
    for (uint32_t i = COUNT(askers); i > 0; i--) {
        access_cancel(&askers[i - 1].ask);
        access_cancel(&askers[i - 1].ask);
    }
    run_for(100);
    for (uint32_t i = 0; i < COUNT(askers); i++)
        assert_int_equal(askers[i].verdict, -1);
    assert_int_equal(counter_read(&access_counters(access)->cancelled), COUNT(askers));
    end(access);
    fake_server_stop(&server);
}

#define WELL                                                                           \
    OK("122\r\n\r\n{\"BackendState\":\"Running\",\"Self\":{\"PublicKey\":\"nodekey:01" \
       "11111111111111111111111111111111111111111111111111111111111111\"}}")

static void await_health(struct access *access, bool well, const char *says)
{
    const uint64_t until_ms = clock_ms() + SOON_MS;
    char why[HEALTH_SENTENCE_BYTES] = "";

    while (access_health(access, why, sizeof why) != well || (!well && !strstr(why, says))) {
        assert_true(clock_ms() < until_ms);
        run_for(20);
    }
}

static void test_health(void **state)
{
    static struct fake_server server;
    struct agent logged_out = {UNKNOWN, NEEDS_LOGIN}, well = {EMPTY("200 OK"), WELL};
    const char *sockets[] = {in_folder("watched")};
    const struct access_config config = {
        .sockets = sockets, .socket_count = 1, .watch_agents = true};
    struct access *access;
    char why[HEALTH_SENTENCE_BYTES];

    (void)state;
    server = (struct fake_server){.respond = respond_agent, .data = &logged_out};
    fake_server_start_unix(&server, sockets[0]);
    access = make(config);
    assert_false(access_health(access, why, sizeof why));
    assert_non_null(strstr(why, "has not answered yet"));
    await_health(access, false, "is connected to no network");
    server.data = &well;
    await_health(access, true, NULL);
    end(access);
    fake_server_stop(&server);
    access = make(config); // closed while it asks
    end(access);
}

static void test_nothing_configured(void **state)
{
    struct access *access = make((struct access_config){.grace_ms = 1000});

    (void)state;
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    end(access);
}

static void test_ca_file(void **state)
{
    const char *path = in_folder("ca.pem");
    struct access_config config = {.loop = &loop, .ca_file = path};
    char error[512];

    (void)state;
    write_list(path, "no certificate\n");
    assert_null(access_new(&config, error, sizeof error));
    assert_non_null(strstr(error, path));
    assert_false(access_check_files(&config, error, sizeof error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agent_answers),
        cmocka_unit_test(test_agent_starts_meanwhile),
        cmocka_unit_test(test_agent_absent),
        cmocka_unit_test(test_url_answers),
        cmocka_unit_test(test_url_request),
        cmocka_unit_test(test_url_head_without_end),
        cmocka_unit_test(test_url_redirect),
        cmocka_unit_test(test_url_unreachable),
        cmocka_unit_test(test_url_tls_fails),
        cmocka_unit_test(test_log_of_a_failing_url),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_any_agent),
        cmocka_unit_test(test_all_checks),
        cmocka_unit_test(test_refused_after_all),
        cmocka_unit_test(test_list_changes),
        cmocka_unit_test(test_list_changes_meanwhile),
        cmocka_unit_test(test_grace),
        cmocka_unit_test(test_no_grace),
        cmocka_unit_test(test_grace_is_of_the_source),
        cmocka_unit_test(test_grace_ends_with_the_no_of_its_source),
        cmocka_unit_test(test_withdrawn_by_who_vouched),
        cmocka_unit_test(test_withdrawn_by_both),
        cmocka_unit_test(test_grace_vouches),
        cmocka_unit_test(test_fail_open_gives_no_grace),
        cmocka_unit_test(test_fail_open_renews_no_grace),
        cmocka_unit_test(test_hanging),
        cmocka_unit_test(test_one_of_two_hangs),
        cmocka_unit_test(test_no_time_left),
        cmocka_unit_test(test_slow_agent),
        cmocka_unit_test(test_newcomers_go_first),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_nothing_configured),
        cmocka_unit_test(test_ca_file),
    };
    int failed;

    signal(SIGPIPE, SIG_IGN);
    unsetenv("http_proxy");
    assert_non_null(mkdtemp(folder));
    uv_loop_init(&loop);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed == 0)
        assert_int_equal(uv_loop_close(&loop), 0);
    return failed;
}
