// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/address.h"

#include "certgen/error.h"

#include <arpa/inet.h>
#include <string.h>

bool cert_address_parse(const char *text, struct cert_address *out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, 0xff};

    out->len = 4;
    if (inet_pton(AF_INET, text, out->bytes) == 1)
        return true;
    out->len = 16;
    if (inet_pton(AF_INET6, text, out->bytes) != 1)
        return false;
    if (memcmp(out->bytes, mapped, sizeof mapped) == 0) {
        memmove(out->bytes, out->bytes + sizeof mapped, 4);
        out->len = 4;
    }
    return true;
}

bool cert_is_address(const char *text)
{
    struct cert_address unused;

    return cert_address_parse(text, &unused);
}

bool cert_address_canonical(const char *text, char out[static CERT_NAME_BYTES])
{
    struct cert_address address;

    return cert_address_parse(text, &address) &&
           inet_ntop(address.len == 4 ? AF_INET : AF_INET6, address.bytes, out, CERT_NAME_BYTES);
}

// Ranges spelled out, as tolower() asks the locale.
static void copy_small(char *out, const char *name)
{
    for (; *name != '\0'; name++)
        *out++ = (char)(*name >= 'A' && *name <= 'Z' ? *name + ('a' - 'A') : *name);
    *out = '\0';
}

bool cert_names_canonical(char (*out)[CERT_NAME_BYTES], const char *const *given, size_t count,
                          char *error, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(given[i]) >= CERT_NAME_BYTES)
            return cert_fail(error, size, "\"%.64s...\" is longer than a name may be", given[i]);
        if (!cert_address_canonical(given[i], out[i]))
            copy_small(out[i], given[i]);
        for (size_t k = 0; k < i; k++)
            if (strcmp(out[i], out[k]) == 0)
                return cert_fail(error, size, "%s is there twice: leave it out once", given[i]);
    }
    return true;
}
