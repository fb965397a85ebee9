// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/issue.h"

#include "certgen/alt_names.h"

#include <openssl/bn.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>

#define KEY_USAGE_DIGITAL_SIGNATURE_BIT 0
#define ACME_IDENTIFIER "1.3.6.1.5.5.7.1.31" // id-pe-acmeIdentifier (RFC 8737, section 6.1)

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

static bool add_alternative_names(X509 *cert, const struct cert_request *request)
{
    GENERAL_NAMES *names = cert_alt_names(request->names, request->name_count);
    const bool ok = names && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1;

    GENERAL_NAMES_free(names);
    return ok;
}

// Critical: nobody but an ACME server may take it for a server's certificate.
static bool add_acme_identifier(X509 *cert, const uint8_t *digest)
{
    ASN1_OCTET_STRING *inner = ASN1_OCTET_STRING_new(), *outer = ASN1_OCTET_STRING_new();
    ASN1_OBJECT *kind = OBJ_txt2obj(ACME_IDENTIFIER, 1);
    X509_EXTENSION *extension = NULL;
    unsigned char *der = NULL;
    int len = -1;
    bool ok = false;

    if (inner && ASN1_OCTET_STRING_set(inner, digest, CERT_ACME_DIGEST_BYTES))
        len = i2d_ASN1_OCTET_STRING(inner, &der);
    if (outer && kind && len > 0 && ASN1_OCTET_STRING_set(outer, der, len))
        extension = X509_EXTENSION_create_by_OBJ(NULL, kind, 1, outer);
    if (extension)
        ok = X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    OPENSSL_free(der);
    ASN1_OBJECT_free(kind);
    ASN1_OCTET_STRING_free(outer);
    ASN1_OCTET_STRING_free(inner);
    return ok;
}

static bool fill(X509 *cert, const struct cert_request *request, EVP_PKEY *key)
{
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_names(cert, request->common_name) &&
           set_serial(cert, request->serial, request->serial_len) &&
           set_validity(cert, request->not_before, request->not_after) &&
           X509_set_pubkey(cert, key) == 1 && add_basic_constraints(cert) &&
           (request->name_count == 0 || (add_key_usage(cert) && add_server_purpose(cert) &&
                                         add_alternative_names(cert, request))) &&
           (!request->acme_digest || add_acme_identifier(cert, request->acme_digest));
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
