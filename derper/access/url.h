// SPDX-License-Identifier: BSD-3-Clause
//
// Asking an admission URL, as Headscale's /verify is one: a POST of the client's key and address,
// answered by {"Allow":true}. Pure: what to ask, and what an answer means.
#ifndef DERPER_ACCESS_URL_H
#define DERPER_ACCESS_URL_H

#include "access/answer.h"
#include "access/fetch.h"
#include "base/key.h"

#include <stdbool.h>
#include <stddef.h>

#define URL_ANSWER_MAX_BYTES 4096 // what is beyond is not read
#define URL_REDIRECTS_MAX 10

// Whether libcurl understands the URL: then its host, as it is looked up, and `why` is untouched.
// `host` must have room for the URL.
bool url_parse(const char *url, char *host, size_t host_size, char *why, size_t why_size);

// `address` is the client's, without a port.
void url_ask(struct fetch_request *request, const char *url, const char *ca_file,
             const struct key *key, const char *address);

// True when the answer is that the same question goes to another URL, which `request` then has.
bool url_follow(struct fetch_request *request, const struct fetch_result *result);

// `redirects` have been followed before.
enum access_reason url_judge(const struct fetch_result *result, unsigned redirects);

// The URL as it may stand in logs and metrics: without user, query and fragment.
void url_show(char *out, size_t size, const char *url);

// A sentence without a full stop: what is wrong with the URL, which is `shown`, and what to do.
void url_explain(char *out, size_t size, enum access_reason reason, const char *shown,
                 const struct fetch_result *result);

#endif
