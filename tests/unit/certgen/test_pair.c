// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/pair.h"

#include "certgen/check.h"
#include "certgen/error.h"
#include "material.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOST "a.example"
#define PROMPT_SECONDS 10

static struct {
    EVP_PKEY *ec, *rsa, *ed, *authority, *x25519;
} keys;

// What stands in a file.
enum content {
    ABSENT,
    EMPTY,
    GARBAGE,
    FOLDER,
    DANGLING,
    UNREADABLE,
    // certificates
    CERT_EC,
    CERT_RSA,
    CERT_ED,
    CERT_WILDCARD,
    CERT_IPS,
    CERT_NO_NAMES,
    CERT_OLD_HEADER,
    CERT_WITH_CHAIN,
    CERT_CHAIN_FIRST,
    CERT_AND_KEY,
    CERT_CRLF,
    CERT_DER,
    CERT_TRUNCATED,
    CERT_SECOND_TRUNCATED,
    CERT_BAD_DER,
    CERT_TRAILING_DER,
    REQUEST,
    // keys
    KEY_EC,
    KEY_EC_SEC1,
    KEY_EC_PARAMETERS,
    KEY_RSA,
    KEY_RSA_PKCS1,
    KEY_ED,
    KEY_X25519,
    KEY_ENCRYPTED,
    KEY_ENCRYPTED_LEGACY,
    KEY_TRUNCATED,
    KEY_BAD_DER,
    KEY_DER,
    KEY_PUBLIC,
};

static char folder[FOLDER_BYTES];

static int setup_keys(void **state)
{
    (void)state;
    keys.ec = EVP_EC_gen("P-256");
    keys.rsa = EVP_RSA_gen(2048);
    keys.ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    keys.authority = EVP_EC_gen("P-256");
    keys.x25519 = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    return keys.ec && keys.rsa && keys.ed && keys.authority && keys.x25519 ? 0 : -1;
}

static int teardown_keys(void **state)
{
    (void)state;
    EVP_PKEY_free(keys.ec);
    EVP_PKEY_free(keys.rsa);
    EVP_PKEY_free(keys.ed);
    EVP_PKEY_free(keys.authority);
    EVP_PKEY_free(keys.x25519);
    return 0;
}

static void put_cert_by(BIO *out, const char *san, EVP_PKEY *key, const char *issuer)
{
    const struct spec spec = {
        .name = HOST, .san = san, .issuer = issuer, .issuer_key = issuer ? keys.authority : NULL};
    X509 *cert = make_cert(&spec, key);

    assert_int_equal(PEM_write_bio_X509(out, cert), 1);
    X509_free(cert);
}

static void put_cert(BIO *out, const char *san, EVP_PKEY *key)
{
    put_cert_by(out, san, key, NULL);
}

static void put_authority(BIO *out)
{
    X509 *cert = make_cert(&(struct spec){.name = "authority", .authority = true}, keys.authority);

    assert_int_equal(PEM_write_bio_X509(out, cert), 1);
    X509_free(cert);
}

static void put_der(BIO *out)
{
    X509 *cert = make_cert(&(struct spec){.name = HOST}, keys.ec);

    assert_int_equal(i2d_X509_bio(out, cert), 1);
    X509_free(cert);
}

static void put_trailing_der(BIO *out)
{
    unsigned char der[2048], *at = der;
    X509 *cert = make_cert(&(struct spec){.name = HOST}, keys.ec);
    const int len = i2d_X509(cert, &at);

    der[len] = 0;
    PEM_write_bio(out, PEM_STRING_X509, "", der, len + 1);
    X509_free(cert);
}

static void put_request(BIO *out)
{
    X509_REQ *request = X509_REQ_new();

    X509_REQ_set_pubkey(request, keys.ec);
    assert_true(X509_REQ_sign(request, keys.ec, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_bio_X509_REQ(out, request), 1);
    X509_REQ_free(request);
}

static void put_key(BIO *out, EVP_PKEY *key)
{
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
}

static void put_traditional(BIO *out, EVP_PKEY *key, const EVP_CIPHER *cipher)
{
    unsigned char passphrase[] = "secret";

    assert_int_equal(PEM_write_bio_PrivateKey_traditional(out, key, cipher, passphrase,
                                                          cipher ? 6 : 0, NULL, NULL),
                     1);
}

// Cuts the last bytes off.
static void cut(BIO *out, size_t bytes_off)
{
    char *bytes;
    const size_t len = (size_t)BIO_get_mem_data(out, &bytes);

    assert_true(len > bytes_off);
    bytes = OPENSSL_memdup(bytes, len);
    BIO_reset(out);
    BIO_write(out, bytes, (int)(len - bytes_off));
    OPENSSL_free(bytes);
}

static void put_crlf(BIO *out)
{
    BIO *lines = BIO_new(BIO_s_mem());
    char line[256];

    put_cert(lines, "DNS:" HOST, keys.ec);
    while (BIO_gets(lines, line, sizeof line) > 0) {
        line[strcspn(line, "\n")] = '\0';
        BIO_printf(out, "%s\r\n", line);
    }
    BIO_free(lines);
}

static void put_certificates(BIO *out, enum content content)
{
    if (content == CERT_EC)
        put_cert(out, "DNS:" HOST, keys.ec);
    else if (content == CERT_RSA)
        put_cert(out, "DNS:" HOST, keys.rsa);
    else if (content == CERT_ED)
        put_cert(out, "DNS:" HOST, keys.ed);
    else if (content == CERT_WILDCARD)
        put_cert(out, "DNS:*.b.example,DNS:other.example", keys.ec);
    else if (content == CERT_IPS)
        put_cert(out, "IP:203.0.113.1,IP:2001:db8::1", keys.ec);
    else if (content == CERT_NO_NAMES)
        put_cert(out, NULL, keys.ec);
    else if (content == CERT_WITH_CHAIN) {
        put_cert_by(out, "DNS:" HOST, keys.ec, "authority");
        put_authority(out);
    } else if (content == CERT_CHAIN_FIRST) {
        put_authority(out);
        put_cert_by(out, "DNS:" HOST, keys.ec, "authority");
    } else if (content == CERT_AND_KEY) {
        put_key(out, keys.ec);
        put_cert(out, "DNS:" HOST, keys.ec);
    } else if (content == CERT_CRLF)
        put_crlf(out);
    else if (content == CERT_OLD_HEADER) {
        BIO_puts(out, "a line that people leave above\n\n");
        put_cert(out, "DNS:" HOST, keys.ec);
    }
}

static void put_broken_certificates(BIO *out, enum content content)
{
    if (content == CERT_DER)
        put_der(out);
    else if (content == CERT_TRUNCATED) {
        put_cert(out, "DNS:" HOST, keys.ec);
        cut(out, 100);
    } else if (content == CERT_SECOND_TRUNCATED) {
        put_cert(out, "DNS:" HOST, keys.ec);
        put_authority(out);
        cut(out, 100);
    } else if (content == CERT_BAD_DER)
        PEM_write_bio(out, PEM_STRING_X509, "", (const unsigned char *)"nonsense", 8);
    else if (content == CERT_TRAILING_DER)
        put_trailing_der(out);
    else if (content == REQUEST)
        put_request(out);
}

static void put_keys(BIO *out, enum content content)
{
    if (content == KEY_EC)
        put_key(out, keys.ec);
    else if (content == KEY_EC_SEC1)
        put_traditional(out, keys.ec, NULL);
    else if (content == KEY_EC_PARAMETERS) {
        BIO_puts(out, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
                      "-----END EC PARAMETERS-----\n");
        put_traditional(out, keys.ec, NULL);
    } else if (content == KEY_RSA)
        put_key(out, keys.rsa);
    else if (content == KEY_RSA_PKCS1)
        put_traditional(out, keys.rsa, NULL);
    else if (content == KEY_ED)
        put_key(out, keys.ed);
    else if (content == KEY_X25519)
        put_key(out, keys.x25519);
}

static void put_broken_keys(BIO *out, enum content content)
{
    if (content == KEY_ENCRYPTED)
        PEM_write_bio_PKCS8PrivateKey(out, keys.ec, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
    else if (content == KEY_ENCRYPTED_LEGACY)
        put_traditional(out, keys.rsa, EVP_aes_128_cbc());
    else if (content == KEY_TRUNCATED) {
        put_key(out, keys.rsa);
        cut(out, 40);
    } else if (content == KEY_BAD_DER)
        PEM_write_bio(out, PEM_STRING_PKCS8INF, "", (const unsigned char *)"nonsense", 8);
    else if (content == KEY_DER)
        assert_int_equal(i2d_PrivateKey_bio(out, keys.ec), 1);
    else if (content == KEY_PUBLIC)
        assert_int_equal(PEM_write_bio_PUBKEY(out, keys.ec), 1);
}

static void put_file(const char *name, const char *path, enum content content)
{
    BIO *out = BIO_new(BIO_s_mem());

    if (content == GARBAGE)
        BIO_puts(out, "hello\n");
    put_certificates(out, content);
    put_broken_certificates(out, content);
    put_keys(out, content);
    put_broken_keys(out, content);
    if (content == ABSENT || content == FOLDER || content == DANGLING)
        BIO_free(out);
    else
        file_write_bio(folder, name, out);
    if (content == FOLDER)
        mkdir(path, 0700);
    if (content == DANGLING)
        assert_int_equal(symlink("../archive/gone.pem", path), 0);
    if (content == UNREADABLE) {
        file_write(folder, name, "x", 1);
        chmod(path, 0);
    }
}

enum named { CRT = 1, KEY = 2 };

static const struct {
    const char *title;
    enum content cert, key;
    const char *hostname;
    unsigned named;       // the files that the sentence names; 0: the pair loads
    const char *words[4]; // what is wrong and what to do
} cases[] = {
    {"ECDSA", CERT_EC, KEY_EC, HOST},
    {"ECDSA, SEC1", CERT_EC, KEY_EC_SEC1, HOST},
    {"ECDSA, SEC1 behind parameters", CERT_EC, KEY_EC_PARAMETERS, HOST},
    {"RSA", CERT_RSA, KEY_RSA, HOST},
    {"RSA, PKCS#1", CERT_RSA, KEY_RSA_PKCS1, HOST},
    {"Ed25519", CERT_ED, KEY_ED, HOST},
    {"hostname not asked", CERT_NO_NAMES, KEY_EC, NULL},
    {"hostname in upper case", CERT_EC, KEY_EC, "A.EXAMPLE"},
    {"hostname with a final dot", CERT_EC, KEY_EC, HOST "."},
    {"wildcard", CERT_WILDCARD, KEY_EC, "x.b.example"},
    {"IPv4", CERT_IPS, KEY_EC, "203.0.113.1"},
    {"IPv6", CERT_IPS, KEY_EC, "2001:DB8:0::1"},
    {"IPv4-mapped", CERT_IPS, KEY_EC, "::ffff:203.0.113.1"},
    {"text above", CERT_OLD_HEADER, KEY_EC, HOST},
    {"lines end in CR LF", CERT_CRLF, KEY_EC, HOST},
    {"chain", CERT_WITH_CHAIN, KEY_EC, HOST},
    {"key in the certificate's file too", CERT_AND_KEY, KEY_EC, HOST},
    {"one file for both", CERT_AND_KEY, CERT_AND_KEY, HOST},

    {"no certificate", ABSENT, KEY_EC, HOST, CRT, {"does not exist", "put the file there"}},
    {"no key", CERT_EC, ABSENT, HOST, KEY, {"does not exist", "put the file there"}},
    {"empty certificate", EMPTY, KEY_EC, HOST, CRT, {"is empty", "copy it again"}},
    {"empty key", CERT_EC, EMPTY, HOST, KEY, {"is empty", "copy it again"}},
    {"certificate a folder", FOLDER, KEY_EC, HOST, CRT, {"is a folder", "remove it", "Docker"}},
    {"certificate a dangling link", DANGLING, KEY_EC, HOST, CRT, {"is a link", "letsencrypt"}},
    {"key a dangling link", CERT_EC, DANGLING, HOST, KEY, {"is a link", "available"}},
    {"certificate not ours", UNREADABLE, KEY_EC, HOST, CRT, {"Permission denied", "let the user"}},
    {"key not ours", CERT_EC, UNREADABLE, HOST, KEY, {"Permission denied", "let the user"}},
    {"certificate not PEM", GARBAGE, KEY_EC, HOST, CRT, {"no PEM", "put the certificate there"}},
    {"key not PEM", CERT_EC, GARBAGE, HOST, KEY, {"no PEM", "put the private key there"}},
    {"certificate DER", CERT_DER, KEY_EC, HOST, CRT, {"DER", "openssl x509 -inform DER"}},
    {"key DER", CERT_EC, KEY_DER, HOST, KEY, {"DER", "openssl pkey -inform DER"}},
    {"swapped", KEY_EC, CERT_EC, HOST, CRT, {"private key but no certificate", "swapped"}},
    {"certificate twice", CERT_EC, CERT_EC, HOST, KEY, {"no private key", "swapped"}},
    {"request", REQUEST, KEY_EC, HOST, CRT, {"signing request", "authority sent back"}},
    {"public key", CERT_EC, KEY_PUBLIC, HOST, KEY, {"public key", "put the private key"}},
    {"public key for certificate", KEY_PUBLIC, KEY_EC, HOST, CRT, {"no certificate", "check"}},
    {"request for key", CERT_EC, REQUEST, HOST, KEY, {"no private key", "check"}},
    {"cut certificate", CERT_TRUNCATED, KEY_EC, HOST, CRT, {"cut short", "copy it again"}},
    {"cut chain", CERT_SECOND_TRUNCATED, KEY_EC, HOST, CRT, {"cut short", "copy it again"}},
    {"cut key", CERT_RSA, KEY_TRUNCATED, HOST, KEY, {"cut short", "copy it again"}},
    {"nonsense in PEM", CERT_BAD_DER, KEY_EC, HOST, CRT, {"certificate 1", "decoded", "again"}},
    {"more than a certificate", CERT_TRAILING_DER, KEY_EC, HOST, CRT, {"certificate 1", "decoded"}},
    {"nonsense for key", CERT_EC, KEY_BAD_DER, HOST, KEY, {"cannot be decoded", "copy it again"}},
    {"encrypted", CERT_EC, KEY_ENCRYPTED, HOST, KEY, {"passphrase", "openssl pkey -in"}},
    {"encrypted, PKCS#1", CERT_RSA, KEY_ENCRYPTED_LEGACY, HOST, KEY, {"passphrase", "without"}},
    {"key that cannot sign", CERT_EC, KEY_X25519, HOST, KEY, {"kind", "Ed25519"}},
    {"other kind of key", CERT_EC, KEY_RSA, HOST, CRT | KEY, {"not belong", "same renewal"}},
    {"issuer first",
     CERT_CHAIN_FIRST,
     KEY_EC,
     HOST,
     CRT | KEY,
     {"certificate 2", "own certificate"}},
    {"other host", CERT_EC, KEY_EC, "b.example", CRT, {"b.example but a.example", "get a cert"}},
    {"wildcard, two labels", CERT_WILDCARD, KEY_EC, "x.y.b.example", CRT, {"*.b.example, other"}},
    {"wildcard, no label", CERT_WILDCARD, KEY_EC, "b.example", CRT, {"does not cover"}},
    {"common name does not count", CERT_NO_NAMES, KEY_EC, HOST, CRT, {"but no name"}},
    {"leading dot", CERT_WILDCARD, KEY_EC, ".b.example", CRT, {"does not cover"}},
    {"no hostname", CERT_EC, KEY_EC, "", CRT, {"does not cover"}},
    {"other IPv4", CERT_IPS, KEY_EC, "203.0.113.2", CRT, {"203.0.113.1, 2001:db8::1"}},
    {"other IPv6", CERT_IPS, KEY_EC, "2001:db8::2", CRT, {"does not cover"}},
    {"address of a named host", CERT_EC, KEY_EC, "203.0.113.1", CRT, {"but a.example"}},
};

// The error queue holds something when it begins and nothing when it ends.
static bool load(struct cert_pair *pair, const struct cert_paths *paths, const char *hostname,
                 time_t now, char *error)
{
    ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
    const bool ok = cert_pair_load(pair, paths, hostname, now, error, CERT_ERROR_BYTES);
    assert_int_equal(ERR_peek_error(), 0);
    return ok;
}

static void prepare(struct cert_paths *paths, enum content cert, enum content key)
{
    char error[CERT_ERROR_BYTES];

    folder_make(folder);
    assert_true(cert_paths_for_host(paths, folder, "pair", error, sizeof error));
    put_file("pair.crt", paths->cert, cert);
    put_file("pair.key", paths->key, key);
}

static void assert_refused(size_t i, const struct cert_paths *paths, const struct cert_pair *pair,
                           const char *error)
{
    assert_null(pair->leaf);
    assert_null(pair->chain);
    assert_null(pair->key);
    assert_sentence(error, cases[i].words);
    assert_int_equal(strstr(error, paths->cert) != NULL, (cases[i].named & CRT) != 0);
    assert_int_equal(strstr(error, paths->key) != NULL, (cases[i].named & KEY) != 0);
}

static void run_case(size_t i)
{
    char error[CERT_ERROR_BYTES] = "";
    struct cert_paths paths;
    struct cert_pair pair;
    const bool closed = cases[i].cert == UNREADABLE || cases[i].key == UNREADABLE;

    print_message("%s\n", cases[i].title);
    prepare(&paths, cases[i].cert, cases[i].key);
    if (closed) {
        chmod(folder, 0755);
        chmod(paths.cert, cases[i].cert == UNREADABLE ? 0 : 0644);
        drop_root();
    }
    const bool ok = load(&pair, &paths, cases[i].hostname, NOW, error);
    if (closed)
        regain_root();
    if (cases[i].named)
        assert_refused(i, &paths, &pair, error);
    else if (!ok)
        fail_msg("%s", error);
    assert_int_equal(ok, cases[i].named == 0);
    cert_pair_free(&pair);
    cert_pair_free(&pair);
    folder_remove(folder);
}

static void test_pairs(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        run_case(i);
}

static void test_same_kind_of_key_but_another(void **state)
{
    char error[CERT_ERROR_BYTES], expected[CERT_ERROR_BYTES + PATH_BYTES];
    struct cert_paths paths;
    struct cert_pair pair;
    BIO *out = BIO_new(BIO_s_mem());

    (void)state;
    prepare(&paths, CERT_EC, ABSENT);
    put_key(out, keys.authority);
    file_write_bio(folder, "pair.key", out);
    assert_false(load(&pair, &paths, HOST, NOW, error));
    snprintf(expected, sizeof expected,
             "%s/pair.key does not belong to the certificate %s/pair.crt: copy both files from the "
             "same renewal",
             folder, folder);
    assert_string_equal(error, expected);
    folder_remove(folder);
}

static void test_validity(void **state)
{
    static const struct {
        time_t now;
        const char *words[4]; // none: valid
    } times[] = {
        {NOW - DAY - 1, {"not yet valid", "2026-09-20 14:13:20 UTC", "set the clock"}},
        {NOW - DAY},
        {NOW + DAY},
        {NOW + DAY + 1, {"expired", "2026-09-22 14:13:20 UTC", "renew it"}},
    };
    char error[CERT_ERROR_BYTES];
    struct cert_paths paths;
    struct cert_pair pair;

    (void)state;
    prepare(&paths, CERT_WITH_CHAIN, KEY_EC);
    for (size_t i = 0; i < COUNT(times); i++) {
        assert_int_equal(load(&pair, &paths, HOST, times[i].now, error), !times[i].words[0]);
        if (times[i].words[0]) {
            assert_sentence(error, times[i].words);
            assert_non_null(strstr(error, paths.cert));
        }
        cert_pair_free(&pair);
    }
    folder_remove(folder);
}

static void test_chain_is_what_follows_the_leaf(void **state)
{
    char error[CERT_ERROR_BYTES];
    struct cert_paths paths;
    struct cert_pair pair;

    (void)state;
    prepare(&paths, CERT_WITH_CHAIN, KEY_EC);
    assert_true(load(&pair, &paths, HOST, NOW, error));
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(pair.leaf), keys.ec), 1);
    assert_int_equal(EVP_PKEY_eq(pair.key, keys.ec), 1);
    assert_int_equal(sk_X509_num(pair.chain), 1);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(pair.chain, 0)), keys.authority),
                     1);
    assert_int_equal(cert_not_after(pair.leaf), NOW + DAY);
    cert_pair_free(&pair);
    folder_remove(folder);
}

// The child of a terminal of its own: it must end without a word on it.
static void load_on_terminal(const struct cert_paths *paths)
{
    char error[CERT_ERROR_BYTES];
    struct cert_pair pair;

    alarm(PROMPT_SECONDS);
    const bool ok = cert_pair_load(&pair, paths, HOST, NOW, error, sizeof error);
    _exit(!ok && strstr(error, "passphrase") ? 0 : 1);
}

// A child on a terminal of its own, or, where there is no pseudo-terminal to be had (a bare
// chroot), in a session without one, with `*terminal` as its input and output: OpenSSL would ask
// there.
static pid_t fork_on_terminal(int *terminal)
{
    int pair[2];
    pid_t child = forkpty(terminal, NULL, NULL, NULL);

    if (child >= 0)
        return child;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    child = fork();
    if (child == 0) {
        setsid();
        for (int fd = 0; fd <= 2; fd++)
            dup2(pair[1], fd);
        close(pair[0]);
    }
    close(pair[1]);
    *terminal = pair[0];
    return child;
}

static void test_never_asks_for_a_passphrase(void **state)
{
    static const enum content contents[] = {KEY_ENCRYPTED, KEY_ENCRYPTED_LEGACY};

    (void)state;
    for (size_t i = 0; i < COUNT(contents); i++) {
        struct cert_paths paths;
        int terminal, status;
        char said;

        prepare(&paths, CERT_EC, contents[i]);
        const pid_t child = fork_on_terminal(&terminal);
        assert_true(child >= 0);
        if (child == 0)
            load_on_terminal(&paths);
        assert_true(read(terminal, &said, 1) <= 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        close(terminal);
        folder_remove(folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_same_kind_of_key_but_another),
        cmocka_unit_test(test_validity),
        cmocka_unit_test(test_chain_is_what_follows_the_leaf),
        cmocka_unit_test(test_never_asks_for_a_passphrase),
    };
    return cmocka_run_group_tests(tests, setup_keys, teardown_keys);
}
