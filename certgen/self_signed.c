// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/self_signed.h"

#include "certgen/address.h"
#include "certgen/check.h"
#include "certgen/error.h"
#include "certgen/file.h"
#include "certgen/issue.h"
#include "certgen/pair.h"
#include "certgen/pem.h"
#include "certgen/successor.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERIAL_BYTES 16
#define KEY_MODE 0600
#define CERT_MODE 0644
#define LOCK_TRIES 200
#define LOCK_PAUSE_MS 10
#define ATTEMPTS 8 // a step changes what is there, and another process may, too

// What is to be had, and where a sentence goes.
struct wanted {
    const struct cert_paths *paths;
    struct successor_paths successor;
    const char *const *addresses;
    size_t count;
    time_t now;
    char *error;
    size_t size;
};

// What one look found. The successor is there only when it is fit.
struct found {
    struct cert_pair pair; // when both files are there
    EVP_PKEY *key;         // when it is there alone
    X509 *successor;
};

// What follows from it. The last four are renewal.
enum step { FAIL, KEEP, CREATE, COMPLETE, PREPARE, REPLACE, REMOVE, SWITCH };

static void found_free(struct found *found)
{
    cert_pair_free(&found->pair);
    EVP_PKEY_free(found->key);
    X509_free(found->successor);
    *found = (struct found){0};
}

// Whether something, be it a dangling link, has this name. False, with a sentence, when that cannot
// be told.
static bool look(const struct wanted *wanted, const char *path, bool *there)
{
    struct stat st;

    *there = lstat(path, &st) == 0;
    if (*there || errno == ENOENT)
        return true;
    return cert_fail(wanted->error, wanted->size,
                     "%s cannot be looked for (%s): let the user that runs this program use its "
                     "folder, or choose another folder",
                     path, strerror(errno));
}

static enum step fail_memory(const struct wanted *wanted)
{
    cert_fail(wanted->error, wanted->size, "out of memory");
    return FAIL;
}

static bool covers_all(const struct wanted *wanted, X509 *cert)
{
    char unused[CERT_ERROR_BYTES];

    for (size_t i = 0; i < wanted->count; i++)
        if (!cert_check_host(cert, "", wanted->addresses[i], unused, sizeof unused))
            return false;
    return true;
}

// A pair of one of the addresses is ours, in whatever order they stand.
static bool covers_one(const struct wanted *wanted, X509 *cert)
{
    for (size_t i = wanted->count; i-- > 0;)
        if (cert_check_host(cert, wanted->paths->cert, wanted->addresses[i], wanted->error,
                            wanted->size))
            return true;
    return false; // with the sentence about the first
}

// A successor that serves for long, with this key.
static bool fit(const struct wanted *wanted, X509 *cert, EVP_PKEY *key)
{
    char unused[CERT_ERROR_BYTES];

    return cert_signed_itself(cert) && X509_check_private_key(cert, key) == 1 &&
           covers_all(wanted, cert) &&
           cert_check_time(cert, "", wanted->now, unused, sizeof unused) &&
           cert_not_after(cert) > wanted->now + SELF_SIGNED_DUE_SECONDS;
}

// NULL when there is none that is fit.
static X509 *find_successor(const struct wanted *wanted, EVP_PKEY *key, time_t *at)
{
    char unused[CERT_ERROR_BYTES];
    X509 *cert = successor_read(&wanted->successor, at, unused, sizeof unused);

    if (cert && fit(wanted, cert, key))
        return cert;
    X509_free(cert);
    return NULL;
}

static enum step choose_for_key_alone(const struct wanted *wanted, struct found *found)
{
    time_t at;

    found->key = cert_pem_read_key(wanted->paths->key, wanted->error, wanted->size);
    if (!found->key)
        return FAIL;
    found->successor = find_successor(wanted, found->key, &at);
    return found->successor ? SWITCH : COMPLETE;
}

static enum step choose_renewal(const struct wanted *wanted, struct found *found,
                                struct self_signed_report *report)
{
    const time_t left = report->not_after - wanted->now;
    const time_t last = report->not_after - SELF_SIGNED_LAST_SECONDS;
    const bool due = left < SELF_SIGNED_DUE_SECONDS || !covers_all(wanted, found->pair.leaf);
    time_t at;
    bool there;

    if (!look(wanted, wanted->successor.next, &there))
        return FAIL;
    if (wanted->now < SELF_SIGNED_CLOCK_MIN)
        return KEEP;
    if (!due) // a clock that is a little behind must not void a pin that was announced
        return there && left > 2 * SELF_SIGNED_DUE_SECONDS ? REMOVE : KEEP;
    if (!there)
        return PREPARE;
    found->successor = find_successor(wanted, found->pair.key, &at);
    if (!found->successor)
        return REPLACE;
    report->switch_at = at < 0 || at > last ? last : at;
    if (!cert_pin(found->successor, report->next_pin))
        return fail_memory(wanted);
    return wanted->now >= report->switch_at ? SWITCH : KEEP;
}

static enum step choose_for_pair(const struct wanted *wanted, struct found *found,
                                 struct self_signed_report *report)
{
    X509 *leaf;

    if (!cert_pair_read(&found->pair, wanted->paths, wanted->error, wanted->size))
        return FAIL;
    leaf = found->pair.leaf;
    report->not_after = cert_not_after(leaf);
    if (!covers_one(wanted, leaf))
        return FAIL;
    if (!cert_signed_itself(leaf) || sk_X509_num(found->pair.chain) > 0 || report->not_after < 0)
        return cert_check_time(leaf, wanted->paths->cert, wanted->now, wanted->error, wanted->size)
                   ? KEEP
                   : FAIL;
    return cert_pin(leaf, report->pin) ? choose_renewal(wanted, found, report)
                                       : fail_memory(wanted);
}

static enum step choose(const struct wanted *wanted, struct found *found,
                        struct self_signed_report *report)
{
    bool cert, key;

    *found = (struct found){0};
    *report = (struct self_signed_report){0};
    // The certificate first: it is written last, so where it is seen, so is its key.
    if (!look(wanted, wanted->paths->cert, &cert) || !look(wanted, wanted->paths->key, &key))
        return FAIL;
    if (cert && key)
        return choose_for_pair(wanted, found, report);
    if (key)
        return choose_for_key_alone(wanted, found);
    if (!cert)
        return CREATE;
    cert_fail(wanted->error, wanted->size,
              "%s exists but its key %s does not: put the key back, or remove the certificate to "
              "get a new pair, with a new pin for the DERP map",
              wanted->paths->cert, wanted->paths->key);
    return FAIL;
}

static X509 *issue(const struct wanted *wanted, EVP_PKEY *key)
{
    const bool clock_is_wrong = wanted->now < SELF_SIGNED_CLOCK_MIN;
    uint8_t serial[SERIAL_BYTES];
    const struct cert_request request = {
        .common_name = wanted->addresses[0],
        .serial = serial,
        .serial_len = sizeof serial,
        .not_before = 0,
        .not_after =
            (clock_is_wrong ? SELF_SIGNED_CLOCK_MIN : wanted->now) + SELF_SIGNED_VALID_SECONDS,
        .names = wanted->addresses,
        .name_count = wanted->count,
    };

    if (RAND_bytes(serial, sizeof serial) != 1)
        return NULL;
    serial[0] = (serial[0] & 0x7f) | 0x40; // positive, and always of the same length
    return cert_issue(&request, key);
}

// Writes the PEM in `text`, NULL when there was no memory for it, and frees it.
static enum cert_file_created write_pem(const struct wanted *wanted, const char *path, BIO *text,
                                        mode_t mode)
{
    char *bytes = NULL;

    if (!text) {
        cert_fail(wanted->error, wanted->size, "%s cannot be made (%s): try again", path,
                  cert_reason());
        return CERT_FILE_FAILED;
    }
    const long len = BIO_get_mem_data(text, &bytes);
    const enum cert_file_created created =
        cert_file_create(path, bytes, (size_t)len, mode, wanted->error, wanted->size);
    BIO_free(text);
    return created;
}

static enum cert_file_created complete(const struct wanted *wanted, EVP_PKEY *key)
{
    X509 *cert = issue(wanted, key);
    const enum cert_file_created created = write_pem(
        wanted, wanted->paths->cert, cert ? cert_pem_write_certificate(cert) : NULL, CERT_MODE);

    X509_free(cert);
    return created;
}

// A new key and its certificate. CERT_FILE_EXISTS: somebody else was faster with one of them.
static enum cert_file_created create(const struct wanted *wanted)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    enum cert_file_created created =
        write_pem(wanted, wanted->paths->key, key ? cert_pem_write_key(key) : NULL, KEY_MODE);

    if (created == CERT_FILE_CREATED)
        created = complete(wanted, key);
    EVP_PKEY_free(key);
    return created;
}

static enum cert_file_created prepare(const struct wanted *wanted, const struct found *found,
                                      const struct self_signed_report *report, bool replace)
{
    const time_t last = report->not_after - SELF_SIGNED_LAST_SECONDS;
    const time_t noticed = wanted->now + SELF_SIGNED_NOTICE_SECONDS;
    X509 *cert = issue(wanted, found->pair.key);
    enum cert_file_created created = CERT_FILE_FAILED;

    if (cert)
        created = successor_write(&wanted->successor, cert, noticed < last ? noticed : last,
                                  replace, wanted->error, wanted->size);
    else
        cert_fail(wanted->error, wanted->size, "%s cannot be made (%s): try again",
                  wanted->successor.next, cert_reason());
    X509_free(cert);
    return created;
}

static enum cert_file_created remove_successor(const struct wanted *wanted)
{
    const char *path = wanted->successor.next;

    if (unlink(path) == 0 || errno == ENOENT)
        return CERT_FILE_CREATED;
    cert_fail(wanted->error, wanted->size,
              "%s is not needed any more and cannot be removed (%s): remove it", path,
              strerror(errno));
    return CERT_FILE_FAILED;
}

// CERT_FILE_EXISTS: another process was faster, look again.
static enum cert_file_created take(enum step step, const struct wanted *wanted,
                                   const struct found *found,
                                   const struct self_signed_report *report)
{
    switch (step) {
    case CREATE:
        return create(wanted);
    case COMPLETE:
        return complete(wanted, found->key);
    case PREPARE:
    case REPLACE:
        return prepare(wanted, found, report, step == REPLACE);
    case REMOVE:
        return remove_successor(wanted);
    default: // SWITCH
        return successor_take_place(&wanted->successor, wanted->paths->cert, found->pair.leaf,
                                    wanted->error, wanted->size)
                   ? CERT_FILE_CREATED
                   : CERT_FILE_FAILED;
    }
}

static enum self_signed done(enum step step)
{
    switch (step) {
    case CREATE:
    case COMPLETE:
        return SELF_SIGNED_CREATED;
    case PREPARE:
    case REPLACE:
        return SELF_SIGNED_ANNOUNCED;
    case SWITCH:
        return SELF_SIGNED_RENEWED;
    default:
        return SELF_SIGNED_KEPT;
    }
}

// One process at a time renews. The key is there by then and stays; it is locked for that as it
// needs no right to write. -1 when there is no key yet, or where that cannot be had in time: best
// effort.
static int lock(const char *key)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    const int fd = open(key, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0; i++)
        nanosleep(&pause, NULL);
    return fd;
}

static void unlock(int fd)
{
    if (fd >= 0)
        close(fd);
}

// Step by step until nothing is left to do.
static enum self_signed ensure(const struct wanted *wanted, struct self_signed_report *report)
{
    enum self_signed result = SELF_SIGNED_KEPT;

    for (int i = 0; i < ATTEMPTS; i++) {
        struct found found;
        const enum step step = choose(wanted, &found, report);
        enum cert_file_created created = CERT_FILE_FAILED;

        if (step != FAIL && step != KEEP)
            created = take(step, wanted, &found, report);
        found_free(&found);
        if (step == KEEP)
            wanted->error[0] = '\0';
        if (step == KEEP ||
            (created == CERT_FILE_FAILED && step >= PREPARE && wanted->now <= report->not_after))
            return result;
        if (created == CERT_FILE_FAILED)
            return SELF_SIGNED_FAILED;
        if (created == CERT_FILE_CREATED && done(step) > result)
            result = done(step);
    }
    cert_fail(wanted->error, wanted->size, "%s keeps changing while it is looked after: try again",
              wanted->paths->cert);
    return SELF_SIGNED_FAILED;
}

static bool prepare_wanted(struct wanted *wanted)
{
    ERR_clear_error();
    for (size_t i = 0; i < wanted->count; i++)
        if (!cert_is_address(wanted->addresses[i]))
            return cert_fail(wanted->error, wanted->size,
                             "%s is not an IP address: give an address like 203.0.113.1 or "
                             "2001:db8::1, as names need a certificate from an authority",
                             wanted->addresses[i]);
    return successor_paths_set(&wanted->successor, wanted->paths->cert, wanted->error,
                               wanted->size);
}

enum self_signed self_signed_ensure(const struct cert_paths *paths, const char *const *addresses,
                                    size_t count, time_t now, struct self_signed_report *report,
                                    char *error, size_t size)
{
    struct wanted wanted = {
        .paths = paths,
        .addresses = addresses,
        .count = count,
        .now = now,
        .error = error,
        .size = size,
    };
    enum self_signed result = SELF_SIGNED_FAILED;

    *report = (struct self_signed_report){0};
    if (prepare_wanted(&wanted) && cert_file_make_folder(paths->cert, error, size)) {
        const int fd = lock(paths->key);

        result = ensure(&wanted, report);
        unlock(fd);
    }
    ERR_clear_error();
    return result;
}

enum self_signed self_signed_would(const struct cert_paths *paths, const char *const *addresses,
                                   size_t count, time_t now, char *error, size_t size)
{
    struct wanted wanted = {
        .paths = paths,
        .addresses = addresses,
        .count = count,
        .now = now,
        .error = error,
        .size = size,
    };
    struct self_signed_report report;
    struct found found;
    enum self_signed result;
    enum step step;

    if (!prepare_wanted(&wanted))
        return SELF_SIGNED_FAILED;
    step = choose(&wanted, &found, &report);
    found_free(&found);
    result = step == FAIL ? SELF_SIGNED_FAILED : done(step);
    // A successor that is made within the last day serves at once.
    if (result == SELF_SIGNED_ANNOUNCED && now >= report.not_after - SELF_SIGNED_LAST_SECONDS)
        result = SELF_SIGNED_RENEWED;
    ERR_clear_error();
    return result;
}

const char *self_signed_announcement(const struct self_signed_report *report,
                                     const struct cert_paths *paths, char *out, size_t size)
{
    char when[CERT_TIME_TEXT_BYTES], unused[CERT_ERROR_BYTES];
    struct successor_paths successor;

    out[0] = '\0';
    if (report->next_pin[0] != '\0' &&
        successor_paths_set(&successor, paths->cert, unused, sizeof unused))
        snprintf(out, size,
                 "the self-signed certificate %s with the pin %s is replaced at %s by one with the "
                 "pin %s: put that into the DERP map then, or do both sooner by renaming %s to %s",
                 paths->cert, report->pin, cert_time_text(report->switch_at, when),
                 report->next_pin, successor.next, paths->cert);
    return out;
}
