// SPDX-License-Identifier: BSD-3-Clause
#include "server/proof.h"

#include "certgen/issue.h"
#include "certgen/jose.h"

#include <openssl/sha.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#define SERIAL_BYTES 16
#define LIFE_S (7 * 24 * 3600) // before and after now, as clocks differ

// RFC 8737, section 3.
static X509 *make_cert(const struct acme_challenge *challenge, EVP_PKEY *key)
{
    uint8_t digest[CERT_ACME_DIGEST_BYTES], serial[SERIAL_BYTES];
    const time_t now = time(NULL);
    const struct cert_request request = {
        .common_name = "ACME challenge",
        .serial = serial,
        .serial_len = sizeof serial,
        .not_before = now - LIFE_S,
        .not_after = now + LIFE_S,
        .names = &challenge->name,
        .name_count = 1,
        .acme_digest = digest,
    };

    SHA256((const uint8_t *)challenge->authorization, strlen(challenge->authorization), digest);
    randombytes_buf(serial, sizeof serial);
    serial[0] = (serial[0] & 0x7f) | 1; // positive, and of full length
    return cert_issue(&request, key);
}

static bool show_tls(struct challenges *challenges, const struct acme_challenge *challenge)
{
    EVP_PKEY *key = jose_key_new();
    X509 *cert = key ? make_cert(challenge, key) : NULL;
    const bool ok = cert && challenges_show_tls(challenges, challenge->name, cert, key);

    X509_free(cert);
    EVP_PKEY_free(key);
    return ok;
}

bool proof_show(struct challenges *challenges, const struct acme_challenge *challenge)
{
    return challenge->kind == ACME_HTTP_01
               ? challenges_show_http(challenges, challenge->token, challenge->authorization)
               : show_tls(challenges, challenge);
}

void proof_hide(struct challenges *challenges, const struct acme_challenge *challenge)
{
    if (challenge->kind == ACME_HTTP_01)
        challenges_hide_http(challenges, challenge->token);
    else
        challenges_hide_tls(challenges, challenge->name);
}
