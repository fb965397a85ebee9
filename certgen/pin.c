// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/pin.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>

bool cert_pin(const X509 *cert, char out[static CERT_PIN_CHARS + 1])
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    ERR_clear_error();
    const bool ok = X509_digest(cert, EVP_sha256(), hash, &len) == 1;
    ERR_clear_error();
    if (!ok)
        return false;
    out += sprintf(out, "sha256-raw:");
    for (unsigned i = 0; i < len; i++)
        out += sprintf(out, "%02x", hash[i]);
    return true;
}
