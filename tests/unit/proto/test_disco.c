// SPDX-License-Identifier: BSD-3-Clause
#include "proto/disco.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t magic[] = {'T', 'S', 0xf0, 0x9f, 0x92, 0xac};

// A packet of exactly `len` bytes on the heap, so that a sanitizer sees each byte read beyond it.
static uint8_t *packet_new(size_t len)
{
    uint8_t *packet = malloc(len);

    memset(packet, 0xee, len);
    memcpy(packet, magic, len < sizeof magic ? len : sizeof magic);
    return packet;
}

static void test_every_length(void **state)
{
    (void)state;
    for (size_t len = 0; len < 200; len++) {
        uint8_t *packet = packet_new(len);

        assert_int_equal(disco_looks_like(packet, len), len >= 6 + 32 + 24);
        free(packet);
    }
}

static void test_magic_bit_by_bit(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 8 * DISCO_MIN_BYTES; bit++) {
        uint8_t *packet = packet_new(DISCO_MIN_BYTES);

        packet[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(disco_looks_like(packet, DISCO_MIN_BYTES), bit >= 8 * sizeof magic);
        free(packet);
    }
}

static void test_wireguard_is_not_disco(void **state)
{
    (void)state;
    for (uint8_t type = 1; type <= 4; type++) { // handshake, answer, cookie, data
        uint8_t packet[148] = {type};

        assert_false(disco_looks_like(packet, sizeof packet));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_magic_bit_by_bit),
        cmocka_unit_test(test_wireguard_is_not_disco),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
