// SPDX-License-Identifier: BSD-3-Clause
//
// ClientInfo payloads. The first byte chooses: 'r' gives the rest to the server as it is; any other
// seals the rest as a box from a fixed client, so that the reader of the JSON inside is reached.
// What is let in gets a ServerInfo, which must open at the client.
#include "proto/login.h"

#include <sodium.h>
#include <stdlib.h>

#define ENVELOPE_BYTES (LOGIN_CLIENT_INFO_MIN_BYTES + crypto_box_MACBYTES)
#define JSON_MAX_BYTES FRAME_CLIENT_INFO_MAX_BYTES // sealed: longer than what the server takes

static const uint8_t nonce[LOGIN_NONCE_BYTES] = "fixed nonce for fuzzing";
static struct key_pair server, client;
static uint8_t client_shared[KEY_BYTES];

static void demand(bool held)
{
    if (!held)
        abort();
}

static void fixed_pair(struct key_pair *pair, uint8_t byte)
{
    struct key private;

    memset(&private, byte, sizeof private);
    demand(key_pair_from_private(pair, &private));
}

static void make_keys(void)
{
    if (client_shared[0] || client_shared[1])
        return;
    demand(sodium_init() >= 0);
    fixed_pair(&server, 0x11);
    fixed_pair(&client, 0x22);
    demand(crypto_box_beforenm(client_shared, server.public.bytes, client.private.bytes) == 0);
}

static void check_server_info(const uint8_t shared[static KEY_BYTES],
                              const uint8_t expected[static KEY_BYTES], uint64_t limit)
{
    const struct server_limits limits = {.bytes_per_second = limit, .burst_bytes = limit * 2};
    uint8_t frame[LOGIN_SERVER_INFO_MAX_BYTES], json[LOGIN_SERVER_INFO_MAX_BYTES];
    const size_t size = login_put_server_info(frame, shared, &limits);
    const uint8_t *box = frame + FRAME_HEADER_BYTES + LOGIN_NONCE_BYTES;

    demand(size <= sizeof frame);
    demand(crypto_box_open_easy_afternm(json, box, size - FRAME_HEADER_BYTES - LOGIN_NONCE_BYTES,
                                        frame + FRAME_HEADER_BYTES, expected) == 0);
}

static enum login_result open_payload(const uint8_t *payload, size_t len, struct client_info *info,
                                      uint8_t shared[static KEY_BYTES])
{
    const enum login_result result = login_open_client_info(&server, payload, len, info, shared);

    demand(login_result_name(result) != NULL);
    demand((result == LOGIN_BAD_LENGTH) ==
           (len < ENVELOPE_BYTES || len > FRAME_CLIENT_INFO_MAX_BYTES));
    return result;
}

static void run_raw(const uint8_t *data, size_t size)
{
    struct client_info info;
    uint8_t shared[KEY_BYTES];

    if (open_payload(data, size, &info, shared) == LOGIN_OK)
        check_server_info(shared, shared, 0);
}

static void run_sealed(const uint8_t *json, size_t size)
{
    uint8_t *payload = malloc(ENVELOPE_BYTES + size);
    uint8_t shared[KEY_BYTES];
    struct client_info info;
    enum login_result result;

    demand(payload != NULL);
    memcpy(payload, client.public.bytes, KEY_BYTES);
    memcpy(payload + KEY_BYTES, nonce, LOGIN_NONCE_BYTES);
    crypto_box_easy_afternm(payload + LOGIN_CLIENT_INFO_MIN_BYTES, json, size, nonce,
                            client_shared);
    result = open_payload(payload, ENVELOPE_BYTES + size, &info, shared);
    demand(result != LOGIN_ZERO_KEY && result != LOGIN_BOX_NOT_OPENED);
    if (result == LOGIN_OK) {
        demand(key_equal(&info.key, &client.public));
        check_server_info(shared, client_shared, size << 40);
    }
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    make_keys();
    if (size == 0 || size - 1 > JSON_MAX_BYTES)
        return 0;
    if (data[0] == 'r')
        run_raw(data + 1, size - 1);
    else
        run_sealed(data + 1, size - 1);
    return 0;
}
