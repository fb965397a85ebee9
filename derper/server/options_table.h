// SPDX-License-Identifier: BSD-3-Clause
//
// The one table of flags: parsing, checking and help all read it. A flag that gets built becomes
// `built` here.
#ifndef DERPER_SERVER_OPTIONS_TABLE_H
#define DERPER_SERVER_OPTIONS_TABLE_H

#include "server/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLAGS_MAX 64
#define FLAG_LABEL_BYTES 48
#define FLAG_VALUE_BYTES 88 // of a user's value quoted in a sentence

// What a flag takes, and the type of its field in struct options.
enum flag_kind {
    FLAG_BOOL,     // bool
    FLAG_INT,      // int, between min and max
    FLAG_INT64,    // int64_t, between min and max
    FLAG_FLOAT,    // double
    FLAG_DURATION, // int64_t nanoseconds, between min and max
    FLAG_TEXT,     // const char *
    FLAG_LIST,     // struct option_list: each time that it is given adds one, "" none
};

struct flag {
    const char *name;
    enum flag_kind kind;
    bool ours;  // not known to Tailscale's derper
    bool built; // otherwise only its default is accepted
    size_t offset;
    int64_t min, max;
    const char *argument;      // a word for the help; NULL for FLAG_BOOL
    const char *default_value; // as one would write it
    const char
        *default_note; // what the help shows instead, when the default depends on the machine
    const char *meaning;
    const char *wrong;   // goes on from a quoted bad value: "is not …; give …"
    const char *without; // not built: what leaving the flag out means
    // FLAG_TEXT and FLAG_LIST: takes the value into further fields, or says in `why` what goes on
    // from the quoted value.
    bool (*accept)(struct options *options, const char *value, char *why, size_t size);
};

extern const struct flag flags[];
extern const size_t flag_count; // at most FLAGS_MAX

// NULL when there is none. `name` without dashes.
const struct flag *flag_find(const char *name, size_t len);

// The flag whose name is most like this one, or NULL when none is.
const struct flag *flag_nearest(const char *name, size_t len);

// "-a", "--hostname".
const char *flag_label(const struct flag *flag, char out[static FLAG_LABEL_BYTES]);

// Sets the flag's fields. False for a bad value; `error` is then the sentence. `value` must outlive
// `options`.
bool flag_set(const struct flag *flag, struct options *options, const char *value, char *error,
              size_t size);

// Both structs have the same value for this flag.
bool flag_equal(const struct flag *flag, const struct options *a, const struct options *b);

// Every field of every flag gets its default.
void flags_set_defaults(struct options *options);

#endif
