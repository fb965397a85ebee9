// SPDX-License-Identifier: BSD-3-Clause
#include "base/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ESCAPED_CHARS 4 // \xNN

const char *text_escape(char *out, size_t size, const char *in, size_t len)
{
    size_t n = 0;
    size_t cut = 0; // the last place so far where "..." fits

    assert(size >= 8);
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)in[i];
        const bool plain = c >= ' ' && c < 0x7f && c != '"' && c != '\\';

        if (n + sizeof "..." <= size)
            cut = n;
        if (n + (plain ? 1 : ESCAPED_CHARS) >= size) {
            memcpy(out + cut, "...", sizeof "...");
            return out;
        }
        if (plain)
            out[n++] = (char)c;
        else
            n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
    }
    out[n] = '\0';
    return out;
}

bool text_equals_nocase(const char *in, size_t len, const char *word)
{
    return strlen(word) == len && strncasecmp(in, word, len) == 0;
}
