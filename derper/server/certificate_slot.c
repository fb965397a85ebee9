// SPDX-License-Identifier: BSD-3-Clause
#include "server/certificate_slot.h"

#include "base/log.h"
#include "certgen/address.h"
#include "certgen/check.h"
#include "server/folder.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

// --- Looking at the disk ---

static void stamp_take(struct file_stamp *stamp, const struct cert_paths *paths)
{
    const char *const files[] = {paths->cert, paths->key};

    memset(stamp, 0, sizeof *stamp);
    for (size_t i = 0; i < 2; i++) {
        struct stat st;

        if (stat(files[i], &st) != 0)
            continue;
        stamp->changed[i] = st.st_ctim;
        stamp->device[i] = st.st_dev;
        stamp->inode[i] = st.st_ino;
        stamp->bytes[i] = st.st_size;
    }
}

static bool stamp_equal(const struct file_stamp *a, const struct file_stamp *b)
{
    return memcmp(a, b, sizeof *a) == 0; // zeroed before they are filled, so padding is equal, too
}

static enum cert_find find_named(struct cert_found *found, const struct options *options,
                                 char *error, size_t size)
{
    *found = (struct cert_found){.layout = "--cert", .count = options->certs.count};
    for (size_t i = 0; i < found->count; i++) {
        const char *cert = options->certs.items[i];
        const char *key = options->keys.count > 0 ? options->keys.items[i] : cert;

        if (!cert_paths_set(&found->pairs[i], cert, key, error, size))
            return CERT_FIND_FAILED;
    }
    return CERT_FIND_FOUND;
}

// The name that files of the slot have. The self-signed pair of addresses stays what it is, as its
// pin stands in people's maps, when they come in another order, and where it was made for another
// spelling.
static const char *file_name(const struct slot *slot)
{
    const struct options *options = slot->options;
    const char *spellings[2 * OPTIONS_HOSTNAMES_MAX + 1];
    size_t count = 0;

    if (!slot->addresses || options->cert_mode != CERT_MODE_MANUAL)
        return slot->names[0];
    for (size_t i = 0; i < options->hostname_count; i++) {
        if (!cert_is_address(options->hostnames[i]))
            continue;
        spellings[count++] = options->hostnames_written[i];
        spellings[count++] = options->hostnames[i];
    }
    spellings[count++] = slot->names[0];
    return cert_paths_spelling(options->cert_dir, spellings, count);
}

static enum cert_find find(struct cert_found *found, const struct slot *slot, char *error,
                           size_t size)
{
    const struct options *options = slot->options;

    if (options->certs.count > 0)
        return find_named(found, options, error, size);
    return cert_layouts_find(
        found, options->cert_mode == CERT_MODE_MANUAL ? CERT_LAYOUTS_ALL : CERT_LAYOUTS_ONE_FILE,
        options->cert_dir, file_name(slot), error, size);
}

// Whether the slot's pair is a self-signed one that the relay makes and renews itself, as far as
// names of files can tell: what lies in the folders of other tools is theirs.
static bool is_self_made(const struct slot *slot, enum cert_find result,
                         const struct cert_found *found)
{
    return slot->addresses && slot->options->cert_mode == CERT_MODE_MANUAL &&
           slot->options->certs.count == 0 &&
           (result == CERT_FIND_NONE ||
            (result == CERT_FIND_FOUND && strcmp(found->layout, CERT_LAYOUT_FILES) == 0));
}

// Makes the pair where there is none, as its pin stands in people's DERP maps, and renews it.
static bool ensure_pair(const struct slot *slot, struct self_signed_report *report, char *error,
                        size_t size)
{
    char announcement[CERT_ERROR_BYTES];
    struct cert_paths paths;
    enum self_signed done;

    if (!cert_paths_for_host(&paths, slot->options->cert_dir, file_name(slot), error, size))
        return false;
    done =
        self_signed_ensure(&paths, slot->names, slot->name_count, time(NULL), report, error, size);
    if (done == SELF_SIGNED_FAILED)
        return false;
    if (done == SELF_SIGNED_CREATED)
        log_info("made a self-signed certificate for %s: %s (keep it: its pin stands in your DERP "
                 "map)",
                 slot->names[0], paths.cert);
    if (done == SELF_SIGNED_RENEWED)
        log_warnx("the self-signed certificate %s was renewed: its pin is now %s, which the DERP "
                  "map needs",
                  paths.cert, report->pin);
    if (*error)
        log_warnx("the self-signed certificate was not renewed: %s", error);
    if (*self_signed_announcement(report, &paths, announcement, sizeof announcement))
        log_warnx("%s", announcement);
    return true;
}

enum self_signed slot_would_make(const struct slot *slot, char *error, size_t size)
{
    struct cert_found found;
    struct cert_paths paths;
    enum self_signed result;

    if (!is_self_made(slot, find(&found, slot, error, size), &found))
        return SELF_SIGNED_KEPT;
    if (!cert_paths_for_host(&paths, slot->options->cert_dir, file_name(slot), error, size))
        return SELF_SIGNED_FAILED;
    result = self_signed_would(&paths, slot->names, slot->name_count, time(NULL), error, size);
    if (result > SELF_SIGNED_KEPT && !folder_may_create(paths.cert, error, size))
        return SELF_SIGNED_FAILED;
    return result;
}

static void finding_take(struct finding *finding, const struct slot *slot,
                         const struct cert_paths *paths, const char *layout)
{
    stamp_take(&finding->stamp, paths);
    finding->fit = identity_load(&finding->identity, paths, layout, slot->names, slot->name_count,
                                 finding->fault, sizeof finding->fault);
}

static void refuse_second_of_a_kind(struct reading *reading)
{
    struct finding *first = &reading->findings[0], *second = &reading->findings[1];

    if (!first->fit || !second->fit || !identity_same_kind(&first->identity, &second->identity))
        return;
    cert_fail(second->fault, sizeof second->fault,
              "%s and %s have keys of the same kind, and only one of each kind can be served: put "
              "an RSA and an ECDSA certificate there, or remove one",
              first->identity.paths.cert, second->identity.paths.cert);
    identity_free(&second->identity);
    second->fit = false;
}

static bool both_there(const struct file_stamp *stamp)
{
    return stamp->inode[0] != 0 && stamp->inode[1] != 0;
}

static bool is_ensured(enum reading_task task, const struct slot *slot, enum cert_find result,
                       const struct cert_found *found)
{
    struct file_stamp stamp;

    if (task == READING_LOOK || !is_self_made(slot, result, found))
        return false;
    if (task == READING_CREATE)
        return true;
    if (result != CERT_FIND_FOUND)
        return false;
    stamp_take(&stamp, &found->pairs[0]);
    return both_there(&stamp);
}

void reading_take(struct reading *reading, const struct slot *slot, enum reading_task task)
{
    struct cert_found found;

    memset(reading, 0, sizeof *reading);
    reading->found = find(&found, slot, reading->fault, sizeof reading->fault);
    if (is_ensured(task, slot, reading->found, &found)) {
        reading->ensured =
            ensure_pair(slot, &reading->report, reading->fault, sizeof reading->fault);
        reading->found = reading->ensured
                             ? find(&found, slot, reading->fault, sizeof reading->fault)
                             : CERT_FIND_FAILED;
    }
    if (reading->found != CERT_FIND_FOUND)
        return;
    reading->count = found.count;
    memcpy(reading->paths, found.pairs, sizeof reading->paths);
    for (size_t i = 0; i < found.count; i++)
        finding_take(&reading->findings[i], slot, &found.pairs[i], found.layout);
    refuse_second_of_a_kind(reading);
}

void reading_free(struct reading *reading)
{
    for (size_t i = 0; i < reading->count; i++)
        identity_free(&reading->findings[i].identity);
    reading->count = 0;
}

bool reading_can_start(const struct reading *reading, const struct slot *slot, char *error,
                       size_t size)
{
    const bool found = reading->found == CERT_FIND_FOUND;

    for (size_t i = 0; i < reading->count; i++)
        if (reading->findings[i].fit)
            return true;
    if (slot->options->cert_mode != CERT_MODE_MANUAL && reading->found != CERT_FIND_FAILED)
        return true;
    snprintf(error, size, "%s", found ? reading->findings[0].fault : reading->fault);
    return false;
}

bool reading_may_settle(const struct reading *reading)
{
    for (size_t i = 0; i < reading->count; i++)
        if (both_there(&reading->findings[i].stamp))
            return true;
    return reading->found == CERT_FIND_FAILED;
}

void reading_folders(const struct reading *reading, const struct slot *slot,
                     struct watched_folders *folders)
{
    const struct options *options = slot->options;
    char inside[OPTIONS_PATH_BYTES + 2];

    if (options->certs.count == 0) {
        snprintf(inside, sizeof inside, "%s/.", options->cert_dir);
        watched_folders_add(folders, inside);
    }
    for (size_t i = 0; i < reading->count; i++) {
        watched_folders_add(folders, reading->paths[i].cert);
        watched_folders_add(folders, reading->paths[i].key);
    }
}

// --- Taking what was found ---

struct taking {
    struct slot *slot;
    bool settled;
    const char *cause;
    struct slot_news news;
};

static void tell_fault(const struct slot *slot, const struct slot_pair *pair, const char *cause)
{
    log_warnx("%sthe certificate for %s %s: %s", cause, slot->names[0],
              pair->served ? "was not reloaded, the present one serves on" : "is not served",
              pair->fault);
}

static void tell_unchanged(const struct slot *slot, const struct slot_pair *pair, const char *cause)
{
    log_info("%scertificate unchanged for %s, %s", cause, slot->names[0], pair->identity.pin);
}

void slot_tell(const struct slot *slot, const char *cause)
{
    for (size_t i = 0; i < CERT_FOUND_MAX; i++) {
        if (slot->pairs[i].refused)
            tell_fault(slot, &slot->pairs[i], cause);
        else if (slot->pairs[i].served)
            tell_unchanged(slot, &slot->pairs[i], cause);
    }
}

static void refuse(struct taking *taking, struct slot_pair *pair, const struct file_stamp *stamp,
                   const char *fault)
{
    static const struct file_stamp nothing;
    const bool same_files =
        stamp_equal(&pair->refused_stamp, stamp) && !stamp_equal(stamp, &nothing);
    // A sentence may hold the time of day, so files that are the same have the same fault.
    const bool known = pair->refused && (same_files || strcmp(pair->fault, fault) == 0);

    if (!known && !taking->settled) {
        taking->news.again = true;
        return;
    }
    pair->refused = true;
    pair->refused_stamp = *stamp;
    snprintf(pair->fault, sizeof pair->fault, "%s", fault);
    if (known)
        return;
    taking->news.refused++;
    taking->slot->told = true;
    tell_fault(taking->slot, pair, taking->cause);
}

static void serve(struct taking *taking, struct slot_pair *pair, struct finding *finding)
{
    const struct identity *fresh = &finding->identity;
    const bool same = pair->served && identity_equal(&pair->identity, fresh);

    // The end of a chain may still be on its way.
    if (!same && pair->served && *fresh->chain_fault && !*pair->identity.chain_fault &&
        !taking->settled) {
        taking->news.again = true;
        return;
    }
    if (!same) {
        if (*fresh->chain_fault)
            log_warnx("%s", fresh->chain_fault);
        if (pair->served || pair->refused)
            log_info("%scertificate reloaded for %s from %s, %s", taking->cause,
                     taking->slot->names[0], fresh->paths.cert, fresh->pin);
        taking->news.swapped++;
        taking->slot->changed_unix = time(NULL);
        taking->slot->told = true;
    } else if (pair->refused) {
        tell_unchanged(taking->slot, pair, taking->cause);
        taking->slot->told = true;
    }
    identity_free(&pair->identity);
    pair->identity = finding->identity;
    memset(&finding->identity, 0, sizeof finding->identity);
    pair->stamp = finding->stamp;
    pair->served = true;
    pair->refused = false;
}

static bool is_last(const struct slot *slot, const struct slot_pair *pair)
{
    for (size_t i = 0; i < CERT_FOUND_MAX; i++)
        if (slot->pairs[i].served && &slot->pairs[i] != pair)
            return false;
    return pair->served;
}

static void keep_last(struct taking *taking, struct slot_pair *pair)
{
    static const struct file_stamp nothing;
    char fault[CERT_ERROR_BYTES];

    cert_fail(fault, sizeof fault, "%s is not there any more", pair->identity.paths.cert);
    refuse(taking, pair, &nothing, fault);
}

static void drop(struct taking *taking, struct slot_pair *pair)
{
    if (is_last(taking->slot, pair)) {
        keep_last(taking, pair);
        return;
    }
    if (pair->served && !taking->settled) {
        taking->news.again = true;
        return;
    }
    if (pair->served) {
        log_info("%sthe certificate %s is not there any more, and not served", taking->cause,
                 pair->identity.paths.cert);
        taking->news.dropped++;
        taking->slot->told = true;
        taking->slot->changed_unix = time(NULL);
        identity_free(&pair->identity);
    }
    pair->served = pair->refused = false;
}

static void take_finding(struct taking *taking, struct slot_pair *pair, struct finding *finding)
{
    if (finding->fit)
        serve(taking, pair, finding);
    else if (pair->served && stamp_equal(&pair->stamp, &finding->stamp))
        pair->refused = false; // what is served itself, when its time is over
    else
        refuse(taking, pair, &finding->stamp, finding->fault);
}

// The one that the slot is known by.
static struct slot_pair *known_pair(struct slot *slot)
{
    for (size_t i = 0; i < CERT_FOUND_MAX; i++)
        if (slot->pairs[i].served)
            return &slot->pairs[i];
    return &slot->pairs[0];
}

struct slot_news slot_take(struct slot *slot, struct reading *reading, bool settled,
                           const char *cause)
{
    static const struct file_stamp nothing;
    struct taking taking = {.slot = slot, .settled = settled, .cause = cause};
    const bool may_lack = slot->options->cert_mode != CERT_MODE_MANUAL && !slot_first(slot);

    if (reading->ensured)
        slot->report = reading->report;
    if (reading->found != CERT_FIND_FOUND && !(reading->found == CERT_FIND_NONE && may_lack))
        refuse(&taking, known_pair(slot), &nothing, reading->fault);
    for (size_t i = 0; reading->found == CERT_FIND_FOUND && i < CERT_FOUND_MAX; i++) {
        if (i < reading->count)
            take_finding(&taking, &slot->pairs[i], &reading->findings[i]);
        else
            drop(&taking, &slot->pairs[i]);
    }
    reading_free(reading);
    return taking.news;
}

// --- What is served ---

const struct identity *slot_first(const struct slot *slot)
{
    for (size_t i = 0; i < CERT_FOUND_MAX; i++)
        if (slot->pairs[i].served)
            return &slot->pairs[i].identity;
    return NULL;
}

const char *slot_source(const struct slot *slot)
{
    const struct identity *first = slot_first(slot);

    if (!first)
        return "none";
    if (slot->addresses && first->self_signed)
        return "self-signed";
    return slot->options->cert_mode == CERT_MODE_MANUAL ? "manual" : "acme";
}

bool slot_gives(const struct slot *slot, size_t pair)
{
    const struct identity *first = slot_first(slot), *identity = &slot->pairs[pair].identity;

    return slot->pairs[pair].served && (identity == first || !identity_same_kind(first, identity));
}

void slot_tls_identity(const struct slot *slot, struct tls_identity *out)
{
    *out = (struct tls_identity){.hostname = slot->addresses ? NULL : slot->names[0]};
    for (size_t i = 0; i < CERT_FOUND_MAX; i++)
        if (slot_gives(slot, i))
            out->pairs[out->pair_count++] = identity_tls_pair(&slot->pairs[i].identity);
}

void slot_free(struct slot *slot)
{
    for (size_t i = 0; i < CERT_FOUND_MAX; i++)
        identity_free(&slot->pairs[i].identity);
    memset(slot->pairs, 0, sizeof slot->pairs);
}
