// SPDX-License-Identifier: BSD-3-Clause
//
// Logins from the client's side: boxes are made and opened here with libsodium's plain crypto_box.
#include "proto/login.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define ENVELOPE_BYTES (LOGIN_CLIENT_INFO_MIN_BYTES + crypto_box_MACBYTES)
#define JSON_MAX_BYTES (FRAME_CLIENT_INFO_MAX_BYTES - ENVELOPE_BYTES)
#define MESH_HEX "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

static struct key_pair server, client;

static int setup(void **state)
{
    (void)state;
    if (sodium_init() < 0)
        return -1;
    key_pair_generate(&server);
    key_pair_generate(&client);
    return 0;
}

// A ClientInfo payload on the heap, exact in size.
static uint8_t *seal(const void *json, size_t len)
{
    uint8_t *payload = malloc(ENVELOPE_BYTES + len);
    uint8_t *nonce = payload + KEY_BYTES;

    memcpy(payload, client.public.bytes, KEY_BYTES);
    randombytes_buf(nonce, LOGIN_NONCE_BYTES);
    assert_int_equal(crypto_box_easy(payload + LOGIN_CLIENT_INFO_MIN_BYTES, json, len, nonce,
                                     server.public.bytes, client.private.bytes),
                     0);
    return payload;
}

static enum login_result open_json(const void *json, size_t len, struct client_info *info)
{
    uint8_t *payload = seal(json, len);
    uint8_t shared[KEY_BYTES], expected[KEY_BYTES];
    const enum login_result result =
        login_open_client_info(&server, payload, ENVELOPE_BYTES + len, info, shared);

    if (result == LOGIN_OK) {
        assert_true(key_equal(&info->key, &client.public));
        assert_int_equal(crypto_box_beforenm(expected, server.public.bytes, client.private.bytes),
                         0);
        assert_memory_equal(shared, expected, KEY_BYTES);
    }
    free(payload);
    return result;
}

#define ACK 1
#define PROBER 2
#define MESH 4

static const struct {
    const char *name;
    const char *json;
    enum login_result result;
    int flags; // of ACK, PROBER, MESH
} cases[] = {
    {"Go's client", "{\"version\":2,\"CanAckPings\":true,\"IsProber\":false}", LOGIN_OK, ACK},
    {"Go's prober", "{\"version\":2,\"CanAckPings\":true,\"IsProber\":true}", LOGIN_OK,
     ACK | PROBER},
    {"a mesh peer", "{\"meshKey\":\"" MESH_HEX "\",\"version\":2}", LOGIN_OK, MESH},
    {"all at once",
     "{\"meshKey\":\"" MESH_HEX "\",\"CanAckPings\":true,\"IsProber\":true,\"AppName\":\"x\"}",
     LOGIN_OK, ACK | PROBER | MESH},
    {"the Rust client",
     "{\"can_ack_pings\":false,\"is_prober\":false,\"mesh_key\":\"none\",\"version\":2}", LOGIN_OK,
     0},
    {"names that only look alike",
     "{\"can_ack_pings\":true,\"CanAckPing\":true,\"CanAckPingss\":true,\"Is "
     "Prober\":true,\"mesh-key\":1}",
     LOGIN_OK, 0},
    {"no fields", "{}", LOGIN_OK, 0},
    {"white space around", " \t\r\n{ } \n", LOGIN_OK, 0},
    {"unknown fields of all types",
     "{\"a\":null,\"b\":[1,{\"c\":[]}],\"d\":-1.5e3,\"e\":\"\\u00e4\\u0000\",\"\":{\"IsProber\":"
     "true}}",
     LOGIN_OK, 0},
    {"lower case", "{\"canackpings\":true,\"isprober\":true}", LOGIN_OK, ACK | PROBER},
    {"mixed case", "{\"CANACKPINGS\":true,\"iSpRoBeR\":true,\"MESHKEY\":\"" MESH_HEX "\"}",
     LOGIN_OK, ACK | PROBER | MESH},
    {"escaped name", "{\"\\u0049sProber\":true}", LOGIN_OK, PROBER},
    {"the last of two counts", "{\"IsProber\":true,\"IsProber\":false}", LOGIN_OK, 0},
    {"the last of two spellings counts", "{\"IsProber\":false,\"isprober\":true}", LOGIN_OK,
     PROBER},
    {"null is absent", "{\"CanAckPings\":null,\"IsProber\":null,\"meshKey\":null}", LOGIN_OK, 0},
    {"null after a value", "{\"CanAckPings\":true,\"canackpings\":null}", LOGIN_OK, ACK},
    {"any version", "{\"version\":77,\"IsProber\":true}", LOGIN_OK, PROBER},
    {"empty mesh key", "{\"meshKey\":\"\"}", LOGIN_BAD_MESH_KEY, 0},
    {"zero mesh key is a key",
     "{\"meshKey\":\"0000000000000000000000000000000000000000000000000000000000000000\"}", LOGIN_OK,
     MESH},
    {"mesh key not hex", "{\"meshKey\":\"none\"}", LOGIN_BAD_MESH_KEY, 0},
    {"mesh key with a g",
     "{\"meshKey\":\"g0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}",
     LOGIN_BAD_MESH_KEY, 0},
    {"mesh key one short",
     "{\"meshKey\":\"0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}",
     LOGIN_BAD_MESH_KEY, 0},
    {"mesh key one long", "{\"meshKey\":\"" MESH_HEX "0\"}", LOGIN_BAD_MESH_KEY, 0},
    {"mesh key with a blank", "{\"meshKey\":\" " MESH_HEX "\"}", LOGIN_BAD_MESH_KEY, 0},
    {"mesh key with NUL", "{\"meshKey\":\"" MESH_HEX "\\u0000\"}", LOGIN_BAD_MESH_KEY, 0},
    {"mesh key only NUL", "{\"meshKey\":\"\\u0000\"}", LOGIN_BAD_MESH_KEY, 0},
    {"mesh key a number", "{\"meshKey\":7}", LOGIN_BAD_MESH_KEY, 0},
    {"mesh key an array", "{\"meshKey\":[\"" MESH_HEX "\"]}", LOGIN_BAD_MESH_KEY, 0},
    {"mesh key false", "{\"meshKey\":false}", LOGIN_BAD_MESH_KEY, 0},
    {"text for a bool", "{\"CanAckPings\":\"true\"}", LOGIN_BAD_JSON, 0},
    {"number for a bool", "{\"CanAckPings\":1}", LOGIN_BAD_JSON, 0},
    {"object for a bool", "{\"IsProber\":{}}", LOGIN_BAD_JSON, 0},
    {"array for a bool", "{\"isprober\":[true]}", LOGIN_BAD_JSON, 0},
    {"nothing", "", LOGIN_BAD_JSON, 0},
    {"only blanks", "   ", LOGIN_BAD_JSON, 0},
    {"array", "[]", LOGIN_BAD_JSON, 0},
    {"object in an array", "[{\"version\":2}]", LOGIN_BAD_JSON, 0},
    {"text", "\"version\"", LOGIN_BAD_JSON, 0},
    {"number", "2", LOGIN_BAD_JSON, 0},
    {"null", "null", LOGIN_BAD_JSON, 0},
    {"letter behind", "{\"version\":2}x", LOGIN_BAD_JSON, 0},
    {"brace behind", "{\"version\":2}}", LOGIN_BAD_JSON, 0},
    {"second object behind", "{\"version\":2}{}", LOGIN_BAD_JSON, 0},
    {"comma at the end", "{\"version\":2,}", LOGIN_BAD_JSON, 0},
    {"no closing brace", "{\"version\":2", LOGIN_BAD_JSON, 0},
    {"single quotes", "{'version':2}", LOGIN_BAD_JSON, 0},
    {"name without quotes", "{version:2}", LOGIN_BAD_JSON, 0},
    {"comment", "{/**/}", LOGIN_BAD_JSON, 0},
    {"line break in text", "{\"a\":\"\n\"}", LOGIN_BAD_JSON, 0},
    {"byte order mark", "\xef\xbb\xbf{}", LOGIN_BAD_JSON, 0},
};

static void check_info(const struct client_info *info, int flags)
{
    struct key mesh;

    assert_int_equal(info->can_ack_pings, !!(flags & ACK));
    assert_int_equal(info->is_prober, !!(flags & PROBER));
    assert_int_equal(info->has_mesh_key, !!(flags & MESH));
    if (flags == (ACK | PROBER | MESH)) {
        assert_true(key_from_hex(&mesh, MESH_HEX, KEY_HEX_CHARS));
        assert_true(key_equal(&info->mesh_key, &mesh));
    }
}

static void test_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client_info info;

        print_message("%s\n", cases[i].name);
        memset(&info, 0xff, sizeof info);
        assert_int_equal(open_json(cases[i].json, strlen(cases[i].json), &info), cases[i].result);
        if (cases[i].result == LOGIN_OK)
            check_info(&info, cases[i].flags);
    }
}

static void test_json_with_odd_bytes(void **state)
{
    struct client_info info;

    (void)state;
    assert_int_equal(open_json("{}\0", 3, &info), LOGIN_BAD_JSON);
    assert_int_equal(open_json("\0{}", 3, &info), LOGIN_BAD_JSON);
    for (int c = 0; c < 256; c++) { // any one byte behind the object, white space excepted
        const char json[] = {'{', '}', (char)c};
        const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';

        assert_int_equal(open_json(json, 3, &info), blank ? LOGIN_OK : LOGIN_BAD_JSON);
    }
}

// Nesting as deep as the bound on the frame allows must end in an answer, not in a full stack.
static void test_deep_json(void **state)
{
    static const char openings[] = {'[', '{'};
    char json[JSON_MAX_BYTES];
    struct client_info info;

    (void)state;
    for (size_t i = 0; i < sizeof openings; i++) {
        memset(json, openings[i], sizeof json);
        assert_int_equal(open_json(json, sizeof json, &info), LOGIN_BAD_JSON);
    }
    memcpy(json, "{\"a\":", 5);
    memset(json + 5, '[', 1000);
    memset(json + 1005, ']', 1000);
    json[2005] = '}';
    assert_int_equal(open_json(json, 2006, &info), LOGIN_OK);
}

static void test_every_json_prefix(void **state)
{
    static const char json[] = "{\"meshKey\":\"" MESH_HEX "\",\"version\":2,\"CanAckPings\":true}";
    struct client_info info;

    (void)state;
    for (size_t len = 0; len < sizeof json - 1; len++)
        assert_int_equal(open_json(json, len, &info), LOGIN_BAD_JSON);
    assert_int_equal(open_json(json, sizeof json - 1, &info), LOGIN_OK);
}

static enum login_result open_bytes(const uint8_t *bytes, size_t len)
{
    uint8_t *exact = len > 0 ? malloc(len) : NULL, shared[KEY_BYTES];
    struct client_info info;
    enum login_result result;

    if (len > 0)
        memcpy(exact, bytes, len);
    result = login_open_client_info(&server, exact, len, &info, shared);
    free(exact);
    return result;
}

static void test_lengths(void **state)
{
    static char json[JSON_MAX_BYTES + 1];
    uint8_t *payload;
    struct client_info info;

    (void)state;
    memset(json, ' ', sizeof json);
    memcpy(json, "{}", 2);
    assert_int_equal(open_json(json, JSON_MAX_BYTES, &info), LOGIN_OK);
    assert_int_equal(open_json(json, JSON_MAX_BYTES + 1, &info), LOGIN_BAD_LENGTH);
    payload = seal(json, JSON_MAX_BYTES);
    for (size_t len = 0; len < FRAME_CLIENT_INFO_MAX_BYTES; len++)
        assert_int_equal(open_bytes(payload, len),
                         len < ENVELOPE_BYTES ? LOGIN_BAD_LENGTH : LOGIN_BOX_NOT_OPENED);
    assert_int_equal(open_bytes(payload, FRAME_CLIENT_INFO_MAX_BYTES), LOGIN_OK);
    free(payload);
}

// Any one bit flipped: the box stays shut. The one exception is the highest bit of the client's
// key, which X25519 ignores (RFC 7748, section 5).
static void test_every_flipped_bit(void **state)
{
    static const char json[] = "{\"version\":2,\"CanAckPings\":true,\"IsProber\":false}";
    const size_t len = ENVELOPE_BYTES + sizeof json - 1;
    uint8_t *payload = seal(json, sizeof json - 1);

    (void)state;
    for (size_t bit = 0; bit < 8 * len; bit++) {
        payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(open_bytes(payload, len),
                         bit == 8 * KEY_BYTES - 1 ? LOGIN_OK : LOGIN_BOX_NOT_OPENED);
        payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(open_bytes(payload, len), LOGIN_OK);
    free(payload);
}

static void test_box_for_another_server(void **state)
{
    uint8_t *payload = seal("{}", 2);
    struct key_pair other = server;

    (void)state;
    key_pair_generate(&server);
    assert_int_equal(open_bytes(payload, ENVELOPE_BYTES + 2), LOGIN_BOX_NOT_OPENED);
    server = other;
    assert_int_equal(open_bytes(payload, ENVELOPE_BYTES + 2), LOGIN_OK);
    free(payload);
}

// Points of small order: with them the shared secret is zero whatever the server's key is, and
// anybody can seal.
static const char *const low_order[] = {
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
};

static void check_low_order(const struct key *key, enum login_result expected)
{
    static const uint8_t zero[32];
    uint8_t payload[ENVELOPE_BYTES + 2] = {0};
    uint8_t *nonce = payload + KEY_BYTES;
    uint8_t shared[KEY_BYTES];
    struct client_info info;

    memcpy(payload, key->bytes, KEY_BYTES);
    crypto_core_hsalsa20(shared, zero, zero, NULL);
    crypto_box_easy_afternm(payload + LOGIN_CLIENT_INFO_MIN_BYTES, (const uint8_t *)"{}", 2, nonce,
                            shared);
    assert_int_equal(login_open_client_info(&server, payload, sizeof payload, &info, shared),
                     expected);
}

static void test_low_order_keys(void **state)
{
    struct key key = {0};

    (void)state;
    check_low_order(&key, LOGIN_ZERO_KEY);
    for (size_t i = 0; i < sizeof low_order / sizeof low_order[0]; i++) {
        print_message("%s\n", low_order[i]);
        assert_true(key_from_hex(&key, low_order[i], KEY_HEX_CHARS));
        check_low_order(&key, LOGIN_BOX_NOT_OPENED);
    }
}

static const struct {
    const char *name;
    struct server_limits limits;
    const char *json;
} infos[] = {
    {"no limits", {0, 0}, "{\"version\":2}"},
    {"a burst alone is no limit", {0, 7}, "{\"version\":2}"},
    {"limits",
     {1000000, 2500000},
     "{\"version\":2,\"TokenBucketBytesPerSecond\":1000000,\"TokenBucketBytesBurst\":2500000}"},
    {"largest limits",
     {UINT64_MAX, UINT64_MAX},
     "{\"version\":2,\"TokenBucketBytesPerSecond\":18446744073709551615,"
     "\"TokenBucketBytesBurst\":18446744073709551615}"},
};

static void check_server_info(size_t i, const uint8_t *shared,
                              uint8_t nonce[static LOGIN_NONCE_BYTES])
{
    uint8_t frame[LOGIN_SERVER_INFO_MAX_BYTES], json[LOGIN_SERVER_INFO_MAX_BYTES] = {0};
    const size_t size = login_put_server_info(frame, shared, &infos[i].limits);
    const uint8_t *box = frame + FRAME_HEADER_BYTES + LOGIN_NONCE_BYTES;
    struct frame_header header;

    assert_true(size <= sizeof frame);
    assert_true(frame_parse_header(frame, size, &header));
    assert_int_equal(header.type, FRAME_SERVER_INFO);
    assert_int_equal(header.payload_bytes, size - FRAME_HEADER_BYTES);
    memcpy(nonce, frame + FRAME_HEADER_BYTES, LOGIN_NONCE_BYTES);
    assert_int_equal(crypto_box_open_easy(json, box, size - FRAME_HEADER_BYTES - LOGIN_NONCE_BYTES,
                                          nonce, server.public.bytes, client.private.bytes),
                     0);
    assert_string_equal((char *)json, infos[i].json);
}

static void test_server_info_opens_at_the_client(void **state)
{
    uint8_t *payload = seal("{}", 2), shared[KEY_BYTES];
    struct client_info info;

    (void)state;
    assert_int_equal(login_open_client_info(&server, payload, ENVELOPE_BYTES + 2, &info, shared),
                     LOGIN_OK);
    for (size_t i = 0; i < sizeof infos / sizeof infos[0]; i++) {
        uint8_t nonce[LOGIN_NONCE_BYTES], next[LOGIN_NONCE_BYTES];

        print_message("%s\n", infos[i].name);
        check_server_info(i, shared, nonce);
        check_server_info(i, shared, next);
        assert_memory_not_equal(nonce, next, sizeof nonce); // never the same twice
    }
    free(payload);
}

static void test_result_names(void **state)
{
    (void)state;
    for (int result = LOGIN_OK; result <= LOGIN_BAD_MESH_KEY; result++) {
        const char *name = login_result_name((enum login_result)result);

        assert_non_null(name);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
        for (int other = LOGIN_OK; other < result; other++)
            assert_string_not_equal(name, login_result_name((enum login_result)other));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_with_odd_bytes),
        cmocka_unit_test(test_deep_json),
        cmocka_unit_test(test_every_json_prefix),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_box_for_another_server),
        cmocka_unit_test(test_low_order_keys),
        cmocka_unit_test(test_server_info_opens_at_the_client),
        cmocka_unit_test(test_result_names),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
