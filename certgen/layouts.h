// SPDX-License-Identifier: BSD-3-Clause
//
// Where the tools that people have put a host's certificate and key, below one folder. The first
// form of this list of which a certificate is there is taken, and none behind it:
//
//   files       HOST.crt, HOST.key; beside it HOST+rsa.crt, HOST+rsa.key
//   acme.sh     HOST_ecc/fullchain.cer, HOST_ecc/HOST.key; beside it HOST/…
//               fullchain.cer, HOST.key: the folder is one of those itself
//   certbot     live/HOST/fullchain.pem, live/HOST/privkey.pem; HOST/…: the folder is live/;
//               fullchain.pem, privkey.pem: it is live/HOST itself
//   Caddy       certificates/CA/HOST/HOST.crt, ….key, also below caddy/; of several CAs the one
//               whose certificate was written last
//   lego        certificates/HOST.crt, ….key
//   Kubernetes  tls.crt, tls.key
//   autocert    one file HOST: key, then certificates; beside it HOST+rsa
//   then the same for certificates that cover all names of the domain above, PARENT:
//   acme.sh     *.PARENT_ecc/…, PARENT_ecc/…; fullchain.cer, *.PARENT.key
//   certbot     live/PARENT/…, PARENT/…
//   Caddy       certificates/CA/wildcard_.PARENT/wildcard_.PARENT.crt
//   lego        certificates/_.PARENT.crt, _.PARENT.crt
//
// Names are looked at, never contents: whether a pair is fit to serve is cert_pair_load's question.
#ifndef CERTGEN_LAYOUTS_H
#define CERTGEN_LAYOUTS_H

#include "certgen/paths.h"

#include <stddef.h>

#define CERT_FOUND_MAX 2
#define CERT_LAYOUT_FILES "files" // the first of the list

enum cert_layouts {
    CERT_LAYOUTS_ALL,
    CERT_LAYOUTS_ONE_FILE, // autocert's alone
};

enum cert_find {
    CERT_FIND_FAILED = -1, // what is there cannot be looked at
    CERT_FIND_NONE,
    CERT_FIND_FOUND,
};

struct cert_found {
    const char *layout; // a constant: "certbot"
    size_t count;
    struct cert_paths pairs[CERT_FOUND_MAX]; // 2: meant to have keys of different kinds
};

// A sentence goes with CERT_FIND_FAILED and CERT_FIND_NONE; that of CERT_FIND_NONE names the folder
// and what would be found there. A certificate is also found when its key is missing, and where
// there is no certificate at all, a key alone. Blocking.
enum cert_find cert_layouts_find(struct cert_found *found, enum cert_layouts layouts,
                                 const char *folder, const char *hostname, char *error,
                                 size_t size);

#endif
