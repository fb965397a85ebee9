// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/layouts.h"

#include "certgen/error.h"
#include "material.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOST "derp.example.com"
#define FILES_MAX 12

static char folder[FOLDER_BYTES];

static int setup(void **state)
{
    (void)state;
    folder_make(folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

// An empty file, and the folders on the way.
static void touch(const char *name)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    file_write(folder, name, "", 0);
}

static void assert_path(const char *path, const char *name)
{
    assert_memory_equal(path, folder, strlen(folder));
    assert_string_equal(path + strlen(folder) + 1, name);
}

static enum cert_find find(struct cert_found *found, const char *hostname)
{
    char error[CERT_ERROR_BYTES] = "";
    const enum cert_find result =
        cert_layouts_find(found, CERT_LAYOUTS_ALL, folder, hostname, error, sizeof error);

    assert_int_equal(*error != '\0', result != CERT_FIND_FOUND);
    return result;
}

struct finding {
    const char *host;
    const char *files[FILES_MAX];
    const char *layout;
    const char *pairs[2 * CERT_FOUND_MAX]; // certificate, key
};

static const struct finding findings[] = {
    {HOST, {HOST ".crt", HOST ".key"}, "files", {HOST ".crt", HOST ".key"}},
    {HOST,
     {HOST ".crt", HOST ".key", HOST "+rsa.crt", HOST "+rsa.key"},
     "files",
     {HOST ".crt", HOST ".key", HOST "+rsa.crt", HOST "+rsa.key"}},
    {"2001:db8::1", {"2001db81.crt", "2001db81.key"}, "files", {"2001db81.crt", "2001db81.key"}},
    {"derp_1.example.com",
     {"derp1.example.com.crt"},
     "files",
     {"derp1.example.com.crt", "derp1.example.com.key"}},
    {HOST,
     {HOST "_ecc/fullchain.cer", HOST "_ecc/" HOST ".key", HOST "_ecc/" HOST ".cer"},
     "acme.sh",
     {HOST "_ecc/fullchain.cer", HOST "_ecc/" HOST ".key"}},
    {HOST,
     {HOST "/fullchain.cer", HOST "/" HOST ".key"},
     "acme.sh",
     {HOST "/fullchain.cer", HOST "/" HOST ".key"}},
    {HOST,
     {HOST "/fullchain.cer", HOST "/" HOST ".key", HOST "_ecc/fullchain.cer",
      HOST "_ecc/" HOST ".key"},
     "acme.sh",
     {HOST "_ecc/fullchain.cer", HOST "_ecc/" HOST ".key", HOST "/fullchain.cer",
      HOST "/" HOST ".key"}},
    {HOST, {"fullchain.cer", HOST ".key", HOST ".cer"}, "acme.sh", {"fullchain.cer", HOST ".key"}},
    {"Derp.Example.COM",
     {HOST "/fullchain.cer", HOST "/" HOST ".key"},
     "acme.sh",
     {HOST "/fullchain.cer", HOST "/" HOST ".key"}},
    {HOST,
     {"live/" HOST "/fullchain.pem", "live/" HOST "/privkey.pem", "live/" HOST "/cert.pem"},
     "certbot",
     {"live/" HOST "/fullchain.pem", "live/" HOST "/privkey.pem"}},
    {HOST,
     {HOST "/fullchain.pem", HOST "/privkey.pem", "README"},
     "certbot",
     {HOST "/fullchain.pem", HOST "/privkey.pem"}},
    {HOST, {"fullchain.pem", "privkey.pem"}, "certbot", {"fullchain.pem", "privkey.pem"}},
    {HOST,
     {"certificates/acme-v02.api.letsencrypt.org-directory/" HOST "/" HOST ".crt",
      "certificates/acme-v02.api.letsencrypt.org-directory/" HOST "/" HOST ".key",
      "certificates/acme-v02.api.letsencrypt.org-directory/" HOST "/" HOST ".json"},
     "Caddy",
     {"certificates/acme-v02.api.letsencrypt.org-directory/" HOST "/" HOST ".crt",
      "certificates/acme-v02.api.letsencrypt.org-directory/" HOST "/" HOST ".key"}},
    {HOST,
     {"caddy/certificates/local/" HOST "/" HOST ".crt",
      "caddy/certificates/local/" HOST "/" HOST ".key"},
     "Caddy",
     {"caddy/certificates/local/" HOST "/" HOST ".crt",
      "caddy/certificates/local/" HOST "/" HOST ".key"}},
    {HOST,
     {"certificates/" HOST ".crt", "certificates/" HOST ".key", "certificates/" HOST ".issuer.crt"},
     "lego",
     {"certificates/" HOST ".crt", "certificates/" HOST ".key"}},
    {HOST, {"tls.crt", "tls.key"}, "Kubernetes", {"tls.crt", "tls.key"}},
    {HOST, {HOST}, "autocert", {HOST, HOST}},
    {HOST,
     {HOST, HOST "+rsa", "acme_account+key"},
     "autocert",
     {HOST, HOST, HOST "+rsa", HOST "+rsa"}},
    {HOST, {HOST "+rsa"}, "autocert", {HOST "+rsa", HOST "+rsa"}},
    {HOST,
     {"*.example.com_ecc/fullchain.cer", "*.example.com_ecc/*.example.com.key"},
     "acme.sh",
     {"*.example.com_ecc/fullchain.cer", "*.example.com_ecc/*.example.com.key"}},
    {HOST,
     {"example.com_ecc/fullchain.cer", "example.com_ecc/example.com.key"},
     "acme.sh",
     {"example.com_ecc/fullchain.cer", "example.com_ecc/example.com.key"}},
    {HOST,
     {"fullchain.cer", "*.example.com.key"},
     "acme.sh",
     {"fullchain.cer", "*.example.com.key"}},
    {HOST,
     {"live/example.com/fullchain.pem", "live/example.com/privkey.pem"},
     "certbot",
     {"live/example.com/fullchain.pem", "live/example.com/privkey.pem"}},
    {HOST,
     {"certificates/ca/wildcard_.example.com/wildcard_.example.com.crt",
      "certificates/ca/wildcard_.example.com/wildcard_.example.com.key"},
     "Caddy",
     {"certificates/ca/wildcard_.example.com/wildcard_.example.com.crt",
      "certificates/ca/wildcard_.example.com/wildcard_.example.com.key"}},
    {HOST,
     {"certificates/_.example.com.crt", "certificates/_.example.com.key"},
     "lego",
     {"certificates/_.example.com.crt", "certificates/_.example.com.key"}},
    // The first of several.
    {HOST,
     {"tls.crt", "tls.key", HOST ".crt", HOST ".key", HOST "_ecc/fullchain.cer"},
     "files",
     {HOST ".crt", HOST ".key"}},
    {HOST,
     {"live/example.com/fullchain.pem", "live/example.com/privkey.pem",
      "live/" HOST "/fullchain.pem", "live/" HOST "/privkey.pem"},
     "certbot",
     {"live/" HOST "/fullchain.pem", "live/" HOST "/privkey.pem"}},
    {HOST,
     {"tls.crt", "tls.key", HOST "/fullchain.pem"},
     "certbot",
     {HOST "/fullchain.pem", HOST "/privkey.pem"}},
    // What is incomplete is told, not hidden by looking on.
    {HOST, {HOST ".crt", "tls.crt", "tls.key"}, "files", {HOST ".crt", HOST ".key"}},
    {HOST, {HOST ".key"}, "files", {HOST ".crt", HOST ".key"}},
    {HOST,
     {"live/" HOST "/privkey.pem"},
     "certbot",
     {"live/" HOST "/fullchain.pem", "live/" HOST "/privkey.pem"}},
};

static void test_what_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(findings); i++) {
        const struct finding *finding = &findings[i];
        struct cert_found found;
        size_t count = 0;

        folder_make(folder);
        for (size_t j = 0; j < FILES_MAX && finding->files[j]; j++)
            touch(finding->files[j]);
        assert_int_equal(find(&found, finding->host), CERT_FIND_FOUND);
        assert_string_equal(found.layout, finding->layout);
        for (; count < CERT_FOUND_MAX && finding->pairs[2 * count]; count++) {
            assert_path(found.pairs[count].cert, finding->pairs[2 * count]);
            assert_path(found.pairs[count].key, finding->pairs[2 * count + 1]);
        }
        assert_int_equal(found.count, count);
        folder_remove(folder);
    }
}

static void test_of_several_authorities_the_last_written(void **state)
{
    static const char *const names[] = {"certificates/b/" HOST "/" HOST ".crt",
                                        "certificates/a/" HOST "/" HOST ".crt",
                                        "certificates/c/" HOST "/" HOST ".crt"};
    struct cert_found found;

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        const struct timespec times[2] = {{.tv_sec = NOW}, {.tv_sec = NOW - (time_t)i}};
        char path[PATH_BYTES];

        touch(names[i]);
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    assert_int_equal(find(&found, HOST), CERT_FIND_FOUND);
    assert_path(found.pairs[0].cert, names[0]);
}

static void test_links_are_found_where_they_lead_nowhere(void **state)
{
    char link[PATH_BYTES];
    struct cert_found found;

    (void)state;
    touch("live/" HOST "/README");
    snprintf(link, sizeof link, "%s/live/" HOST "/fullchain.pem", folder);
    assert_int_equal(symlink("../../archive/" HOST "/fullchain1.pem", link), 0);
    assert_int_equal(find(&found, HOST), CERT_FIND_FOUND);
    assert_string_equal(found.layout, "certbot");
}

static void test_a_folder_is_no_file_of_autocert(void **state)
{
    struct cert_found found;

    (void)state;
    touch(HOST "/README");
    assert_int_equal(find(&found, HOST), CERT_FIND_NONE);
}

static void test_one_file_alone_is_asked_for(void **state)
{
    char error[CERT_ERROR_BYTES];
    struct cert_found found;

    (void)state;
    touch(HOST ".crt");
    touch(HOST ".key");
    assert_int_equal(
        cert_layouts_find(&found, CERT_LAYOUTS_ONE_FILE, folder, HOST, error, sizeof error),
        CERT_FIND_NONE);
    assert_sentence(error, (const char *const[]){folder, HOST, NULL});
    touch(HOST);
    assert_int_equal(
        cert_layouts_find(&found, CERT_LAYOUTS_ONE_FILE, folder, HOST, error, sizeof error),
        CERT_FIND_FOUND);
    assert_path(found.pairs[0].key, HOST);
}

static void test_names_without_a_parent(void **state)
{
    static const char *const hosts[] = {"203.0.113.1", "example.com", "derp"};
    struct cert_found found;

    (void)state;
    touch("0.113.1/fullchain.pem");
    touch("live/com/fullchain.pem");
    touch("_.com.crt");
    for (size_t i = 0; i < COUNT(hosts); i++)
        assert_int_equal(find(&found, hosts[i]), CERT_FIND_NONE);
}

static void test_nothing_is_told_with_what_would_be_found(void **state)
{
    char error[CERT_ERROR_BYTES];
    struct cert_found found;

    (void)state;
    assert_int_equal(cert_layouts_find(&found, CERT_LAYOUTS_ALL, folder, HOST, error, sizeof error),
                     CERT_FIND_NONE);
    assert_sentence(error, (const char *const[]){folder, HOST ".crt", HOST ".key", "fullchain.cer",
                                                 "live/", "certificates/", "tls.crt", NULL});
}

static void test_a_folder_that_is_not_there(void **state)
{
    char error[CERT_ERROR_BYTES];
    struct cert_found found;

    (void)state;
    assert_int_equal(
        cert_layouts_find(&found, CERT_LAYOUTS_ALL, "/nowhere", HOST, error, sizeof error),
        CERT_FIND_NONE);
    assert_sentence(error, (const char *const[]){"/nowhere", "No such file", NULL});
}

static void test_a_folder_that_may_not_be_entered(void **state)
{
    char error[CERT_ERROR_BYTES], live[PATH_BYTES];
    struct cert_found found;

    (void)state;
    touch("live/" HOST "/fullchain.pem");
    snprintf(live, sizeof live, "%s/live", folder);
    assert_int_equal(chmod(folder, 0755), 0);
    drop_root();
    assert_int_equal(cert_layouts_find(&found, CERT_LAYOUTS_ALL, folder, HOST, error, sizeof error),
                     getuid() == 0 ? CERT_FIND_FAILED : CERT_FIND_FOUND);
    regain_root();
    if (getuid() == 0)
        assert_sentence(error, (const char *const[]){"live/" HOST, "Permission denied", NULL});
}

static void test_hosts_that_are_none(void **state)
{
    static const char *const hosts[] = {"../etc/passwd", "a/b", ".hidden", "..", "", "***"};
    struct cert_found found;

    (void)state;
    for (size_t i = 0; i < COUNT(hosts); i++)
        assert_int_equal(find(&found, hosts[i]), CERT_FIND_FAILED);
}

static void test_names_that_are_too_long(void **state)
{
    char error[CERT_ERROR_BYTES], host[2 * CERT_PATH_MAX_BYTES];
    struct cert_found found;

    (void)state;
    memset(host, 'a', sizeof host);
    for (size_t len = 200; len < sizeof host; len += 101) {
        host[len] = '\0';
        assert_int_not_equal(
            cert_layouts_find(&found, CERT_LAYOUTS_ALL, folder, host, error, sizeof error),
            CERT_FIND_FOUND);
        host[len] = 'a';
    }
}

int main(void)
{
#define ON_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_found),
        ON_FOLDER(test_of_several_authorities_the_last_written),
        ON_FOLDER(test_links_are_found_where_they_lead_nowhere),
        ON_FOLDER(test_a_folder_is_no_file_of_autocert),
        ON_FOLDER(test_one_file_alone_is_asked_for),
        ON_FOLDER(test_names_without_a_parent),
        ON_FOLDER(test_nothing_is_told_with_what_would_be_found),
        cmocka_unit_test(test_a_folder_that_is_not_there),
        ON_FOLDER(test_a_folder_that_may_not_be_entered),
        ON_FOLDER(test_hosts_that_are_none),
        ON_FOLDER(test_names_that_are_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
