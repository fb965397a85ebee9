// SPDX-License-Identifier: BSD-3-Clause
//
// Where a command shows http-01 challenges (RFC 8555, section 8.3): as files of a web server's, or
// on a port of its own, by a thread that lives as long as the command. The relay has an HTTP server
// and does not need it.
#ifndef CERTGEN_HTTP01_H
#define CERTGEN_HTTP01_H

#include "certgen/acme.h"

#include <pthread.h>

#define HTTP01_PATH "/.well-known/acme-challenge/"
#define HTTP01_ANSWER_BYTES 512         // of an authorization, with the final NUL
#define HTTP01_CONNECTION_LIMIT_MS 2000 // one that has asked nothing by then is closed
#define HTTP01_CONNECTIONS_MAX 64       // at once; for one more, the oldest is closed

struct http01 {
    const char *webroot; // NULL = its own port
    int fd;              // listening; -1 = none
    struct askers *askers;
    pthread_t thread;
    pthread_mutex_t lock;
    char token[HTTP01_ANSWER_BYTES], answer[HTTP01_ANSWER_BYTES]; // "" = none is shown
};

// `webroot`: the folder that a web server shows as "/"; NULL: TCP port `port` is opened, on all
// addresses. False, with a sentence.
bool http01_start(struct http01 *http01, const char *webroot, int port, char *error, size_t size);
void http01_stop(struct http01 *http01);

// What a request, as text, is answered: "" when it asks for no challenge that is shown. Any thread.
void http01_answer(struct http01 *http01, const char *request,
                   char answer[static HTTP01_ANSWER_BYTES]);

// For struct acme_world, whose `data` is the struct http01.
bool http01_show(const struct acme_challenge *challenge, void *data);
void http01_hide(const struct acme_challenge *challenge, void *data);

#endif
