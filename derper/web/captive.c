// SPDX-License-Identifier: BSD-3-Clause
#include "web/captive.h"

#include <string.h>

static bool is_good(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr(".-_:", c));
}

bool captive_challenge_valid(const struct http_text *challenge)
{
    if (challenge->len == 0 || challenge->len > CAPTIVE_CHALLENGE_MAX_BYTES)
        return false;
    for (size_t i = 0; i < challenge->len; i++)
        if (!is_good(challenge->data[i]))
            return false;
    return true;
}
