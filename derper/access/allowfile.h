// SPDX-License-Identifier: BSD-3-Clause
//
// The file of --allow-keys, looked at every two seconds and taken again when it has changed: what
// cannot be read leaves the present list as it is. By polling, as that works through renames, bind
// mounts and Kubernetes' links alike. One thread.
#ifndef DERPER_ACCESS_ALLOWFILE_H
#define DERPER_ACCESS_ALLOWFILE_H

#include "access/allowlist.h"

#include <sys/stat.h>
#include <uv.h>

#define ALLOWFILE_POLL_MS 2000

// Embedded in its owner, which lives until `on_closed`.
struct allowfile {
    const char *path; // the caller's
    struct allowlist list;
    struct stat seen; // of the file as it was taken, or refused
    struct stat
        found; // at the last look: a file is taken when two looks agree, so not half-written
    uv_timer_t timer;
    void (*on_removal)(struct allowfile *file); // a key has been taken out
    void (*on_closed)(struct allowfile *file);
};

// Loads the list and starts to look. False, with a sentence; nothing is left to be closed then.
bool allowfile_open(struct allowfile *file, uv_loop_t *loop, const char *path,
                    void (*on_removal)(struct allowfile *file), char *error, size_t size);

// Loads it now. The log tells what came of it, with `cause` in front.
void allowfile_reload(struct allowfile *file, const char *cause);

void allowfile_close(struct allowfile *file, void (*on_closed)(struct allowfile *file));

#endif
