// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/rfc3339.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define DATE_TIME_CHARS 19

// Like a date and time, letter by letter, so that sscanf cannot take anything else.
static bool has_shape(const char *text, const char *shape)
{
    for (; *shape; text++, shape++)
        if (*shape == '0' ? !isdigit((unsigned char)*text) : *text != *shape)
            return false;
    return true;
}

static bool parse_offset(const char *text, long *seconds)
{
    int hours, minutes;

    *seconds = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return true;
    if ((*text != '+' && *text != '-') || !has_shape(text + 1, "00:00") || text[6] != '\0' ||
        sscanf(text + 1, "%2d:%2d", &hours, &minutes) != 2 || hours > 23 || minutes > 59)
        return false;
    *seconds = (*text == '-' ? -1 : 1) * (hours * 3600L + minutes * 60L);
    return true;
}

bool rfc3339_parse(const char *text, time_t *out)
{
    struct tm tm = {0};
    long offset;

    if (!text || !has_shape(text, "0000-00-00T00:00:00") ||
        sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec) != 6 ||
        tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    text += DATE_TIME_CHARS;
    if (*text == '.') {
        const size_t digits = strspn(text + 1, "0123456789");

        if (digits == 0)
            return false;
        text += 1 + digits;
    }
    if (!parse_offset(text, &offset))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *out = timegm(&tm) - offset;
    return true;
}
