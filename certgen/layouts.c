// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/layouts.h"

#include "certgen/address.h"
#include "certgen/error.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CA_FOLDERS_MAX 64 // that are looked into

// Templates below the folder. {safe} is the host's name as cert_paths_for_host strips it, {host}
// in small letters, {dash} the same with dashes for colons, {parent} what follows its first dot,
// {ca} any folder.
struct pattern {
    const char *cert, *key;
};

struct form {
    const char *layout;
    struct pattern pairs[CERT_FOUND_MAX];
    bool shared; // the certificate's file bears no name, so only its key tells for whom it is
};

#define IN(folder, cert, key)           \
    {                                   \
        folder "/" cert, folder "/" key \
    }
#define ACME_SH(folder, name) IN(folder, "fullchain.cer", name ".key")
#define CERTBOT(folder) IN(folder, "fullchain.pem", "privkey.pem")
#define CADDY(folder, name) IN(folder "certificates/{ca}/" name, name ".crt", name ".key")

static const struct form forms[] = {
    {CERT_LAYOUT_FILES,
     {{"{safe}.crt", "{safe}.key"}, {"{safe}+rsa.crt", "{safe}+rsa.key"}},
     false},
    {"acme.sh", {ACME_SH("{host}_ecc", "{host}"), ACME_SH("{host}", "{host}")}, false},
    {"acme.sh", {{"fullchain.cer", "{host}.key"}}, true},
    {"certbot", {CERTBOT("live/{host}")}, false},
    {"certbot", {CERTBOT("{host}")}, false},
    {"certbot", {{"fullchain.pem", "privkey.pem"}}, false},
    {"Caddy", {CADDY("", "{dash}")}, false},
    {"Caddy", {CADDY("caddy/", "{dash}")}, false},
    {"lego", {IN("certificates", "{dash}.crt", "{dash}.key")}, false},
    {"Kubernetes", {{"tls.crt", "tls.key"}}, false},
    {"autocert", {{"{safe}", "{safe}"}, {"{safe}+rsa", "{safe}+rsa"}}, false},

    {"acme.sh",
     {ACME_SH("*.{parent}_ecc", "*.{parent}"), ACME_SH("*.{parent}", "*.{parent}")},
     false},
    {"acme.sh", {ACME_SH("{parent}_ecc", "{parent}"), ACME_SH("{parent}", "{parent}")}, false},
    {"acme.sh", {{"fullchain.cer", "*.{parent}.key"}}, true},
    {"acme.sh", {{"fullchain.cer", "{parent}.key"}}, true},
    {"certbot", {CERTBOT("live/{parent}")}, false},
    {"certbot", {CERTBOT("{parent}")}, false},
    {"Caddy", {CADDY("", "wildcard_.{parent}")}, false},
    {"Caddy", {CADDY("caddy/", "wildcard_.{parent}")}, false},
    {"lego", {IN("certificates", "_.{parent}.crt", "_.{parent}.key")}, false},
    {"lego", {{"_.{parent}.crt", "_.{parent}.key"}}, false},
};

struct names {
    char safe[CERT_PATH_MAX_BYTES];
    char host[CERT_PATH_MAX_BYTES];
    char dash[CERT_PATH_MAX_BYTES];
    const char *parent; // within host; NULL for addresses and names of the top
    const char *ca;     // while CA folders are looked through
};

struct search {
    const char *folder;
    struct names names;
    bool key_alone; // the second round: there is no certificate
    int fault;      // errno of the first path that could not be looked at; 0 = none
    char fault_path[CERT_PATH_MAX_BYTES];
};

static void copy_as(char *out, const char *from, bool dashes)
{
    for (; *from != '\0'; from++)
        *out++ = (char)(dashes && *from == ':' ? '-' : tolower((unsigned char)*from));
    *out = '\0';
}

static bool read_names(struct names *names, const char *hostname, char *error, size_t size)
{
    const char *dot;

    if (!cert_paths_name(names->safe, hostname, error, size))
        return false;
    if (strlen(hostname) >= sizeof names->host || strchr(hostname, '/') || hostname[0] == '.')
        return cert_fail(error, size,
                         "hostname \"%.64s\" is none: give a name such as derp.example.com, or an "
                         "IP address",
                         hostname);
    copy_as(names->host, hostname, false);
    copy_as(names->dash, hostname, true);
    dot = strchr(names->host, '.');
    names->parent = dot && strchr(dot + 1, '.') && !cert_is_address(hostname) ? dot + 1 : NULL;
    return true;
}

// The text that a placeholder stands for; NULL when this host has none, or no folder is in hand.
static const char *value_of(const struct names *names, const char *placeholder, size_t len)
{
    const struct {
        const char *name, *value;
    } values[] = {
        {"safe", names->safe},     {"host", names->host}, {"dash", names->dash},
        {"parent", names->parent}, {"ca", names->ca},
    };

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        if (strlen(values[i].name) == len && memcmp(values[i].name, placeholder, len) == 0)
            return values[i].value;
    return NULL;
}

// Writes FOLDER/TEMPLATE. False when it does not fit or a placeholder has no value.
static bool expand(char out[static CERT_PATH_MAX_BYTES], const struct search *search,
                   const char *template)
{
    int len = snprintf(out, CERT_PATH_MAX_BYTES, "%s/", search->folder);

    while (*template != '\0' && len > 0 && len < CERT_PATH_MAX_BYTES) {
        const bool placeholder = *template == '{';
        const size_t span = strcspn(template + placeholder, placeholder ? "}" : "{");
        const char *value = placeholder ? value_of(&search->names, template + 1, span) : template;

        if (!value)
            return false;
        len += snprintf(out + len, (size_t)(CERT_PATH_MAX_BYTES - len), "%.*s",
                        placeholder ? CERT_PATH_MAX_BYTES : (int)span, value);
        template += placeholder ? span + 2 : span;
    }
    return len > 0 && len < CERT_PATH_MAX_BYTES;
}

static void note_fault(struct search *search, const char *path)
{
    if (search->fault != 0 || errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG)
        return;
    search->fault = errno;
    snprintf(search->fault_path, sizeof search->fault_path, "%s", path);
}

// Whether something has this name, be it a link to nothing: that is to be told.
static bool is_there(struct search *search, const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0)
        return true;
    note_fault(search, path);
    return false;
}

static bool pair_is_there(struct search *search, const struct cert_paths *pair, bool shared)
{
    const bool cert = is_there(search, pair->cert);
    const bool key = is_there(search, pair->key);
    struct stat st;

    if (strcmp(pair->cert, pair->key) == 0) // other tools make a folder of that name
        return cert && stat(pair->cert, &st) == 0 && S_ISREG(st.st_mode);
    return search->key_alone ? key : cert && (key || !shared);
}

static bool find_plain(struct search *search, const struct pattern *pattern, bool shared,
                       struct cert_paths *out)
{
    return expand(out->cert, search, pattern->cert) && expand(out->key, search, pattern->key) &&
           pair_is_there(search, out, shared);
}

static bool newer(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

// Leftovers of another authority lie beside what is renewed now, so the last one written counts.
static bool find_in_ca_folders(struct search *search, const struct pattern *pattern, bool shared,
                               struct cert_paths *out)
{
    char folder[CERT_PATH_MAX_BYTES], parent[CERT_PATH_MAX_BYTES];
    const int before = (int)(strstr(pattern->cert, "{ca}") - pattern->cert);
    const struct dirent *entry;
    struct timespec last = {0};
    bool found = false;
    int looked = 0;
    DIR *dir;

    snprintf(parent, sizeof parent, "%.*s", before, pattern->cert);
    if (!expand(folder, search, parent))
        return false;
    dir = opendir(folder);
    if (!dir) {
        note_fault(search, folder);
        return false;
    }
    while ((entry = readdir(dir)) && looked < CA_FOLDERS_MAX) {
        struct cert_paths pair;
        struct stat st;

        if (entry->d_name[0] == '.')
            continue;
        looked++;
        search->names.ca = entry->d_name;
        if (!find_plain(search, pattern, shared, &pair) ||
            stat(search->key_alone ? pair.key : pair.cert, &st) != 0 ||
            (found && !newer(&st.st_mtim, &last)))
            continue;
        *out = pair;
        last = st.st_mtim;
        found = true;
    }
    search->names.ca = NULL;
    closedir(dir);
    return found;
}

static bool find_form(struct search *search, const struct form *form, struct cert_found *found)
{
    *found = (struct cert_found){.layout = form->layout};
    for (size_t i = 0; i < CERT_FOUND_MAX && form->pairs[i].cert; i++) {
        const struct pattern *pattern = &form->pairs[i];
        struct cert_paths *out = &found->pairs[found->count];

        if (strstr(pattern->cert, "{ca}") ? find_in_ca_folders(search, pattern, form->shared, out)
                                          : find_plain(search, pattern, form->shared, out))
            found->count++;
    }
    return found->count > 0;
}

static bool find(struct search *search, enum cert_layouts layouts, struct cert_found *found)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const bool one_file = strcmp(forms[i].layout, "autocert") == 0;

        if ((layouts == CERT_LAYOUTS_ALL || one_file) && find_form(search, &forms[i], found))
            return true;
    }
    return false;
}

static enum cert_find tell_fault(const struct search *search, char *error, size_t size)
{
    cert_fail(error, size,
              "%s cannot be looked for (%s): let the user that runs this program enter all folders "
              "on the way there",
              search->fault_path, strerror(search->fault));
    return CERT_FIND_FAILED;
}

static enum cert_find tell_none(const struct search *search, enum cert_layouts layouts, char *error,
                                size_t size)
{
    const char *host = search->names.host, *folder = search->folder;
    struct stat st;

    if (stat(folder, &st) != 0)
        cert_fail(error, size, "the certificate folder %s cannot be used: %s", folder,
                  strerror(errno));
    else if (layouts == CERT_LAYOUTS_ONE_FILE)
        cert_fail(error, size, "%s holds no file %s with a key and its certificate", folder,
                  search->names.safe);
    else
        cert_fail(error, size,
                  "no certificate for %s was found in %s: put %s.crt and %s.key there, or let the "
                  "folder be the one of acme.sh (with HOST_ecc/fullchain.cer or "
                  "HOST/fullchain.cer), certbot (live/HOST/fullchain.pem), Caddy "
                  "(certificates/CA/HOST/HOST.crt), lego (certificates/HOST.crt), Kubernetes "
                  "(tls.crt and tls.key) or Go's autocert (one file HOST)",
                  host, folder, search->names.safe, search->names.safe);
    return CERT_FIND_NONE;
}

enum cert_find cert_layouts_find(struct cert_found *found, enum cert_layouts layouts,
                                 const char *folder, const char *hostname, char *error, size_t size)
{
    struct search search = {.folder = folder};

    *found = (struct cert_found){0};
    if (!read_names(&search.names, hostname, error, size))
        return CERT_FIND_FAILED;
    if (find(&search, layouts, found))
        return CERT_FIND_FOUND;
    search.key_alone = true;
    if (find(&search, layouts, found))
        return CERT_FIND_FOUND;
    return search.fault ? tell_fault(&search, error, size)
                        : tell_none(&search, layouts, error, size);
}
