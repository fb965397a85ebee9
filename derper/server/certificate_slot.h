// SPDX-License-Identifier: BSD-3-Clause
//
// One place of the certificate set: a DNS name, or all IP addresses together. What lies on disk for
// it is a reading; what is served is the slot's, and only a reading that is fit comes into its
// place. Each of the two pairs (RSA and ECDSA) goes its own way.
#ifndef DERPER_SERVER_CERTIFICATE_SLOT_H
#define DERPER_SERVER_CERTIFICATE_SLOT_H

#include "certgen/layouts.h"
#include "certgen/self_signed.h"
#include "server/identity.h"
#include "server/options.h"
#include "server/watched_folders.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

_Static_assert(CERT_FOUND_MAX == TLS_PAIRS_MAX && CERT_FOUND_MAX == OPTIONS_PAIRS_MAX,
               "pairs that are found are pairs that are served");

// Of the two files of a pair, as they were just before they were read.
struct file_stamp {
    struct timespec changed[2];
    dev_t device[2];
    ino_t inode[2];
    off_t bytes[2];
};

struct finding {
    bool fit;
    struct identity identity; // when fit
    struct file_stamp stamp;
    char fault[CERT_ERROR_BYTES]; // when not fit
};

struct reading {
    enum cert_find found;
    size_t count;
    struct cert_paths paths[CERT_FOUND_MAX];
    struct finding findings[CERT_FOUND_MAX];
    char fault[CERT_ERROR_BYTES]; // when nothing was found
    bool ensured;                 // the self-signed pair was looked after, and so is the report
    struct self_signed_report report;
};

struct slot_pair {
    bool served;
    struct identity identity;
    struct file_stamp stamp; // of its files
    bool refused;            // what lies on disk is not fit
    struct file_stamp refused_stamp;
    char fault[CERT_ERROR_BYTES];
};

struct slot {
    // Fixed at the beginning, so that a reading may be taken on any thread.
    const struct options *options;
    bool addresses;
    size_t name_count; // one DNS name, or all addresses
    const char *names[OPTIONS_HOSTNAMES_MAX];

    struct slot_pair pairs[CERT_FOUND_MAX];
    struct self_signed_report report; // of the self-signed pair; zero when there is none
    int64_t changed_unix;             // when what is served was swapped last; 0 = never
    bool told;                        // slot_take has written a line; the owner's to clear
};

struct slot_news {
    unsigned swapped, dropped, refused; // pairs
    bool again;                         // what was found may be half of a change: look again
};

enum reading_task {
    READING_LOOK,
    READING_RENEW,  // a self-signed pair, when that is due; where a file has gone, it is not made
                    // anew
    READING_CREATE, // the same, and a pair is made for addresses that have none
};

// Looks at the disk, and does the task before. Blocking.
void reading_take(struct reading *reading, const struct slot *slot, enum reading_task task);
void reading_free(struct reading *reading);

// Whether a relay can start with it: with one pair that is fit, and in an ACME mode also without,
// as one will come. False, with a sentence.
bool reading_can_start(const struct reading *reading, const struct slot *slot, char *error,
                       size_t size);

// Whether what hinders a start may be a moment between two renames; a file that is not there is
// another matter.
bool reading_may_settle(const struct reading *reading);

// Adds the folders in which a change can make another reading. Blocking.
void reading_folders(const struct reading *reading, const struct slot *slot,
                     struct watched_folders *folders);

// What a start would do about a self-signed pair; SELF_SIGNED_KEPT also when there is to be none. A
// sentence goes with SELF_SIGNED_FAILED.
enum self_signed slot_would_make(const struct slot *slot, char *error, size_t size);

// Puts what is fit in the place of what is served; `reading` is empty afterwards. Until `settled`,
// a fault is answered by `again`; then it is told in the log, once. `cause` stands in front of
// each line ("SIGHUP: ").
struct slot_news slot_take(struct slot *slot, struct reading *reading, bool settled,
                           const char *cause);

// A line for each pair: that it is as it was, or what is wrong with what lies on disk.
void slot_tell(const struct slot *slot, const char *cause);

// The pair that the slot is known by; NULL when there is none.
const struct identity *slot_first(const struct slot *slot);

// "manual", "self-signed", "acme", or "none".
const char *slot_source(const struct slot *slot);

// Whether clients get this pair. While one of two is refused or on its way into the other's place,
// both may be of the same kind, and only the first one is given.
bool slot_gives(const struct slot *slot, size_t pair);

// As a TLS context takes it: without a pair when there is nothing to serve yet.
void slot_tls_identity(const struct slot *slot, struct tls_identity *out);

void slot_free(struct slot *slot);

#endif
