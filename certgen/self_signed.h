// SPDX-License-Identifier: BSD-3-Clause
//
// A relay without a domain: a certificate for its bare IP addresses, signed by itself, that clients
// trust by its pin. The pin stands in people's DERP maps and names the certificate, not the key, so
// every new certificate breaks every map: there is a new one only when there must be, and it is
// announced with its pin long before it serves.
//
// What a client with a pin checks: the hash of the one certificate before the meta certificate, its
// validity and, in older versions, that it covers the node's HostName. Nothing limits how long it
// may be valid, and as the hash says everything, its beginning protects from nothing. Hence:
//   valid from       1970: a relay or client whose clock has not been set yet can use it, too
//   valid until      ten years from now, or from when this was written if the clock says less (a
//                    board without a clock starts in 1970)
//
// A successor has the same key and is due when the present certificate has less than 90 days left
// (pairs that others made, of a year mostly, get there) or lacks one of the addresses. It lies
// beside it, ADDRESS.next.crt, and its first line says when it takes its place:
//   60 days after it was made, time enough to read a log; by age that is 30 days before the end, so
//   that a relay that was off, or a clock that is wrong, does not miss it; a day before the end at
//   the latest, as clients' clocks differ. At once when not even a day is left.
//   To change it together with the map, sooner: rename ADDRESS.next.crt to ADDRESS.crt.
// The one before stays as ADDRESS.old.crt: what a wrong clock has done can be taken back.
// An address that is no longer wanted does no harm: it is left out of the next certificate that
// has to be made for another reason. A successor that is not needed any more is removed. With a
// clock before this was written nothing is renewed or removed.
//
// The files are named by the first address, or as the pair of one of the addresses is named
// already. Each is written whole or not at all, the key first. What a look finds:
//   neither file     a new key and certificate
//   key alone        a creation that was interrupted: the key is kept and gets its certificate (the
//                    successor, where there is one)
//   both             they are kept if they can serve, otherwise an error. A pair that did not sign
//                    itself is an authority's and none of our business
//   certificate only an error, as its pin may be in use and its key is lost
//   a successor that has another key or lacks an address, or is no certificate: made anew
#ifndef CERTGEN_SELF_SIGNED_H
#define CERTGEN_SELF_SIGNED_H

#include "certgen/paths.h"
#include "certgen/pin.h"

#include <stddef.h>
#include <time.h>

#define SELF_SIGNED_DAY_SECONDS (24 * 60 * 60)
#define SELF_SIGNED_VALID_SECONDS (3653L * SELF_SIGNED_DAY_SECONDS)
#define SELF_SIGNED_DUE_SECONDS (90 * SELF_SIGNED_DAY_SECONDS)    // before the end
#define SELF_SIGNED_NOTICE_SECONDS (60 * SELF_SIGNED_DAY_SECONDS) // before a successor serves
#define SELF_SIGNED_LAST_SECONDS SELF_SIGNED_DAY_SECONDS          // before the end, at the latest
#define SELF_SIGNED_CLOCK_MIN ((time_t)1767225600) // 2026-01-01: a clock before that is wrong

// In the order of what matters more.
enum self_signed {
    SELF_SIGNED_FAILED = -1,
    SELF_SIGNED_KEPT,
    SELF_SIGNED_ANNOUNCED, // a successor was made
    SELF_SIGNED_RENEWED,   // a successor took its place
    SELF_SIGNED_CREATED,   // where there was none
};

struct self_signed_report {
    char pin[CERT_PIN_CHARS + 1];      // of what serves; "" = not self-signed
    char next_pin[CERT_PIN_CHARS + 1]; // of the successor; "" = none is announced
    time_t not_after;                  // of what serves
    time_t switch_at;                  // when the successor takes its place; 0 = none
};

// Makes sure that the files hold a pair for these IP addresses, and does what is due for its
// renewal. To be called at start, once a day and at `switch_at`. New pairs: ECDSA P-256, common
// name the first address, all of them as alternative names, random serial number; folder 0700, key
// 0600 in PKCS#8, certificate 0644, whatever the umask. A sentence goes with SELF_SIGNED_FAILED;
// with another result there is one when the pair serves but a renewal could not be prepared or
// done, otherwise "". Several processes may do this at once: they end with the same files.
// Blocking. OpenSSL's error queue of this thread is empty afterwards.
enum self_signed self_signed_ensure(const struct cert_paths *paths, const char *const *addresses,
                                    size_t count, time_t now, struct self_signed_report *report,
                                    char *error, size_t size);

// What self_signed_ensure would do with these files as they are now, without doing it.
enum self_signed self_signed_would(const struct cert_paths *paths, const char *const *addresses,
                                   size_t count, time_t now, char *error, size_t size);

// One sentence for people that says both pins, the moment, and what to do. "" when no successor is
// announced. Returns `out`.
const char *self_signed_announcement(const struct self_signed_report *report,
                                     const struct cert_paths *paths, char *out, size_t size);

#endif
