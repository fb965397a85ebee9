// SPDX-License-Identifier: BSD-3-Clause
//
// The client's half of a login against the server's half.
#include "client_login.h"

#include "proto/frame.h"
#include "proto/login.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sodium.h>

static void test_both_halves_agree(void **state)
{
    uint8_t info[CLIENT_INFO_FRAME_MAX_BYTES], answer[LOGIN_SERVER_INFO_MAX_BYTES];
    uint8_t greeting[FRAME_SERVER_KEY_BYTES], shared[KEY_BYTES];
    struct key_pair server, client;
    struct client_info seen;
    struct key key;
    size_t len;

    (void)state;
    key_pair_generate(&server);
    key_pair_generate(&client);
    frame_put_server_key(greeting, &server.public);
    assert_true(client_login_server_key(greeting + FRAME_HEADER_BYTES,
                                        sizeof greeting - FRAME_HEADER_BYTES, &key));
    assert_true(key_equal(&key, &server.public));

    len = client_login_put_info(info, &client, &key);
    assert_int_equal(login_open_client_info(&server, info + FRAME_HEADER_BYTES,
                                            len - FRAME_HEADER_BYTES, &seen, shared),
                     LOGIN_OK);
    assert_true(key_equal(&seen.key, &client.public));
    assert_true(seen.can_ack_pings);

    len = login_put_server_info(answer, shared, &(struct server_limits){0});
    assert_true(client_login_open_info(answer + FRAME_HEADER_BYTES, len - FRAME_HEADER_BYTES,
                                       &client, &key));
    answer[len - 1] ^= 1;
    assert_false(client_login_open_info(answer + FRAME_HEADER_BYTES, len - FRAME_HEADER_BYTES,
                                        &client, &key));
}

static void test_short_frames(void **state)
{
    const uint8_t bytes[64] = {0};
    struct key_pair pair;
    struct key key;

    (void)state;
    key_pair_generate(&pair);
    for (size_t len = 0; len < sizeof bytes; len++) {
        assert_false(client_login_server_key(bytes, len, &key));
        assert_false(client_login_open_info(bytes, len, &pair, &pair.public));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_halves_agree),
        cmocka_unit_test(test_short_frames),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
