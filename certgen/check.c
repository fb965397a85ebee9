// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/check.h"

#include "certgen/address.h"
#include "certgen/error.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define NAMES_BYTES 256
#define DNS_NAME_MAX_CHARS 253 // RFC 1035, without the final dot

// False when the time cannot be read.
static bool time_from_asn1(const ASN1_TIME *from, time_t *out)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(from, &tm) != 1)
        return false;
    *out = timegm(&tm);
    return true;
}

static time_t time_or_none(const ASN1_TIME *from)
{
    time_t out;
    const bool ok = time_from_asn1(from, &out);

    ERR_clear_error();
    return ok ? out : -1;
}

time_t cert_not_before(const X509 *cert)
{
    return time_or_none(X509_get0_notBefore(cert));
}

time_t cert_not_after(const X509 *cert)
{
    return time_or_none(X509_get0_notAfter(cert));
}

const char *cert_time_text(time_t when, char out[static CERT_TIME_TEXT_BYTES])
{
    struct tm tm;

    if (!gmtime_r(&when, &tm) ||
        strftime(out, CERT_TIME_TEXT_BYTES, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        strcpy(out, "an odd time");
    return out;
}

// X509_check_issued would ask for a key usage that a server's certificate does not have.
bool cert_signed_itself(const X509 *cert)
{
    return X509_self_signed((X509 *)cert, 0) == 1; // only caches what it finds
}

static bool fail_expired(const X509 *cert, const char *path, time_t until, time_t now, char *error,
                         size_t size)
{
    char limit[CERT_TIME_TEXT_BYTES], clock[CERT_TIME_TEXT_BYTES];
    const char *remedy = cert_signed_itself(cert)
                             ? "make a new one, whose new pin the DERP map needs "
                               "(for an IP address derper does that when it starts)"
                             : "renew it";

    return cert_fail(error, size,
                     "the certificate %s expired at %s and the clock here says %s: %s, or set the "
                     "clock",
                     path, cert_time_text(until, limit), cert_time_text(now, clock), remedy);
}

bool cert_check_time(const X509 *cert, const char *path, time_t now, char *error, size_t size)
{
    char limit[CERT_TIME_TEXT_BYTES], clock[CERT_TIME_TEXT_BYTES];
    time_t from, until;

    if (!time_from_asn1(X509_get0_notBefore(cert), &from) ||
        !time_from_asn1(X509_get0_notAfter(cert), &until))
        return cert_fail(error, size,
                         "the validity of the certificate %s cannot be read: get another "
                         "certificate",
                         path);
    if (now < from)
        return cert_fail(error, size,
                         "the certificate %s is not yet valid, it starts at %s and the clock here "
                         "says %s: set the clock, or wait",
                         path, cert_time_text(from, limit), cert_time_text(now, clock));
    if (now > until)
        return fail_expired(cert, path, until, now, error, size);
    return true;
}

// A final dot is allowed in a name and not in a certificate. A leading one would make OpenSSL
// match every subdomain.
static bool covers_name(X509 *leaf, const char *hostname)
{
    const unsigned flags =
        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    size_t len = strlen(hostname);

    if (len > 0 && hostname[len - 1] == '.')
        len--;
    if (len == 0 || len > DNS_NAME_MAX_CHARS || hostname[0] == '.')
        return false;
    return X509_check_host(leaf, hostname, len, flags, NULL) == 1;
}

bool cert_check_host(X509 *leaf, const char *path, const char *hostname, char *error, size_t size)
{
    char names[NAMES_BYTES];
    struct cert_address address;
    bool covered;

    if (cert_address_parse(hostname, &address))
        covered = X509_check_ip(leaf, address.bytes, address.len, 0) == 1;
    else
        covered = covers_name(leaf, hostname);
    ERR_clear_error();
    if (covered)
        return true;
    return cert_fail(error, size,
                     "the certificate %s does not cover the hostname %s but %s: get a certificate "
                     "for this hostname, or set the hostname that it is for",
                     path, hostname, cert_names(leaf, names, sizeof names));
}

static bool check_link(X509 *cert, X509 *issuer, int number, const char *path, char *error,
                       size_t size)
{
    if (X509_check_issued(issuer, cert) == X509_V_OK)
        return true;
    return cert_fail(error, size,
                     "certificate %d in %s did not sign the one before it: put the host's own "
                     "certificate first, then each one's issuer in turn (certbot's fullchain.pem "
                     "is in that order)",
                     number, path);
}

bool cert_check_chain(X509 *leaf, STACK_OF(X509) * chain, const char *path, time_t now, char *error,
                      size_t size)
{
    X509 *cert = leaf;

    ERR_clear_error();
    if (sk_X509_num(chain) <= 0 && !cert_signed_itself(leaf))
        return cert_fail(error, size,
                         "%s holds one certificate and not its issuer's: append the intermediate "
                         "certificate (use fullchain.pem rather than cert.pem), unless clients "
                         "trust the issuer itself",
                         path);
    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *issuer = sk_X509_value(chain, i);

        if (!check_link(cert, issuer, i + 2, path, error, size) ||
            !cert_check_time(issuer, path, now, error, size))
            return false;
        cert = issuer;
    }
    ERR_clear_error();
    return true;
}

// Appends to `out` what fits. False when something was cut.
static bool append(char *out, size_t size, const char *text, size_t len)
{
    const size_t used = strlen(out);
    const size_t room = size - 1 - used;
    const size_t taken = len < room ? len : room;

    for (size_t i = 0; i < taken; i++)
        out[used + i] = text[i] > ' ' && text[i] <= '~' ? text[i] : '?';
    out[used + taken] = '\0';
    return taken == len;
}

// Text of a name: `*text` points into the name or into `buf`. False for kinds that no client asks
// for.
static bool name_text(const GENERAL_NAME *name, char buf[static INET6_ADDRSTRLEN],
                      const char **text, size_t *len)
{
    int kind;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &kind);

    if (kind == GEN_DNS) {
        *text = (const char *)ASN1_STRING_get0_data(value);
        *len = (size_t)ASN1_STRING_length(value);
        return true;
    }
    if (kind != GEN_IPADD || (ASN1_STRING_length(value) != 4 && ASN1_STRING_length(value) != 16))
        return false;
    const int family = ASN1_STRING_length(value) == 4 ? AF_INET : AF_INET6;
    *text = inet_ntop(family, ASN1_STRING_get0_data(value), buf, INET6_ADDRSTRLEN);
    *len = *text ? strlen(*text) : 0;
    return *text;
}

static bool append_name(char *out, size_t size, const GENERAL_NAME *name)
{
    char buf[INET6_ADDRSTRLEN];
    const char *text;
    size_t len;

    if (!name_text(name, buf, &text, &len))
        return true;
    if (out[0] != '\0') {
        const size_t used = strlen(out);

        if (size - used <= strlen(", "))
            return false;
        strcpy(out + used, ", ");
    }
    return append(out, size, text, len);
}

const char *cert_names(const X509 *cert, char *out, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool whole = true;

    out[0] = '\0';
    for (int i = 0; whole && i < sk_GENERAL_NAME_num(names); i++)
        whole = append_name(out, size, sk_GENERAL_NAME_value(names, i));
    if (!whole)
        strcpy(out + size - sizeof "...", "...");
    if (out[0] == '\0')
        strcpy(out, "no name");
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return out;
}
