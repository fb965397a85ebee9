// SPDX-License-Identifier: BSD-3-Clause
//
// The folders in which a change can make a path mean another file: the one that the file lies in,
// and that of each link on the way there. So a swap is seen of certbot's links into archive/, of
// Kubernetes' ..data, and of a folder that is a link itself.
#ifndef DERPER_SERVER_WATCHED_FOLDERS_H
#define DERPER_SERVER_WATCHED_FOLDERS_H

#include "certgen/paths.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define WATCHED_FOLDERS_MAX 32 // what is beyond is left to the poll

struct watched_folder {
    char path[CERT_PATH_MAX_BYTES];
    dev_t device; // another folder may come under the same name
    ino_t inode;
};

struct watched_folders {
    size_t count;
    struct watched_folder items[WATCHED_FOLDERS_MAX];
};

bool watched_folder_equal(const struct watched_folder *a, const struct watched_folder *b);

// Adds the folders of a path; where something on the way is not there, the folder in which it would
// be. Blocking.
void watched_folders_add(struct watched_folders *folders, const char *path);

#endif
