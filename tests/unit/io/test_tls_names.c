// SPDX-License-Identifier: BSD-3-Clause
//
// Which certificate a client is shown: by the name that it asks for, by the kinds of keys that it
// takes, none when there is none yet, and that of a challenge. Both ends in memory.
#include "io/tls.h"

#include "../support/both.h"
#include "../support/identity.h"
#include "../support/loopback.h"

#include <openssl/err.h>
#include <string.h>

#define ONE "one.example"
#define TWO "two.example"
#define THREE "three.example"
#define HTTP11 "\x08http/1.1"
#define H2 "\x02h2"
#define ACME \
    "\x0a"   \
    "acme-tls/1"

static struct identity root, one, two, three, other, two_rsa, meta, proof;
static STACK_OF(X509) * root_chain;

// Three names and everybody else. Two has a pair of each kind.
static struct tls_identity served[4];
static const struct tls_config all_served = {served, 4, NULL, NULL};

// An offer of TLS 1.2 and one of 1.3.
static struct offer offer_of(int version, const char *sni, const char *alpn)
{
    return (struct offer){.least = version, .most = version, .sni = sni, .alpn = alpn};
}

// A whole connection; `context` is its to free. The server's end may be looked at before it stops.
static enum tls_failure connect_to(struct both *both, const struct tls_config *config,
                                   const struct offer *offer)
{
    both_start(both, tls_context_new(config), offer);
    return shake(both);
}

static void expect_alpn(const struct both *both, const char *wire)
{
    const unsigned char *alpn;
    unsigned len;

    SSL_get0_alpn_selected(both->client, &alpn, &len);
    assert_int_equal(len, wire[0]);
    assert_memory_equal(alpn, wire + 1, len);
}

static void expect_leaf(const struct both *both, const struct identity *identity)
{
    X509 *leaf = SSL_get1_peer_certificate(both->client);

    assert_int_equal(X509_cmp(leaf, identity->cert), 0);
    X509_free(leaf);
}

// --- Names. ---

static const struct {
    const char *sni;
    const struct identity *shown;
} names[] = {
    {ONE, &one},
    {TWO, &two},
    {THREE, &three},
    {"Two.EXAMPLE", &two},
    {NULL, &other},
    {"a.example", &other},
    {"127.0.0.1", &other},
    {"two.example.", &other},
    {"two", &other},
    {"wo.example", &other},
    {"three.exampl", &other},
};

static void test_each_name_has_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(names); i++) {
        const struct offer offer = offer_of(i % 2 ? V12 : V13, names[i / 2].sni, H2 HTTP11);
        struct both both;

        print_message("%s\n", offer.sni ? offer.sni : "(none)");
        assert_int_equal(connect_to(&both, &all_served, &offer), TLS_FAILURES);
        expect_leaf(&both, names[i / 2].shown);
        expect_alpn(&both, HTTP11);
        both_stop(&both);
    }
}

static void test_no_name_but_these(void **state)
{
    const struct tls_config config = {served, 3, NULL, NULL};

    (void)state;
    for (size_t i = 0; i < 2 * COUNT(names); i++) {
        const bool ours = names[i / 2].shown != &other;
        const struct offer offer = offer_of(i % 2 ? V12 : V13, names[i / 2].sni, NULL);
        struct both both;

        assert_int_equal(connect_to(&both, &config, &offer), ours ? TLS_FAILURES : TLS_FAILURE_SNI);
        if (ours)
            expect_leaf(&both, names[i / 2].shown);
        both_stop(&both);
    }
}

// In whatever order they are given.
static void test_nameless_first(void **state)
{
    const struct tls_identity turned[] = {served[3], served[1], served[0], served[2]};
    const struct tls_config config = {turned, 4, NULL, NULL};

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        const struct offer offer = offer_of(V13, names[i].sni, NULL);
        struct both both;

        assert_int_equal(connect_to(&both, &config, &offer), TLS_FAILURES);
        expect_leaf(&both, names[i].shown);
        both_stop(&both);
    }
}

static void test_as_many_names_as_there_may_be(void **state)
{
    struct tls_identity many[TLS_IDENTITIES_MAX];
    char hosts[TLS_IDENTITIES_MAX][16];
    const struct tls_config config = {many, TLS_IDENTITIES_MAX, NULL, NULL};

    (void)state;
    for (int i = 0; i < TLS_IDENTITIES_MAX; i++) {
        snprintf(hosts[i], sizeof hosts[i], "host%d", i);
        many[i] = served[i % 3];
        many[i].hostname = hosts[i];
    }
    for (int i = 0; i < TLS_IDENTITIES_MAX; i++) {
        const struct offer offer = offer_of(V13, hosts[i], NULL);
        struct both both;

        assert_int_equal(connect_to(&both, &config, &offer), TLS_FAILURES);
        expect_leaf(&both, names[i % 3].shown);
        both_stop(&both);
    }
}

// The policy holds for each name: what test_tls.c shows of one context in detail.
static void test_policy_of_each_name(void **state)
{
    static const struct {
        int version;
        const char *ciphers, *groups, *alpn;
        enum tls_failure failure;
    } refused[] = {
        {V13, NULL, NULL, H2, TLS_FAILURE_ALPN},
        {V12, NULL, NULL, H2, TLS_FAILURE_ALPN},
        {V12, "ECDHE-ECDSA-AES128-SHA256", NULL, NULL, TLS_FAILURE_CIPHER},
        {V12, "AES128-GCM-SHA256", NULL, NULL, TLS_FAILURE_CIPHER},
        {V13, NULL, "P-384", NULL, TLS_FAILURE_CIPHER},
        {TLS1_1_VERSION, "ALL:COMPLEMENTOFALL", NULL, NULL, TLS_FAILURE_VERSION},
    };

    (void)state;
    for (size_t i = 0; i < 3 * COUNT(refused); i++) {
        const size_t j = i / 3;
        struct offer offer = offer_of(refused[j].version, names[i % 3].sni, refused[j].alpn);
        struct both both;

        offer.ciphers = refused[j].ciphers;
        offer.groups = refused[j].groups;
        assert_int_equal(connect_to(&both, &all_served, &offer), refused[j].failure);
        both_stop(&both);
    }
}

static int no_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl, (void)session;
    fail_msg("a ticket came");
    return 0;
}

static void test_no_tickets_for_any_name(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        const struct offer offer = offer_of(i % 2 ? V12 : V13, names[i / 2].sni, NULL);
        struct both both;
        char byte;

        both_start(&both, tls_context_new(&all_served), &offer);
        SSL_CTX_set_session_cache_mode(both.client_ctx, SSL_SESS_CACHE_CLIENT);
        if (offer.most == V13)
            SSL_CTX_sess_set_new_cb(both.client_ctx, no_ticket);
        assert_int_equal(shake(&both), TLS_FAILURES);
        assert_int_equal(SSL_write(both.server, "a", 1), 1);
        assert_int_equal(SSL_read(both.client, &byte, 1), 1);
        assert_false(SSL_SESSION_has_ticket(SSL_get0_session(both.client)));
        both_stop(&both);
    }
}

// --- Kinds of keys. ---

static const struct {
    const char *name;
    int version;
    const char *ciphers, *signatures;
    bool rsa;
} kinds[] = {
    {"1.3, anything", V13, NULL, NULL, false},
    {"1.3, RSA only", V13, NULL, "rsa_pss_rsae_sha256:rsa_pkcs1_sha256", true},
    {"1.3, ECDSA only", V13, NULL, "ecdsa_secp256r1_sha256", false},
    {"1.2, anything", V12, NULL, NULL, false},
    {"1.2, RSA only", V12, "ECDHE-RSA-AES128-GCM-SHA256", NULL, true},
    {"1.2, RSA by its signatures", V12, NULL, "rsa_pkcs1_sha256", true},
    {"1.2, ECDSA only", V12, "ECDHE-ECDSA-AES128-GCM-SHA256", NULL, false},
};

// Each pair goes with its own chain, and the meta certificate with both.
static void check_kind(size_t i, bool rsa_first, bool switched)
{
    const struct tls_pair ec_pair = {two.cert, root_chain, two.key};
    const struct tls_pair rsa_pair = {two_rsa.cert, NULL, two_rsa.key};
    const struct tls_identity both_kinds = {
        TWO, {rsa_first ? rsa_pair : ec_pair, rsa_first ? ec_pair : rsa_pair}, 2};
    const struct tls_identity identities[] = {served[0], both_kinds};
    const struct tls_config config = {identities + !switched, 1u + switched, meta.cert, NULL};
    struct offer offer = offer_of(kinds[i].version, TWO, NULL);
    struct both both;

    offer.ciphers = kinds[i].ciphers;
    offer.signatures = kinds[i].signatures;
    assert_int_equal(connect_to(&both, &config, &offer), TLS_FAILURES);
    if (kinds[i].rsa)
        both_expect_chain(&both, (X509 *[]){two_rsa.cert, meta.cert}, 2);
    else
        both_expect_chain(&both, (X509 *[]){two.cert, root.cert, meta.cert}, 3);
    both_stop(&both);
}

static void test_pair_by_kind(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        print_message("%s\n", kinds[i].name);
        for (int j = 0; j < 4; j++)
            check_kind(i, j % 2, j / 2);
    }
}

// A name that has the other kind alone does not lend it.
static void test_kind_that_a_name_lacks(void **state)
{
    struct offer offer = offer_of(V13, ONE, NULL);
    struct both both;

    (void)state;
    offer.signatures = "rsa_pss_rsae_sha256";
    assert_int_equal(connect_to(&both, &all_served, &offer), TLS_FAILURE_CIPHER);
    both_stop(&both);
}

// --- No certificate yet. ---

static void test_no_certificate(void **state)
{
    const struct tls_config nothing = {NULL, 0, meta.cert, NULL};

    (void)state;
    for (size_t i = 0; i < 2 * COUNT(names); i++) {
        const struct offer offer = offer_of(i % 2 ? V12 : V13, names[i / 2].sni, HTTP11);
        struct both both;

        assert_int_equal(connect_to(&both, &nothing, &offer), TLS_FAILURE_NO_CERTIFICATE);
        SSL_do_handshake(both.client); // an alert came
        assert_int_equal(ERR_GET_REASON(ERR_peek_error()),
                         SSL_AD_REASON_OFFSET + SSL_AD_INTERNAL_ERROR);
        both_stop(&both);
    }
}

static void test_no_certificate_for_one_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct tls_identity some[] = {served[0], served[1], served[2]};
        const struct tls_config config = {some, 3, NULL, NULL};

        some[i].pair_count = 0;
        for (size_t j = 0; j < 3; j++) {
            const struct offer offer = offer_of(V13, names[j].sni, NULL);
            struct both both;

            assert_int_equal(connect_to(&both, &config, &offer),
                             i == j ? TLS_FAILURE_NO_CERTIFICATE : TLS_FAILURES);
            both_stop(&both);
        }
    }
}

// What is none of TLS is still told apart.
static void test_noise_without_certificate(void **state)
{
    struct both both;

    (void)state;
    both_start(&both, tls_context_new(&(struct tls_config){NULL, 0, NULL, NULL}),
               &(struct offer){.name = ""});
    BIO_puts(both.to_server, "GET / HTTP/1.1\r\n\r\n");
    assert_int_equal(server_step(&both), TLS_FAILURE_NOT_TLS);
    both_stop(&both);
}

static void test_one_bad_identity_spoils_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct tls_identity bad[] = {served[0], served[1], served[2], served[3]};

        bad[i].pairs[0].key = meta.key;
        assert_null(tls_context_new(&(struct tls_config){bad, 4, NULL, NULL}));
        assert_int_not_equal(ERR_peek_error(), 0);
        ERR_clear_error();
    }
}

// --- tls-alpn-01. ---

static struct challenges challenges;

#define REVERSE "1.0.0.127.in-addr.arpa"

static const struct {
    const char *sni, *alpn;
    const struct identity *shown; // NULL: refused
    const char *agreed;           // ALPN
    enum tls_failure failure;
} asked[] = {
    {TWO, ACME, &proof, ACME, 0},
    {"tWO.EXample", ACME, &proof, ACME, 0},
    {"new.example", ACME, &proof, ACME, 0},
    {REVERSE, ACME, &proof, ACME, 0},
    {ONE, ACME, NULL, NULL, TLS_FAILURE_NO_CHALLENGE},
    {"a.example", ACME, NULL, NULL, TLS_FAILURE_NO_CHALLENGE},
    {NULL, ACME, NULL, NULL, TLS_FAILURE_NO_CHALLENGE},
    // Those of everyday are as ever.
    {TWO, HTTP11, &two, HTTP11, 0},
    {TWO, NULL, &two, NULL, 0},
    {TWO, ACME HTTP11, &two, HTTP11, 0},
    {TWO, HTTP11 ACME, &two, HTTP11, 0},
    {TWO, ACME H2, NULL, NULL, TLS_FAILURE_ALPN},
    {TWO, ACME ACME, NULL, NULL, TLS_FAILURE_ALPN},
    {TWO,
     "\x0a"
     "acme-tls/2",
     NULL, NULL, TLS_FAILURE_ALPN},
    {TWO,
     "\x0b"
     "acme-tls/1 ",
     NULL, NULL, TLS_FAILURE_ALPN},
    {"new.example", HTTP11, &other, HTTP11, 0},
};

static void check_asked(size_t i, int version)
{
    const struct tls_config config = {served, 4, meta.cert, &challenges};
    const struct offer offer = offer_of(version, asked[i].sni, asked[i].alpn);
    const bool answered = asked[i].shown != NULL;
    struct both both;

    print_message("%s %s\n", offer.sni ? offer.sni : "(none)", offer.alpn ? offer.alpn : "");
    assert_int_equal(connect_to(&both, &config, &offer),
                     answered ? TLS_FAILURES : asked[i].failure);
    if (answered) {
        expect_leaf(&both, asked[i].shown);
        assert_int_equal(tls_was_challenge(both.server), asked[i].shown == &proof);
    }
    if (asked[i].shown == &proof)
        both_expect_chain(&both, (X509 *[]){proof.cert}, 1);
    if (asked[i].agreed)
        expect_alpn(&both, asked[i].agreed);
    both_stop(&both);
}

static void test_challenges(void **state)
{
    (void)state;
    assert_true(challenges_show_tls(&challenges, TWO, proof.cert, proof.key));
    assert_true(challenges_show_tls(&challenges, "New.example", proof.cert, proof.key));
    assert_true(challenges_show_tls(&challenges, REVERSE, proof.cert, proof.key));
    for (size_t i = 0; i < 2 * COUNT(asked); i++)
        check_asked(i / 2, i % 2 ? V12 : V13);
    assert_int_equal(challenges.tls_answered, 8);
}

// The authority comes when all is proven already, or to somebody who proves nothing.
static void test_challenges_when_nothing_is_proven(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const struct tls_config config = {served, 3, NULL, i % 2 ? &challenges : NULL};
        const struct offer offer = offer_of(i / 2 ? V12 : V13, TWO, ACME);
        struct both both;

        assert_int_equal(connect_to(&both, &config, &offer), TLS_FAILURE_NO_CHALLENGE);
        both_stop(&both);
    }
}

// The first certificate of all is proven in this way.
static void test_challenge_without_certificate(void **state)
{
    const struct tls_config config = {NULL, 0, NULL, &challenges};
    struct both both;
    struct offer offer = offer_of(V13, TWO, ACME);

    (void)state;
    assert_true(challenges_show_tls(&challenges, TWO, proof.cert, proof.key));
    assert_int_equal(connect_to(&both, &config, &offer), TLS_FAILURES);
    expect_leaf(&both, &proof);
    both_stop(&both);
    offer.alpn = HTTP11;
    assert_int_equal(connect_to(&both, &config, &offer), TLS_FAILURE_NO_CERTIFICATE);
    both_stop(&both);
}

// --- Handshakes that take several steps. ---

// A client that is asked for another group (HelloRetryRequest) and says something else in its
// second hello; the context is given back meanwhile.
static enum tls_failure change_mind(struct both *both, const char *sni, const char *alpn,
                                    const char *then_sni, const char *then_alpn)
{
    const struct tls_config config = {served, 3, NULL, &challenges};
    struct offer offer = offer_of(V13, sni, alpn);

    offer.groups = "P-384:P-256";
    both_start(both, tls_context_new(&config), &offer);
    SSL_do_handshake(both->client);
    assert_int_equal(server_step(both), TLS_FAILURES);
    SSL_CTX_free(both->server_ctx);
    both->server_ctx = NULL;
    SSL_set_tlsext_host_name(both->client, then_sni);
    SSL_set_alpn_protos(both->client, (const unsigned char *)then_alpn,
                        then_alpn ? (unsigned)strlen(then_alpn) : 0);
    return shake(both);
}

static const struct {
    const char *sni, *alpn, *then_sni, *then_alpn;
    const struct identity *shown;
    enum tls_failure failure;
} changes[] = {
    {ONE, NULL, ONE, NULL, &one, 0},
    {TWO, NULL, TWO, NULL, &two, 0},
    {ONE, NULL, TWO, NULL, &two, 0},
    {TWO, NULL, ONE, NULL, &one, 0},
    {TWO, NULL, THREE, NULL, &three, 0},
    {TWO, NULL, "nobody.example", NULL, NULL, TLS_FAILURE_SNI},
    {TWO, ACME, TWO, ACME, &proof, 0},
    {TWO, HTTP11, TWO, H2, NULL, TLS_FAILURE_ALPN},
    {ONE, HTTP11, TWO, ACME, &proof, 0},
    {TWO, ACME, TWO, NULL, &proof, 0}, // and is closed for that, as a challenge
    {TWO, ACME, TWO, HTTP11, NULL, TLS_FAILURE_ALPN},
    {TWO, ACME, ONE, ACME, NULL, TLS_FAILURE_NO_CHALLENGE},
};

static void test_second_hello(void **state)
{
    (void)state;
    assert_true(challenges_show_tls(&challenges, TWO, proof.cert, proof.key));
    for (size_t i = 0; i < COUNT(changes); i++) {
        struct both both;

        print_message("%zu\n", i);
        assert_int_equal(change_mind(&both, changes[i].sni, changes[i].alpn, changes[i].then_sni,
                                     changes[i].then_alpn),
                         changes[i].shown ? TLS_FAILURES : changes[i].failure);
        if (changes[i].shown) {
            expect_leaf(&both, changes[i].shown);
            assert_int_equal(tls_was_challenge(both.server), changes[i].shown == &proof);
        }
        both_stop(&both);
    }
}

// A context that is replaced in the middle of a handshake lives to its end.
static void test_context_goes_amid_handshake(void **state)
{
    (void)state;
    assert_true(challenges_show_tls(&challenges, TWO, proof.cert, proof.key));
    for (size_t i = 0; i < 2 * COUNT(asked); i++) {
        const struct tls_config config = {served, 4, NULL, &challenges};
        const struct offer offer = offer_of(i % 2 ? V12 : V13, asked[i / 2].sni, HTTP11);
        struct both both;

        both_start(&both, tls_context_new(&config), &offer);
        SSL_do_handshake(both.client);
        server_step(&both);
        SSL_CTX_free(both.server_ctx);
        both.server_ctx = NULL;
        assert_int_equal(shake(&both), TLS_FAILURES);
        both_stop(&both);
    }
}

// --- ---

static struct tls_identity identity_of(const char *hostname, const struct identity *identity)
{
    return (struct tls_identity){hostname, {{identity->cert, NULL, identity->key}}, 1};
}

static int group_setup(void **state)
{
    (void)state;
    identity_make(&root, "RSA", "root", NULL);
    identity_make(&one, "EC", ONE, NULL);
    identity_make(&two, "EC", TWO, &root);
    identity_make(&two_rsa, "RSA", TWO, NULL);
    identity_make(&three, "EC", THREE, &root);
    identity_make(&other, "EC", "127.0.0.1", NULL);
    identity_make(&meta, "ED25519", "derpkey", NULL);
    identity_make(&proof, "EC", TWO, NULL);
    root_chain = sk_X509_new_null();
    sk_X509_push(root_chain, root.cert);
    served[0] = identity_of(ONE, &one);
    served[1] = identity_of(TWO, &two);
    served[2] = identity_of(THREE, &three);
    served[3] = identity_of(NULL, &other);
    return 0;
}

static int group_teardown(void **state)
{
    struct identity *all[] = {&root, &one, &two, &two_rsa, &three, &other, &meta, &proof};

    (void)state;
    sk_X509_free(root_chain);
    for (size_t i = 0; i < COUNT(all); i++)
        identity_free(all[i]);
    return 0;
}

static int setup_challenges(void **state)
{
    (void)state;
    challenges_init(&challenges);
    return 0;
}

static int teardown_challenges(void **state)
{
    (void)state;
    challenges_deinit(&challenges);
    return 0;
}

#define PROOF(name) cmocka_unit_test_setup_teardown(name, setup_challenges, teardown_challenges)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_name_has_its_own),
        cmocka_unit_test(test_no_name_but_these),
        cmocka_unit_test(test_nameless_first),
        cmocka_unit_test(test_as_many_names_as_there_may_be),
        cmocka_unit_test(test_policy_of_each_name),
        cmocka_unit_test(test_no_tickets_for_any_name),
        cmocka_unit_test(test_pair_by_kind),
        cmocka_unit_test(test_kind_that_a_name_lacks),
        cmocka_unit_test(test_no_certificate),
        cmocka_unit_test(test_no_certificate_for_one_name),
        cmocka_unit_test(test_noise_without_certificate),
        cmocka_unit_test(test_one_bad_identity_spoils_all),
        PROOF(test_challenges),
        PROOF(test_challenges_when_nothing_is_proven),
        PROOF(test_challenge_without_certificate),
        PROOF(test_second_hello),
        PROOF(test_context_goes_amid_handshake),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
