// SPDX-License-Identifier: BSD-3-Clause
#include "proto/login.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *login_result_name(enum login_result result)
{
    static const char *const names[] = {
        [LOGIN_OK] = "ok",
        [LOGIN_BAD_LENGTH] = "client_info_bad_length",
        [LOGIN_ZERO_KEY] = "zero_key",
        [LOGIN_BOX_NOT_OPENED] = "box_not_opened",
        [LOGIN_BAD_JSON] = "bad_json",
        [LOGIN_BAD_MESH_KEY] = "bad_mesh_key",
        [LOGIN_TOO_MANY] = "too_many_connections",
    };
    return names[result];
}

// A field of that name, or none; names are compared without regard to case, as Go's decoder does.
static const json_t *find_field(json_t *object, const char *name)
{
    const char *key;
    json_t *value, *found = NULL;

    json_object_foreach(object, key, value)
    {
        if (strcasecmp(key, name) == 0 && !json_is_null(value))
            found = value;
    }
    return found;
}

static bool read_bool(json_t *object, const char *name, bool *out)
{
    const json_t *value = find_field(object, name);

    *out = value && json_is_true(value);
    return !value || json_is_boolean(value);
}

static enum login_result read_mesh_key(json_t *object, struct client_info *out)
{
    const json_t *value = find_field(object, "meshKey");

    out->has_mesh_key = false;
    if (!value)
        return LOGIN_OK;
    if (!json_is_string(value))
        return LOGIN_BAD_MESH_KEY;
    out->has_mesh_key =
        key_from_hex(&out->mesh_key, json_string_value(value), json_string_length(value));
    return out->has_mesh_key ? LOGIN_OK : LOGIN_BAD_MESH_KEY;
}

// Fields that are not used must still be what Go's decoder would take.
static bool well_typed(json_t *object)
{
    const json_t *version = find_field(object, "version");
    const json_t *app_name = find_field(object, "AppName");

    return (!version || json_is_integer(version)) && (!app_name || json_is_string(app_name));
}

static enum login_result read_json(const uint8_t *text, size_t len, struct client_info *out)
{
    json_t *object = json_loadb((const char *)text, len, JSON_ALLOW_NUL, NULL);
    enum login_result result = LOGIN_BAD_JSON;

    if (!json_is_object(object))
        goto out;
    if (!well_typed(object) || !read_bool(object, "CanAckPings", &out->can_ack_pings) ||
        !read_bool(object, "IsProber", &out->is_prober))
        goto out;
    result = read_mesh_key(object, out);
out:
    json_decref(object);
    return result;
}

bool login_shared_key(const struct key_pair *server, const struct key *client,
                      uint8_t shared[static KEY_BYTES])
{
    return crypto_box_beforenm(shared, client->bytes, server->private.bytes) == 0;
}

enum login_result login_open_client_info(const struct key_pair *server, const uint8_t *payload,
                                         size_t len, struct client_info *out,
                                         uint8_t shared[static KEY_BYTES])
{
    uint8_t json[FRAME_CLIENT_INFO_MAX_BYTES];

    if (len < LOGIN_CLIENT_INFO_MIN_BYTES + crypto_box_MACBYTES ||
        len > FRAME_CLIENT_INFO_MAX_BYTES)
        return LOGIN_BAD_LENGTH;
    memcpy(out->key.bytes, payload, KEY_BYTES);
    if (key_is_zero(&out->key))
        return LOGIN_ZERO_KEY;

    const uint8_t *nonce = payload + KEY_BYTES;
    const uint8_t *box = nonce + LOGIN_NONCE_BYTES;
    const size_t box_len = len - LOGIN_CLIENT_INFO_MIN_BYTES;

    if (!login_shared_key(server, &out->key, shared) ||
        crypto_box_open_easy_afternm(json, box, box_len, nonce, shared) != 0)
        return LOGIN_BOX_NOT_OPENED;

    const enum login_result result = read_json(json, box_len - crypto_box_MACBYTES, out);

    sodium_memzero(json, sizeof json);
    return result;
}

static size_t put_json(char *out, size_t size, const struct server_limits *limits)
{
    if (limits->bytes_per_second == 0)
        return (size_t)snprintf(out, size, "{\"version\":%d}", DERP_VERSION);
    return (size_t)snprintf(
        out, size,
        "{\"version\":%d,\"TokenBucketBytesPerSecond\":%llu,\"TokenBucketBytesBurst\":%llu}",
        DERP_VERSION, (unsigned long long)limits->bytes_per_second,
        (unsigned long long)limits->burst_bytes);
}

size_t login_put_server_info(uint8_t out[static LOGIN_SERVER_INFO_MAX_BYTES],
                             const uint8_t shared[static KEY_BYTES],
                             const struct server_limits *limits)
{
    char json[LOGIN_SERVER_INFO_MAX_BYTES - FRAME_HEADER_BYTES - LOGIN_NONCE_BYTES -
              crypto_box_MACBYTES];
    const size_t len = put_json(json, sizeof json, limits);
    uint8_t *nonce = out + FRAME_HEADER_BYTES;
    uint8_t *box = nonce + LOGIN_NONCE_BYTES;
    const size_t payload = LOGIN_NONCE_BYTES + crypto_box_MACBYTES + len;

    frame_put_header(out, FRAME_SERVER_INFO, (uint32_t)payload);
    randombytes_buf(nonce, LOGIN_NONCE_BYTES);
    crypto_box_easy_afternm(box, (const uint8_t *)json, len, nonce, shared);
    return FRAME_HEADER_BYTES + payload;
}
