// SPDX-License-Identifier: BSD-3-Clause
//
// Input: arguments, each ended by a NUL; an argument of the form "NAME=value" whose name is in
// capitals is a variable of the environment instead.
#include "server/options.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *arguments[ARGS_MAX + 1];
static int argument_count;
static char *variables[ARGS_MAX];
static int variable_count;

static const char *get_variable(const char *name)
{
    const size_t len = strlen(name);

    for (int i = 0; i < variable_count; i++)
        if (strncmp(variables[i], name, len) == 0 && variables[i][len] == '=')
            return variables[i] + len + 1;
    return NULL;
}

static bool file_exists(const char *path)
{
    return path[1] == 'h';
}

static void split(char *text, size_t size)
{
    argument_count = 1;
    variable_count = 0;
    arguments[0] = "derper";
    for (char *p = text; p < text + size; p += strlen(p) + 1) {
        if (isupper((unsigned char)*p) && strchr(p, '=')) {
            if (variable_count < ARGS_MAX)
                variables[variable_count++] = p;
        } else if (argument_count < ARGS_MAX) {
            arguments[argument_count++] = p;
        }
    }
}

static void assert_sentence(const char *text, size_t size)
{
    const size_t len = strlen(text);

    assert(len > 0 && len < size);
    for (size_t i = 0; i < len; i++)
        assert(text[i] >= ' ' && text[i] < 0x7f);
}

static void assert_consistent(const struct options *o)
{
    assert(o->listen_port >= 0 && o->listen_port <= 65535);
    assert(o->http_port >= -1 && o->http_port <= 65535);
    assert(o->stun_port >= -1 && o->stun_port <= 65535);
    assert(o->workers >= 0 && o->workers <= OPTIONS_WORKERS_MAX);
    assert(o->tcp_user_timeout_ns >= 0 && o->tcp_write_timeout_ns >= 0);
    assert(o->serve_tls || o->http_port == -1);
    assert(!o->serve_tls || (o->cert_dir[0] != '\0' && o->cert_mode == CERT_MODE_MANUAL));
    assert(o->dev == (o->key_path[0] == '\0'));
    assert(o->hostname[0] != '\0' && strlen(o->hostname) <= OPTIONS_HOSTNAME_CHARS);
    assert(o->mesh_with[0] == '\0');
    for (size_t i = 0; i < o->debug_cidr_count; i++)
        assert(o->debug_cidrs[i].bits <= (o->debug_cidrs[i].family == AF_INET ? 32 : 128));
    for (size_t i = 0; i < o->warning_count; i++)
        assert_sentence(o->warnings[i], OPTIONS_WARNING_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct options options;
    const struct options_world world = {get_variable, file_exists, size % 2};
    char error[OPTIONS_ERROR_BYTES];
    char *text = malloc(size + 1);
    enum options_result result;

    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    split(text, size);
    result = options_parse(&options, argument_count, arguments, &world, error, sizeof error);
    if (result == OPTIONS_ERROR)
        assert_sentence(error, sizeof error - 1);
    else
        assert(error[0] == '\0');
    if (result == OPTIONS_OK)
        assert_consistent(&options);
    free(text);
    return 0;
}
