// SPDX-License-Identifier: BSD-3-Clause
//
// What a TLS server shows to a client: its certificates, whatever they are worth. Blocking, with a
// bound on time; nothing is sent but the handshake.
#ifndef CERTGEN_DIAL_H
#define CERTGEN_DIAL_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

#define CERT_HOST_CHARS 253
#define CERT_DIALED_ADDRESS_BYTES 72

struct cert_target {
    char host[CERT_HOST_CHARS + 1]; // a DNS name or an address, without brackets
    char port[sizeof "65535"];
};

struct cert_dialed {
    char address[CERT_DIALED_ADDRESS_BYTES]; // "203.0.113.1:443" or "[2001:db8::1]:443"
    const char *version, *cipher;            // "TLSv1.3", "TLS_AES_128_GCM_SHA256": constants
    STACK_OF(X509) * certs;                  // at least one, as they came; the caller's to free
};

// Reads HOST, HOST:PORT, an IPv6 address, or [IPv6 address]:PORT; the port is 443 unless given.
// False, with a sentence.
bool cert_target_parse(struct cert_target *target, const char *text, char *error, size_t size);

// Connects to the first address of the host that takes the connection, and shakes hands. `name`:
// the server name that is asked for unless it is an address. `timeout_ms` bounds all of it but the
// question to the resolver. False, with a sentence. The caller ignores SIGPIPE.
bool cert_dial(struct cert_dialed *dialed, const struct cert_target *target, const char *name,
               int timeout_ms, char *error, size_t size);

void cert_dialed_free(struct cert_dialed *dialed);

#endif
