// SPDX-License-Identifier: BSD-3-Clause
//
// Questions about certificates that are loaded already: is it valid now, for this host, and is its
// chain in order. Every "no" is a sentence. OpenSSL's error queue of this thread is empty
// afterwards.
#ifndef CERTGEN_CHECK_H
#define CERTGEN_CHECK_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

// Beginning and end of validity in seconds since 1970, for a metric or a renewal. -1 when the
// certificate holds no time that can be read.
time_t cert_not_before(const X509 *cert);
time_t cert_not_after(const X509 *cert);

// Whether it was signed with its own key, so that no authority stands behind it.
bool cert_signed_itself(const X509 *cert);

// False when `now` is outside the validity. `path` is the file that the sentence names.
bool cert_check_time(const X509 *cert, const char *path, time_t now, char *error, size_t size);

// False when the certificate's alternative names do not cover the DNS name (RFC 6125; wildcards
// only as a whole first label; the common name does not count) or IP address.
bool cert_check_host(X509 *leaf, const char *path, const char *hostname, char *error, size_t size);

// Faults that many clients mend by themselves, so they deserve a warning and no more: intermediate
// certificates that are missing, out of order, foreign or not valid now. `chain` is what follows
// the leaf in the file. True for a leaf that signed itself and stands alone.
bool cert_check_chain(X509 *leaf, STACK_OF(X509) * chain, const char *path, time_t now, char *error,
                      size_t size);

// "2027-01-31 12:00:00 UTC", for people. Returns `out`.
#define CERT_TIME_TEXT_BYTES 40
const char *cert_time_text(time_t when, char out[static CERT_TIME_TEXT_BYTES]);

// The DNS names and addresses of a certificate, "a.example, *.b.example, 203.0.113.1", for people.
// What does not fit is cut and ends in "..."; characters that are not printable become "?"; "no
// name" when there is none. `size` at least 8. Returns `out`.
const char *cert_names(const X509 *cert, char *out, size_t size);

#endif
