// SPDX-License-Identifier: BSD-3-Clause
//
// A relay without a domain: a certificate for its bare IP address, signed by itself, that clients
// trust by its pin. The pin stands in people's DERP maps, so nothing here ever replaces a file.
//
// The key is written first, then the certificate, each whole or not at all. What a start finds:
//   neither file     a new key and certificate
//   key alone        a creation that was interrupted: the key is kept and gets its certificate
//   both             they are kept if they can serve, otherwise an error
//   certificate only an error, as its pin may be in use and its key is lost
#ifndef CERTGEN_SELF_SIGNED_H
#define CERTGEN_SELF_SIGNED_H

#include "certgen/paths.h"

#include <stddef.h>
#include <time.h>

#define SELF_SIGNED_VALID_SECONDS (365 * 24 * 60 * 60)
#define SELF_SIGNED_CLOCK_SLACK_SECONDS (60 * 60) // valid from so long before now

enum self_signed { SELF_SIGNED_FAILED = -1, SELF_SIGNED_KEPT, SELF_SIGNED_CREATED };

// What self_signed_ensure would do with these files as they are now, without doing it.
enum self_signed self_signed_would(const struct cert_paths *paths, const char *address, time_t now,
                                   char *error, size_t size);

// Makes sure that the two files hold a pair for `address`, IPv4 or IPv6. New ones: ECDSA P-256,
// common name and IP alternative name the address, random serial number; folder 0700, key 0600 in
// PKCS#8, certificate 0644, whatever the umask. A sentence goes with SELF_SIGNED_FAILED only.
// Two processes may do this at once: they end with the same pair. Blocking. OpenSSL's error queue
// of this thread is empty afterwards.
enum self_signed self_signed_ensure(const struct cert_paths *paths, const char *address, time_t now,
                                    char *error, size_t size);

#endif
