// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/address.h"

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
