// SPDX-License-Identifier: BSD-3-Clause
//
// What an ACME server can make of its client. The input is the answers of a server, one after the
// other, in the place of certgen/acme_transfer.c; behind the last one nobody answers. Whatever they
// are, the visit ends, what was shown is hidden again, nothing but what is allowed goes into a
// path, and a fault is a sentence.
//
// The input: one byte of enum mode's bits, and answers that are ended by NUL: a digit for the
// status, a byte of enum part's bits, the address for Location and a line end where the bits say
// so, and the body.
#include "certgen/acme.h"
#include "certgen/acme_transfer.h"
#include "certgen/jose.h"
#include "certgen/pem.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX_BYTES 65536
#define NAME "fuzz.test"
#define ACCOUNT "acme_account+key"
#define ORDER "acme_order+" NAME
#define DIRECTORY "https://fuzz.test/dir"

enum mode {
    MODE_ORDER = 1,  // an order was interrupted
    MODE_CHANGE = 2, // exchange of the account's key, interrupted once when MODE_ORDER is set
    MODE_WINDOW = 4, // asks for renewal information
    MODE_REPLACES = 8,
    MODE_FILE = 16, // the first of the answers is the order's file, or with MODE_CHANGE the key's
    MODE_BINDING = 32,  // of an external account
    MODE_TWO_NAMES = 64 // and a profile
};

enum part {
    PART_LOCATION = 1,
    PART_NO_NONCE = 2,
    PART_RETRY_AFTER = 4,
    PART_CANCELLED = 8,
    PART_UNREACHABLE = 16,
};

static const long statuses[] = {200, 201, 204, 301, 400, 403, 404, 409, 429, 503};

// Of the certificate in the corpus, and of an account; made for this file.
static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9qIwOF5k24UEPEGT\n"
                              "t65PCjR1eYP+RGynzft5FWb3La2hRANCAATZrB879YswuCxRTvmYpL5PhWk4bO1c\n"
                              "jIYJ395CYkezFkF+cexEz2wTQZE7xrHYkORaWir5TQDa9giAqnOdcKpn\n"
                              "-----END PRIVATE KEY-----\n";

static char folder[64];
static X509 *leaf;
static const char *left; // of the input, which has a final NUL
static const char *end;
static int shown, waits;

static void demand(bool held)
{
    if (!held)
        abort();
}

// --- In the place of certgen/acme_transfer.c. ---

struct acme_transfer *acme_transfer_new(const struct acme_config *config)
{
    demand(config->world->cancelled);
    return malloc(1);
}

void acme_transfer_free(struct acme_transfer *transfer)
{
    free(transfer);
}

static const char *take_location(const char *text, char out[static ACME_URL_BYTES])
{
    const size_t len = strcspn(text, "\n");

    if (len < ACME_URL_BYTES)
        snprintf(out, ACME_URL_BYTES, "%.*s", (int)len, text);
    return text[len] ? text + len + 1 : text + len;
}

static enum acme_outcome take_answer(const char *text, struct acme_answer *answer)
{
    const char status = *text ? *text++ : '0';
    const unsigned parts = *text ? (unsigned char)*text++ : 0;

    answer->status = statuses[(unsigned char)status % (sizeof statuses / sizeof statuses[0])];
    if (parts & PART_LOCATION)
        text = take_location(text, answer->location);
    if (!(parts & PART_NO_NONCE))
        strcpy(answer->nonce, "nonce");
    if (parts & PART_RETRY_AFTER)
        answer->retry_after_s = 3600;
    if (parts & PART_CANCELLED)
        return ACME_CANCELLED;
    if (parts & PART_UNREACHABLE)
        return ACME_UNREACHABLE;
    answer->len = strlen(text);
    answer->body = answer->len > 0 ? strdup(text) : NULL;
    return ACME_DONE;
}

int64_t acme_transfer_now_ms(void)
{
    return 0;
}

enum acme_outcome acme_transfer_run(struct acme_transfer *transfer, const char *url,
                                    const char *body, struct acme_answer *answer,
                                    char reason[static ACME_REASON_BYTES])
{
    const char *text = left;
    json_t *request;

    demand(transfer && url);
    if (body) {
        request = json_loads(body, 0, NULL);
        demand(json_string_value(json_object_get(request, "signature")));
        json_decref(request);
    }
    *answer = (struct acme_answer){0};
    strcpy(reason, "reason");
    if (left >= end)
        return ACME_UNREACHABLE;
    left += strlen(left) + 1;
    return take_answer(text, answer);
}

// --- The world. ---

static bool show(const struct acme_challenge *challenge, void *data)
{
    (void)data;
    demand(challenge->name && *challenge->token && jose_is_base64url(challenge->token));
    demand(strlen(challenge->authorization) ==
           strlen(challenge->token) + 1 + JOSE_THUMBPRINT_CHARS);
    shown++;
    return shown < 20;
}

static void hide(const struct acme_challenge *challenge, void *data)
{
    (void)challenge, (void)data;
    shown--;
}

static bool wait_ms(uint64_t ms, void *data)
{
    (void)data;
    demand(ms > 0 && ms <= 60 * 1000);
    return ++waits < 2000;
}

static bool cancelled(void *data)
{
    (void)data;
    return false;
}

static void demand_text(const char *line)
{
    demand(*line);
    for (; *line; line++)
        demand((unsigned char)*line >= ' ' && *line != 0x7f);
}

static void say(const char *line, void *data)
{
    (void)data;
    demand_text(line);
}

static const struct acme_world world = {show, hide, wait_ms, cancelled, say, NULL};

// --- One visit. ---

static void path_of(const char *name, char out[static 128])
{
    snprintf(out, 128, "%s/%s", folder, name);
}

static void put_file(const char *name, const char *text)
{
    char path[128];
    FILE *file;

    path_of(name, path);
    file = fopen(path, "w");
    demand(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void remove_files(void)
{
    static const char *const names[] = {ACCOUNT, ACCOUNT ".next", ORDER, NAME};
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_of(names[i], path);
        unlink(path);
    }
}

static void remove_folder(void)
{
    remove_files();
    rmdir(folder);
    X509_free(leaf);
}

static void make_leaf(void)
{
    BIO *in = BIO_new_mem_buf(key_pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    static const unsigned char key_id[] = {4, 2, 1, 2};
    ASN1_OCTET_STRING *bytes = ASN1_OCTET_STRING_new();
    AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();

    leaf = X509_new();
    demand(key && X509_set_pubkey(leaf, key) && ASN1_STRING_set(bytes, key_id, sizeof key_id));
    authority->keyid = bytes;
    ASN1_INTEGER_set(X509_get_serialNumber(leaf), 77);
    demand(X509_add1_ext_i2d(leaf, NID_authority_key_identifier, authority, 0, 0) == 1);
    demand(X509_sign(leaf, key, EVP_sha256()) > 0);
    AUTHORITY_KEYID_free(authority);
    EVP_PKEY_free(key);
    BIO_free(in);
}

static void start_once(void)
{
    if (*folder)
        return;
    snprintf(folder, sizeof folder, "%s/derper-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    demand(mkdtemp(folder));
    make_leaf();
    atexit(remove_folder);
}

static void put_first_answer(const char *name)
{
    put_file(name, left < end ? left : "");
    left += left < end ? strlen(left) + 1 : 0;
}

static void put_order(unsigned mode)
{
    json_t *order;
    char *json, *text;

    if (mode & MODE_FILE) {
        put_first_answer(ORDER);
        return;
    }
    order = json_pack("{ssss s[s] ss}", "directory", DIRECTORY, "order", "https://fuzz.test/order",
                      "names", NAME, "profile", "");
    json = json_dumps(order, 0);
    demand(asprintf(&text, "%s\n%s", json, key_pem) > 0);
    put_file(ORDER, text);
    free(text);
    free(json);
    json_decref(order);
}

static bool visit(unsigned mode, struct acme_fault *fault)
{
    static const char *const names[] = {NAME, "203.0.113.1"};
    const bool two = mode & MODE_TWO_NAMES, bound = mode & MODE_BINDING;
    const struct acme_config config = {
        .directory = DIRECTORY,
        .folder = folder,
        .email = two ? "a@fuzz.test" : "",
        .eab_kid = bound ? "kid" : "",
        .eab_key = bound ? "c2VjcmV0" : "",
        .profile = two ? "shortlived" : "",
        .kinds = ACME_HTTP_01 | ACME_TLS_ALPN_01,
        .preferred = ACME_HTTP_01,
        .world = &world,
    };
    struct acme_window window;

    if (mode & MODE_CHANGE)
        return acme_change_key(&config, fault);
    if (!(mode & MODE_WINDOW))
        return acme_obtain(&config, names, two ? 2 : 1, mode & MODE_REPLACES ? leaf : NULL, fault);
    if (!acme_suggested_window(&config, leaf, &window, fault))
        return false;
    demand(window.start < window.end && window.again_s > 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct acme_fault fault = {0};
    char *input, path[128];
    unsigned mode;

    if (size == 0 || size > INPUT_MAX_BYTES)
        return 0;
    start_once();
    input = malloc(size + 1);
    memcpy(input, data, size);
    input[size] = '\0';
    mode = (unsigned char)input[0];
    left = input + 1;
    end = input + size;
    shown = waits = 0;
    if (mode & MODE_CHANGE && mode & MODE_FILE)
        put_first_answer(ACCOUNT);
    else
        put_file(ACCOUNT, key_pem);
    if (mode & MODE_CHANGE && mode & MODE_ORDER)
        put_file(ACCOUNT ".next", key_pem);
    else if (!(mode & MODE_CHANGE) && mode & (MODE_ORDER | MODE_FILE))
        put_order(mode);
    path_of(NAME, path);
    if (visit(mode, &fault)) {
        demand(mode & (MODE_CHANGE | MODE_WINDOW) || access(path, F_OK) == 0);
    } else {
        demand(fault.outcome != ACME_DONE && fault.retry_after_s >= 0);
        demand_text(fault.sentence);
        demand(access(path, F_OK) != 0);
    }
    demand(shown == 0);
    free(input);
    remove_files();
    return 0;
}
