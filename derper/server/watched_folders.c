// SPDX-License-Identifier: BSD-3-Clause
#include "server/watched_folders.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 // as the kernel follows

bool watched_folder_equal(const struct watched_folder *a, const struct watched_folder *b)
{
    return a->device == b->device && a->inode == b->inode && strcmp(a->path, b->path) == 0;
}

// `path` "" is the root.
static void add_folder(struct watched_folders *folders, const char *path)
{
    struct watched_folder *added = &folders->items[folders->count];
    struct stat st;

    path = *path ? path : "/";
    if (folders->count == WATCHED_FOLDERS_MAX || stat(path, &st) != 0)
        return;
    snprintf(added->path, sizeof added->path, "%s", path);
    added->device = st.st_dev;
    added->inode = st.st_ino;
    for (size_t i = 0; i < folders->count; i++)
        if (folders->items[i].device == st.st_dev && folders->items[i].inode == st.st_ino)
            return;
    folders->count++;
}

// A path on its way to what it means: `done` has no link in it any more ("" = the root), `rest` is
// yet to be walked.
struct walk {
    char done[CERT_PATH_MAX_BYTES];
    char rest[2 * CERT_PATH_MAX_BYTES];
};

static bool fits(int written, size_t size)
{
    return written >= 0 && (size_t)written < size;
}

// Puts what the link leads to before the rest.
static bool follow(struct walk *walk, const char *link, const char *rest)
{
    char target[CERT_PATH_MAX_BYTES], joined[2 * CERT_PATH_MAX_BYTES];
    const ssize_t len = readlink(link, target, sizeof target - 1);

    if (len <= 0)
        return false;
    target[len] = '\0';
    if (target[0] == '/')
        walk->done[0] = '\0';
    if (!fits(snprintf(joined, sizeof joined, "%s/%s", target, rest), sizeof joined))
        return false;
    strcpy(walk->rest, joined);
    return true;
}

void watched_folders_add(struct watched_folders *folders, const char *path)
{
    struct walk walk = {.done = "."};
    int links = 0;

    if (!fits(snprintf(walk.rest, sizeof walk.rest, "%s", path), sizeof walk.rest))
        return;
    if (path[0] == '/')
        walk.done[0] = '\0';
    for (;;) {
        char next[CERT_PATH_MAX_BYTES];
        const char *name = walk.rest + strspn(walk.rest, "/");
        const size_t len = strcspn(name, "/");
        const char *rest = name + len + strspn(name + len, "/");
        struct stat st;

        if (len == 0 ||
            !fits(snprintf(next, sizeof next, "%s/%.*s", walk.done, (int)len, name), sizeof next))
            return;
        if (lstat(next, &st) != 0 || *rest == '\0' || S_ISLNK(st.st_mode))
            add_folder(folders, walk.done);
        if (lstat(next, &st) != 0)
            return;
        if (S_ISLNK(st.st_mode)) {
            if (++links > LINKS_MAX || !follow(&walk, next, rest))
                return;
        } else {
            strcpy(walk.done, next);
            memmove(walk.rest, rest, strlen(rest) + 1);
        }
    }
}
