// SPDX-License-Identifier: BSD-3-Clause
//
// A client of ACME (RFC 8555), with IP identifiers (RFC 8738), tls-alpn-01 (RFC 8737), renewal
// information (RFC 9773) and profiles. It blocks, so it runs on a thread of its own or in a
// command; what it waits for, it waits for through its world, which may end it at any moment.
//
// In its folder it keeps the account's key, in "acme_account+key" (the name that Go's autocert
// uses: an account of a Go derper goes on), and what an order needs that a restart interrupts, in
// "acme_order+NAME". The account's address is asked from the server each time.
#ifndef CERTGEN_ACME_H
#define CERTGEN_ACME_H

#include "certgen/error.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define ACME_LETS_ENCRYPT "https://acme-v02.api.letsencrypt.org/directory"
#define ACME_GOOGLE "https://dv.acme-v02.api.pki.goog/directory"

#define ACME_NAMES_MAX 16
#define ACME_EAB_KEY_MAX_BYTES 128
#define ACME_REQUEST_LIMIT_S 60L // each
#define ACME_ORDER_LIMIT_S 600   // of a visit: what is not decided then is left for the next one

enum acme_challenge_kind { ACME_HTTP_01 = 1, ACME_TLS_ALPN_01 = 2 };

// What a validation server will ask for. Strings live as long as the challenge is shown.
struct acme_challenge {
    enum acme_challenge_kind kind;
    const char *name;          // being proven
    const char *token;         // the last part of the URL's path, for http-01
    const char *authorization; // what is answered there, or what tls-alpn-01 takes the digest of
};

// What the client asks of the program around it. All of them run on the client's thread.
struct acme_world {
    // Makes a challenge answerable before it returns. False when it cannot be.
    bool (*show)(const struct acme_challenge *challenge, void *data);
    void (*hide)(const struct acme_challenge *challenge, void *data);
    // Waits. False, at once, when the client shall end.
    bool (*wait)(uint64_t ms, void *data);
    bool (*cancelled)(void *data); // asked several times a second
    // One line for the log about what is under way.
    void (*say)(const char *line, void *data);
    void *data;
};

struct acme_config {
    const char *directory; // URL
    const char *ca_file;   // PEM; trusted for the directory besides the system's; NULL = none
    const char *folder;    // must exist
    bool two_files; // NAME.crt and NAME.key; otherwise NAME with the key and then the chain, which
                    // changes as one, and which Go's autocert reads and writes
    const char *email;   // "" = none
    const char *eab_kid; // external account; "" = none
    const char *eab_key; // base64url or base64, of up to ACME_EAB_KEY_MAX_BYTES
    const char *profile; // "" = the server's default, as with one that has no profiles at all
    unsigned kinds;      // which challenges can be shown: bits of enum acme_challenge_kind
    enum acme_challenge_kind preferred;
    const struct acme_world *world;
};

enum acme_outcome {
    ACME_DONE,
    ACME_CANCELLED,
    ACME_UNREACHABLE, // the server, or it is ill: soon again
    ACME_LIMITED,     // the server asks for patience
    ACME_UNPROVEN,    // a name was not proven: something is in the way, and tries are counted
    ACME_REFUSED,     // the server will not, or we cannot: somebody must change something
};

struct acme_fault {
    enum acme_outcome outcome;
    int64_t retry_after_s; // what the server asked for; 0 = nothing
    char sentence[CERT_ERROR_BYTES];
};

// Gets a certificate for these names (DNS names without wildcards, IP addresses) with a new key on
// P-256, and puts both where config->two_files says, under the first name; not one that lacks a
// name or is not valid now. `replaces`: the certificate that this one renews, told to servers that
// want to know; NULL = none. False with `fault`.
bool acme_obtain(const struct acme_config *config, const char *const *names, size_t count,
                 const X509 *replaces, struct acme_fault *fault);

struct acme_window {
    time_t start, end; // renew at a random moment between them
    int64_t again_s;   // ask again after so long
};

// When the server suggests to renew a certificate of its (RFC 9773). False when it does not say, or
// not now.
bool acme_suggested_window(const struct acme_config *config, const X509 *cert,
                           struct acme_window *window, struct acme_fault *fault);

// Exchanges the account's key for a new one (RFC 8555, section 7.3.5). An exchange that was
// interrupted is finished or given up by whatever comes next.
bool acme_change_key(const struct acme_config *config, struct acme_fault *fault);

#endif
