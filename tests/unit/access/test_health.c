// SPDX-License-Identifier: BSD-3-Clause
#include "access/health.h"

#include "access_rig.h"
#include "base/clock.h"

#include <string.h>

#define SOON_MS 20000
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
    serve_agent(&server, "watched", &logged_out);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health),
    };
    return cmocka_run_group_tests(tests, access_group_setup, access_group_teardown);
}
