// SPDX-License-Identifier: BSD-3-Clause
//
// Input: what a file of --allow-keys, the body of an admission URL's or an agent's answer, or a URL
// holds; read as each of these.
#include "access/agent.h"
#include "access/allowlist.h"
#include "access/url.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_list(const char *text, size_t len)
{
    char error[ALLOWLIST_ERROR_BYTES] = "";
    struct allowlist list;
    const bool ok = allowlist_parse(&list, text, len, error, sizeof error);

    assert(ok == (*error == '\0'));
    assert(ok || (list.count == 0 && list.keys == NULL));
    for (size_t i = 0; i < list.count; i++) {
        assert(allowlist_has(&list, &list.keys[i]) && !key_is_zero(&list.keys[i]));
        assert(i == 0 || memcmp(&list.keys[i - 1], &list.keys[i], sizeof(struct key)) <= 0);
    }
    allowlist_free(&list);
}

static void read_answers(char *text, size_t len)
{
    const struct fetch_result result = {
        .error = CURLE_OK, .complete = true, .status = 200, .body = text, .len = len};
    const enum access_reason url = url_judge(&result, 0);
    const enum access_reason agent = agent_judge_status(&result, NULL);

    assert(url == ACCESS_MEMBER || url == ACCESS_NOT_MEMBER || url == ACCESS_BAD_ANSWER);
    assert(url != ACCESS_MEMBER || memchr(text, '{', len));
    assert(agent == ACCESS_NOT_MEMBER || agent == ACCESS_NOT_RUNNING || agent == ACCESS_OFFLINE ||
           agent == ACCESS_BAD_ANSWER);
    assert(agent == ACCESS_BAD_ANSWER || memchr(text, '{', len));
}

static void show_url(const char *text)
{
    char out[64];

    url_show(out, sizeof out, text);
    assert(!strpbrk(out, "?#"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    memcpy(text, data, size);
    text[size] = '\0';
    read_list(text, size);
    read_answers(text, size);
    show_url(text);
    free(text);
    return 0;
}
