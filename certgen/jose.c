// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/jose.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/objects.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COORDINATE_BYTES 32 // of P-256; a signature is two numbers of this size
#define SIGNATURE_BYTES (2 * (size_t)COORDINATE_BYTES)

char *jose_base64url(const void *bytes, size_t len)
{
    const size_t size = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *text = malloc(size);

    if (text)
        sodium_bin2base64(text, size, bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return text;
}

bool jose_is_base64url(const char *text)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    return text[strspn(text, alphabet)] == '\0';
}

int jose_base64_decode(const char *text, uint8_t *out, size_t room)
{
    static const int variants[] = {
        sodium_base64_VARIANT_URLSAFE_NO_PADDING,
        sodium_base64_VARIANT_URLSAFE,
        sodium_base64_VARIANT_ORIGINAL_NO_PADDING,
        sodium_base64_VARIANT_ORIGINAL,
    };

    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        size_t len;

        if (sodium_base642bin(out, room, text, strlen(text), NULL, &len, NULL, variants[i]) == 0)
            return (int)len;
    }
    return -1;
}

EVP_PKEY *jose_key_new(void)
{
    return EVP_EC_gen("P-256");
}

bool jose_key_usable(const EVP_PKEY *key)
{
    char group[32];

    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                          NULL) == 1 &&
           OBJ_sn2nid(group) == NID_X9_62_prime256v1;
}

static char *coordinate(const EVP_PKEY *key, const char *name)
{
    uint8_t bytes[COORDINATE_BYTES];
    BIGNUM *number = NULL;
    char *text = NULL;

    if (EVP_PKEY_get_bn_param(key, name, &number) == 1 &&
        BN_bn2binpad(number, bytes, sizeof bytes) == sizeof bytes)
        text = jose_base64url(bytes, sizeof bytes);
    BN_free(number);
    return text;
}

json_t *jose_jwk(const EVP_PKEY *key)
{
    char *x = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X);
    char *y = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y);
    json_t *jwk =
        x && y ? json_pack("{ssssssss}", "crv", "P-256", "kty", "EC", "x", x, "y", y) : NULL;

    free(x);
    free(y);
    return jwk;
}

bool jose_thumbprint(const EVP_PKEY *key, char out[static JOSE_THUMBPRINT_CHARS + 1])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    json_t *jwk = jose_jwk(key);
    // The members are the required ones, to be hashed in the order of their names.
    char *text = jwk ? json_dumps(jwk, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    json_decref(jwk);
    if (!text)
        return false;
    SHA256((const unsigned char *)text, strlen(text), digest);
    free(text);
    sodium_bin2base64(out, JOSE_THUMBPRINT_CHARS + 1, digest, sizeof digest,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return true;
}

// OpenSSL's DER as the two numbers side by side (RFC 7518, section 3.4).
static bool flatten(const uint8_t *der, size_t len, uint8_t out[static SIGNATURE_BYTES])
{
    ECDSA_SIG *numbers = d2i_ECDSA_SIG(NULL, &der, (long)len);
    const bool ok =
        numbers && BN_bn2binpad(ECDSA_SIG_get0_r(numbers), out, COORDINATE_BYTES) > 0 &&
        BN_bn2binpad(ECDSA_SIG_get0_s(numbers), out + COORDINATE_BYTES, COORDINATE_BYTES) > 0;

    ECDSA_SIG_free(numbers);
    return ok;
}

static char *sign_es256(const char *input, EVP_PKEY *key)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t der[128], signature[SIGNATURE_BYTES];
    size_t len = sizeof der;
    char *text = NULL;

    if (context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(context, der, &len, (const unsigned char *)input, strlen(input)) == 1 &&
        flatten(der, len, signature))
        text = jose_base64url(signature, sizeof signature);
    EVP_MD_CTX_free(context);
    return text;
}

static char *sign_hs256(const char *input, const uint8_t *secret, size_t len)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];

    if (!HMAC(EVP_sha256(), secret, (int)len, (const unsigned char *)input, strlen(input), digest,
              NULL))
        return NULL;
    return jose_base64url(digest, sizeof digest);
}

// What is signed: both parts in base64url, with a dot between (RFC 7515, section 5.1).
struct parts {
    char *header, *payload;
    char *input;
};

static bool parts_make(struct parts *parts, json_t *header, const char *algorithm,
                       const char *payload)
{
    char *text = NULL;

    *parts = (struct parts){0};
    if (json_object_set_new(header, "alg", json_string(algorithm)) == 0)
        text = json_dumps(header, JSON_COMPACT);
    if (text)
        parts->header = jose_base64url(text, strlen(text));
    free(text);
    parts->payload = jose_base64url(payload, strlen(payload));
    return parts->header && parts->payload &&
           asprintf(&parts->input, "%s.%s", parts->header, parts->payload) >= 0;
}

static void parts_free(struct parts *parts)
{
    free(parts->header);
    free(parts->payload);
    free(parts->input);
}

// Takes the signature.
static char *serialize(const struct parts *parts, char *signature)
{
    json_t *object = signature ? json_pack("{ssssss}", "protected", parts->header, "payload",
                                           parts->payload, "signature", signature)
                               : NULL;
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

    json_decref(object);
    free(signature);
    return text;
}

char *jose_sign(json_t *header, const char *payload, EVP_PKEY *key)
{
    struct parts parts;
    char *text = NULL;

    if (parts_make(&parts, header, "ES256", payload))
        text = serialize(&parts, sign_es256(parts.input, key));
    parts_free(&parts);
    return text;
}

char *jose_sign_hmac(json_t *header, const char *payload, const uint8_t *secret, size_t len)
{
    struct parts parts;
    char *text = NULL;

    if (parts_make(&parts, header, "HS256", payload))
        text = serialize(&parts, sign_hs256(parts.input, secret, len));
    parts_free(&parts);
    return text;
}
