// SPDX-License-Identifier: BSD-3-Clause
#include "server/certificate_watch.h"

#include "base/log.h"

static void on_timer(uv_timer_t *timer)
{
    struct certificate_watch *watch = timer->data;

    watch->on_due(watch);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    (void)name, (void)events, (void)status; // whatever it was, the files are compared
    watch_due_in(event->data, WATCH_DEBOUNCE_MS);
}

void watch_init(struct certificate_watch *watch, uv_loop_t *loop,
                void (*on_due)(struct certificate_watch *watch))
{
    watch->on_due = on_due;
    uv_timer_init(loop, &watch->soon);
    uv_timer_init(loop, &watch->poll);
    watch->soon.data = watch->poll.data = watch;
    watch->open = 2;
    for (size_t i = 0; i < WATCHED_FOLDERS_MAX; i++) {
        uv_fs_event_init(loop, &watch->places[i].event);
        watch->places[i].event.data = watch;
        watch->places[i].active = false;
        watch->open++;
    }
    uv_timer_start(&watch->poll, on_timer, WATCH_POLL_MS, WATCH_POLL_MS);
}

static bool is_wanted(const struct watched_folders *folders, const struct watched_folder *folder)
{
    for (size_t i = 0; i < folders->count; i++)
        if (watched_folder_equal(&folders->items[i], folder))
            return true;
    return false;
}

static void stop_unwanted(struct certificate_watch *watch, const struct watched_folders *folders)
{
    for (size_t i = 0; i < WATCHED_FOLDERS_MAX; i++) {
        struct watch_place *place = &watch->places[i];

        if (!place->active || is_wanted(folders, &place->folder))
            continue;
        uv_fs_event_stop(&place->event);
        place->active = false;
    }
}

// The place that watches the folder already, or else a free one.
static struct watch_place *place_for(struct certificate_watch *watch,
                                     const struct watched_folder *folder)
{
    struct watch_place *free_place = NULL;

    for (size_t i = 0; i < WATCHED_FOLDERS_MAX; i++) {
        struct watch_place *place = &watch->places[i];

        if (place->active && watched_folder_equal(&place->folder, folder))
            return place;
        if (!place->active && !free_place)
            free_place = place;
    }
    return free_place;
}

void watch_follow(struct certificate_watch *watch, const struct watched_folders *folders)
{
    stop_unwanted(watch, folders);
    for (size_t i = 0; i < folders->count; i++) {
        struct watch_place *place = place_for(watch, &folders->items[i]);
        int err;

        if (!place || place->active)
            continue;
        err = uv_fs_event_start(&place->event, on_event, folders->items[i].path, 0);
        if (err) {
            log_debug("%s is not watched (%s), only looked at every %d s", folders->items[i].path,
                      uv_strerror(err), WATCH_POLL_MS / 1000);
            continue;
        }
        place->folder = folders->items[i];
        place->active = true;
        watch_due_in(watch, WATCH_DEBOUNCE_MS);
    }
}

void watch_due_in(struct certificate_watch *watch, uint64_t ms)
{
    if (!uv_is_active((uv_handle_t *)&watch->soon) || uv_timer_get_due_in(&watch->soon) > ms)
        uv_timer_start(&watch->soon, on_timer, ms, 0);
}

static void on_closed(uv_handle_t *handle)
{
    struct certificate_watch *watch = handle->data;

    if (--watch->open == 0)
        watch->on_closed(watch);
}

void watch_close(struct certificate_watch *watch, void (*closed)(struct certificate_watch *watch))
{
    watch->on_closed = closed;
    uv_close((uv_handle_t *)&watch->soon, on_closed);
    uv_close((uv_handle_t *)&watch->poll, on_closed);
    for (size_t i = 0; i < WATCHED_FOLDERS_MAX; i++)
        uv_close((uv_handle_t *)&watch->places[i].event, on_closed);
}
