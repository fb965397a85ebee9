// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/meta.h"

#include "certgen/issue.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

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

// The common name where it is of this length at least; not ended with a NUL. NULL otherwise.
static const unsigned char *common_name(const X509 *cert, int len_min, int *len)
{
    const X509_NAME *name = X509_get_subject_name(cert);
    const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    const ASN1_STRING *text =
        at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));

    *len = text ? ASN1_STRING_length(text) : 0;
    return *len >= len_min ? ASN1_STRING_get0_data(text) : NULL;
}

bool cert_meta_is(const X509 *cert)
{
    const int prefix = sizeof COMMON_NAME_PREFIX - 1;
    int len;
    const unsigned char *text = common_name(cert, prefix, &len);

    return text && memcmp(text, COMMON_NAME_PREFIX, (size_t)prefix) == 0;
}

static int hex_value(unsigned char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cert_meta_read(const X509 *cert, uint8_t relay_key[static CERT_META_KEY_BYTES],
                    uint8_t *protocol_version)
{
    const int prefix = sizeof COMMON_NAME_PREFIX - 1, whole = prefix + 2 * CERT_META_KEY_BYTES;
    int len;
    const unsigned char *text = common_name(cert, whole, &len);
    int64_t version;

    if (!text || len != whole || !cert_meta_is(cert))
        return false;
    for (int i = 0; i < CERT_META_KEY_BYTES; i++) {
        const int high = hex_value(text[prefix + 2 * i]), low = hex_value(text[prefix + 2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        relay_key[i] = (uint8_t)(high << 4 | low);
    }
    const bool ok = ASN1_INTEGER_get_int64(&version, X509_get0_serialNumber(cert)) == 1 &&
                    version >= 1 && version <= UINT8_MAX;
    ERR_clear_error();
    *protocol_version = ok ? (uint8_t)version : 0;
    return ok;
}
