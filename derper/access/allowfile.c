// SPDX-License-Identifier: BSD-3-Clause
#include "access/allowfile.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           same_time(&a->st_mtim, &b->st_mtim) && same_time(&a->st_ctim, &b->st_ctim);
}

// All zero for a file that is not there.
static void look(const char *path, struct stat *out)
{
    if (stat(path, out) != 0)
        memset(out, 0, sizeof *out);
}

static void on_poll(uv_timer_t *timer)
{
    struct allowfile *file = timer->data;
    struct stat now;

    look(file->path, &now);
    if (!same_file(&now, &file->seen) && same_file(&now, &file->found))
        allowfile_reload(file, "the file has changed");
    file->found = now;
}

static void warn_empty(const struct allowfile *file)
{
    if (file->list.count == 0)
        log_warnx("--allow-keys %s lists no key, so nobody may connect", file->path);
}

bool allowfile_open(struct allowfile *file, uv_loop_t *loop, const char *path,
                    void (*on_removal)(struct allowfile *file), char *error, size_t size)
{
    *file = (struct allowfile){.path = path, .on_removal = on_removal};
    look(path, &file->seen); // before it is read: a change meanwhile is seen
    if (!allowlist_load(&file->list, path, error, size))
        return false;
    file->found = file->seen;
    warn_empty(file);
    uv_timer_init(loop, &file->timer);
    file->timer.data = file;
    uv_timer_start(&file->timer, on_poll, ALLOWFILE_POLL_MS, ALLOWFILE_POLL_MS);
    return true;
}

static bool lacks_any(const struct allowlist *fresh, const struct allowlist *old)
{
    for (size_t i = 0; i < old->count; i++)
        if (!allowlist_has(fresh, &old->keys[i]))
            return true;
    return false;
}

void allowfile_reload(struct allowfile *file, const char *cause)
{
    char error[ALLOWLIST_ERROR_BYTES];
    struct allowlist fresh;
    bool removed;

    look(file->path, &file->seen);
    if (!allowlist_load(&fresh, file->path, error, sizeof error)) {
        log_warnx("%s: %s; the %zu keys read before hold", cause, error, file->list.count);
        return;
    }
    removed = lacks_any(&fresh, &file->list);
    allowlist_free(&file->list);
    file->list = fresh;
    log_info("%s: --allow-keys %s lists %zu keys", cause, file->path, fresh.count);
    warn_empty(file);
    if (removed)
        file->on_removal(file);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct allowfile *file = handle->data;

    allowlist_free(&file->list);
    file->on_closed(file);
}

void allowfile_close(struct allowfile *file, void (*on_closed)(struct allowfile *file))
{
    file->on_closed = on_closed;
    uv_close((uv_handle_t *)&file->timer, on_timer_closed);
}
