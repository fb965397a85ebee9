// SPDX-License-Identifier: BSD-3-Clause
#include "server/rate_config.h"

#include "base/file.h"
#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define QUOTED_BYTES 64
#define QUOTED_PATH_BYTES 512
#define RATE_NAME "PerClientRateLimitBytesPerSec"
#define BURST_NAME "PerClientRateBurstBytes"
#define EXAMPLE "{\"" RATE_NAME "\": 1000000, \"" BURST_NAME "\": 200000}"

static bool read_number(uint64_t *out, const char *name, const json_t *value, char *why,
                        size_t size)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    snprintf(why, size, "has a %s that is not a whole number of bytes; give 0 or more", name);
    return false;
}

static bool read_field(struct server_limits *out, const char *name, const json_t *value, char *why,
                       size_t size)
{
    char quoted[QUOTED_BYTES];

    if (strcmp(name, RATE_NAME) == 0)
        return read_number(&out->bytes_per_second, name, value, why, size);
    if (strcmp(name, BURST_NAME) == 0)
        return read_number(&out->burst_bytes, name, value, why, size);
    snprintf(why, size, "has \"%s\" in it, which is not known; write " EXAMPLE,
             text_escape(quoted, sizeof quoted, name, strlen(name)));
    return false;
}

bool rate_config_parse(struct server_limits *out, const char *text, size_t len, char *why,
                       size_t size)
{
    json_error_t fault;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &fault), *value;
    bool ok = json_is_object(root);
    const char *name;

    *out = (struct server_limits){0};
    if (!root)
        snprintf(why, size, "is not JSON (line %d: %s); write " EXAMPLE, fault.line, fault.text);
    else if (!ok)
        snprintf(why, size, "is not a JSON object; write " EXAMPLE);
    json_object_foreach(root, name, value)
    {
        if (ok)
            ok = read_field(out, name, value, why, size);
    }
    json_decref(root);
    if (!ok || out->bytes_per_second == 0)
        *out = (struct server_limits){0};
    else if (out->burst_bytes < RATE_CONFIG_BURST_MIN_BYTES)
        out->burst_bytes = RATE_CONFIG_BURST_MIN_BYTES;
    return ok;
}

bool rate_config_load(struct server_limits *out, const char *path, char *error, size_t size)
{
    char why[RATE_CONFIG_ERROR_BYTES / 2], quoted[QUOTED_PATH_BYTES];
    struct file_text text;
    bool ok;

    *out = (struct server_limits){0};
    ok = file_read(&text, path, RATE_CONFIG_FILE_MAX_BYTES, why, sizeof why) == FILE_READ &&
         rate_config_parse(out, text.bytes, text.len, why, sizeof why);
    if (!ok)
        snprintf(error, size, "--rate-config: the file %s %s.",
                 text_escape(quoted, sizeof quoted, path, strlen(path)), why);
    file_forget(&text);
    return ok;
}

const char *rate_config_text(const struct server_limits *limits,
                             char out[static RATE_CONFIG_TEXT_BYTES])
{
    if (limits->bytes_per_second == 0)
        snprintf(out, RATE_CONFIG_TEXT_BYTES, "as much as it likes");
    else
        snprintf(out, RATE_CONFIG_TEXT_BYTES, "%llu bytes a second and %llu at once",
                 (unsigned long long)limits->bytes_per_second,
                 (unsigned long long)limits->burst_bytes);
    return out;
}
