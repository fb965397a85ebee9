// SPDX-License-Identifier: BSD-3-Clause
#include "server/attempts.h"

#include "certgen/error.h"
#include "certgen/file.h"
#include "certgen/paths.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define FILE_PREFIX "acme_attempts+"

static bool find(char path[static CERT_PATH_MAX_BYTES], const char *folder, const char *name,
                 char *error, size_t size)
{
    struct cert_paths paths;

    if (!cert_paths_one_file(&paths, folder, FILE_PREFIX, name, error, size))
        return false;
    memcpy(path, paths.cert, sizeof paths.cert);
    return true;
}

bool attempts_load(const char *folder, const char *name, const char *directory,
                   struct renewal_kept *kept)
{
    char path[CERT_PATH_MAX_BYTES], error[CERT_ERROR_BYTES];
    json_int_t at, failures, hold, tries, issues;
    const char *asked;
    struct cert_text text;
    json_t *object;
    bool ok;

    if (!find(path, folder, name, error, sizeof error) ||
        !cert_file_read(path, &text, error, sizeof error))
        return false;
    object = json_loadb(text.bytes, text.len, 0, NULL);
    cert_file_wipe(&text);
    ok = json_unpack(object, "{sssIsIsIsIsI}", "directory", &asked, "at", &at, "failures",
                     &failures, "hold_s", &hold, "tries_s", &tries, "issues_s", &issues) == 0 &&
         strcmp(asked, directory) == 0;
    if (ok)
        *kept = (struct renewal_kept){at, failures, hold, tries, issues};
    json_decref(object);
    return ok;
}

bool attempts_save(const char *folder, const char *name, const char *directory,
                   const struct renewal_kept *kept, char *error, size_t size)
{
    char path[CERT_PATH_MAX_BYTES], *text = NULL;
    json_t *object;
    bool ok;

    if (!find(path, folder, name, error, size) || !cert_file_make_folder(path, error, size))
        return false;
    object =
        json_pack("{sssIsIsIsIsI}", "directory", directory, "at", (json_int_t)kept->at_s,
                  "failures", (json_int_t)kept->failures, "hold_s", (json_int_t)kept->hold_s,
                  "tries_s", (json_int_t)kept->tries_s, "issues_s", (json_int_t)kept->issues_s);
    text = object ? json_dumps(object, JSON_INDENT(1)) : NULL;
    json_decref(object);
    ok = text ? cert_file_replace(path, text, strlen(text), 0600, error, size)
              : cert_fail(error, size, "out of memory");
    free(text);
    return ok;
}
