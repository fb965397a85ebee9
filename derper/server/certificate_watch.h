// SPDX-License-Identifier: BSD-3-Clause
//
// Tells when certificate files may have changed: soon after the kernel says so of one of the
// watched folders, and every now and then in any case, as overlays, NFS and FUSE say nothing.
// Main loop only.
#ifndef DERPER_SERVER_CERTIFICATE_WATCH_H
#define DERPER_SERVER_CERTIFICATE_WATCH_H

#include "server/watched_folders.h"

#include <uv.h>

#define WATCH_POLL_MS 30000
#define WATCH_DEBOUNCE_MS 20 // from the first event; a renewal writes several files

struct watch_place {
    uv_fs_event_t event;
    bool active;
    struct watched_folder folder;
};

// Fields are the module's own. Embedded in its owner.
struct certificate_watch {
    void (*on_due)(struct certificate_watch *watch);
    uv_timer_t soon, poll;
    struct watch_place places[WATCHED_FOLDERS_MAX];
    size_t open; // handles
    void (*on_closed)(struct certificate_watch *watch);
};

void watch_init(struct certificate_watch *watch, uv_loop_t *loop,
                void (*on_due)(struct certificate_watch *watch));

// Watches these folders and no other from now on. When one of them is new, on_due is called soon:
// it may have changed since it was looked at.
void watch_follow(struct certificate_watch *watch, const struct watched_folders *folders);

// Calls on_due after that time, unless it would be called earlier.
void watch_due_in(struct certificate_watch *watch, uint64_t ms);

void watch_close(struct certificate_watch *watch,
                 void (*on_closed)(struct certificate_watch *watch));

#endif
