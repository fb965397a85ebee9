// SPDX-License-Identifier: BSD-3-Clause
#include "server/keyfile.h"

#include "base/file.h"
#include "base/text.h"
#include "certgen/file.h"

#include <assert.h>
#include <jansson.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES 65536
#define QUOTED_PATH_BYTES 512
#define WHY_BYTES 256
#define FIELD_NAME "PrivateKey"
#define KEY_PREFIX "privkey:"
#define KEY_PREFIX_CHARS (sizeof KEY_PREFIX - 1)
#define NEW_FILE_BYTES 128
#define RESTORE "restore it from a copy, or move it away to get a new key"

// Where sentences go, and about which file.
struct report {
    char *text;
    size_t size;
    const char *path;
};

// "key file PATH: " and what follows.
__attribute__((format(printf, 2, 3))) static void say(const struct report *report,
                                                      const char *format, ...)
{
    char quoted[QUOTED_PATH_BYTES];
    va_list args;
    int len;

    text_escape(quoted, sizeof quoted, report->path, strlen(report->path));
    len = snprintf(report->text, report->size, "key file %s: ", quoted);
    va_start(args, format);
    if (len > 0 && (size_t)len < report->size)
        vsnprintf(report->text + len, report->size - (size_t)len, format, args);
    va_end(args);
}

// --- Reading ---

// The key of `root` into `pair`. The text itself is wiped, as jansson does not.
static bool take_key(struct key_pair *pair, json_t *root, const struct report *report)
{
    json_t *field = json_object_get(root, FIELD_NAME);
    const size_t len = json_string_length(field);
    char *value = (char *)json_string_value(field);
    struct key private = {0};
    bool valid = false;

    if (!json_is_object(root) || !field) {
        say(report,
            "has no \"" FIELD_NAME "\" in it; is it the right file? If it was one, " RESTORE ".");
        return false;
    }
    if (!value || len != KEY_PREFIX_CHARS + KEY_HEX_CHARS ||
        memcmp(value, KEY_PREFIX, KEY_PREFIX_CHARS) != 0 ||
        !key_from_hex(&private, value + KEY_PREFIX_CHARS, KEY_HEX_CHARS))
        say(report, "its \"" FIELD_NAME "\" is not \"" KEY_PREFIX
                    "\" and 64 hexadecimal digits; " RESTORE ".");
    else if (!key_pair_from_private(pair, &private))
        say(report, "its key is all zero, which everybody could guess; " RESTORE ".");
    else
        valid = true;
    if (value)
        sodium_memzero(value, len);
    sodium_memzero(&private, sizeof private);
    return valid;
}

static bool parse(struct key_pair *pair, const char *bytes, size_t len, const struct report *report)
{
    json_error_t error;
    json_t *root;
    bool valid;

    if (len == 0) {
        say(report, "is empty; " RESTORE ".");
        return false;
    }
    root = json_loadb(bytes, len, JSON_DECODE_ANY, &error);
    if (!root) {
        // jansson's own words may quote the secret.
        say(report, "is not JSON (line %d); " RESTORE ".", error.line);
        return false;
    }
    valid = take_key(pair, root, report);
    json_decref(root);
    return valid;
}

enum keyfile_result keyfile_load(struct key_pair *pair, const char *path, char *text, size_t size)
{
    const struct report report = {text, size, path};
    struct file_text file;
    char why[WHY_BYTES];
    enum file_result result;
    bool valid;

    assert(size >= KEYFILE_TEXT_BYTES);
    text[0] = '\0';
    result = file_read(&file, path, FILE_MAX_BYTES, why, sizeof why);
    if (result == FILE_ABSENT) {
        say(&report, "does not exist; a start without --check makes it, with a new key.");
        return KEYFILE_ABSENT;
    }
    if (result == FILE_FAILED)
        say(&report, "%s.", why);
    valid = result == FILE_READ && parse(pair, file.bytes, file.len, &report);
    if (valid && (file.mode & 077))
        say(&report, "others than its owner may use it (mode %04o); run chmod 600 on it.",
            (unsigned)(file.mode & 07777));
    file_forget(&file);
    if (!valid)
        key_pair_wipe(pair);
    return valid ? KEYFILE_LOADED : KEYFILE_FAILED;
}

// --- Creating ---

static enum cert_file_created write_key(const struct key_pair *pair, const struct report *report)
{
    char hex[KEY_HEX_CHARS + 1], bytes[NEW_FILE_BYTES];
    enum cert_file_created created;
    int len;

    key_to_hex(&pair->private, hex);
    len = snprintf(bytes, sizeof bytes, "{\n\t\"" FIELD_NAME "\": \"" KEY_PREFIX "%s\"\n}", hex);
    created = cert_file_create(report->path, bytes, (size_t)len, 0600, report->text, report->size);
    sodium_memzero(hex, sizeof hex);
    sodium_memzero(bytes, sizeof bytes);
    return created;
}

// KEYFILE_ABSENT: not any more, another process has made it meanwhile.
static enum keyfile_result create(struct key_pair *pair, const struct report *report)
{
    if (!cert_file_make_folder(report->path, report->text, report->size))
        return KEYFILE_FAILED;
    key_pair_generate(pair);
    switch (write_key(pair, report)) {
    case CERT_FILE_CREATED:
        report->text[0] = '\0';
        return KEYFILE_CREATED;
    case CERT_FILE_EXISTS:
        key_pair_wipe(pair);
        return KEYFILE_ABSENT;
    default:
        key_pair_wipe(pair);
        return KEYFILE_FAILED;
    }
}

enum keyfile_result keyfile_load_or_create(struct key_pair *pair, const char *path, char *text,
                                           size_t size)
{
    const struct report report = {text, size, path};
    enum keyfile_result result = keyfile_load(pair, path, text, size);

    if (result != KEYFILE_ABSENT)
        return result;
    result = create(pair, &report);
    if (result != KEYFILE_ABSENT)
        return result;
    result = keyfile_load(pair, path, text, size);
    if (result == KEYFILE_ABSENT) {
        say(&report, "is a symbolic link that leads nowhere; correct or remove it.");
        return KEYFILE_FAILED;
    }
    return result;
}
