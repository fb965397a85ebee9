// SPDX-License-Identifier: BSD-3-Clause
//
// The renewer's thread with a loop around it and an authority that is a function.
#include "server/renewer.h"

#include "base/clock.h"
#include "certgen/issue.h"
#include "certgen/jose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <dirent.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 20000
#define STOP_LIMIT_MS 4000 // a machine may stand still for two seconds
#define LOOK_MS 2
#define START_S 1800000000
#define SLOTS 3
#define DAY RENEWAL_DAY_S

// Shared by the renewer's thread and the test's.
static struct {
    struct renewer renewer;
    struct challenges challenges;
    struct options options;
    uv_loop_t loop;
    uv_timer_t limit;
    char folder[64];

    _Atomic int64_t passed_s; // of the fake clocks
    _Atomic int tries[SLOTS], windows, looks;
    _Atomic enum acme_outcome outcome[SLOTS];
    _Atomic int64_t retry_after_s;
    _Atomic bool hang, in_request, window_now, replaced, unusable;
    _Atomic unsigned preferred; // of the last try
    _Atomic unsigned kinds[SLOTS];
    const char *_Atomic profile[SLOTS];

    // The main loop's.
    X509 *served[SLOTS];
    char sentence[SLOTS][CERT_ERROR_BYTES];
    int64_t when[SLOTS], next[SLOTS];
    int notes[SLOTS];
    void (*on_note)(size_t slot);
} world;

static const char *const first[] = {"a.example"};
static const char *const second[] = {"b.example"};
static const char *const addresses[] = {"192.0.2.1", "2001:db8::1"};
static const struct renewer_names all_names[SLOTS] = {{first, 1}, {second, 1}, {addresses, 2}};

static struct renewal_now fake_now(void)
{
    return (struct renewal_now){START_S + world.passed_s, 1000 + world.passed_s};
}

static size_t slot_of(const char *name)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (strcmp(all_names[i].names[0], name) == 0)
            return i;
    fail();
    return 0;
}

static X509 *make_pair(const char *const *names, size_t count, time_t from, EVP_PKEY *key)
{
    static _Atomic uint8_t serials;
    const uint8_t serial = ++serials;
    const struct cert_request request = {.common_name = "x",
                                         .serial = &serial,
                                         .serial_len = 1,
                                         .not_before = from,
                                         .not_after = from + 90 * DAY,
                                         .names = names,
                                         .name_count = count};
    X509 *leaf = cert_issue(&request, key);

    assert_non_null(leaf);
    return leaf;
}

static X509 *make_leaf(const char *name)
{
    EVP_PKEY *key = jose_key_new();
    X509 *leaf = make_pair(&name, 1, START_S + world.passed_s, key);

    EVP_PKEY_free(key);
    return leaf;
}

// A request that never ends by itself.
static bool hang(const struct acme_config *config, struct acme_fault *fault)
{
    world.in_request = true;
    while (!config->world->cancelled(config->world->data) && world.hang)
        if (!config->world->wait(1, config->world->data))
            break;
    fault->outcome = ACME_CANCELLED;
    snprintf(fault->sentence, sizeof fault->sentence, "ended");
    return false;
}

static bool fake_obtain(const struct acme_config *config, const char *const *names, size_t count,
                        const X509 *replaces, struct acme_fault *fault)
{
    const size_t slot = slot_of(names[0]);
    const struct acme_challenge challenge = {config->preferred, names[0], "token", "token.print"};
    char answer[CHALLENGE_ANSWER_MAX_BYTES + 1];

    assert_int_equal(count, all_names[slot].count);
    world.kinds[slot] = config->kinds;
    world.preferred = config->preferred;
    world.profile[slot] = config->profile;
    world.replaced = replaces != NULL;
    world.tries[slot]++;
    assert_true(config->world->show(&challenge, config->world->data));
    if (config->preferred == ACME_HTTP_01)
        assert_true(challenges_http(&world.challenges, "token", 5, answer, sizeof answer));
    assert_true(challenges_any(&world.challenges));
    config->world->hide(&challenge, config->world->data);
    assert_false(challenges_any(&world.challenges));
    if (world.hang)
        return hang(config, fault);
    fault->outcome = world.outcome[slot];
    fault->retry_after_s = world.retry_after_s;
    snprintf(fault->sentence, sizeof fault->sentence, "outcome %d", (int)fault->outcome);
    return fault->outcome == ACME_DONE;
}

static bool fake_window(const struct acme_config *config, const X509 *cert,
                        struct acme_window *window, struct acme_fault *fault)
{
    (void)config;
    assert_non_null(cert);
    world.windows++;
    if (world.window_now) {
        world.window_now = false;
        *window = (struct acme_window){START_S - DAY, START_S - DAY + 1, RENEWAL_DAY_S};
        return true;
    }
    fault->outcome = ACME_REFUSED;
    snprintf(fault->sentence, sizeof fault->sentence, "no windows");
    return false;
}

static X509 *fake_load(const char *folder, const struct renewer_names *names, char *error,
                       size_t size)
{
    assert_string_equal(folder, world.folder);
    if (world.unusable) {
        snprintf(error, size, "it is of no use");
        return NULL;
    }
    return make_leaf(names->names[0]);
}

static const struct renewer_seams seams = {fake_obtain, fake_window, fake_load, fake_now, LOOK_MS};

static X509 *host_leaf(size_t slot, void *data)
{
    (void)data;
    if (world.served[slot])
        X509_up_ref(world.served[slot]);
    return world.served[slot];
}

static void host_look(void *data)
{
    (void)data;
    world.looks++;
}

static void host_note(size_t slot, const char *sentence, int64_t when, int64_t next, void *data)
{
    (void)data;
    snprintf(world.sentence[slot], sizeof world.sentence[slot], "%s", sentence);
    world.when[slot] = when;
    world.next[slot] = next;
    world.notes[slot]++;
    if (world.on_note)
        world.on_note(slot);
}

static void on_limit(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing more happened");
}

static void start(size_t slots, int http_port, int main_port)
{
    const struct renewer_config config = {&world.options,
                                          main_port,
                                          http_port,
                                          &world.challenges,
                                          all_names,
                                          slots,
                                          {host_leaf, host_look, host_note, NULL},
                                          &seams};
    char error[CERT_ERROR_BYTES];

    memset(&world.renewer, 0, sizeof world.renewer);
    assert_true(renewer_start(&world.renewer, &config, &world.loop, error, sizeof error));
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    strcpy(world.folder, "/tmp/test_renewer.XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    strcpy(world.options.cert_dir, world.folder);
    strcpy(world.options.hostname, first[0]);
    world.options.acme_directory = "https://ca.example/directory";
    world.options.acme_ca = world.options.acme_email = "";
    world.options.acme_eab_kid = world.options.acme_eab_key = "";
    challenges_init(&world.challenges);
    uv_loop_init(&world.loop);
    uv_timer_init(&world.loop, &world.limit);
    uv_timer_start(&world.limit, on_limit, LIMIT_MS, 0);
    uv_unref((uv_handle_t *)&world.limit);
    return 0;
}

static void remove_folder(void)
{
    DIR *dir = opendir(world.folder);
    const struct dirent *entry;
    char path[512];

    while (dir && (entry = readdir(dir))) {
        snprintf(path, sizeof path, "%s/%s", world.folder, entry->d_name);
        unlink(path);
    }
    closedir(dir);
    assert_int_equal(rmdir(world.folder), 0);
}

static int tear_down(void **state)
{
    (void)state;
    uv_close((uv_handle_t *)&world.limit, NULL);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    challenges_deinit(&world.challenges);
    for (size_t i = 0; i < SLOTS; i++)
        X509_free(world.served[i]);
    remove_folder();
    return 0;
}

static void run_until(bool (*true_now)(void))
{
    while (!true_now())
        uv_run(&world.loop, UV_RUN_ONCE);
}

static void stop(void)
{
    renewer_stop(&world.renewer);
    renewer_stop(&world.renewer);
    uv_run(&world.loop, UV_RUN_DEFAULT);
}

static bool all_done(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (world.tries[i] == 0 || world.when[i] == 0)
            return false;
    return world.looks > 0;
}

// One certificate each, each in its own way, and then quiet for two months.
static void test_first_start(void **state)
{
    (void)state;
    start(SLOTS, 80, 443);
    run_until(all_done);
    for (size_t i = 0; i < SLOTS; i++) {
        assert_int_equal(world.tries[i], 1);
        assert_non_null(
            strstr(world.sentence[i], "a certificate has come from https://ca.example"));
        assert_in_range(world.next[i] - START_S, 59 * DAY, 65 * DAY);
        assert_int_equal(world.kinds[i], i == 2 ? ACME_HTTP_01 : ACME_HTTP_01 | ACME_TLS_ALPN_01);
        assert_string_equal(world.profile[i], i == 2 ? "shortlived" : "");
    }
    assert_int_equal(world.renewer.attempts[ACME_DONE], SLOTS);
    stop();
}

static bool tried_4(void)
{
    return world.tries[0] == 4;
}

static void pass_an_hour(size_t slot)
{
    (void)slot;
    world.passed_s += RENEWAL_HOUR_S;
}

// The other one waits for nothing.
static void test_one_that_fails_holds_up_nobody(void **state)
{
    (void)state;
    world.outcome[0] = ACME_UNREACHABLE;
    world.on_note = pass_an_hour;
    start(2, 80, 443);
    run_until(tried_4);
    world.on_note = NULL;
    assert_int_equal(world.tries[1], 1);
    assert_string_equal(world.sentence[0], "outcome 2");
    assert_in_range(world.renewer.attempts[ACME_UNREACHABLE], 3, 4);
    stop();
}

static bool tried_twice(void)
{
    return world.tries[0] == 2 && world.notes[0] >= 2;
}

static void test_the_other_kind_next(void **state)
{
    (void)state;
    world.outcome[0] = ACME_UNPROVEN;
    world.on_note = pass_an_hour;
    start(1, 80, 443);
    run_until(tried_twice);
    world.on_note = NULL;
    stop();
    assert_int_equal(world.preferred, ACME_TLS_ALPN_01);
}

static bool tried_once(void)
{
    return world.tries[0] == 1 && world.when[0] > 0;
}

static const struct {
    int http_port, main_port;
    size_t slot;
    unsigned kinds, preferred;
} ports[] = {
    {80, 443, 0, ACME_HTTP_01 | ACME_TLS_ALPN_01, ACME_HTTP_01},
    {-1, 443, 0, ACME_TLS_ALPN_01, ACME_TLS_ALPN_01},
    {8080, 443, 0, ACME_HTTP_01 | ACME_TLS_ALPN_01, ACME_TLS_ALPN_01},
    {80, 8443, 0, ACME_HTTP_01 | ACME_TLS_ALPN_01, ACME_HTTP_01},
    {8080, 8443, 0, ACME_HTTP_01 | ACME_TLS_ALPN_01, ACME_HTTP_01},
    {-1, 8443, 0, ACME_TLS_ALPN_01, ACME_TLS_ALPN_01},
};

static void test_kinds(void **state)
{
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        set_up(state);
        start(1, ports[i].http_port, ports[i].main_port);
        run_until(tried_once);
        stop();
        assert_int_equal(world.kinds[0], ports[i].kinds);
        assert_int_equal(world.preferred, ports[i].preferred);
        tear_down(state);
    }
}

static bool in_request(void)
{
    return world.in_request;
}

// Stopping waits for nobody: joined on the loop, and soon.
static void test_stop_amid_a_request(void **state)
{
    uint64_t begun_ms;

    (void)state;
    world.hang = true;
    start(SLOTS, 80, 443);
    run_until(in_request);
    begun_ms = clock_ms();
    stop();
    assert_true(clock_ms() - begun_ms < STOP_LIMIT_MS);
    assert_int_equal(world.renewer.attempts[ACME_CANCELLED], 1);
    assert_int_equal(world.tries[0] + world.tries[1] + world.tries[2], 1);
}

static void test_stop_at_once(void **state)
{
    (void)state;
    start(SLOTS, 80, 443);
    stop();
    assert_false(renewer_hurry(&world.renewer));
}

static void test_never_started(void **state)
{
    struct renewer renewer = {0};

    (void)state;
    assert_false(renewer_hurry(&renewer));
    renewer_stop(&renewer);
}

static void test_hurry(void **state)
{
    (void)state;
    world.outcome[0] = ACME_REFUSED;
    start(1, 80, 443);
    run_until(tried_once);
    assert_in_range(world.next[0] - START_S, RENEWAL_HOUR_S, 2 * RENEWAL_HOUR_S);
    assert_true(renewer_hurry(&world.renewer));
    run_until(tried_twice);
    stop();
    assert_int_equal(world.tries[0], 2);
}

static bool noted(void)
{
    return world.notes[0] > 0;
}

// As in a container that dies at once: what the authority asked for holds for the next process.
static void test_a_restart_respects_limits(void **state)
{
    (void)state;
    world.outcome[0] = ACME_LIMITED;
    world.retry_after_s = 5 * RENEWAL_HOUR_S;
    start(1, 80, 443);
    run_until(tried_once);
    stop();

    world.outcome[0] = ACME_DONE;
    world.notes[0] = 0;
    start(1, 80, 443);
    run_until(noted);
    assert_int_equal(world.next[0] - START_S, 5 * RENEWAL_HOUR_S);
    assert_true(renewer_hurry(&world.renewer));
    for (int i = 0; i < 10; i++)
        uv_run(&world.loop, UV_RUN_ONCE);
    assert_int_equal(world.tries[0], 1);
    world.passed_s += 5 * RENEWAL_HOUR_S;
    run_until(tried_twice);
    stop();
}

// Killed amid each try, started again and again.
static void test_a_crash_loop(void **state)
{
    (void)state;
    world.hang = true;
    for (int i = 0; i < 10; i++) {
        world.notes[0] = 0;
        world.in_request = false;
        start(1, 80, 443);
        run_until(noted);
        for (int turn = 0; turn < 20 && !world.in_request; turn++)
            uv_run(&world.loop, UV_RUN_ONCE);
        stop();
    }
    assert_int_equal(world.tries[0], RENEWAL_TRIES);
}

// What is served is asked about; a revocation shows in the window, and is answered at once.
static void test_a_window_in_the_past(void **state)
{
    (void)state;
    world.served[0] = make_leaf(first[0]);
    world.window_now = true;
    start(1, 80, 443);
    run_until(tried_once);
    stop();
    assert_true(world.replaced);
    assert_int_equal(world.tries[0], 1);
    assert_in_range(world.next[0] - START_S, 59 * DAY, 65 * DAY);
}

static void test_served_and_not_due(void **state)
{
    (void)state;
    world.served[0] = make_leaf(first[0]);
    start(1, 80, 443);
    run_until(noted);
    for (int i = 0; i < 10; i++)
        uv_run(&world.loop, UV_RUN_ONCE);
    stop();
    assert_int_equal(world.tries[0], 0);
    assert_int_equal(world.windows, 1);
    assert_int_equal(world.when[0], 0);
    assert_in_range(world.next[0] - START_S, 59 * DAY, 65 * DAY);
}

// Somebody puts a certificate there by hand.
static bool next_is_far(void)
{
    return world.next[0] - START_S > 59 * DAY;
}

static void test_told_later(void **state)
{
    (void)state;
    world.outcome[0] = ACME_REFUSED;
    start(1, 80, 443);
    run_until(tried_once);
    world.served[0] = make_leaf(first[0]);
    run_until(next_is_far);
    stop();
    assert_int_equal(world.tries[0], 1);
}

// A certificate that came and is not good is a failure: the authority makes only a few.
static void test_what_came_is_of_no_use(void **state)
{
    (void)state;
    world.unusable = true;
    start(1, 80, 443);
    run_until(tried_once);
    stop();
    assert_non_null(strstr(world.sentence[0], "it is of no use"));
    assert_in_range(world.next[0] - START_S, RENEWAL_HOUR_S, 2 * RENEWAL_HOUR_S);
}

// Of an authority, as far as it shows.
static void write_pair(const char *const *names, size_t count)
{
    EVP_PKEY *key = jose_key_new(), *authority = jose_key_new();
    X509 *leaf = make_pair(names, count, time(NULL) - 1, key);
    char path[128];
    BIO *file;

    snprintf(path, sizeof path, "%s/%s", world.folder, names[0]);
    X509_NAME_add_entry_by_txt(X509_get_issuer_name(leaf), "O", MBSTRING_ASC,
                               (const unsigned char *)"Authority", -1, -1, 0);
    assert_true(X509_sign(leaf, authority, EVP_sha256()) > 0);
    file = BIO_new_file(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_bio_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(PEM_write_bio_X509(file, leaf), 1);
    BIO_free(file);
    X509_free(leaf);
    EVP_PKEY_free(authority);
    EVP_PKEY_free(key);
}

// As the server judges it: one that lacks a name of its slot would not be served.
static void test_a_written_pair_covers_all_names(void **state)
{
    const struct renewer_names both = {addresses, 2};
    char error[CERT_ERROR_BYTES];
    X509 *leaf;

    (void)state;
    write_pair(addresses, 1);
    assert_null(renewer_world.load(world.folder, &both, error, sizeof error));
    assert_non_null(strstr(error, addresses[1]));
    write_pair(addresses, 2);
    leaf = renewer_world.load(world.folder, &both, error, sizeof error);
    assert_non_null(leaf);
    X509_free(leaf);
}

// What cannot be written down is not tried.
static void test_a_folder_that_takes_nothing(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/acme_attempts+a.example", world.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    start(1, 80, 443);
    run_until(noted);
    while (world.when[0] == 0)
        uv_run(&world.loop, UV_RUN_ONCE);
    stop();
    assert_int_equal(world.tries[0], 0);
    assert_int_equal(world.renewer.attempts[ACME_REFUSED], 1);
    assert_non_null(strstr(world.sentence[0], path));
    assert_int_equal(rmdir(path), 0);
}

// The wall clock is set back by a year amid a wait.
static void test_months(void **state)
{
    (void)state;
    world.on_note = NULL;
    start(1, 80, 443);
    run_until(tried_once);
    for (int day = 0; day < 200; day++) {
        world.passed_s += DAY;
        for (int i = 0; i < 3; i++)
            uv_run(&world.loop, UV_RUN_ONCE);
    }
    stop();
    assert_in_range(world.tries[0], 3, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_first_start),
        TEST(test_one_that_fails_holds_up_nobody),
        TEST(test_the_other_kind_next),
        cmocka_unit_test(test_kinds),
        TEST(test_stop_amid_a_request),
        TEST(test_stop_at_once),
        cmocka_unit_test(test_never_started),
        TEST(test_hurry),
        TEST(test_a_restart_respects_limits),
        TEST(test_a_crash_loop),
        TEST(test_a_window_in_the_past),
        TEST(test_served_and_not_due),
        TEST(test_told_later),
        TEST(test_what_came_is_of_no_use),
        TEST(test_a_written_pair_covers_all_names),
        TEST(test_a_folder_that_takes_nothing),
        TEST(test_months),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
