// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/meta.h"

#include "certgen/issue.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>

#define COMMON_NAME_PREFIX "derpkey"

static void write_name(char *out, const uint8_t relay_key[static CERT_META_KEY_BYTES])
{
    out += sprintf(out, COMMON_NAME_PREFIX);
    for (int i = 0; i < CERT_META_KEY_BYTES; i++)
        out += sprintf(out, "%02x", relay_key[i]);
}

X509 *cert_meta_new(const uint8_t relay_key[static CERT_META_KEY_BYTES], uint8_t protocol_version,
                    time_t now)
{
    char name[sizeof COMMON_NAME_PREFIX + 2 * CERT_META_KEY_BYTES];
    const struct cert_request request = {
        .common_name = name,
        .serial = &protocol_version,
        .serial_len = sizeof protocol_version,
        .not_before = now - CERT_META_VALID_SECONDS,
        .not_after = now + CERT_META_VALID_SECONDS,
    };

    ERR_clear_error();
    write_name(name, relay_key);
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *cert = key ? cert_issue(&request, key) : NULL;
    EVP_PKEY_free(key);
    ERR_clear_error();
    return cert;
}
