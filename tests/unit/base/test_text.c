// SPDX-License-Identifier: BSD-3-Clause
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 8
#define SIZE_MAX_TRIED 80

static const struct {
    const char *name;
    const char *in;
    size_t len;
    const char *escaped;
} cases[] = {
    {"empty", "", 0, ""},
    {"plain", "nodekey:12ab /derp?x=1", 22, "nodekey:12ab /derp?x=1"},
    {"one byte too many for the least size", "12345678", 8, "12345678"},
    {"line breaks", "a\r\nb", 4, "a\\x0d\\x0ab"},
    {"NUL inside", "a\0b", 3, "a\\x00b"},
    {"quotes and backslash", "\"'\\", 3, "\\x22'\\x5c"},
    {"borders of printable", "\x1f ~\x7f", 4, "\\x1f ~\\x7f"},
    {"terminal escape", "\x1b[31m", 5, "\\x1b[31m"},
    {"UTF-8 and bytes above 127", "\xc3\xa4\x80\xff", 4, "\\xc3\\xa4\\x80\\xff"},
    {"all escaped", "\n\n\n\n\n\n\n\n", 8, "\\x0a\\x0a\\x0a\\x0a\\x0a\\x0a\\x0a\\x0a"},
    {"dots stay dots", "......", 6, "......"},
};

// Where the escaped form of a case may be cut: true between its characters and whole \xNN groups.
static bool is_border(size_t c, size_t at)
{
    size_t n = 0;

    for (size_t i = 0; i < cases[c].len && n < at; i++)
        n += cases[c].escaped[n] == '\\' ? 4 : 1;
    return n == at;
}

static void check_size(size_t c, size_t size)
{
    char *out = malloc(size); // exact, so that a sanitizer sees each byte beyond it
    const size_t whole = strlen(cases[c].escaped);
    size_t kept;

    memset(out, 'Z', size);
    assert_ptr_equal(text_escape(out, size, cases[c].in, cases[c].len), out);
    assert_non_null(memchr(out, '\0', size));
    if (whole < size) {
        assert_string_equal(out, cases[c].escaped);
    } else {
        kept = strlen(out) - 3;
        assert_string_equal(out + kept, "...");
        assert_memory_equal(out, cases[c].escaped, kept);
        assert_true(is_border(c, kept));
        assert_true(kept + 3 + 4 >= size - 1); // no more is lost than one group
    }
    free(out);
}

static void test_escape_at_every_size(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        print_message("%s\n", cases[c].name);
        for (size_t size = SIZE_MIN; size <= SIZE_MAX_TRIED; size++)
            check_size(c, size);
    }
}

static void test_every_byte_becomes_printable(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        const char in = (char)byte;
        char out[SIZE_MIN];

        text_escape(out, sizeof out, &in, 1);
        assert_true(strlen(out) == 1 || strlen(out) == 4);
        assert_null(strpbrk(out, "\"\r\n"));
        for (const char *p = out; *p; p++)
            assert_in_range(*p, ' ', '~');
        if (strlen(out) == 1)
            assert_int_equal(out[0], in);
        else
            assert_int_equal(strtol(out + 2, NULL, 16), byte);
    }
}

static const struct {
    const char *in;
    size_t len;
    const char *word;
    bool equal;
} words[] = {
    {"upgrade", 7, "Upgrade", true},
    {"DERP", 4, "derp", true},
    {"derp", 4, "derp", true},
    {"", 0, "", true},
    {"", 0, "derp", false},
    {"der", 3, "derp", false},
    {"derpx", 5, "derp", false},
    {"derpx", 4, "derp", true},
    {"derq", 4, "derp", false},
    {"derp\0", 5, "derp", false},
    {"de\0p", 4, "derp", false},
    {"d\0rp", 4, "d", false},
    {"`", 1, "@", false},
    {"[", 1, "{", false},
    {"\xc4\xb1n", 3, "\xc4\xb1N", true},
};

static void test_equals_nocase(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char *in = malloc(words[i].len + 1);

        memcpy(in, words[i].in, words[i].len);
        in[words[i].len] = 'x'; // not terminated, as HTTP fields are not
        print_message("%zu: %s\n", i, words[i].word);
        assert_int_equal(text_equals_nocase(in, words[i].len, words[i].word), words[i].equal);
        free(in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape_at_every_size),
        cmocka_unit_test(test_every_byte_becomes_printable),
        cmocka_unit_test(test_equals_nocase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
