// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/pem.h"

#include "certgen/error.h"
#include "certgen/file.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#define PEM_FLAGS (PEM_FLAG_SECURE | PEM_FLAG_EAY_COMPATIBLE)

// What a file turned out to hold.
struct contents {
    unsigned blocks, certificates, keys, public_keys, requests;
    bool encrypted; // the first key
    bool damaged;   // a block begins but does not end, or is not base64
};

// One PEM block. Memory of its own that may hold a key: wiped by block_free.
struct block {
    char *name, *header;
    unsigned char *der;
    long len;
};

static bool is_certificate(const struct block *block)
{
    return strcmp(block->name, PEM_STRING_X509) == 0 ||
           strcmp(block->name, PEM_STRING_X509_OLD) == 0;
}

static bool is_key(const struct block *block)
{
    static const char ending[] = "PRIVATE KEY";
    const size_t len = strlen(block->name), tail = sizeof ending - 1;

    return len >= tail && strcmp(block->name + len - tail, ending) == 0;
}

static bool is_encrypted(const struct block *block)
{
    return strcmp(block->name, PEM_STRING_PKCS8) == 0 || strstr(block->header, "ENCRYPTED");
}

static void block_free(struct block *block)
{
    OPENSSL_secure_free(block->name);
    OPENSSL_secure_free(block->header);
    OPENSSL_secure_clear_free(block->der, (size_t)block->len);
}

// False at the end of the file or at a damaged block; ERR_peek_last_error tells which.
static bool block_read(BIO *in, struct block *block)
{
    *block = (struct block){0};
    ERR_clear_error();
    return PEM_read_bio_ex(in, &block->name, &block->header, &block->der, &block->len, PEM_FLAGS) ==
           1;
}

static bool at_end(void)
{
    const unsigned long err = ERR_peek_last_error();

    return ERR_GET_LIB(err) == ERR_LIB_PEM && ERR_GET_REASON(err) == PEM_R_NO_START_LINE;
}

static void contents_count(struct contents *contents, const struct block *block)
{
    contents->blocks++;
    if (is_certificate(block))
        contents->certificates++;
    else if (is_key(block) && contents->keys++ == 0)
        contents->encrypted = is_encrypted(block);
    else if (strcmp(block->name, PEM_STRING_PUBLIC) == 0)
        contents->public_keys++;
    else if (strcmp(block->name, PEM_STRING_X509_REQ) == 0)
        contents->requests++;
}

static void contents_scan(struct contents *contents, const struct cert_text *text)
{
    BIO *in = BIO_new_mem_buf(text->bytes, (int)text->len);
    struct block block;

    *contents = (struct contents){0};
    while (in && block_read(in, &block)) {
        contents_count(contents, &block);
        block_free(&block);
    }
    contents->damaged = !at_end();
    BIO_free(in);
    ERR_clear_error();
}

// A file without a single PEM block. `what`: "certificate" or "private key".
static bool fail_no_pem(const char *path, const struct cert_text *text, const char *what,
                        char *error, size_t size)
{
    const char der_sequence = 0x30;

    if (text->bytes[0] == der_sequence)
        return cert_fail(error, size,
                         "%s is not in PEM form but looks like DER: convert it with \"openssl %s "
                         "-inform DER\"",
                         path, strcmp(what, "certificate") == 0 ? "x509" : "pkey");
    return cert_fail(error, size,
                     "%s holds no PEM block (-----BEGIN …): put the %s there in PEM form", path,
                     what);
}

static bool fail_damaged(const char *path, char *error, size_t size)
{
    return cert_fail(error, size,
                     "%s is damaged or cut short (a PEM block does not end as it should): copy it "
                     "again",
                     path);
}

static bool fail_no_certificate(const char *path, const struct cert_text *text,
                                const struct contents *contents, char *error, size_t size)
{
    if (contents->damaged)
        return fail_damaged(path, error, size);
    if (contents->blocks == 0)
        return fail_no_pem(path, text, "certificate", error, size);
    if (contents->keys > 0)
        return cert_fail(error, size,
                         "%s holds a private key but no certificate: the files may be swapped, put "
                         "the certificate there",
                         path);
    if (contents->requests > 0)
        return cert_fail(error, size,
                         "%s holds a signing request, not a certificate: put there what the "
                         "certificate authority sent back",
                         path);
    return cert_fail(error, size,
                     "%s holds PEM but no certificate (-----BEGIN CERTIFICATE-----): check that it "
                     "is the right file",
                     path);
}

static bool fail_no_key(const char *path, const struct cert_text *text,
                        const struct contents *contents, char *error, size_t size)
{
    if (contents->damaged)
        return fail_damaged(path, error, size);
    if (contents->blocks == 0)
        return fail_no_pem(path, text, "private key", error, size);
    if (contents->certificates > 0)
        return cert_fail(error, size,
                         "%s holds a certificate but no private key: the files may be swapped, put "
                         "the key there",
                         path);
    if (contents->public_keys > 0)
        return cert_fail(error, size,
                         "%s holds a public key, not the private one: put the private key there",
                         path);
    return cert_fail(error, size,
                     "%s holds PEM but no private key: check that it is the right file", path);
}

// NULL when the bytes are not one whole certificate.
static X509 *decode_certificate(const struct block *block)
{
    const unsigned char *at = block->der;
    X509 *cert = d2i_X509(NULL, &at, block->len);

    if (cert && at == block->der + block->len)
        return cert;
    X509_free(cert);
    return NULL;
}

// Appends every certificate. False at the first that cannot be decoded.
static bool append_certificates(STACK_OF(X509) * certs, BIO *in)
{
    struct block block;
    bool ok = true;

    while (ok && block_read(in, &block)) {
        if (is_certificate(&block)) {
            X509 *cert = decode_certificate(&block);

            ok = cert && sk_X509_push(certs, cert) > 0;
            if (!ok)
                X509_free(cert);
        }
        block_free(&block);
    }
    return ok;
}

static STACK_OF(X509) *
    decode_certificates(const char *path, const struct cert_text *text, char *error, size_t size)
{
    BIO *in = BIO_new_mem_buf(text->bytes, (int)text->len);
    STACK_OF(X509) *certs = sk_X509_new_null();

    if (!in || !certs || !append_certificates(certs, in)) {
        cert_fail(error, size,
                  "certificate %d in %s cannot be decoded (%s): copy the file again from the "
                  "renewal",
                  certs ? sk_X509_num(certs) + 1 : 1, path, cert_reason());
        sk_X509_pop_free(certs, X509_free);
        certs = NULL;
    }
    BIO_free(in);
    return certs;
}

STACK_OF(X509) * cert_pem_read_certificates(const char *path, char *error, size_t size)
{
    STACK_OF(X509) *certs = NULL;
    struct contents contents;
    struct cert_text text;

    if (!cert_file_read(path, &text, error, size))
        return NULL;
    contents_scan(&contents, &text);
    if (contents.certificates == 0)
        fail_no_certificate(path, &text, &contents, error, size);
    else if (contents.damaged)
        fail_damaged(path, error, size);
    else
        certs = decode_certificates(path, &text, error, size);
    cert_file_wipe(&text);
    ERR_clear_error();
    return certs;
}

// Stands in for OpenSSL's own question on the terminal: there is no passphrase.
static int no_passphrase(char *buf, int room, int writing, void *data)
{
    (void)buf, (void)room, (void)writing, (void)data;
    return -1;
}

// Kinds that serve TLS; a Diffie-Hellman or X25519 key, say, does not sign.
static bool can_serve(const EVP_PKEY *key)
{
    static const char *const kinds[] = {"RSA", "RSA-PSS", "EC", "ED25519", "ED448"};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (EVP_PKEY_is_a(key, kinds[i]))
            return true;
    return false;
}

static EVP_PKEY *decode_key(const char *path, const struct cert_text *text, char *error,
                            size_t size)
{
    BIO *in = BIO_new_mem_buf(text->bytes, (int)text->len);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL) : NULL;

    BIO_free(in);
    if (!key) {
        cert_fail(error, size,
                  "%s holds a private key that cannot be decoded (%s): copy it again, or convert "
                  "it with \"openssl pkey\"",
                  path, cert_reason());
        return NULL;
    }
    if (can_serve(key))
        return key;
    cert_fail(error, size,
              "%s holds a private key of a kind that TLS servers cannot use: make an RSA, ECDSA or "
              "Ed25519 key",
              path);
    EVP_PKEY_free(key);
    return NULL;
}

EVP_PKEY *cert_pem_read_key(const char *path, char *error, size_t size)
{
    EVP_PKEY *key = NULL;
    struct contents contents;
    struct cert_text text;

    if (!cert_file_read(path, &text, error, size))
        return NULL;
    contents_scan(&contents, &text);
    if (contents.keys == 0)
        fail_no_key(path, &text, &contents, error, size);
    else if (contents.encrypted)
        cert_fail(error, size,
                  "%s is protected by a passphrase, which a server cannot type: store it without "
                  "one (openssl pkey -in OLD -out NEW)",
                  path);
    else
        key = decode_key(path, &text, error, size);
    cert_file_wipe(&text);
    ERR_clear_error();
    return key;
}

BIO *cert_pem_write_certificate(X509 *cert)
{
    BIO *out = BIO_new(BIO_s_mem());

    if (out && PEM_write_bio_X509(out, cert) == 1)
        return out;
    BIO_free(out);
    return NULL;
}

BIO *cert_pem_write_key(const EVP_PKEY *key)
{
    BIO *out = BIO_new(BIO_s_secmem());

    if (out && PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1)
        return out;
    BIO_free(out);
    return NULL;
}
