// SPDX-License-Identifier: BSD-3-Clause
//
// Several sources and several checks, of which the list is one.
#include "access/access.h"

#include "access_rig.h"
#include "base/clock.h"

#include <string.h>
#include <unistd.h>

#define SOON_MS 20000

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
    const char *sockets[] = {in_folder("first"), in_folder("second"), in_folder("third")};
    const struct access_config config = {.sockets = sockets, .socket_count = 3};
    struct access *access;

    (void)state;
    serve_agent(&first, "first", &stranger);
    second = (struct fake_server){.respond = respond_agent, .data = &member, .delay_ms = 50};
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

// Each check must allow, and one that refuses ends it: the next is not asked.
static void test_all_checks(void **state)
{
    const char *list = in_folder("list");
    struct fake_server *agent, *url;
    struct pair *pair;

    (void)state;
    write_list(list, KEY_1);
    pair = pair_start_checks((struct access_config){.allow_keys = list, .fail_open = true});
    agent = &pair->servers[0];
    url = &pair->servers[1];
    assert_int_equal(ask(pair->access, 1), ACCESS_ALLOWED);
    assert_int_equal(agent->requests, 1);
    assert_int_equal(url->requests, 1);
    assert_int_equal(ask(pair->access, 2), ACCESS_REFUSED);
    assert_int_equal(agent->requests, 1);
    assert_int_equal(counter_read(&access_counters(pair->access)->allow_keys[0]), 1);
    pair_answer(pair, &member, DENY);
    assert_int_equal(ask(pair->access, 1), ACCESS_REFUSED);
    pair_answer(pair, &stranger, ALLOW);
    assert_int_equal(ask(pair->access, 1), ACCESS_REFUSED);
    assert_int_equal(url->requests, 2);
    pair_stop(pair);
}

// Who passes one check by grace or by fail-open and is refused by the next was not let in by
// either.
static void test_refused_after_all(void **state)
{
    struct pair *pair =
        pair_start_checks((struct access_config){.fail_open = true, .grace_ms = 60000});
    const struct access_counters *counters = access_counters(pair->access);

    (void)state;
    assert_int_equal(ask(pair->access, 1), ACCESS_ALLOWED);
    pair_stop_one(pair, 0);
    assert_int_equal(ask(pair->access, 1), ACCESS_ALLOWED);
    assert_int_equal(counter_read(&counters->graced), 1);
    pair_answer(pair, NULL, DENY);
    assert_int_equal(ask(pair->access, 1), ACCESS_REFUSED);
    assert_int_equal(counter_read(&counters->graced), 1);
    assert_int_equal(counter_read(&counters->failed_open), 0);
    pair_stop(pair);
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

// --- The list

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_any_agent),
        cmocka_unit_test(test_all_checks),
        cmocka_unit_test(test_refused_after_all),
        cmocka_unit_test(test_list_changes),
        cmocka_unit_test(test_list_changes_meanwhile),
        cmocka_unit_test(test_nothing_configured),
        cmocka_unit_test(test_ca_file),
    };
    return cmocka_run_group_tests(tests, access_group_setup, access_group_teardown);
}
