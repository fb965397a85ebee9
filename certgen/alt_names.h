// SPDX-License-Identifier: BSD-3-Clause
//
// Subject alternative names (RFC 5280, section 4.2.1.6).
#ifndef CERTGEN_ALT_NAMES_H
#define CERTGEN_ALT_NAMES_H

#include <openssl/x509v3.h>
#include <stddef.h>

// Each name is an IP address where it reads as one, otherwise a DNS name. The caller's to free with
// GENERAL_NAMES_free; NULL when memory is exhausted.
GENERAL_NAMES *cert_alt_names(const char *const *names, size_t count);

#endif
