// SPDX-License-Identifier: BSD-3-Clause
#include "client_login.h"

#include "proto/frame.h"

#include <sodium.h>
#include <string.h>

#define MAGIC_BYTES 8
#define SERVER_INFO_MAX_BYTES 4096

static const char info_json[] = "{\"version\":2,\"CanAckPings\":true}";

bool client_login_server_key(const uint8_t *payload, size_t len, struct key *out)
{
    if (len < MAGIC_BYTES + KEY_BYTES || memcmp(payload, "DERP\xf0\x9f\x94\x91", MAGIC_BYTES) != 0)
        return false;
    memcpy(out->bytes, payload + MAGIC_BYTES, KEY_BYTES);
    return true;
}

size_t client_login_put_info(uint8_t out[static CLIENT_INFO_FRAME_MAX_BYTES],
                             const struct key_pair *client, const struct key *server)
{
    const size_t json_bytes = sizeof info_json - 1;
    const size_t payload = KEY_BYTES + crypto_box_NONCEBYTES + crypto_box_MACBYTES + json_bytes;
    uint8_t *key = out + FRAME_HEADER_BYTES, *nonce = key + KEY_BYTES;

    frame_put_header(out, FRAME_CLIENT_INFO, (uint32_t)payload);
    memcpy(key, client->public.bytes, KEY_BYTES);
    randombytes_buf(nonce, crypto_box_NONCEBYTES);
    if (crypto_box_easy(nonce + crypto_box_NONCEBYTES, (const uint8_t *)info_json, json_bytes,
                        nonce, server->bytes, client->private.bytes) != 0)
        return 0;
    return FRAME_HEADER_BYTES + payload;
}

bool client_login_open_info(const uint8_t *payload, size_t len, const struct key_pair *client,
                            const struct key *server)
{
    uint8_t json[SERVER_INFO_MAX_BYTES];

    if (len < crypto_box_NONCEBYTES + crypto_box_MACBYTES ||
        len > sizeof json + crypto_box_NONCEBYTES)
        return false;
    return crypto_box_open_easy(json, payload + crypto_box_NONCEBYTES, len - crypto_box_NONCEBYTES,
                                payload, server->bytes, client->private.bytes) == 0;
}
