// SPDX-License-Identifier: BSD-3-Clause
#include "server/map_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PIN "sha256-raw:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct {
    const char *name;
    struct map_node node;
    const char *json; // of the one node
    const char *yaml; // of the one node
} cases[] = {
    {"a name, addresses left to DNS",
     {.hostname = "derp.example.com", .derp_port = 443, .stun_port = 3478, .can_port80 = true},
     "{\"Name\":\"900a\",\"RegionID\":900,\"HostName\":\"derp.example.com\",\"DERPPort\":443,"
     "\"STUNPort\":3478,\"CanPort80\":true}",
     "      - name: \"900a\"\n        regionid: 900\n        hostname: \"derp.example.com\"\n"
     "        stunport: 3478\n        derpport: 443\n        canport80: true\n"},
    {"a name with addresses and a pin, no STUN",
     {.hostname = "derp.example.com",
      .ipv4 = "203.0.113.1",
      .ipv6 = "none",
      .cert_pin = PIN,
      .derp_port = 12345,
      .stun_port = -1,
      .omit_default_regions = true},
     "{\"Name\":\"900a\",\"RegionID\":900,\"HostName\":\"derp.example.com\","
     "\"IPv4\":\"203.0.113.1\",\"IPv6\":\"none\",\"DERPPort\":12345,\"STUNPort\":-1,"
     "\"CertName\":\"" PIN "\",\"CanPort80\":false}",
     "      - name: \"900a\"\n        regionid: 900\n        hostname: \"derp.example.com\"\n"
     "        certname: \"" PIN "\"\n        ipv4: \"203.0.113.1\"\n        ipv6: \"none\"\n"
     "        stunport: -1\n        derpport: 12345\n        canport80: false\n"},
    {"an IPv4 address as host name",
     {.hostname = "203.0.113.1",
      .ipv4 = "",
      .ipv6 = "",
      .cert_pin = "",
      .derp_port = 443,
      .stun_port = 3478},
     "{\"Name\":\"900a\",\"RegionID\":900,\"HostName\":\"203.0.113.1\",\"IPv4\":\"203.0.113.1\","
     "\"IPv6\":\"none\",\"DERPPort\":443,\"STUNPort\":3478,\"CanPort80\":false}",
     "      - name: \"900a\"\n        regionid: 900\n        hostname: \"203.0.113.1\"\n"
     "        ipv4: \"203.0.113.1\"\n        ipv6: \"none\"\n        stunport: 3478\n"
     "        derpport: 443\n        canport80: false\n"},
    {"an IPv6 address as host name, and a known IPv4 address",
     {.hostname = "2001:db8::", .ipv4 = "203.0.113.1", .derp_port = 1, .stun_port = 65535},
     "{\"Name\":\"900a\",\"RegionID\":900,\"HostName\":\"2001:db8::\",\"IPv4\":\"203.0.113.1\","
     "\"IPv6\":\"2001:db8::\",\"DERPPort\":1,\"STUNPort\":65535,\"CanPort80\":false}",
     "      - name: \"900a\"\n        regionid: 900\n        hostname: \"2001:db8::\"\n"
     "        ipv4: \"203.0.113.1\"\n        ipv6: \"2001:db8::\"\n        stunport: 65535\n"
     "        derpport: 1\n        canport80: false\n"},
};

static void test_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[MAP_NODE_TEXT_BYTES], whole[MAP_NODE_TEXT_BYTES];
        json_t *got, *want;
        size_t len;

        print_message("%s\n", cases[i].name);
        len = map_node_json(&cases[i].node, text, sizeof text);
        assert_int_equal(len, strlen(text));
        assert_true(len > 0 && text[len - 1] == '\n');
        snprintf(whole, sizeof whole,
                 "{\"derpMap\":{\"OmitDefaultRegions\":%s,\"Regions\":{\"900\":{\"RegionID\":900,"
                 "\"RegionCode\":\"derper\",\"RegionName\":\"derper\",\"Nodes\":[%s]}}}}",
                 cases[i].node.omit_default_regions ? "true" : "false", cases[i].json);
        got = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        want = json_loads(whole, 0, NULL);
        assert_non_null(got);
        assert_non_null(want);
        assert_true(json_equal(got, want));
        json_decref(got);
        json_decref(want);
    }
}

static void test_yaml(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[MAP_NODE_TEXT_BYTES], whole[MAP_NODE_TEXT_BYTES];

        print_message("%s\n", cases[i].name);
        assert_true(map_node_yaml(&cases[i].node, text, sizeof text) > 0);
        snprintf(whole, sizeof whole,
                 "regions:\n  900:\n    regionid: 900\n    regioncode: \"derper\"\n"
                 "    regionname: \"derper\"\n    nodes:\n%s",
                 cases[i].yaml);
        assert_string_equal(text, whole);
    }
}

static void test_too_small_a_buffer(void **state)
{
    char text[MAP_NODE_TEXT_BYTES];
    const struct map_node *node = &cases[1].node;
    const size_t json = map_node_json(node, text, sizeof text);
    const size_t yaml = map_node_yaml(node, text, sizeof text);

    (void)state;
    for (size_t size = 1; size <= json; size++)
        assert_int_equal(map_node_json(node, text, size), 0);
    for (size_t size = 1; size <= yaml; size++)
        assert_int_equal(map_node_yaml(node, text, size), 0);
    assert_int_equal(map_node_json(node, text, json + 1), json);
    assert_int_equal(map_node_yaml(node, text, yaml + 1), yaml);
}

static void test_nothing_that_needs_an_escape(void **state)
{
    static const struct map_node bad[] = {
        {.hostname = NULL},
        {.hostname = ""},
        {.hostname = "a\"b"},
        {.hostname = "a", .ipv4 = "1\n2"},
        {.hostname = "a", .ipv6 = "fe80::1%lo"},
        {.hostname = "a", .cert_pin = "sha256-raw:{}"},
    };
    char text[MAP_NODE_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(map_node_json(&bad[i], text, sizeof text), 0);
        assert_int_equal(map_node_yaml(&bad[i], text, sizeof text), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_too_small_a_buffer),
        cmocka_unit_test(test_nothing_that_needs_an_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
