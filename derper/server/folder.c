// SPDX-License-Identifier: BSD-3-Clause
#include "server/folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

// Cuts the last part off. "." and "/" are the ends.
static void go_up(char *path)
{
    char *slash = strrchr(path, '/');

    if (!slash)
        strcpy(path, ".");
    else if (slash == path)
        path[1] = '\0';
    else
        *slash = '\0';
}

bool folder_may_create(const char *path, char *error, size_t size)
{
    char folder[PATH_BYTES];
    struct stat st;

    if (snprintf(folder, sizeof folder, "%s", path) >= (int)sizeof folder) {
        snprintf(error, size, "the path %.64s… is too long", path);
        return false;
    }
    do
        go_up(folder);
    while (stat(folder, &st) != 0 && errno == ENOENT && strcmp(folder, "/") != 0 &&
           strcmp(folder, ".") != 0);
    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
        snprintf(error, size, "%s cannot be made: %s is not a folder", path, folder);
    else if (access(folder, W_OK | X_OK) != 0)
        snprintf(error, size,
                 "%s cannot be made: this user may not write to %s; name another place or run as "
                 "its owner",
                 path, folder);
    else
        return true;
    return false;
}
