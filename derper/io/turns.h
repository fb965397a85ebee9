// SPDX-License-Identifier: BSD-3-Clause
//
// Newcomers: the connections of one loop whose owner does not know its peer yet. What they ask for
// is dear (a handshake, the box of a login) and nobody answers for them, so together they get a
// share of each loop turn, and few of them may keep us waiting.
//
// A newcomer is silent, then begins, and is then under way: quiet while we wait for it, or going
// on. Those that begin and those that go on stand in line; who goes on comes first, as that frees
// what it holds, and nobody begins while too many are under way.
#ifndef DERPER_IO_TURNS_H
#define DERPER_IO_TURNS_H

#include "base/list.h"
#include "base/wheel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Served in one turn: about 1 ms if all of them are handshakes. The first of these are for those
// that begin.
#define TURN_STEPS_MAX 8
#define TURN_BEGINNERS_MIN 2

// Under way at once: a handshake half-way holds about 40 KiB, and a core that does 4,000 logins a
// second has these under way with clients half a second off.
#define NEWCOMERS_UNDER_WAY_MAX 2048
// An honest client is not quiet for so long: it may be crowded out where there is no room.
#define NEWCOMER_QUIET_LIMIT_MS 2000
// Nor under way for so long, whatever it says, where others wait to begin.
#define NEWCOMER_UNDER_WAY_LIMIT_MS 4000
// Said nothing yet, about 1 KiB each: one more, and the oldest is crowded out.
#define NEWCOMERS_SILENT_MAX 16384
// In line: with a full backlog behind it, that is the logins of three seconds here, and on a core a
// third as fast still less than the 10 s after which clients have gone. Nobody is accepted
// meanwhile.
#define NEWCOMERS_LINE_MAX 4096

// SILENT --something came--> BEGINNING --served--> QUIET --something came--> GOING_ON --served-->
// QUIET; any --turns_leave--> GONE
enum newcomer_place {
    NEWCOMER_GONE, // by zeroed memory
    NEWCOMER_SILENT,
    NEWCOMER_QUIET,
    NEWCOMER_BEGINNING,
    NEWCOMER_GOING_ON,
    NEWCOMER_PLACES
};

// Embedded in the connection. Fields are the module's own.
struct newcomer {
    struct list node;
    uint32_t since_ms; // low bits of the loop's time: in its place
    uint16_t begun;    // low bits of the loop's time in units of turns.c's
    uint8_t place;     // enum newcomer_place
};

// The same for all newcomers of a loop. Both may make any newcomer leave.
struct newcomer_callbacks {
    // Its turn: it is quiet again, reads once, and lines up anew when there is more.
    void (*serve)(struct newcomer *newcomer);
    // It must leave now.
    void (*crowd_out)(struct newcomer *newcomer);
};

struct uv_idle_s;
struct uv_loop_s;

// One a loop, embedded in its io_context. Owns nothing while nobody is in line.
struct turns {
    struct uv_loop_s *loop;
    struct wheel *wheel;
    const struct newcomer_callbacks *callbacks;
    struct list places[NEWCOMER_PLACES]; // in the order of their coming
    size_t counts[NEWCOMER_PLACES];
    struct uv_idle_s *idle;   // serves, and keeps the loop from sleeping; NULL: nobody is in line
    struct wheel_timer again; // armed while idle is stopped, as nobody may begin
};

void turns_init(struct turns *turns, struct uv_loop_s *loop, struct wheel *wheel);

// Silent at first. May crowd out another one.
void turns_enter(struct turns *turns, struct newcomer *newcomer,
                 const struct newcomer_callbacks *callbacks);

// Something has come from one that is not in line: it is served in one of the next turns.
void turns_line_up(struct turns *turns, struct newcomer *newcomer);

bool turns_in_line(const struct newcomer *newcomer);

// It is no newcomer any more. Idempotent.
void turns_leave(struct turns *turns, struct newcomer *newcomer);

// Whether there are as many in line as can be served in time.
bool turns_line_full(const struct turns *turns);

// For the room that it takes, crowds out one that has said nothing for NEWCOMER_QUIET_LIMIT_MS.
// False when there is none.
bool turns_crowd_out(struct turns *turns);

#endif
