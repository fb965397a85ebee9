// SPDX-License-Identifier: BSD-3-Clause
//
// HTTP/1.1 requests by libcurl's multi interface on a libuv loop: one step of a question to an
// agent or a URL. Redirects are the caller's. One thread.
#ifndef DERPER_ACCESS_FETCH_H
#define DERPER_ACCESS_FETCH_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define FETCHER_IDLE_MAX 64L  // connections that are kept for the next fetch
#define FETCHER_DESCRIPTORS 2 // of libcurl itself, to be woken
// One fetch's: the pair by which libcurl's resolver reports, and a socket for each of the system's
// nameservers, 3 at most; then the two connections that it may try side by side.
#define FETCH_DESCRIPTORS 5
#define FETCH_URL_BYTES 2560 // with the final NUL
#define FETCH_BODY_BYTES 256 // of a request, with the final NUL
#define FETCH_HEAD_MAX_BYTES (64 * 1024)

// Embedded in its owner, which must live until `on_closed`.
struct fetcher {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    size_t handles; // of libuv, the timer and one for each socket
    void (*on_closed)(struct fetcher *fetcher);
};

struct fetch_request {
    char url[FETCH_URL_BYTES];
    char body[FETCH_BODY_BYTES]; // JSON to post; "" = GET
    const char *socket;      // path of a Unix socket to dial, anew each time; NULL = the URL's host
    const char *ca_file;     // trusted besides the system's; NULL = none
    size_t answer_max_bytes; // of the body; what is beyond is not read
};

struct fetch_result {
    CURLcode error;                 // CURLE_OK also when the body had more than was wanted
    int system_error;               // errno of a connect that failed, or 0
    bool complete;                  // the head has come whole
    long status;                    // meaningful when it has
    char redirect[FETCH_URL_BYTES]; // where a 3xx leads; "" = nowhere
    char *body;                     // `len` bytes; not terminated
    size_t len;
    char detail[CURL_ERROR_SIZE]; // libcurl's words about an error
};

// Embedded in its owner.
struct fetch {
    struct fetcher *fetcher;
    CURL *easy; // NULL while nothing is under way
    struct curl_slist *fields;
    size_t head_bytes;
    bool full;      // the body has more than was wanted
    bool looked_up; // the URL's host, which may not have come to an end
    bool abandoned;
    struct fetch_request request;
    struct fetch_result result;
    void (*on_done)(struct fetch *fetch);
};

void fetcher_init(struct fetcher *fetcher, uv_loop_t *loop);

// All fetches must have ended. `on_closed` follows from the loop, at once when nothing was open.
void fetcher_close(struct fetcher *fetcher, void (*on_closed)(struct fetcher *fetcher));

// Starts fetch->request. `on_done` runs from the loop, never before this returns, unless the fetch
// is ended first; fetch->result is good until the next start or end, and the owner may do either
// there, or free the fetch after its end.
void fetch_start(struct fetcher *fetcher, struct fetch *fetch,
                 void (*on_done)(struct fetch *fetch));

// Whether a thread of libcurl's looks the host up. It goes on when the fetch is ended.
bool fetch_resolving(const struct fetch *fetch);

// For one that is resolving: it ends, and `on_done` runs, as soon as that thread has.
void fetch_abandon(struct fetch *fetch);

// Gives back what a fetch holds, under way or done. Harmless on zeroed memory.
void fetch_end(struct fetch *fetch);

#endif
