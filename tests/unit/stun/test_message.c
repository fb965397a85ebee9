// SPDX-License-Identifier: BSD-3-Clause
#include "stun/message.h"
#include "request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

// RFC 5769, section 2.1: short-term credentials, ICE attributes, FINGERPRINT.
static const uint8_t rfc5769_request[] = {
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
    0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73,
    0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff,
    0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09,
    0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14,
    0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49,
    0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
};

// RFC 5769, section 2.4: long-term credentials, no FINGERPRINT.
static const uint8_t rfc5769_long_term[] = {
    0x00, 0x01, 0x00, 0x60, 0x21, 0x12, 0xa4, 0x42, 0x78, 0xad, 0x34, 0x33, 0xc6, 0xad, 0x72,
    0xc0, 0x29, 0xda, 0x41, 0x2e, 0x00, 0x06, 0x00, 0x12, 0xe3, 0x83, 0x9e, 0xe3, 0x83, 0x88,
    0xe3, 0x83, 0xaa, 0xe3, 0x83, 0x83, 0xe3, 0x82, 0xaf, 0xe3, 0x82, 0xb9, 0x00, 0x00, 0x00,
    0x15, 0x00, 0x1c, 0x66, 0x2f, 0x2f, 0x34, 0x39, 0x39, 0x6b, 0x39, 0x35, 0x34, 0x64, 0x36,
    0x4f, 0x4c, 0x33, 0x34, 0x6f, 0x4c, 0x39, 0x46, 0x53, 0x54, 0x76, 0x79, 0x36, 0x34, 0x73,
    0x41, 0x00, 0x14, 0x00, 0x0b, 0x65, 0x78, 0x61, 0x6d, 0x70, 0x6c, 0x65, 0x2e, 0x6f, 0x72,
    0x67, 0x00, 0x00, 0x08, 0x00, 0x14, 0xf6, 0x70, 0x24, 0x65, 0x6d, 0xd6, 0x4a, 0x3e, 0x02,
    0xb8, 0xe0, 0x71, 0x2e, 0x85, 0xc9, 0xa2, 0x8c, 0xa8, 0x96, 0x66,
};

#define RFC5769_TRANSACTION                                                    \
    {                                                                          \
        0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae \
    }

// XOR-MAPPED-ADDRESS of RFC 5769, sections 2.2 (192.0.2.1) and 2.3 (2001:db8:…), port 32853.
static const struct {
    const char *name;
    struct stun_address source;
    size_t len;
    uint8_t attribute[24];
} successes[] = {
    {"IPv4",
     {false, 32853, {192, 0, 2, 1}},
     STUN_SUCCESS_IPV4_BYTES,
     {0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43}},
    {"IPv6",
     {true,
      32853,
      {0x20, 0x01, 0x0d, 0xb8, 0x12, 0x34, 0x56, 0x78, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66,
       0x77}},
     STUN_SUCCESS_IPV6_BYTES,
     {0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa,
      0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9}},
};

// Parses a copy that ends where its memory ends.
static bool parse(const uint8_t *bytes, size_t len, enum stun_mode mode, struct stun_request *out)
{
    uint8_t *exact = malloc(len > 0 ? len : 1);
    bool result;

    assert_non_null(exact);
    memcpy(exact, bytes, len);
    result = stun_parse_request(exact, len, mode, out);
    free(exact);
    return result;
}

static void tailscale(struct request *r)
{
    request_tailscale(r, 0xab);
}

static void tailscale_with_wrong_length(struct request *r)
{
    request_begin(r, 0xab);
    request_add(r, 0x8022, "tailnode", 8, 0);
    request_seal_as(r, 0xffff);
}

static void tailscale_with_unknown(struct request *r)
{
    request_begin(r, 1);
    request_add(r, 0x0003, "abc", 3, 1);
    request_add(r, 0x8022, "tailnode", 8, 0);
    request_seal(r);
}

static void tailscale_after_other_software(struct request *r)
{
    request_begin(r, 1);
    request_add(r, 0x8022, "other", 5, 3);
    request_add(r, 0x8022, "tailnode", 8, 0);
    request_seal(r);
}

static void tailscale_sealed_twice(struct request *r)
{
    request_tailscale(r, 1);
    request_seal(r);
}

static void wrong_fingerprint(struct request *r)
{
    request_tailscale(r, 1);
    r->bytes[r->len - 1] ^= 1;
}

static void changed_transaction(struct request *r)
{
    request_tailscale(r, 1);
    r->bytes[8] ^= 0x80;
}

static void no_fingerprint(struct request *r)
{
    request_begin(r, 1);
    request_add(r, 0x8022, "tailnode", 8, 0);
}

static void fingerprint_not_last(struct request *r)
{
    request_tailscale(r, 1);
    request_add(r, 0x8022, "tailnode", 8, 0);
}

static void long_fingerprint(struct request *r)
{
    request_begin(r, 1);
    request_add(r, 0x8022, "tailnode", 8, 0);
    request_add(r, 0x8028, "\0\0\0\0\0\0\0\0", 8, 0);
}

static void empty_fingerprint(struct request *r)
{
    request_begin(r, 1);
    request_add(r, 0x8022, "tailnode", 8, 0);
    request_add(r, 0x8028, NULL, 0, 0);
}

static void other_software(struct request *r)
{
    request_begin(r, 1);
    request_add(r, 0x8022, "tailnodes", 9, 3);
    request_seal(r);
}

static void upper_case_software(struct request *r)
{
    request_begin(r, 1);
    request_add(r, 0x8022, "Tailnode", 8, 0);
    request_seal(r);
}

static void bare(struct request *r)
{
    request_begin(r, 1);
}

static void bare_with_long_length(struct request *r)
{
    request_begin(r, 1);
    r->bytes[3] = 4;
}

static void bare_with_trailing_attribute(struct request *r)
{
    request_begin(r, 1);
    request_add(r, 0x8022, "x", 1, 3);
    r->bytes[3] = 0;
}

static void only_fingerprint(struct request *r)
{
    request_begin(r, 1);
    request_seal(r);
}

static void odd_lengths(struct request *r)
{
    request_begin(r, 1);
    request_add(r, 0x8022, "a", 1, 3);
    request_add(r, 0xc001, "ab", 2, 2);
    request_add(r, 0xc002, "abc", 3, 1);
    request_add(r, 0xc003, NULL, 0, 0);
    request_seal(r);
}

static void missing_padding(struct request *r)
{
    request_begin(r, 1);
    request_add(r, 0x8022, "a", 1, 0);
}

static void short_padding(struct request *r)
{
    request_begin(r, 1);
    request_add(r, 0x8022, "a", 1, 2);
}

static void attribute_past_the_end(struct request *r)
{
    request_tailscale(r, 1);
    r->bytes[REQUEST_HEADER_BYTES + 2] = 0xff;
    r->bytes[REQUEST_HEADER_BYTES + 3] = 0xff;
}

static void stray_bytes(struct request *r)
{
    request_tailscale(r, 1);
    r->len += 3;
    memset(r->bytes + r->len - 3, 0, 3);
}

static void without_cookie(struct request *r)
{
    request_begin(r, 1);
    r->bytes[4] ^= 1;
}

static void success_answer(struct request *r)
{
    request_tailscale(r, 1);
    r->bytes[0] = r->bytes[1] = 1;
}

static void indication(struct request *r)
{
    request_begin(r, 1);
    r->bytes[1] = 0x11;
}

static void high_bits(struct request *r)
{
    request_begin(r, 1);
    r->bytes[0] = 0x40;
}

static void largest(struct request *r)
{
    static const uint8_t filler[1400];

    request_begin(r, 1);
    request_add(r, 0x8022, "tailnode", 8, 0);
    request_add(r, 0xc001, filler, sizeof filler, 0);
    request_seal(r);
}

static const struct {
    const char *name;
    void (*build)(struct request *request);
    bool tailscale, any;
} requests[] = {
    {"tailscale", tailscale, true, true},
    {"tailscale, header's length is not looked at", tailscale_with_wrong_length, true, true},
    {"tailscale, unknown attribute does not hinder", tailscale_with_unknown, true, true},
    {"tailscale, second software", tailscale_after_other_software, true, true},
    {"tailscale, two fingerprints", tailscale_sealed_twice, true, true},
    {"tailscale, largest", largest, true, true},
    {"wrong fingerprint", wrong_fingerprint, false, false},
    {"transaction changed after sealing", changed_transaction, false, false},
    {"fingerprint not last", fingerprint_not_last, false, false},
    {"fingerprint of eight bytes", long_fingerprint, false, false},
    {"fingerprint of no bytes", empty_fingerprint, false, false},
    {"no fingerprint", no_fingerprint, false, true},
    {"other software", other_software, false, true},
    {"software in another case", upper_case_software, false, true},
    {"bare header", bare, false, true},
    {"only a fingerprint", only_fingerprint, false, true},
    {"odd attribute lengths", odd_lengths, false, true},
    {"length counts more than there is", bare_with_long_length, false, false},
    {"length counts less than there is", bare_with_trailing_attribute, false, false},
    {"padding missing", missing_padding, false, false},
    {"padding short", short_padding, false, false},
    {"attribute past the end", attribute_past_the_end, false, false},
    {"stray bytes behind", stray_bytes, false, false},
    {"no cookie", without_cookie, false, false},
    {"success answer", success_answer, false, false},
    {"indication", indication, false, false},
    {"not STUN's first bits", high_bits, false, false},
};

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct request r;
        struct stun_request out;

        print_message("%s\n", requests[i].name);
        requests[i].build(&r);
        assert_int_equal(parse(r.bytes, r.len, STUN_TAILSCALE, &out), requests[i].tailscale);
        assert_int_equal(parse(r.bytes, r.len, STUN_ANY, &out), requests[i].any);
        if (!requests[i].any)
            continue;
        assert_memory_equal(out.transaction, r.bytes + 8, STUN_TRANSACTION_BYTES);
        assert_int_equal(out.unknown_count, 0);
    }
}

static void check_truncations(const uint8_t *bytes, size_t len)
{
    struct stun_request out;

    for (size_t cut = 0; cut < len; cut++) {
        assert_false(parse(bytes, cut, STUN_TAILSCALE, &out));
        assert_false(parse(bytes, cut, STUN_ANY, &out));
    }
}

static void test_every_truncation_is_refused(void **state)
{
    static void (*const builds[])(struct request *) = {tailscale, odd_lengths, only_fingerprint,
                                                       tailscale_with_unknown, largest};

    (void)state;
    for (size_t i = 0; i < sizeof builds / sizeof builds[0]; i++) {
        struct request r;

        builds[i](&r);
        check_truncations(r.bytes, r.len);
    }
    check_truncations(rfc5769_request, sizeof rfc5769_request);
    check_truncations(rfc5769_long_term, sizeof rfc5769_long_term);
}

static void test_every_flipped_bit_is_refused(void **state)
{
    struct request r;
    struct stun_request out;

    (void)state;
    tailscale(&r);
    for (size_t bit = 0; bit < 8 * r.len; bit++) {
        r.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(parse(r.bytes, r.len, STUN_TAILSCALE, &out));
        r.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(parse(r.bytes, r.len, STUN_TAILSCALE, &out));
}

static void test_fingerprint_covers_any_bytes_of_any_length(void **state)
{
    static uint8_t value[600];
    struct stun_request out;
    uint32_t random = 1;

    (void)state;
    for (size_t i = 0; i < sizeof value; i++) {
        random = random * 1103515245 + 12345;
        value[i] = (uint8_t)(random >> 16);
    }
    for (size_t len = 0; len <= sizeof value; len++) {
        struct request r;

        request_begin(&r, (uint8_t)len);
        request_add(&r, 0xc001, value, len, (4 - len % 4) % 4);
        request_seal(&r);
        assert_true(parse(r.bytes, r.len, STUN_ANY, &out));
        r.bytes[r.len - 1] ^= 1;
        assert_false(parse(r.bytes, r.len, STUN_ANY, &out));
    }
}

static void test_rfc5769_requests(void **state)
{
    struct stun_request out;

    (void)state;
    // PRIORITY is ICE's: a plain STUN server does not understand it.
    assert_true(parse(rfc5769_request, sizeof rfc5769_request, STUN_ANY, &out));
    assert_int_equal(out.unknown_count, 1);
    assert_int_equal(out.unknown[0], 0x0024);
    assert_true(parse(rfc5769_long_term, sizeof rfc5769_long_term, STUN_ANY, &out));
    assert_int_equal(out.unknown_count, 0);
    assert_false(parse(rfc5769_request, sizeof rfc5769_request, STUN_TAILSCALE, &out));
    assert_false(parse(rfc5769_long_term, sizeof rfc5769_long_term, STUN_TAILSCALE, &out));
}

static void test_successes(void **state)
{
    const struct stun_request request = {.transaction = RFC5769_TRANSACTION};

    (void)state;
    for (size_t i = 0; i < sizeof successes / sizeof successes[0]; i++) {
        const size_t attributes = successes[i].len - REQUEST_HEADER_BYTES;
        const uint8_t start[8] = {0x01, 0x01, 0x00, (uint8_t)attributes, 0x21, 0x12, 0xa4, 0x42};
        uint8_t out[STUN_ANSWER_MAX_BYTES];

        print_message("%s\n", successes[i].name);
        assert_int_equal(stun_put_answer(out, &request, &successes[i].source), successes[i].len);
        assert_memory_equal(out, start, sizeof start);
        assert_memory_equal(out + 8, request.transaction, STUN_TRANSACTION_BYTES);
        assert_memory_equal(out + REQUEST_HEADER_BYTES, successes[i].attribute, attributes);
    }
}

static const struct {
    const char *name;
    size_t count;
    uint16_t types[3];
    size_t len;
    uint8_t attributes[20];
} refusals[] = {
    {"one, padded",
     1,
     {0x0024},
     36,
     {0, 9, 0, 4, 0, 0, 4, 20, 0x00, 0x0a, 0x00, 0x02, 0x00, 0x24, 0, 0}},
    {"two",
     2,
     {0x0003, 0x7fff},
     36,
     {0, 9, 0, 4, 0, 0, 4, 20, 0x00, 0x0a, 0x00, 0x04, 0x00, 0x03, 0x7f, 0xff}},
    {"named once",
     3,
     {0x0000, 0x0025, 0x0000},
     36,
     {0, 9, 0, 4, 0, 0, 4, 20, 0x00, 0x0a, 0x00, 0x04, 0x00, 0x00, 0x00, 0x25}},
    {"optional ones are none of them",
     3,
     {0x8000, 0x0025, 0xffff},
     36,
     {0, 9, 0, 4, 0, 0, 4, 20, 0x00, 0x0a, 0x00, 0x02, 0x00, 0x25, 0, 0}},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const uint8_t start[8] = {0x01, 0x11, 0x00, 0x10, 0x21, 0x12, 0xa4, 0x42};
        struct request r;
        struct stun_request request;
        uint8_t out[STUN_ANSWER_MAX_BYTES];

        print_message("%s\n", refusals[i].name);
        request_begin(&r, 0x5c);
        for (size_t t = 0; t < refusals[i].count; t++)
            request_add(&r, refusals[i].types[t], "abcde", t, (4 - t) % 4);
        assert_true(parse(r.bytes, r.len, STUN_ANY, &request));
        assert_int_equal(stun_put_answer(out, &request, &successes[0].source), refusals[i].len);
        assert_memory_equal(out, start, sizeof start);
        assert_memory_equal(out + 8, r.bytes + 8, STUN_TRANSACTION_BYTES);
        assert_memory_equal(out + REQUEST_HEADER_BYTES, refusals[i].attributes,
                            refusals[i].len - REQUEST_HEADER_BYTES);
        assert_false(parse(r.bytes, r.len, STUN_TAILSCALE, &request));
    }
}

static void test_refusal_is_bounded(void **state)
{
    struct request r;
    struct stun_request request;
    uint8_t out[STUN_ANSWER_MAX_BYTES];

    (void)state;
    request_begin(&r, 1);
    for (uint16_t type = 0x0100; type < 0x0100 + 300; type++)
        request_add(&r, type, NULL, 0, 0);
    assert_true(parse(r.bytes, r.len, STUN_ANY, &request));
    assert_int_equal(request.unknown_count, STUN_UNKNOWN_MAX);
    assert_int_equal(stun_put_answer(out, &request, &successes[1].source), 64);
    assert_int_equal(out[3], 44);
    assert_int_equal(out[31], 2 * STUN_UNKNOWN_MAX);
    assert_memory_equal(out + 62, "\x01\x0f", 2);
}

static void test_known_attributes_are_not_refused(void **state)
{
    static const uint16_t known[] = {0x0001, 0x0006, 0x0008, 0x0009, 0x000a, 0x0014,
                                     0x0015, 0x001c, 0x001d, 0x001e, 0x0020};

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct request r;
        struct stun_request request;

        request_begin(&r, 1);
        request_add(&r, known[i], "12345678", 8, 0);
        request_seal(&r);
        assert_true(parse(r.bytes, r.len, STUN_ANY, &request));
        assert_int_equal(request.unknown_count, 0);
    }
}

static void test_attributes_behind_integrity_are_ignored(void **state)
{
    static const uint16_t integrity[] = {0x0008, 0x001c};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct request r;
        struct stun_request request;

        request_begin(&r, 1);
        request_add(&r, 0x0024, "1234", 4, 0);
        request_add(&r, integrity[i], "12345678901234567890", 20, 0);
        request_add(&r, 0x0025, NULL, 0, 0);
        request_seal(&r);
        assert_true(parse(r.bytes, r.len, STUN_ANY, &request));
        assert_int_equal(request.unknown_count, 1);
        assert_int_equal(request.unknown[0], 0x0024);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_every_flipped_bit_is_refused),
        cmocka_unit_test(test_fingerprint_covers_any_bytes_of_any_length),
        cmocka_unit_test(test_rfc5769_requests),
        cmocka_unit_test(test_successes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refusal_is_bounded),
        cmocka_unit_test(test_known_attributes_are_not_refused),
        cmocka_unit_test(test_attributes_behind_integrity_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
