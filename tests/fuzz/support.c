// SPDX-License-Identifier: BSD-3-Clause
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void demand(bool held)
{
    if (!held)
        abort();
}

void demand_printable(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        demand(text[i] >= ' ' && text[i] <= '~');
}

void folder_make(char folder[static FOLDER_BYTES], void (*remove)(void))
{
    if (*folder)
        return;
    snprintf(folder, FOLDER_BYTES, "%s/derper-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    demand(mkdtemp(folder));
    atexit(remove);
}

static void path_of(const char *folder, const char *name, char path[static FOLDER_PATH_BYTES])
{
    demand(snprintf(path, FOLDER_PATH_BYTES, "%s/%s", folder, name) < FOLDER_PATH_BYTES);
}

void folder_empty(const char *folder)
{
    DIR *dir = opendir(folder);
    char path[FOLDER_PATH_BYTES];

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] != '.') {
            path_of(folder, entry->d_name, path);
            unlink(path);
        }
    if (dir)
        closedir(dir);
}

void folder_remove(const char *folder)
{
    folder_empty(folder);
    rmdir(folder);
}

void folder_put(const char *folder, const char *name, const void *bytes, size_t len,
                char path[static FOLDER_PATH_BYTES])
{
    FILE *file;

    path_of(folder, name, path);
    file = fopen(path, "wb");
    demand(file && fwrite(bytes, 1, len, file) == len && fclose(file) == 0);
}
