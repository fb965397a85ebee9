// SPDX-License-Identifier: BSD-3-Clause
#include "access/agent.h"

#include "access_rig.h"

#include <string.h>

#define ONLINE(online) \
    "HTTP/1.0 200 OK\r\n\r\n{\"BackendState\":\"Running\",\"Self\":{\"Online\":" online "}}"

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
    struct fake_server *server = data;

    return respond_agent(request, server->requests < 3 ? &stranger : &member);
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
    struct access *access = make_agent(in_folder("gone"), 0);

    (void)state;
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    assert_answered(access, ACCESS_NO_SOCKET, 1);
    end(access);

    // A socket that stayed behind, and then a fresh start: nothing has to be told to the relay.
    serve_agent(&server, "stale", &member);
    fake_server_stop(&server);
    access = make_agent(in_folder("stale"), 0);
    assert_int_equal(ask(access, 1), ACCESS_UNANSWERED);
    assert_answered(access, ACCESS_NOT_LISTENING, 1);
    serve_agent(&server, "stale", &member);
    assert_int_equal(ask(access, 1), ACCESS_ALLOWED);
    end(access);
    fake_server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agent_answers),
        cmocka_unit_test(test_agent_starts_meanwhile),
        cmocka_unit_test(test_agent_absent),
    };
    return cmocka_run_group_tests(tests, access_group_setup, access_group_teardown);
}
