// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/file.h"

#include "certgen/error.h"
#include "certgen/paths.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TEMPORARY_ENDING ".new-XXXXXX"
#define TEMPORARY_OLD_S 60 // what is left of a process that was killed
#define TEMPORARY_RANDOM 6 // characters
#define BEFORE_ENDING ".before"
#define TEMPORARY_BYTES ((int)(CERT_PATH_MAX_BYTES + sizeof TEMPORARY_ENDING))
#define FOLDER_MODE 0700

static bool fail_open(const char *path, int err, char *error, size_t size)
{
    struct stat link;

    if (err == ENOENT && lstat(path, &link) == 0)
        return cert_fail(error, size,
                         "%s is a link to a file that does not exist: make the folder that the "
                         "link points into available too (for certbot that is all of "
                         "/etc/letsencrypt, not only live/)",
                         path);
    if (err == ENOENT)
        return cert_fail(error, size, "%s does not exist: put the file there under this very name",
                         path);
    if (err == EACCES || err == EPERM)
        return cert_fail(error, size,
                         "%s cannot be read (%s): let the user that runs this program read it",
                         path, strerror(err));
    return cert_fail(error, size, "%s cannot be read (%s): check the path", path, strerror(err));
}

static bool check_kind(const char *path, const struct stat *st, char *error, size_t size)
{
    if (S_ISDIR(st->st_mode))
        return cert_fail(error, size,
                         "%s is a folder, not a file: remove it and put the file there (Docker "
                         "makes such a folder when the file it should mount does not exist)",
                         path);
    if (!S_ISREG(st->st_mode))
        return cert_fail(error, size, "%s is not a regular file: put a regular file there", path);
    if (st->st_size == 0)
        return cert_fail(error, size, "%s is empty: copy it again from the renewal", path);
    if (st->st_size > CERT_FILE_MAX_BYTES)
        return cert_fail(error, size,
                         "%s is larger than %d bytes, too large for a certificate or key: check "
                         "that it is the right file",
                         path, CERT_FILE_MAX_BYTES);
    return true;
}

// Reads until `room` is full or the file ends. -1 with errno.
static ssize_t read_up_to(int fd, char *bytes, size_t room)
{
    size_t len = 0;

    while (len < room) {
        const ssize_t n = read(fd, bytes + len, room - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static bool read_descriptor(int fd, const char *path, struct cert_text *out, char *error,
                            size_t size)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return fail_open(path, errno, error, size);
    if (!check_kind(path, &st, error, size))
        return false;

    const size_t expected = (size_t)st.st_size;
    char *bytes = OPENSSL_malloc(expected + 1); // one more shows that the file has grown
    if (!bytes)
        return cert_fail(error, size, "%s cannot be read: out of memory", path);

    const ssize_t n = read_up_to(fd, bytes, expected + 1);
    if (n == (ssize_t)expected) {
        *out = (struct cert_text){.bytes = bytes, .len = expected};
        return true;
    }
    if (n < 0)
        fail_open(path, errno, error, size);
    else
        cert_fail(error, size, "%s changed while it was read: try again", path);
    OPENSSL_clear_free(bytes, expected + 1);
    return false;
}

bool cert_file_read(const char *path, struct cert_text *out, char *error, size_t size)
{
    // O_NONBLOCK: a FIFO must not hold up the start; it is refused just after.
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    *out = (struct cert_text){0};
    if (fd < 0)
        return fail_open(path, errno, error, size);

    const bool ok = read_descriptor(fd, path, out, error, size);
    close(fd);
    return ok;
}

void cert_file_wipe(struct cert_text *text)
{
    OPENSSL_clear_free(text->bytes, text->len);
    *text = (struct cert_text){0};
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        const ssize_t n = write(fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

// Makes the file under a temporary name, written into `path`, a template. 0, or -1 with errno and
// no file left.
static int write_temporary(char *path, const void *bytes, size_t len, mode_t mode)
{
    const int fd = mkostemp(path, O_CLOEXEC); // mode 0600 at most
    if (fd < 0)
        return -1;

    bool ok = write_all(fd, bytes, len) == 0 && fchmod(fd, mode) == 0 && fsync(fd) == 0;
    int err = errno;
    if (close(fd) != 0 && ok) {
        ok = false;
        err = errno;
    }
    if (ok)
        return 0;
    unlink(path);
    errno = err;
    return -1;
}

// Gives the file its real name unless that is taken (EEXIST): a hard link never replaces. Some file
// systems have no hard links; there a look and a rename must do. 0, or -1 with errno. The temporary
// name is gone in any case.
static int publish(const char *temporary, const char *path)
{
    struct stat st;

    if (link(temporary, path) == 0) {
        unlink(temporary);
        return 0;
    }
    int err = errno;
    if (err != EEXIST) {
        if (lstat(path, &st) == 0)
            err = EEXIST;
        else if (rename(temporary, path) == 0)
            return 0;
        else
            err = errno;
    }
    unlink(temporary);
    errno = err;
    return -1;
}

// The folder part of `path`, "." when it has none. False when it does not fit.
static bool folder_of(char out[static CERT_PATH_MAX_BYTES], const char *path)
{
    const char *slash = strrchr(path, '/');
    const size_t len = slash ? (size_t)(slash - path) : 0;

    if (len >= CERT_PATH_MAX_BYTES)
        return false;
    memcpy(out, path, len);
    out[len] = '\0';
    if (len == 0)
        strcpy(out, slash ? "/" : ".");
    return true;
}

// So that the name survives a power cut. Best effort: not every file system can sync a folder.
static void sync_folder_of(const char *path)
{
    char folder[CERT_PATH_MAX_BYTES];

    if (!folder_of(folder, path))
        return;
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

// A template for a temporary name beside `path`. False with errno when it does not fit.
static bool temporary_of(char out[static TEMPORARY_BYTES], const char *path)
{
    const int n = snprintf(out, TEMPORARY_BYTES, "%s" TEMPORARY_ENDING, path);

    errno = ENAMETOOLONG;
    return n >= 0 && n < TEMPORARY_BYTES;
}

static bool fail_create(const char *path, char *error, size_t size)
{
    return cert_fail(error, size,
                     "%s cannot be created (%s): let the user that runs this program write to its "
                     "folder, or choose another folder",
                     path, strerror(errno));
}

enum cert_file_created cert_file_create(const char *path, const void *bytes, size_t len,
                                        mode_t mode, char *error, size_t size)
{
    char temporary[TEMPORARY_BYTES];

    if (temporary_of(temporary, path) && write_temporary(temporary, bytes, len, mode) == 0 &&
        publish(temporary, path) == 0) {
        sync_folder_of(path);
        return CERT_FILE_CREATED;
    }
    if (errno == EEXIST)
        return CERT_FILE_EXISTS;
    fail_create(path, error, size);
    return CERT_FILE_FAILED;
}

bool cert_file_replace(const char *path, const void *bytes, size_t len, mode_t mode, char *error,
                       size_t size)
{
    char temporary[TEMPORARY_BYTES];

    if (!temporary_of(temporary, path) || write_temporary(temporary, bytes, len, mode) != 0)
        return fail_create(path, error, size);
    if (rename(temporary, path) != 0) {
        const int err = errno;

        unlink(temporary);
        errno = err;
        return fail_create(path, error, size);
    }
    sync_folder_of(path);
    return true;
}

// Removes what processes that were killed have left beside `path`.
static void sweep(const char *path)
{
    char folder[CERT_PATH_MAX_BYTES];
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const size_t len = strlen(base), marked = len + strlen(TEMPORARY_ENDING) - TEMPORARY_RANDOM;
    char wanted[CERT_PATH_MAX_BYTES + sizeof TEMPORARY_ENDING];
    const struct dirent *entry;
    struct stat st;
    DIR *dir;

    if (!folder_of(folder, path) || !(dir = opendir(folder)))
        return;
    snprintf(wanted, sizeof wanted, "%s" TEMPORARY_ENDING, base);
    while ((entry = readdir(dir)))
        if (strlen(entry->d_name) == strlen(wanted) && memcmp(entry->d_name, wanted, marked) == 0 &&
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            time(NULL) - st.st_mtime > TEMPORARY_OLD_S)
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

// Gives both their names, or, where the second cannot have its own, puts the first that was there
// before back: what lies there stays a pair. Best effort where there are no hard links. False with
// errno.
static bool swap_two(const char *first, const char *second, const struct cert_file files[2])
{
    char before[TEMPORARY_BYTES];
    int err;

    snprintf(before, sizeof before, "%s" BEFORE_ENDING, files[0].path);
    unlink(before); // of a process that was killed
    (void)!link(files[0].path, before);
    if (rename(first, files[0].path) == 0 && rename(second, files[1].path) == 0) {
        unlink(before);
        return true;
    }
    err = errno;
    (void)!rename(before, files[0].path); // does nothing while both are the same file
    unlink(before);
    errno = err;
    return false;
}

bool cert_file_replace_two(const struct cert_file files[2], char *error, size_t size)
{
    char temporary[2][TEMPORARY_BYTES];
    int written = 0, err;

    for (; written < 2; written++) {
        const struct cert_file *file = &files[written];

        sweep(file->path);
        if (!temporary_of(temporary[written], file->path) ||
            write_temporary(temporary[written], file->bytes, file->len, file->mode) != 0)
            break;
    }
    if (written == 2 && swap_two(temporary[0], temporary[1], files)) {
        sync_folder_of(files[0].path);
        return true;
    }
    err = errno;
    for (int i = 0; i < written; i++)
        unlink(temporary[i]);
    errno = err;
    return fail_create(files[written < 2 ? written : 1].path, error, size);
}

bool cert_file_move(const char *from, const char *to, char *error, size_t size)
{
    if (rename(from, to) == 0) {
        sync_folder_of(to);
        return true;
    }
    return errno == ENOENT ||
           cert_fail(error, size,
                     "%s cannot take the place of %s (%s): let the user that runs this program "
                     "write to the folder, which must not be mounted file by file",
                     from, to, strerror(errno));
}

// 0 when the folder is there afterwards, or -1 with errno.
static int make_one_folder(const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0) { // asked first: mkdir of what exists may say EROFS or EACCES
        errno = ENOTDIR;
        return S_ISDIR(st.st_mode) ? 0 : -1;
    }
    if (mkdir(path, FOLDER_MODE) == 0)
        return chmod(path, FOLDER_MODE);
    return errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : -1;
}

bool cert_file_make_folder(const char *path, char *error, size_t size)
{
    char folder[CERT_PATH_MAX_BYTES];

    if (!folder_of(folder, path))
        return cert_fail(error, size, "%s is too long a path: use a shorter folder", path);
    for (char *end = folder + 1;; end++) {
        const char kept = *end;

        if (kept != '/' && kept != '\0')
            continue;
        *end = '\0';
        if (make_one_folder(folder) != 0)
            return cert_fail(error, size,
                             "the folder %s cannot be created (%s): create it for the "
                             "user that runs this program, or choose another one",
                             folder, strerror(errno));
        if (kept == '\0')
            return true;
        *end = kept;
    }
}
