// SPDX-License-Identifier: BSD-3-Clause
#include "certgen/pin.h"

#include "material.h"

#include <openssl/bio.h>
#include <openssl/pem.h>

// The pin is of "openssl x509 -outform DER | sha256sum".
static const char fixed[] = "-----BEGIN CERTIFICATE-----\n"
                            "MIIBQDCB86ADAgECAhQwddtWfA0yeImVQ6OQ7JGxZoF5pDAFBgMrZXAwFjEUMBIG\n"
                            "A1UEAwwLcGluLmV4YW1wbGUwHhcNMjYxMTI0MDYyMjIwWhcNMzYxMTIxMDYyMjIw\n"
                            "WjAWMRQwEgYDVQQDDAtwaW4uZXhhbXBsZTAqMAUGAytlcAMhALHUDu24+RpRw3cD\n"
                            "kigl93N8ZZ99KRBeLWPAgu7aTZ6Uo1MwUTAdBgNVHQ4EFgQURfNcjFMbROmb8V3j\n"
                            "J0142rnSdiswHwYDVR0jBBgwFoAURfNcjFMbROmb8V3jJ0142rnSdiswDwYDVR0T\n"
                            "AQH/BAUwAwEB/zAFBgMrZXADQQCbRFGYTJmCZVgaDgy5Kd6HZlFiOY/GX7S/225E\n"
                            "kvV55QYkao4L0F+G04hoxROMiLw1qjnvP+xKub73mujm/rgK\n"
                            "-----END CERTIFICATE-----\n";
#define FIXED_PIN "sha256-raw:50c7338d6b86adf9397fd841af02d2bf1e7d08cd5b169b3351bef5bd3ea2091e"

static void test_known_certificate(void **state)
{
    BIO *in = BIO_new_mem_buf(fixed, -1);
    X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
    char pin[CERT_PIN_CHARS + 1];

    (void)state;
    assert_non_null(cert);
    assert_true(cert_pin(cert, pin));
    assert_string_equal(pin, FIXED_PIN);
    X509_free(cert);
    BIO_free(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
