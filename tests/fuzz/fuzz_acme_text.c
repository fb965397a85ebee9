// SPDX-License-Identifier: BSD-3-Clause
//
// The small parsers of ACME: times, base64, and the requests of who validates. The first byte
// chooses.
#include "certgen/http01.h"
#include "certgen/jose.h"
#include "certgen/rfc3339.h"

#include <stdlib.h>
#include <string.h>

#define TOKEN "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
#define ROOM 48

static void demand(bool held)
{
    if (!held)
        abort();
}

static void try_time(const char *text)
{
    time_t out;

    if (rfc3339_parse(text, &out)) // years 0000 to 9999
        demand(out > -62300000000 && out < 253500000000);
}

static void try_base64(const char *text)
{
    uint8_t *out = malloc(ROOM);
    const int len = jose_base64_decode(text, out, ROOM);
    char *again;

    demand(len <= ROOM);
    if (len >= 0 && jose_is_base64url(text)) {
        again = jose_base64url(out, (size_t)len);
        demand(strcmp(again, text) == 0);
        free(again);
    }
    free(out);
}

static void try_request(const char *text)
{
    struct http01 http01 = {.fd = -1, .token = TOKEN, .answer = TOKEN ".thumbprint"};
    char answer[HTTP01_ANSWER_BYTES];
    static const char expected[] = "GET " HTTP01_PATH TOKEN " ";

    pthread_mutex_init(&http01.lock, NULL);
    http01_answer(&http01, text, answer);
    demand((strncmp(text, expected, sizeof expected - 1) == 0) ==
           (strcmp(answer, http01.answer) == 0));
    pthread_mutex_destroy(&http01.lock);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const parsers[])(const char *text) = {try_time, try_base64, try_request};
    char *text;

    if (size == 0)
        return 0;
    text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    parsers[*data % 3](text);
    free(text);
    return 0;
}
