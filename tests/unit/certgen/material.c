// SPDX-License-Identifier: BSD-3-Clause
#include "material.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY 65534

static void set_name(X509_NAME *name, const char *text)
{
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const unsigned char *)text, -1, -1, 0),
                     1);
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

X509 *make_cert(const struct spec *spec, EVP_PKEY *key)
{
    X509 *cert = X509_new();
    EVP_PKEY *signer = spec->issuer_key ? spec->issuer_key : key;
    const bool dated = spec->from || spec->until;

    assert_non_null(cert);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 42);
    set_name(X509_get_subject_name(cert), spec->name);
    set_name(X509_get_issuer_name(cert), spec->issuer ? spec->issuer : spec->name);
    ASN1_TIME_set(X509_getm_notBefore(cert), dated ? spec->from : NOW - DAY);
    ASN1_TIME_set(X509_getm_notAfter(cert), dated ? spec->until : NOW + DAY);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    if (spec->san)
        add_extension(cert, NID_subject_alt_name, spec->san);
    if (spec->authority)
        add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
    assert_true(X509_sign(cert, signer, EVP_PKEY_is_a(signer, "ED25519") ? NULL : EVP_sha256()));
    return cert;
}

void folder_make(char out[static FOLDER_BYTES])
{
    snprintf(out, FOLDER_BYTES, "/tmp/test-certgen-XXXXXX");
    assert_non_null(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st, (void)kind, (void)place;
    return remove(path);
}

void folder_remove(const char *folder)
{
    assert_int_equal(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

size_t folder_count(const char *folder)
{
    DIR *dir = opendir(folder);
    size_t n = 0;

    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            n++;
    closedir(dir);
    return n;
}

void file_write(const char *folder, const char *name, const void *bytes, size_t len)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

void file_write_bio(const char *folder, const char *name, BIO *text)
{
    char *bytes;
    const long len = BIO_get_mem_data(text, &bytes);

    file_write(folder, name, bytes, (size_t)len);
    BIO_free(text);
}

void drop_root(void)
{
    if (geteuid() == 0)
        assert_int_equal(seteuid(NOBODY), 0);
}

void regain_root(void)
{
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
}

void assert_sentence(const char *text, const char *const words[])
{
    assert_true(strlen(text) > 0);
    assert_null(strchr(text, '\n'));
    for (; *words; words++)
        if (!strstr(text, *words))
            fail_msg("\"%s\" is missing in: %s", *words, text);
}
