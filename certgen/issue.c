// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/issue.h"

#include <openssl/bn.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>

#define KEY_USAGE_DIGITAL_SIGNATURE_BIT 0

// Given its type, the entry is taken as it is; OpenSSL's text forms would refuse more than 64
// characters (ub-common-name), and the relay's key is longer.
static bool set_names(X509 *cert, const char *common_name)
{
    X509_NAME *name = X509_get_subject_name(cert);

    return X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_PRINTABLESTRING,
                                      (const unsigned char *)common_name, -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, name) == 1;
}

static bool set_serial(X509 *cert, const uint8_t *serial, size_t len)
{
    BIGNUM *number = BN_bin2bn(serial, (int)len, NULL);
    const bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));

    BN_free(number);
    return ok;
}

static bool set_validity(X509 *cert, time_t from, time_t until)
{
    return ASN1_TIME_set(X509_getm_notBefore(cert), from) &&
           ASN1_TIME_set(X509_getm_notAfter(cert), until);
}

static bool add_basic_constraints(X509 *cert)
{
    BASIC_CONSTRAINTS *none = BASIC_CONSTRAINTS_new(); // CA: false
    const bool ok = none && X509_add1_ext_i2d(cert, NID_basic_constraints, none, 1, 0) == 1;

    BASIC_CONSTRAINTS_free(none);
    return ok;
}

static bool add_key_usage(X509 *cert)
{
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    const bool ok = bits && ASN1_BIT_STRING_set_bit(bits, KEY_USAGE_DIGITAL_SIGNATURE_BIT, 1) &&
                    X509_add1_ext_i2d(cert, NID_key_usage, bits, 1, 0) == 1;

    ASN1_BIT_STRING_free(bits);
    return ok;
}

static bool add_server_purpose(X509 *cert)
{
    EXTENDED_KEY_USAGE *purposes = EXTENDED_KEY_USAGE_new();
    const bool ok = purposes && sk_ASN1_OBJECT_push(purposes, OBJ_nid2obj(NID_server_auth)) > 0 &&
                    X509_add1_ext_i2d(cert, NID_ext_key_usage, purposes, 0, 0) == 1;

    EXTENDED_KEY_USAGE_free(purposes);
    return ok;
}

// NULL when memory is exhausted.
static GENERAL_NAME *address_name(const struct cert_address *address)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_OCTET_STRING *bytes = ASN1_OCTET_STRING_new();

    if (name && bytes && ASN1_OCTET_STRING_set(bytes, address->bytes, (int)address->len)) {
        GENERAL_NAME_set0_value(name, GEN_IPADD, bytes);
        return name;
    }
    GENERAL_NAME_free(name);
    ASN1_OCTET_STRING_free(bytes);
    return NULL;
}

static bool add_alternative_name(X509 *cert, const struct cert_address *address)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = address_name(address);
    const bool pushed = names && name && sk_GENERAL_NAME_push(names, name) > 0;
    const bool ok = pushed && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1;

    if (!pushed)
        GENERAL_NAME_free(name);
    GENERAL_NAMES_free(names);
    return ok;
}

static bool fill(X509 *cert, const struct cert_request *request, EVP_PKEY *key)
{
    const struct cert_address *address = request->address;

    return X509_set_version(cert, X509_VERSION_3) == 1 && set_names(cert, request->common_name) &&
           set_serial(cert, request->serial, request->serial_len) &&
           set_validity(cert, request->not_before, request->not_after) &&
           X509_set_pubkey(cert, key) == 1 && add_basic_constraints(cert) &&
           (!address || (add_key_usage(cert) && add_server_purpose(cert) &&
                         add_alternative_name(cert, address)));
}

static bool sign(X509 *cert, EVP_PKEY *key)
{
    const bool hashes_itself = EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448");

    return X509_sign(cert, key, hashes_itself ? NULL : EVP_sha256()) > 0;
}

X509 *cert_issue(const struct cert_request *request, EVP_PKEY *key)
{
    X509 *cert = X509_new();

    if (cert && fill(cert, request, key) && sign(cert, key))
        return cert;
    X509_free(cert);
    return NULL;
}
