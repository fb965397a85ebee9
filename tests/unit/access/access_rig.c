// SPDX-License-Identifier: BSD-3-Clause
#include "access_rig.h"

#include "base/clock.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uv_loop_t loop;
static char folder[] = "/tmp/access-XXXXXX";

const char *in_folder(const char *name)
{
    static char path[4][100];
    static unsigned next;
    char *out = path[next++ % 4];

    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

void write_list(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

void run_for(uint64_t ms)
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

// --- Clients

static void on_verdict(struct access_ask *ask, enum access_verdict verdict)
{
    struct asker *asker = list_entry(ask, struct asker, ask);

    assert_int_equal(asker->verdict, -1);
    asker->verdict = (int)verdict;
    asker->took_ms = clock_ms() - asker->begun_ms;
}

void begin_with(struct access *access, struct asker *asker, uint32_t who,
                const struct access_past *past)
{
    struct key key = {{1}};

    memcpy(key.bytes + 1, &who, sizeof who);
    asker->verdict = -1;
    asker->begun_ms = clock_ms();
    access_ask(access, &asker->ask, &key, ADDRESS, past, on_verdict);
}

void begin(struct access *access, struct asker *asker, uint32_t who)
{
    begin_with(access, asker, who, NULL);
}

void await(const struct asker *asker)
{
    while (asker->verdict < 0) {
        assert_true(clock_ms() - asker->begun_ms < LATE_MS);
        uv_run(&loop, UV_RUN_ONCE);
    }
}

enum access_verdict ask(struct access *access, uint32_t who)
{
    struct asker asker;

    begin(access, &asker, who);
    await(&asker);
    return (enum access_verdict)asker.verdict;
}

enum access_verdict ask_again(struct access *access, uint32_t who, struct access_past *past)
{
    struct asker asker;

    begin_with(access, &asker, who, past);
    await(&asker);
    *past = asker.ask.past;
    return (enum access_verdict)asker.verdict;
}

// --- The room

struct access *make(struct access_config config)
{
    char error[512] = "";
    struct access *access;

    config.loop = &loop;
    access = access_new(&config, error, sizeof error);
    assert_string_equal(error, "");
    return access;
}

void end(struct access *access)
{
    assert_int_equal(counter_read(&access_counters(access)->pending), 0);
    for (size_t i = 0; access_source(access, i); i++) {
        assert_int_equal(counter_read(&access_source(access, i)->counters.open), 0);
        assert_int_equal(counter_read(&access_source(access, i)->counters.waiting), 0);
    }
    access_close(access);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); // nothing is left open
}

struct access *make_url(const char *url, bool fail_open, uint64_t grace_ms)
{
    static const char *urls[1];

    urls[0] = url;
    return make((struct access_config){
        .urls = urls, .url_count = 1, .fail_open = fail_open, .grace_ms = grace_ms});
}

struct access *make_agent(const char *path, uint64_t grace_ms)
{
    static const char *sockets[1];

    sockets[0] = path;
    return make(
        (struct access_config){.sockets = sockets, .socket_count = 1, .grace_ms = grace_ms});
}

void assert_answered(const struct access *access, enum access_reason reason, int64_t times)
{
    for (int i = 0; i < ACCESS_REASONS; i++) {
        const int64_t n = counter_read(&access_source(access, 0)->counters.answers[i]);

        if (n != ((enum access_reason)i == reason ? times : 0))
            fail_msg("%s: %d", access_reason_name((enum access_reason)i), (int)n);
    }
}

// --- What answers

struct agent member = {EMPTY("200 OK"), NULL}, stranger = {UNKNOWN, RUNNING},
             out_of_order = {EMPTY("500 Oops"), NULL}, hung = {NULL, NULL};

const char *respond_agent(const char *request, void *data)
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

const char *respond_text(const char *request, void *data)
{
    (void)request;
    return data;
}

const char *respond_never(const char *request, void *data)
{
    (void)request, (void)data;
    return NULL;
}

void serve_agent(struct fake_server *server, const char *name, struct agent *agent)
{
    *server = (struct fake_server){.respond = respond_agent, .data = agent};
    fake_server_start_unix(server, in_folder(name));
}

void serve_url(struct fake_server *server, const char *answer)
{
    *server = (struct fake_server){.respond = respond_text, .data = (char *)answer};
    fake_server_start_tcp(server);
}

static struct pair the_pair;

struct pair *pair_start(uint64_t grace_ms)
{
    const char *const sockets[] = {the_pair.servers[0].path, the_pair.servers[1].path};

    serve_agent(&the_pair.servers[0], "a", &stranger);
    serve_agent(&the_pair.servers[1], "b", &stranger);
    the_pair.up[0] = the_pair.up[1] = true;
    the_pair.access =
        make((struct access_config){.sockets = sockets, .socket_count = 2, .grace_ms = grace_ms});
    return &the_pair;
}

struct pair *pair_start_checks(struct access_config config)
{
    const char *const sockets[] = {the_pair.servers[0].path}, *const urls[] = {
                                                                  the_pair.servers[1].url};

    serve_agent(&the_pair.servers[0], "a", &member);
    serve_url(&the_pair.servers[1], ALLOW);
    the_pair.up[0] = the_pair.up[1] = true;
    config.sockets = sockets;
    config.urls = urls;
    config.socket_count = config.url_count = 1;
    the_pair.access = make(config);
    return &the_pair;
}

void pair_answer(struct pair *pair, void *first, void *second)
{
    pair->servers[0].data = first;
    pair->servers[1].data = second;
}

void pair_stop_one(struct pair *pair, size_t i)
{
    fake_server_stop(&pair->servers[i]);
    pair->up[i] = false;
}

void pair_stop(struct pair *pair)
{
    end(pair->access);
    for (size_t i = 0; i < COUNT(pair->servers); i++)
        if (pair->up[i])
            pair_stop_one(pair, i);
}

// --- The group

int access_group_setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    unsetenv("http_proxy");
    assert_non_null(mkdtemp(folder));
    return uv_loop_init(&loop);
}

int access_group_teardown(void **state)
{
    DIR *files = opendir(folder);
    const struct dirent *entry;

    (void)state;
    while ((entry = readdir(files)))
        unlinkat(dirfd(files), entry->d_name, 0);
    closedir(files);
    rmdir(folder);
    return uv_loop_close(&loop);
}
