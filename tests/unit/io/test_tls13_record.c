// SPDX-License-Identifier: BSD-3-Clause
//
// Records on the wire: those of RFC 8448, and every size, padding, truncation and flipped byte.
#include "io/tls13_record.h"

#include "../support/loopback.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define ROOM (TLS13_HEADER_BYTES + TLS13_CIPHER_MAX_BYTES + 64)
#define WIDE (1ULL << 32)

static struct tls13_ciphers ciphers;
static uint8_t noise[TLS13_PLAIN_MAX_BYTES + 512];

static const struct {
    const char *secret; // of the application traffic
    uint64_t sequence;
    enum tls13_type type;
    const char *content, *record;
} rfc8448[] = {
    {"9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5", 0, TLS13_DATA,
     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
     "202122232425262728292a2b2c2d2e2f3031",
     "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441"
     "e"
     "2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4"},
    {"9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5", 1, TLS13_ALERT, "0100",
     "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3"},
    // The server's first record is a ticket.
    {"a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643", 1, TLS13_DATA,
     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
     "202122232425262728292a2b2c2d2e2f3031",
     "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a5"
     "9"
     "a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d"},
    {"a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643", 2, TLS13_ALERT, "0100",
     "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9"},
};

static size_t from_hex(const char *hex, uint8_t *out, size_t room)
{
    size_t n;

    assert_int_equal(sodium_hex2bin(out, room, hex, strlen(hex), NULL, &n, NULL), 0);
    return n;
}

static void direction_start(struct tls13_direction *direction, int suite, uint64_t sequence)
{
    assert_true(tls13_direction_start(direction, (enum tls13_suite)suite, noise));
    direction->sequence = sequence;
}

static void assert_opens(struct tls13_direction *direction, int suite, const uint8_t *record,
                         size_t len, int type, const uint8_t *content, size_t content_len)
{
    uint8_t *exact = malloc(len), *out = malloc(len);
    struct tls13_opened opened;
    enum tls13_alert alert = TLS13_CLOSE_NOTIFY;

    memcpy(exact, record, len);
    assert_int_equal(tls13_record_bytes(exact, len, &alert), len);
    assert_true(
        tls13_open(&ciphers, (enum tls13_suite)suite, direction, exact, len, out, &opened, &alert));
    assert_int_equal(opened.type, type);
    assert_int_equal(opened.len, content_len);
    if (content_len > 0)
        assert_memory_equal(out, content, content_len);
    free(exact);
    free(out);
}

static void assert_refused(const struct tls13_direction *direction, int suite,
                           const uint8_t *record, size_t len, enum tls13_alert expected)
{
    uint8_t *exact = malloc(len), *out = malloc(len);
    struct tls13_direction copy = *direction;
    struct tls13_opened opened;
    enum tls13_alert alert = TLS13_CLOSE_NOTIFY;

    memcpy(exact, record, len);
    assert_false(
        tls13_open(&ciphers, (enum tls13_suite)suite, &copy, exact, len, out, &opened, &alert));
    assert_int_equal(alert, expected);
    assert_int_equal(ERR_peek_error(), 0);
    free(exact);
    free(out);
}

static void test_rfc8448(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rfc8448); i++) {
        uint8_t secret[32], content[64], record[96], out[96];
        const size_t content_len = from_hex(rfc8448[i].content, content, sizeof content);
        const size_t len = from_hex(rfc8448[i].record, record, sizeof record);
        struct tls13_direction direction;

        assert_int_equal(from_hex(rfc8448[i].secret, secret, sizeof secret), sizeof secret);
        tls13_direction_start(&direction, TLS13_AES_128_GCM_SHA256, secret);
        direction.sequence = rfc8448[i].sequence;
        assert_int_equal(tls13_seal(&ciphers, TLS13_AES_128_GCM_SHA256, &direction, rfc8448[i].type,
                                    &(struct tls13_piece){content, content_len}, 1, out),
                         len);
        assert_memory_equal(out, record, len);
        direction.sequence = rfc8448[i].sequence;
        assert_opens(&direction, TLS13_AES_128_GCM_SHA256, record, len, rfc8448[i].type, content,
                     content_len);
        assert_int_equal(direction.sequence, rfc8448[i].sequence + 1);
    }
}

// Seals `inner` as it stands: content, type and padding are the caller's. Not by the code that is
// tested.
static size_t seal_inner(const struct tls13_direction *direction, int suite, const uint8_t *inner,
                         size_t len, uint8_t *out)
{
    static const char *const names[] = {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"};
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, names[suite], NULL);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    const size_t body = len + TLS13_TAG_BYTES;
    const uint8_t header[] = {23, 3, 3, (uint8_t)(body / 256), (uint8_t)(body % 256)};
    uint8_t nonce[12];
    uint64_t sequence = direction->sequence;
    int n;

    memcpy(nonce, direction->iv, sizeof nonce);
    for (int i = 11; i >= 4; i--, sequence /= 256)
        nonce[i] ^= (uint8_t)(sequence % 256);
    memcpy(out, header, sizeof header);
    assert_int_equal(EVP_EncryptInit_ex2(context, cipher, direction->key, nonce, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(context, NULL, &n, header, sizeof header), 1);
    assert_int_equal(EVP_EncryptUpdate(context, out + 5, &n, inner, (int)len), 1);
    assert_int_equal(EVP_EncryptFinal_ex(context, out + 5 + len, &n), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, out + 5 + len), 1);
    EVP_CIPHER_CTX_free(context);
    EVP_CIPHER_free(cipher);
    return sizeof header + body;
}

static const size_t sizes[] = {0, 1, 2, 15, 16, 17, 255, 256, 1200, 16383, 16384};
static const uint64_t sequences[] = {0, 1, 255, WIDE - 1, WIDE, WIDE + 1, UINT64_MAX - 1};

// What we seal is what another hand seals, and it opens again.
static void test_round_trips(void **state)
{
    static uint8_t record[ROOM], other[ROOM], inner[ROOM];

    (void)state;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        for (size_t i = 0; i < COUNT(sizes) * COUNT(sequences); i++) {
            const size_t size = sizes[i % COUNT(sizes)];
            const uint64_t sequence = sequences[i / COUNT(sizes)];
            struct tls13_direction direction;
            size_t len;

            direction_start(&direction, suite, sequence);
            memcpy(inner, noise, size);
            inner[size] = TLS13_DATA;
            assert_int_equal(seal_inner(&direction, suite, inner, size + 1, other),
                             size + TLS13_OVERHEAD_BYTES);
            len = tls13_seal(&ciphers, (enum tls13_suite)suite, &direction, TLS13_DATA,
                             &(struct tls13_piece){noise, size}, 1, record);
            assert_int_equal(len, size + TLS13_OVERHEAD_BYTES);
            assert_memory_equal(record, other, len);
            assert_int_equal(direction.sequence, sequence + 1);
            direction.sequence = sequence;
            assert_opens(&direction, suite, record, len, TLS13_DATA, noise, size);
            assert_int_equal(direction.sequence, sequence + 1);
        }
    }
}

static void test_pieces(void **state)
{
    static uint8_t one[ROOM], many[ROOM];

    (void)state;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        const struct tls13_piece pieces[] = {
            {noise, 1}, {noise + 1, 0}, {noise + 1, 31}, {noise + 32, 1000}, {noise + 1032, 7}};
        struct tls13_direction direction;
        size_t len;

        direction_start(&direction, suite, 5);
        len = tls13_seal(&ciphers, (enum tls13_suite)suite, &direction, TLS13_HANDSHAKE, pieces,
                         COUNT(pieces), many);
        direction.sequence = 5;
        assert_int_equal(tls13_seal(&ciphers, (enum tls13_suite)suite, &direction, TLS13_HANDSHAKE,
                                    &(struct tls13_piece){noise, 1039}, 1, one),
                         len);
        assert_memory_equal(one, many, len);
    }
}

#define PARTIES 3

// The contexts keep a key as long as the next record has the same: several directions take turns in
// all orders, with refused records and new keys between.
static void test_directions_take_turns(void **state)
{
    static uint8_t record[ROOM], other[ROOM], inner[ROOM];

    (void)state;
    memcpy(inner, noise, 100);
    inner[100] = TLS13_DATA;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        struct tls13_direction out[PARTIES], in[PARTIES];

        for (int i = 0; i < PARTIES; i++) {
            tls13_direction_start(&out[i], (enum tls13_suite)suite, noise + i * 64);
            in[i] = out[i];
        }
        for (int turn = 0; turn < 200; turn++) {
            const int i = noise[turn] % PARTIES;
            size_t len;

            seal_inner(&out[i], suite, inner, 101, other);
            len = tls13_seal(&ciphers, (enum tls13_suite)suite, &out[i], TLS13_DATA,
                             &(struct tls13_piece){noise, 100}, 1, record);
            assert_memory_equal(record, other, len);
            record[len - 1] ^= 1;
            if (turn % 7 == 0)
                assert_refused(&in[noise[turn + 1] % PARTIES], suite, record, len,
                               TLS13_BAD_RECORD_MAC);
            assert_opens(&in[i], suite, other, len, TLS13_DATA, noise, 100);
            if (turn % 11 == 0) {
                assert_true(tls13_direction_update(&out[i], (enum tls13_suite)suite));
                assert_true(tls13_direction_update(&in[i], (enum tls13_suite)suite));
            }
        }
    }
}

// Section 5.3: no sequence number is used twice.
static void test_last_sequence_number(void **state)
{
    uint8_t record[64];

    (void)state;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        struct tls13_direction direction;
        size_t len;

        direction_start(&direction, suite, UINT64_MAX);
        assert_int_equal(tls13_seal(&ciphers, (enum tls13_suite)suite, &direction, TLS13_DATA,
                                    &(struct tls13_piece){noise, 1}, 1, record),
                         0);
        len = seal_inner(&direction, suite, (const uint8_t *)"a\x17", 2, record);
        assert_refused(&direction, suite, record, len, TLS13_INTERNAL_ERROR);
        assert_int_equal(direction.sequence, UINT64_MAX);
    }
}

// Section 5.4: what is padded must not exceed 2^14 + 1 bytes, type and padding counted.
static void test_padding(void **state)
{
    static const struct {
        size_t content, padding;
    } good[] = {{0, 0}, {0, 1}, {0, 16384}, {1, 1}, {1, 16383}, {100, 300}, {16383, 1}, {16384, 0}},
      bad[] = {{0, 16385}, {1, 16384}, {16384, 1}, {16384, 239}, {16385, 0}, {16623, 0}};
    static uint8_t inner[ROOM], record[ROOM];

    (void)state;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        struct tls13_direction direction;

        for (size_t i = 0; i < COUNT(good); i++) {
            const size_t n = good[i].content + 1 + good[i].padding;

            direction_start(&direction, suite, i);
            memset(inner, 0, n);
            memcpy(inner, noise, good[i].content);
            inner[good[i].content] = 0x42; // any type
            assert_opens(&direction, suite, record, seal_inner(&direction, suite, inner, n, record),
                         0x42, noise, good[i].content);
        }
        for (size_t i = 0; i < COUNT(bad); i++) {
            const size_t n = bad[i].content + 1 + bad[i].padding;
            enum tls13_alert alert;
            size_t len;

            direction_start(&direction, suite, i);
            memset(inner, 0, n);
            inner[bad[i].content] = TLS13_DATA;
            len = seal_inner(&direction, suite, inner, n, record);
            assert_int_equal(tls13_record_bytes(record, len, &alert), len);
            assert_refused(&direction, suite, record, len, TLS13_RECORD_OVERFLOW);
        }
    }
}

static void test_all_padding(void **state)
{
    static const size_t lengths[] = {1, 2, 100, 16385};
    static uint8_t inner[ROOM], record[ROOM];

    (void)state;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        for (size_t i = 0; i < COUNT(lengths); i++) {
            struct tls13_direction direction;

            direction_start(&direction, suite, i);
            assert_refused(&direction, suite, record,
                           seal_inner(&direction, suite, inner, lengths[i], record),
                           TLS13_UNEXPECTED_MESSAGE);
        }
    }
}

// Every bit that is wrong, in the header, too, which is authenticated: the same answer; and the
// context that has refused opens the next record.
static void test_flipped_bits(void **state)
{
    uint8_t record[64];

    (void)state;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        struct tls13_direction direction;
        size_t len;

        direction_start(&direction, suite, WIDE);
        len = tls13_seal(&ciphers, (enum tls13_suite)suite, &direction, TLS13_DATA,
                         &(struct tls13_piece){noise, 20}, 1, record);
        direction.sequence = WIDE;
        for (size_t bit = 0; bit < len * 8; bit++) {
            record[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_refused(&direction, suite, record, len, TLS13_BAD_RECORD_MAC);
            record[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (int other = 0; other < TLS13_SUITES; other++)
            if (other != suite)
                assert_refused(&direction, other, record, len, TLS13_BAD_RECORD_MAC);
        direction.sequence = WIDE + 1;
        assert_refused(&direction, suite, record, len, TLS13_BAD_RECORD_MAC);
        direction.sequence = 0;
        assert_refused(&direction, suite, record, len, TLS13_BAD_RECORD_MAC);
        direction.sequence = WIDE;
        assert_opens(&direction, suite, record, len, TLS13_DATA, noise, 20);
    }
}

// A record that ends early, with a header that says so: never opened, never read past its end.
static void test_truncations(void **state)
{
    uint8_t record[64], cut[64];

    (void)state;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        struct tls13_direction direction;
        size_t len;

        direction_start(&direction, suite, 0);
        len = tls13_seal(&ciphers, (enum tls13_suite)suite, &direction, TLS13_DATA,
                         &(struct tls13_piece){noise, 20}, 1, record);
        direction.sequence = 0;
        memcpy(cut, record, len);
        for (size_t n = TLS13_OVERHEAD_BYTES; n < len; n++) {
            cut[4] = (uint8_t)(n - TLS13_HEADER_BYTES);
            assert_refused(&direction, suite, cut, n, TLS13_BAD_RECORD_MAC);
        }
    }
}

static void test_in_place(void **state)
{
    static uint8_t record[ROOM];

    (void)state;
    for (int suite = 0; suite < TLS13_SUITES; suite++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            struct tls13_direction direction;
            struct tls13_opened opened;
            enum tls13_alert alert;
            size_t len;

            direction_start(&direction, suite, 0);
            len = tls13_seal(&ciphers, (enum tls13_suite)suite, &direction, TLS13_DATA,
                             &(struct tls13_piece){noise, sizes[i]}, 1, record);
            direction.sequence = 0;
            assert_true(tls13_open(&ciphers, (enum tls13_suite)suite, &direction, record, len,
                                   record + TLS13_HEADER_BYTES, &opened, &alert));
            assert_int_equal(opened.len, sizes[i]);
            if (sizes[i] > 0)
                assert_memory_equal(record + TLS13_HEADER_BYTES, noise, sizes[i]);
        }
    }
}

static const struct {
    uint8_t header[TLS13_HEADER_BYTES];
    size_t bytes;
    enum tls13_alert alert;
} headers[] = {
    {{23, 3, 3, 0, 17}, 22},
    {{23, 3, 1, 0, 17}, 22}, // the version does not matter
    {{23, 0, 0, 0x41, 0}, 5 + 16640},
    {{23, 3, 3, 0x41, 1}, 0, TLS13_RECORD_OVERFLOW},
    {{23, 3, 3, 0xff, 0xff}, 0, TLS13_RECORD_OVERFLOW},
    {{23, 3, 3, 0, 16}, 0, TLS13_BAD_RECORD_MAC},
    {{23, 3, 3, 0, 0}, 0, TLS13_BAD_RECORD_MAC},
    {{20, 3, 3, 0, 1}, 0, TLS13_UNEXPECTED_MESSAGE},
    {{21, 3, 3, 0, 2}, 0, TLS13_UNEXPECTED_MESSAGE},
    {{22, 3, 3, 0, 100}, 0, TLS13_UNEXPECTED_MESSAGE},
    {{24, 3, 3, 0, 100}, 0, TLS13_UNEXPECTED_MESSAGE},
    {{'G', 'E', 'T', ' ', '/'}, 0, TLS13_UNEXPECTED_MESSAGE},
};

static void test_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(headers); i++) {
        enum tls13_alert alert = TLS13_CLOSE_NOTIFY;

        for (size_t n = 0; n < TLS13_HEADER_BYTES; n++) {
            uint8_t *exact = malloc(n + 1);

            memcpy(exact, headers[i].header, n);
            assert_int_equal(tls13_record_bytes(exact, n, &alert), 0);
            free(exact);
        }
        assert_int_equal(alert, TLS13_CLOSE_NOTIFY); // untouched so far
        assert_int_equal(tls13_record_bytes(headers[i].header, TLS13_HEADER_BYTES, &alert),
                         headers[i].bytes);
        assert_int_equal(alert, headers[i].bytes > 0 ? TLS13_CLOSE_NOTIFY : headers[i].alert);
    }
}

static int group_setup(void **state)
{
    (void)state;
    assert_int_equal(RAND_bytes(noise, sizeof noise), 1);
    tls13_ciphers_init(&ciphers);
    for (int i = 0; i < TLS13_SUITES; i++)
        assert_true(tls13_ciphers_have(&ciphers, (enum tls13_suite)i));
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    tls13_ciphers_deinit(&ciphers);
    assert_false(tls13_ciphers_have(&ciphers, TLS13_AES_128_GCM_SHA256));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8448),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_directions_take_turns),
        cmocka_unit_test(test_last_sequence_number),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_all_padding),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
