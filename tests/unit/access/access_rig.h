// SPDX-License-Identifier: BSD-3-Clause
//
// The whole room on a loop of the test's, and servers for it that answer well, badly, late, or not
// at all. Everything asserts.
#ifndef TEST_ACCESS_RIG_H
#define TEST_ACCESS_RIG_H

#include "../support/fake_server.h"
#include "../support/loopback.h"
#include "access/access.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS "192.0.2.7"
#define LATE_MS (ACCESS_LIMIT_MS + 4500) // for a busy machine; a login may take twice the limit

#define OK(body) "HTTP/1.1 200 OK\r\nContent-Length: " body
#define EMPTY(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\n\r\n"
#define ALLOW OK("14\r\n\r\n{\"Allow\":true}")
#define DENY OK("15\r\n\r\n{\"Allow\":false}")
#define RUNNING OK("26\r\n\r\n{\"BackendState\":\"Running\"}")
#define NEEDS_LOGIN OK("29\r\n\r\n{\"BackendState\":\"NeedsLogin\"}")
#define UNKNOWN "HTTP/1.1 404 Not Found\r\nContent-Length: 20\r\n\r\nno match for IP:port"

// Client 1 and 2, as --allow-keys has them.
#define KEY_1 "nodekey:0101000000000000000000000000000000000000000000000000000000000000\n"
#define KEY_2 "nodekey:0102000000000000000000000000000000000000000000000000000000000000\n"

extern uv_loop_t loop;

// A path in the tests' folder. Good for four calls.
const char *in_folder(const char *name);
void write_list(const char *path, const char *text);
void run_for(uint64_t ms);

// --- Clients, by number.

struct asker {
    struct access_ask ask;
    int verdict; // -1 = none yet
    uint64_t took_ms;
    uint64_t begun_ms;
};

void begin(struct access *access, struct asker *asker, uint32_t who);
void begin_with(struct access *access, struct asker *asker, uint32_t who,
                const struct access_past *past);
void await(const struct asker *asker);

enum access_verdict ask(struct access *access, uint32_t who);
// Whether the client that came in by `past` may stay.
enum access_verdict ask_again(struct access *access, uint32_t who, struct access_past *past);

// --- The room.

struct access *make(struct access_config config);
struct access *make_url(const char *url, bool fail_open, uint64_t grace_ms);
struct access *make_agent(const char *path, uint64_t grace_ms);
// Nothing may be under way.
void end(struct access *access);

// The first source has answered so, and nothing else.
void assert_answered(const struct access *access, enum access_reason reason, int64_t times);

// --- What answers: for fake_server.respond.

// `data` is a struct agent.
struct agent {
    const char *whois, *status;
};
const char *respond_agent(const char *request, void *data);
extern struct agent member, stranger, out_of_order, hung;

const char *respond_text(const char *request, void *data); // `data`
const char *respond_never(const char *request, void *data);

// An agent on a socket of that name, a URL with that answer.
void serve_agent(struct fake_server *server, const char *name, struct agent *agent);
void serve_url(struct fake_server *server, const char *answer);

// Two servers, and the room that asks them.
struct pair {
    struct fake_server servers[2];
    bool up[2];
    struct access *access;
};

// Of two agents any may allow.
struct pair *pair_start(uint64_t grace_ms);
// An agent and a URL, which must both allow, and what else the configuration says.
struct pair *pair_start_checks(struct access_config config);
// What they say from now on: agents or text.
void pair_answer(struct pair *pair, void *first, void *second);
void pair_stop_one(struct pair *pair, size_t i);
void pair_stop(struct pair *pair);

// For cmocka_run_group_tests.
int access_group_setup(void **state);
int access_group_teardown(void **state);

#endif
