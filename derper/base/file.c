// SPDX-License-Identifier: BSD-3-Clause
#include "base/file.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool too_large(size_t max_bytes, char *why, size_t size)
{
    snprintf(why, size, "is too large, more than %zu KiB; is it the right one", max_bytes / 1024);
    return false;
}

static bool is_readable(const struct stat *file, size_t max_bytes, char *why, size_t size)
{
    if (S_ISREG(file->st_mode))
        return file->st_size <= (off_t)max_bytes || too_large(max_bytes, why, size);
    snprintf(why, size,
             S_ISDIR(file->st_mode) ? "is a folder; name a file in it"
                                    : "is not a regular file; name one");
    return false;
}

// Until `room` is full or the file ends. False with errno.
static bool read_up_to(int fd, struct file_text *out, size_t room)
{
    while (out->len < room) {
        const ssize_t n = read(fd, out->bytes + out->len, room - out->len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        out->len += (size_t)n;
    }
    return true;
}

static bool read_descriptor(int fd, struct file_text *out, size_t max_bytes, char *why, size_t size)
{
    struct stat file;

    if (fstat(fd, &file) != 0) {
        snprintf(why, size, "cannot be examined: %s", strerror(errno));
        return false;
    }
    if (!is_readable(&file, max_bytes, why, size))
        return false;
    out->mode = file.st_mode;
    out->bytes = memory_get(max_bytes + 1); // one more shows that the file has grown
    if (!read_up_to(fd, out, max_bytes + 1)) {
        snprintf(why, size, "cannot be read: %s", strerror(errno));
        return false;
    }
    return out->len <= max_bytes || too_large(max_bytes, why, size);
}

enum file_result file_read(struct file_text *out, const char *path, size_t max_bytes, char *why,
                           size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe must not hold us
    const int error = errno;
    bool ok;

    *out = (struct file_text){0};
    if (fd < 0) {
        snprintf(why, size, "cannot be opened: %s%s", strerror(error),
                 error == EACCES ? "; let the user that derper runs as read it" : "");
        return error == ENOENT ? FILE_ABSENT : FILE_FAILED;
    }
    ok = read_descriptor(fd, out, max_bytes, why, size);
    close(fd);
    if (!ok)
        file_forget(out);
    return ok ? FILE_READ : FILE_FAILED;
}

void file_forget(struct file_text *text)
{
    if (text->bytes)
        sodium_memzero(text->bytes, text->len);
    free(text->bytes);
    *text = (struct file_text){0};
}
