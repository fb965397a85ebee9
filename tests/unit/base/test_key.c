// SPDX-License-Identifier: BSD-3-Clause
#include "base/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

#define HEX_16 "0123456789abcdef"
#define HEX_64 HEX_16 HEX_16 HEX_16 HEX_16
#define DIGITS_16 "0123456789ABCDEF"

static struct key key_of_hex(const char *hex)
{
    struct key key;

    assert_true(key_from_hex(&key, hex, strlen(hex)));
    return key;
}

// RFC 7748, section 6.1.
static const struct {
    const char *private;
    const char *public;
} pairs[] = {
    {"77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
     "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"},
    {"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
     "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"},
};

static void assert_clamped(const struct key *private)
{
    assert_int_equal(private->bytes[0] & 7, 0);
    assert_int_equal(private->bytes[31] & 0xc0, 0x40);
}

static void test_public_half(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const struct key private = key_of_hex(pairs[i].private);
        const struct key public = key_of_hex(pairs[i].public);
        struct key_pair pair, again;

        assert_true(key_pair_from_private(&pair, &private));
        assert_true(key_equal(&pair.public, &public));
        assert_clamped(&pair.private);
        assert_memory_equal(pair.private.bytes + 1, private.bytes + 1, KEY_BYTES - 2);
        assert_true(key_pair_from_private(&again, &pair.private)); // clamping twice changes nothing
        assert_memory_equal(&again, &pair, sizeof pair);
        assert_true(key_pair_from_private(&pair, &pair.private)); // in place
        assert_memory_equal(&again, &pair, sizeof pair);
    }
}

static void test_extreme_private_keys(void **state)
{
    struct key private = {0};
    struct key_pair pair;

    (void)state;
    assert_false(key_pair_from_private(&pair, &private));
    for (size_t bit = 0; bit < 8 * KEY_BYTES; bit++) {
        private = (struct key){0};
        private.bytes[bit / 8] = (uint8_t)(1u << bit % 8);
        assert_true(key_pair_from_private(&pair, &private));
        assert_clamped(&pair.private);
        assert_false(key_is_zero(&pair.public));
    }
    memset(&private, 0xff, sizeof private);
    assert_true(key_pair_from_private(&pair, &private));
    assert_clamped(&pair.private);
}

static void test_generate(void **state)
{
    struct key_pair a, b, derived;

    (void)state;
    key_pair_generate(&a);
    key_pair_generate(&b);
    assert_clamped(&a.private);
    assert_false(key_equal(&a.private, &b.private));
    assert_false(key_equal(&a.public, &b.public));
    assert_true(key_pair_from_private(&derived, &a.private));
    assert_true(key_equal(&derived.public, &a.public));
    key_pair_wipe(&a);
    assert_true(key_is_zero(&a.private) && key_is_zero(&a.public));
}

static void test_zero_and_equal(void **state)
{
    const struct key zero = {0};

    (void)state;
    assert_true(key_is_zero(&zero));
    assert_true(key_equal(&zero, &zero));
    for (size_t bit = 0; bit < 8 * KEY_BYTES; bit++) {
        struct key key = {0};

        key.bytes[bit / 8] = (uint8_t)(1u << bit % 8);
        assert_false(key_is_zero(&key));
        assert_false(key_equal(&key, &zero));
    }
}

static const struct {
    const char *name;
    const char *text;
    size_t len;
    bool valid;
} hexes[] = {
    {"lower case", HEX_64, 64, true},
    {"upper case", DIGITS_16 DIGITS_16 DIGITS_16 DIGITS_16, 64, true},
    {"both cases", HEX_16 DIGITS_16 DIGITS_16 HEX_16, 64, true},
    {"only the first 64 count", HEX_64 "zz", 64, true},
    {"empty", "", 0, false},
    {"one short", HEX_64, 63, false},
    {"two short", HEX_64, 62, false},
    {"one long", HEX_64 "0", 65, false},
    {"two keys", HEX_64 HEX_64, 128, false},
    {"blank in front", " " HEX_64, 64, false},
    {"line break behind", HEX_16 HEX_16 HEX_16 "0123456789abcde\n", 64, false},
    {"letter g", "g123456789abcdef" HEX_16 HEX_16 HEX_16, 64, false},
    {"0x in front", "0x23456789abcdef" HEX_16 HEX_16 HEX_16, 64, false},
    {"colon inside", "01:3456789abcdef" HEX_16 HEX_16 HEX_16, 64, false},
    {"NUL inside",
     HEX_16 "\0"
            "123456789abcdef" HEX_16 HEX_16,
     64, false},
    {"NUL at the end", HEX_16 HEX_16 HEX_16 "0123456789abcde\0", 64, false},
    {"last byte not ASCII", HEX_16 HEX_16 HEX_16 "0123456789abcde\xff", 64, false},
};

static void test_from_hex(void **state)
{
    const struct key good = key_of_hex(HEX_64);
    struct key untouched;

    (void)state;
    memset(&untouched, 0x5a, sizeof untouched);
    for (size_t i = 0; i < sizeof hexes / sizeof hexes[0]; i++) {
        struct key key = untouched;

        print_message("%s\n", hexes[i].name);
        assert_int_equal(key_from_hex(&key, hexes[i].text, hexes[i].len), hexes[i].valid);
        assert_true(key_equal(&key, hexes[i].valid ? &good : &untouched));
    }
}

static void test_from_hex_tries_every_byte_everywhere(void **state)
{
    (void)state;
    for (size_t at = 0; at < KEY_HEX_CHARS; at++) {
        for (int c = 0; c < 256; c++) {
            char text[] = HEX_64;
            struct key key;

            text[at] = (char)c;
            assert_int_equal(key_from_hex(&key, text, KEY_HEX_CHARS),
                             c != 0 && strchr(HEX_16 "ABCDEF", c) != NULL);
        }
    }
}

static void test_text_forms(void **state)
{
    const struct key key = key_of_hex(pairs[0].public);
    struct key zero = {0}, ones, back;
    char hex[KEY_HEX_CHARS + 1], name[KEY_NAME_CHARS + 1], brief[KEY_SHORT_CHARS + 1];

    (void)state;
    memset(&ones, 0xff, sizeof ones);
    key_to_hex(&key, hex);
    assert_string_equal(hex, pairs[0].public);
    key_name(&key, name);
    assert_int_equal(strlen(name), KEY_NAME_CHARS);
    assert_memory_equal(name, "nodekey:", 8);
    assert_string_equal(name + 8, pairs[0].public);
    assert_true(key_from_name(&back, name, KEY_NAME_CHARS));
    assert_true(key_equal(&back, &key));
    assert_false(key_from_name(&back, name, KEY_NAME_CHARS - 1));
    assert_false(key_from_name(&back, name, 8));
    assert_false(key_from_name(&back, name + 8, KEY_HEX_CHARS));
    name[0] = 'N';
    assert_false(key_from_name(&back, name, KEY_NAME_CHARS));
    key_short(&key, brief);
    assert_string_equal(brief, "[hSDwC]");
    key_short(&zero, brief);
    assert_string_equal(brief, "[AAAAA]");
    key_short(&ones, brief);
    assert_string_equal(brief, "[/////]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_half),
        cmocka_unit_test(test_extreme_private_keys),
        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_zero_and_equal),
        cmocka_unit_test(test_from_hex),
        cmocka_unit_test(test_from_hex_tries_every_byte_everywhere),
        cmocka_unit_test(test_text_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
