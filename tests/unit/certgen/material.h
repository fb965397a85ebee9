// SPDX-License-Identifier: BSD-3-Clause
//
// Keys, certificates and folders for the tests of certgen/, made by OpenSSL itself and not by the
// code under test. Everything asserts.
#ifndef TEST_CERTGEN_MATERIAL_H
#define TEST_CERTGEN_MATERIAL_H

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#define NOW ((time_t)1790000000) // 2026-09-21 14:13:20 UTC
#define DAY (24 * 60 * 60)
#define FOLDER_BYTES 64
#define PATH_BYTES 256

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct spec {
    const char *name;   // common name
    const char *san;    // OpenSSL's text form, "DNS:a.example,IP:::1", or NULL
    const char *issuer; // common name, or NULL: signs itself
    EVP_PKEY *issuer_key;
    time_t from, until; // both 0: valid for a day around NOW
    bool authority;
};

// The caller's to free.
X509 *make_cert(const struct spec *spec, EVP_PKEY *key);

// A new folder, mode 0700, and its removal with all that is in it.
void folder_make(char out[static FOLDER_BYTES]);
void folder_remove(const char *folder);
size_t folder_count(const char *folder); // entries

// Bytes to FOLDER/NAME.
void file_write(const char *folder, const char *name, const void *bytes, size_t len);
// The same for what is in a memory BIO, which is freed.
void file_write_bio(const char *folder, const char *name, BIO *text);

// Root reads and writes what modes forbid: act as nobody meanwhile. No effect on other users.
void drop_root(void);
void regain_root(void);

// Asserts that the text is one sentence that holds each of the words, up to a NULL.
void assert_sentence(const char *text, const char *const words[]);

#endif
