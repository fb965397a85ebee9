// SPDX-License-Identifier: BSD-3-Clause
#include "server/go_duration.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAGNITUDE_MAX (UINT64_C(1) << 63) // of the smallest int64_t
#define FLOAT_CHARS_MAX 100

static const struct {
    const char *name;
    uint64_t ns;
} units[] = {
    // Longer names first: the first match is taken.
    {"ns", 1},
    {"us", 1000},
    {"\xc2\xb5s", 1000}, // micro sign
    {"\xce\xbcs", 1000}, // Greek mu
    {"ms", 1000000},
    {"s", NS_PER_SECOND},
    {"m", 60 * NS_PER_SECOND},
    {"h", 3600 * NS_PER_SECOND},
};

static bool take_sign(const char **p)
{
    const bool negative = **p == '-';

    if (negative || **p == '+')
        (*p)++;
    return negative;
}

static bool apply_sign(uint64_t magnitude, bool negative, int64_t *out)
{
    if (magnitude > MAGNITUDE_MAX || (magnitude == MAGNITUDE_MAX && !negative))
        return false;
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

// Digits before the point. False when they do not fit.
static bool take_whole(const char **p, uint64_t *whole)
{
    for (*whole = 0; isdigit((unsigned char)**p); (*p)++) {
        if (*whole > MAGNITUDE_MAX / 10)
            return false;
        *whole = *whole * 10 + (uint64_t)(**p - '0');
        if (*whole > MAGNITUDE_MAX)
            return false;
    }
    return true;
}

// Digits behind the point as a whole number, and ten to the power of how many they are; what does
// not fit is dropped.
static uint64_t take_fraction(const char **p, double *scale)
{
    uint64_t value = 0;

    for (*scale = 1; isdigit((unsigned char)**p); (*p)++) {
        if (value > (MAGNITUDE_MAX - 10) / 10)
            continue;
        value = value * 10 + (uint64_t)(**p - '0');
        *scale *= 10;
    }
    return value;
}

static uint64_t take_unit(const char **p)
{
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        const size_t len = strlen(units[i].name);

        // "m" must not take the start of a longer, unknown word such as "min".
        if (strncmp(*p, units[i].name, len) == 0 &&
            ((*p)[len] == '\0' || (*p)[len] == '.' || isdigit((unsigned char)(*p)[len]))) {
            *p += len;
            return units[i].ns;
        }
    }
    return 0;
}

// One number with its unit, added to `total`.
static bool take_part(const char **p, uint64_t *total)
{
    const char *start = *p;
    uint64_t whole, unit, part, fraction = 0;
    double scale = 1;
    bool digits;

    if (!take_whole(p, &whole))
        return false;
    digits = *p != start;
    if (**p == '.') {
        start = ++*p;
        fraction = take_fraction(p, &scale);
        digits = digits || *p != start;
    }
    unit = digits ? take_unit(p) : 0;
    if (unit == 0 || whole > MAGNITUDE_MAX / unit)
        return false;
    part = whole * unit + (uint64_t)((double)fraction * ((double)unit / scale));
    if (part > MAGNITUDE_MAX || *total > MAGNITUDE_MAX - part)
        return false;
    *total += part;
    return true;
}

bool duration_parse(const char *text, int64_t *ns)
{
    const bool negative = take_sign(&text);
    uint64_t total = 0;

    if (strcmp(text, "0") == 0) {
        *ns = 0;
        return true;
    }
    do {
        if (!take_part(&text, &total))
            return false;
    } while (*text != '\0');
    return apply_sign(total, negative, ns);
}

int64_t duration_ms_up(int64_t ns)
{
    return ns / 1000000 + (ns % 1000000 > 0);
}

// Every underscore stands between two digits, or between the base's prefix and a digit.
static bool underscores_valid(const char *number, bool hex)
{
    for (const char *p = strchr(number, '_'); p; p = strchr(p + 1, '_')) {
        const unsigned char before = p > number ? (unsigned char)p[-1] : '\0';
        const unsigned char after = (unsigned char)p[1];
        const bool prefix = p == number + 2 && number[0] == '0' && strchr("xXoObB", before);

        if (hex ? !isxdigit(after) || !(isxdigit(before) || prefix)
                : !isdigit(after) || !(isdigit(before) || prefix))
            return false;
    }
    return true;
}

static unsigned take_base(const char **p)
{
    if ((*p)[0] != '0' || (*p)[1] == '\0')
        return 10;
    switch ((*p)[1]) {
    case 'x':
    case 'X':
        *p += 2;
        return 16;
    case 'o':
    case 'O':
        *p += 2;
        return 8;
    case 'b':
    case 'B':
        *p += 2;
        return 2;
    default:
        *p += 1;
        return 8;
    }
}

static unsigned digit_value(char c)
{
    if (isdigit((unsigned char)c))
        return (unsigned)(c - '0');
    return isxdigit((unsigned char)c) ? (unsigned)(tolower((unsigned char)c) - 'a' + 10) : 16;
}

bool go_int_parse(const char *text, int64_t *out)
{
    const bool negative = take_sign(&text);
    const char *p = text;
    const unsigned base = take_base(&p);
    uint64_t magnitude = 0;
    bool digits = false;

    if (!underscores_valid(text, base == 16))
        return false;
    for (; *p != '\0'; p++) {
        const unsigned digit = digit_value(*p);

        if (*p == '_')
            continue;
        if (digit >= base || magnitude > (MAGNITUDE_MAX - digit) / base)
            return false;
        magnitude = magnitude * base + digit;
        digits = true;
    }
    return digits && apply_sign(magnitude, negative, out);
}

static size_t take_digits(const char **p, bool hex)
{
    size_t n = 0;

    for (; **p == '_' || (hex ? isxdigit((unsigned char)**p) : isdigit((unsigned char)**p)); (*p)++)
        n += **p != '_';
    return n;
}

// Digits with at most one point, and an exponent, which hexadecimal numbers must have.
static bool float_syntax_valid(const char *p)
{
    const bool hex = p[0] == '0' && tolower((unsigned char)p[1]) == 'x';
    size_t digits;

    if (hex)
        p += 2;
    digits = take_digits(&p, hex);
    if (*p == '.') {
        p++;
        digits += take_digits(&p, hex);
    }
    if (digits == 0)
        return false;
    if (tolower((unsigned char)*p) != (hex ? 'p' : 'e'))
        return !hex && *p == '\0';
    p++;
    take_sign(&p);
    return isdigit((unsigned char)*p) && take_digits(&p, false) > 0 && *p == '\0';
}

bool go_float_parse(const char *text, double *out)
{
    char plain[FLOAT_CHARS_MAX + 1];
    const bool negative = take_sign(&text);
    double value = INFINITY;
    size_t n = 0;

    if (strcasecmp(text, "inf") != 0 && strcasecmp(text, "infinity") != 0) {
        if (strlen(text) > FLOAT_CHARS_MAX || !float_syntax_valid(text) ||
            !underscores_valid(text, tolower((unsigned char)text[1]) == 'x'))
            return false;
        for (; *text != '\0'; text++)
            if (*text != '_')
                plain[n++] = *text;
        plain[n] = '\0';
        value = strtod(plain, NULL);
        if (isinf(value))
            return false;
    }
    *out = negative ? -value : value;
    return true;
}

static bool one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

bool go_bool_parse(const char *text, bool *out)
{
    static const char *const yes[] = {"1", "t", "T", "true", "True", "TRUE", NULL};
    static const char *const no[] = {"0", "f", "F", "false", "False", "FALSE", NULL};

    if (!one_of(text, yes) && !one_of(text, no))
        return false;
    *out = one_of(text, yes);
    return true;
}
