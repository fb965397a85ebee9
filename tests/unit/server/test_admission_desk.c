// SPDX-License-Identifier: BSD-3-Clause
//
// The desk between a real relay of two workers and the sources of admission. The test's thread is
// the main one: the desk's loop runs while a client waits.
#include "server/admission_desk.h"

#include "../support/fake_server.h"
#include "../support/loopback.h"
#include "../support/peer.h"
#include "access/agent.h"
#include "base/clock.h"

#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS 2
#define CROWD 8
#define PATIENCE_MS 20000
#define RECHECK_MS 200
#define GRACE_NS INT64_C(60000000000)
#define CLIENT_INFO "{\"version\":2,\"CanAckPings\":true}"
#define ALLOW "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"Allow\":true}"
#define DENY "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"Allow\":false}"
#define BROKEN "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"

static uv_loop_t loop;
static struct relay relay;
static struct admission_desk desk;
static uint16_t ports[WORKERS];
static char folder[] = "/tmp/desk-XXXXXX", list[64];
static struct fake_server servers[2];
static bool relaying, serving; // what clean_up has to end

#define WAIT(condition)                                      \
    do {                                                     \
        const uint64_t until_ms_ = clock_ms() + PATIENCE_MS; \
        while (!(condition)) {                               \
            assert_true(clock_ms() < until_ms_);             \
            uv_run(&loop, UV_RUN_NOWAIT);                    \
            usleep(1000);                                    \
        }                                                    \
    } while (0)

static struct options bare(void)
{
    return (struct options){.allow_keys = "", .verify_client_ca = ""};
}

static void write_list(const char *text)
{
    FILE *file = fopen(list, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void open_desk(const struct options *options)
{
    char error[512] = "";

    if (!desk_open(&desk, options, &relay, WORKERS, &loop, error, sizeof error))
        fail_msg("%s", error);
}

static void close_desk(void)
{
    desk_close(&desk);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); // nothing is left open
    desk = (struct admission_desk){0};
}

// --- The relay and its clients ---

static void upgrade(struct http_conn *conn, const struct http_request *request)
{
    (void)request;
    relay_accept_client(&relay, http_take_stream(conn), "", 0, false);
}

static void start(const struct options *options, uint32_t recheck_ms)
{
    static const struct http_service service = {.handler = upgrade};
    struct relay_config config = {.workers = WORKERS,
                                  .connections_max = 100,
                                  .queue_packets = 16,
                                  .queue_bytes = RELAY_QUEUE_BYTES_DEFAULT,
                                  .waiting_bytes = RELAY_WAITING_BYTES_DEFAULT,
                                  .admission = &desk.admission,
                                  .recheck_ms = recheck_ms};

    open_desk(options);
    key_pair_generate(&config.key);
    assert_int_equal(relay_start(&relay, &config), 0);
    relaying = true;
    for (size_t i = 0; i < WORKERS; i++)
        relay_listen(&relay, i, loopback_bind(&ports[i], 0),
                     &(struct relay_port){.service = &service});
}

static struct peer *peer_make(void)
{
    struct peer *peer = malloc(sizeof *peer);

    key_pair_generate(&peer->key);
    return peer;
}

// Up to ClientInfo.
static void knock(struct peer *peer, size_t worker)
{
    uint8_t frame[512];

    peer_connect(peer, ports[worker], 0);
    peer_send_request(peer);
    peer_receive_server_key(peer);
    peer_send_bytes(peer, frame, peer_put_client_info(peer, CLIENT_INFO, frame));
}

static struct peer *come(size_t worker)
{
    struct peer *peer = peer_make();

    knock(peer, worker);
    return peer;
}

static bool has_word(const struct peer *peer)
{
    struct pollfd fd = {.fd = peer->fd, .events = POLLIN};

    return poll(&fd, 1, 0) > 0;
}

static void expect_in(struct peer *peer)
{
    WAIT(has_word(peer));
    peer_receive_server_info(peer);
}

static void expect_out(struct peer *peer)
{
    WAIT(has_word(peer));
    peer_expect_end(peer);
}

static int64_t clients(void)
{
    struct relay_snapshot snapshot;

    relay_snapshot(&relay, &snapshot);
    return snapshot.clients;
}

static void leave(struct peer *peer)
{
    peer_close(peer);
    free(peer);
}

static int64_t verdicts(enum access_verdict verdict)
{
    return counter_read(&access_counters(desk.access)->verdicts[verdict]);
}

// --- URLs ---

static const char *respond_text(const char *request, void *data)
{
    (void)request;
    return data;
}

// Options that name both servers. NULL: no answer, ever.
static struct options start_servers(const char *first, const char *second)
{
    struct options options = bare();

    for (size_t i = 0; i < COUNT(servers); i++) {
        servers[i] = (struct fake_server){.respond = respond_text,
                                          .data = (char *)(i == 0 ? first : second)};
        fake_server_start_tcp(&servers[i]);
        options.verify_client_urls.items[i] = servers[i].url;
    }
    options.verify_client_urls.count = COUNT(servers);
    serving = true;
    return options;
}

// Behind each test: the relay stops, then the desk, whatever is still asked.
static int clean_up(void **state)
{
    (void)state;
    if (relaying)
        relay_stop(&relay);
    relaying = false;
    close_desk();
    for (size_t i = 0; serving && i < COUNT(servers); i++)
        fake_server_stop(&servers[i]);
    serving = false;
    return 0;
}

// --- Options ---

static void test_wanted(void **state)
{
    struct options nothing = bare(), agents = bare(), urls = bare(), keys = bare();

    (void)state;
    agents.verify_clients = true;
    urls.verify_client_urls.count = 1;
    keys.allow_keys = list;
    nothing.sockets.count = 1; // of agents that are not asked
    assert_false(desk_wanted(&nothing));
    assert_true(desk_wanted(&agents));
    assert_true(desk_wanted(&urls));
    assert_true(desk_wanted(&keys));
}

static void test_descriptors(void **state)
{
    struct options options = bare();
    int agent, agents, both;

    (void)state;
    options.allow_keys = list;
    assert_int_equal(desk_descriptors(&options), 0); // the file is read, not asked
    options.verify_clients = true;
    agent = desk_descriptors(&options); // the default socket
    assert_true(agent > SOURCE_OPEN_MAX);
    options.sockets.count = 1;
    assert_int_equal(desk_descriptors(&options), agent);
    options.sockets.count = 3;
    agents = desk_descriptors(&options);
    assert_true(agents - agent >= 2 * SOURCE_OPEN_MAX);
    options.verify_client_urls.count = 1;
    both = desk_descriptors(&options);
    assert_true(both - agents >= 2 * SOURCE_OPEN_MAX); // two connections may be tried side by side
    options.verify_client_urls.count = 2;
    assert_true(desk_descriptors(&options) - both >= 2 * SOURCE_OPEN_MAX);
}

// What stops the start is found without a loop, too, and by the same words; then nothing is open.
static void test_faults(void **state)
{
    struct options absent = bare(), broken = bare(), ca = bare();
    const struct {
        const struct options *options;
        const char *words;
    } rows[] = {{&absent, "/absent"}, {&broken, "line 1"}, {&ca, "--verify-client-ca"}};

    (void)state;
    write_list("junk\n");
    absent.allow_keys = "/absent";
    broken.allow_keys = ca.verify_client_ca = list;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char checked[512] = "", opened[512] = "", why[512];

        assert_false(desk_check(rows[i].options, checked, sizeof checked));
        if (!strstr(checked, rows[i].words))
            fail_msg("%s", checked);
        assert_false(
            desk_open(&desk, rows[i].options, &relay, WORKERS, &loop, opened, sizeof opened));
        assert_string_equal(opened, checked);
        assert_false(desk_reload(&desk));
        assert_true(desk_health(&desk, why, sizeof why));
        close_desk();
    }
}

static void test_check(void **state)
{
    struct options options = bare();
    char error[512] = "";

    (void)state;
    write_list("# nobody yet\n");
    options.allow_keys = list;
    options.verify_clients = true; // of which nothing can be known before it is asked
    assert_true(desk_check(&options, error, sizeof error));
    assert_string_equal(error, "");
}

// --- Health ---

static void test_health(void **state)
{
    struct options options = bare();
    char why[512], path[80];

    (void)state;
    options.verify_clients = true;
    open_desk(&options);
    assert_false(desk_health(&desk, why, sizeof why));
    assert_non_null(strstr(why, AGENT_SOCKET_DEFAULT));
    close_desk();

    snprintf(path, sizeof path, "%s/socket", folder);
    options.sockets.items[0] = path;
    options.sockets.count = 1;
    open_desk(&options);
    WAIT(!desk_health(&desk, why, sizeof why) && strstr(why, "there is no tailscaled socket"));
    assert_non_null(strstr(why, path));
    close_desk();

    // Nobody asks how a URL is.
    options = bare();
    options.verify_client_urls.items[0] = "http://127.0.0.1:9/";
    options.verify_client_urls.count = 1;
    open_desk(&options);
    assert_true(desk_health(&desk, why, sizeof why));
    assert_false(desk_reload(&desk));
    close_desk();
}

// --- Clients ---

static void test_allow_keys(void **state)
{
    struct options options = bare();
    char names[CROWD * (KEY_NAME_CHARS + 1) + 1];
    struct peer *peers[CROWD], *stranger;

    (void)state;
    for (size_t i = 0; i < CROWD; i++) {
        char *name = names + i * (KEY_NAME_CHARS + 1);

        peers[i] = peer_make();
        key_name(&peers[i]->key.public, name);
        strcpy(name + KEY_NAME_CHARS, "\n");
    }
    write_list(names);
    options.allow_keys = list;
    start(&options, 0);
    for (size_t i = 0; i < CROWD; i++) {
        knock(peers[i], i % WORKERS);
        expect_in(peers[i]);
    }
    stranger = come(0);
    expect_out(stranger);
    leave(stranger);
    assert_int_equal(clients(), CROWD);

    // Who is taken out does not stay, though nobody is asked about by and by.
    write_list("# nobody any more\n");
    assert_true(desk_reload(&desk));
    WAIT(clients() < CROWD);
    for (size_t i = 0; i < CROWD; i++)
        leave(peers[i]);
}

static void test_urls(void **state)
{
    const struct options options = start_servers(DENY, ALLOW);
    struct peer *peers[2 * WORKERS];

    (void)state;
    start(&options, 0);
    for (size_t i = 0; i < COUNT(peers); i++)
        peers[i] = come(i % WORKERS); // all are asked about at once
    for (size_t i = 0; i < COUNT(peers); i++) {
        expect_in(peers[i]);
        leave(peers[i]);
    }
    assert_non_null(strstr(servers[1].last_request, "\"Source\":\"127.0.0.1\""));
    servers[1].data = DENY;
    peers[0] = come(0);
    expect_out(peers[0]);
    leave(peers[0]);
    assert_int_equal(verdicts(ACCESS_ALLOWED), COUNT(peers));
    assert_int_equal(verdicts(ACCESS_REFUSED), 1);
}

// Whoever has vouched for a client may take it back alone. Its place does not tell the next one's
// past by that.
static void test_past(void **state)
{
    const struct options options = start_servers(ALLOW, BROKEN);
    struct peer *peer;

    (void)state;
    start(&options, RECHECK_MS);
    peer = come(0);
    expect_in(peer);
    leave(peer);
    WAIT(clients() == 0);
    servers[0].data = DENY;
    peer = come(0);
    expect_out(peer);
    leave(peer);
    assert_int_equal(verdicts(ACCESS_UNANSWERED), 1);

    servers[0].data = ALLOW;
    peer = come(0);
    expect_in(peer);
    servers[0].data = DENY;
    expect_out(peer);
    leave(peer);
    assert_int_equal(verdicts(ACCESS_REFUSED), 1);
    assert_int_equal(verdicts(ACCESS_UNANSWERED), 1);
}

static void expect_verdict(size_t worker, bool in)
{
    struct peer *peer = come(worker);

    if (in)
        expect_in(peer);
    else
        expect_out(peer);
    leave(peer);
}

static void test_fail_open(void **state)
{
    struct options options = start_servers("", "");

    (void)state;
    options.verify_client_url_fail_open = true;
    start(&options, 0);
    expect_verdict(0, true);
    servers[0].data = servers[1].data = BROKEN;
    expect_verdict(0, false);
    assert_int_equal(counter_read(&access_counters(desk.access)->failed_open), 1);
}

static void test_grace(void **state)
{
    struct options options = start_servers(ALLOW, ALLOW);
    struct peer *peer;

    (void)state;
    options.verify_grace_ns = GRACE_NS;
    start(&options, RECHECK_MS);
    peer = come(1);
    expect_in(peer);
    servers[0].data = servers[1].data = BROKEN;
    WAIT(counter_read(&access_counters(desk.access)->graced) > 0);
    expect_verdict(0, false); // somebody else
    leave(peer);
}

// A client that goes ends its question, and the desk ends those that are left.
static void test_cancelled(void **state)
{
    const struct options options = start_servers(NULL, NULL);
    struct peer *goes, *stays;

    (void)state;
    start(&options, 0);
    goes = come(0);
    stays = come(1);
    WAIT(servers[0].requests == 2);
    leave(goes);
    WAIT(counter_read(&access_counters(desk.access)->cancelled) == 1);
    assert_int_equal(counter_read(&access_counters(desk.access)->pending), 1);
    assert_false(has_word(stays));
    leave(stays);
}

static int group_setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    unsetenv("http_proxy");
    assert_true(sodium_init() >= 0);
    assert_non_null(mkdtemp(folder));
    snprintf(list, sizeof list, "%s/list", folder);
    return uv_loop_init(&loop);
}

static int group_teardown(void **state)
{
    (void)state;
    unlink(list);
    rmdir(folder);
    return uv_loop_close(&loop);
}

#define TEST(test) cmocka_unit_test_teardown(test, clean_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wanted),    TEST(test_descriptors), TEST(test_faults), TEST(test_check),
        TEST(test_health),    TEST(test_allow_keys),  TEST(test_urls),   TEST(test_past),
        TEST(test_cancelled), TEST(test_fail_open),   TEST(test_grace),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
