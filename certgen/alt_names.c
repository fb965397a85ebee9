// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/alt_names.h"

#include "certgen/address.h"

#include <stdbool.h>
#include <string.h>

static GENERAL_NAME *name_new(int kind, const void *bytes, size_t len)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value =
        ASN1_STRING_type_new(kind == GEN_DNS ? V_ASN1_IA5STRING : V_ASN1_OCTET_STRING);

    if (name && value && ASN1_STRING_set(value, bytes, (int)len)) {
        GENERAL_NAME_set0_value(name, kind, value);
        return name;
    }
    GENERAL_NAME_free(name);
    ASN1_STRING_free(value);
    return NULL;
}

static bool add(GENERAL_NAMES *names, const char *text)
{
    struct cert_address address;
    GENERAL_NAME *name = cert_address_parse(text, &address)
                             ? name_new(GEN_IPADD, address.bytes, address.len)
                             : name_new(GEN_DNS, text, strlen(text));

    if (name && sk_GENERAL_NAME_push(names, name) > 0)
        return true;
    GENERAL_NAME_free(name);
    return false;
}

GENERAL_NAMES *cert_alt_names(const char *const *names, size_t count)
{
    GENERAL_NAMES *made = GENERAL_NAMES_new();

    for (size_t i = 0; made && i < count; i++) {
        if (!add(made, names[i])) {
            GENERAL_NAMES_free(made);
            return NULL;
        }
    }
    return made;
}
