// SPDX-License-Identifier: BSD-3-Clause
//
// The file that says what earlier processes tried at an ACME authority. Whatever it holds, it makes
// nobody wait for ever, and what is kept of it is what is read again.
#include "certgen/error.h"
#include "server/attempts.h"
#include "support.h"

#define NAME "fuzz.test"
#define DIRECTORY "https://fuzz.test/dir"
#define WAIT_MAX_S (400 * RENEWAL_DAY_S)

static char folder[FOLDER_BYTES];

static void remove_folder(void)
{
    folder_remove(folder);
}

static bool is_same(const struct renewal_kept *a, const struct renewal_kept *b)
{
    return a->at_s == b->at_s && a->failures == b->failures && a->hold_s == b->hold_s &&
           a->tries_s == b->tries_s && a->issues_s == b->issues_s;
}

static void try_kept(const struct renewal_kept *kept)
{
    const struct renewal_now now = {.wall_s = 1800000000, .steady_s = 1000};
    const struct renewal_now later = {now.wall_s + WAIT_MAX_S, now.steady_s + WAIT_MAX_S};
    char error[CERT_ERROR_BYTES];
    struct renewal_kept again, read;
    struct renewal renewal;

    renewal_init(&renewal);
    renewal_restore(&renewal, now, kept);
    demand(renewal_wait(&renewal, now) >= 0 && renewal_wait(&renewal, now) <= WAIT_MAX_S);
    demand(renewal_wait(&renewal, later) == 0);
    renewal_begin(&renewal, now);
    renewal_end(&renewal, now, ACME_UNPROVEN, 0, 0);
    demand(renewal_wait(&renewal, now) > 0 && renewal_wait(&renewal, now) <= WAIT_MAX_S);
    renewal_keep(&renewal, now, &again);
    demand(attempts_save(folder, NAME, DIRECTORY, &again, error, sizeof error));
    demand(attempts_load(folder, NAME, DIRECTORY, &read) && is_same(&again, &read));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FOLDER_PATH_BYTES], error[CERT_ERROR_BYTES];
    struct renewal_kept kept, again;

    folder_make(folder, remove_folder);
    folder_put(folder, "acme_attempts+" NAME, data, size, path);
    if (!attempts_load(folder, NAME, DIRECTORY, &kept))
        return 0;
    demand(attempts_save(folder, NAME, DIRECTORY, &kept, error, sizeof error));
    demand(attempts_load(folder, NAME, DIRECTORY, &again) && is_same(&kept, &again));
    try_kept(&kept);
    return 0;
}
