// SPDX-License-Identifier: BSD-3-Clause
#include "access/fetch.h"

#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CA_CACHE_S 60L

// A socket of libcurl's in the loop.
struct watch {
    uv_poll_t poll;
    struct fetcher *fetcher;
    curl_socket_t fd;
    int events; // of libuv
};

static void on_event(uv_poll_t *poll, int status, int events);

static void handle_closed(struct fetcher *fetcher)
{
    if (--fetcher->handles == 0 && fetcher->on_closed)
        fetcher->on_closed(fetcher);
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    struct fetcher *fetcher = watch->fetcher;

    free(watch);
    handle_closed(fetcher);
}

static void on_timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void take_result(struct fetch *fetch, CURLcode error)
{
    struct fetch_result *result = &fetch->result;
    const char *redirect = NULL;
    long system_error = 0;

    result->error = fetch->full ? CURLE_OK : error;
    curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &result->status);
    curl_easy_getinfo(fetch->easy, CURLINFO_OS_ERRNO, &system_error);
    curl_easy_getinfo(fetch->easy, CURLINFO_REDIRECT_URL, &redirect);
    result->system_error = (int)system_error;
    if (redirect && strlen(redirect) < sizeof result->redirect)
        strcpy(result->redirect, redirect);
}

static void forget_easy(struct fetch *fetch)
{
    if (!fetch->easy)
        return;
    curl_multi_remove_handle(fetch->fetcher->multi, fetch->easy);
    curl_easy_cleanup(fetch->easy);
    curl_slist_free_all(fetch->fields);
    fetch->easy = NULL;
    fetch->fields = NULL;
}

static void deliver_done(struct fetcher *fetcher)
{
    const CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(fetcher->multi, &left))) {
        const CURLcode error = message->data.result;
        struct fetch *fetch = NULL;

        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&fetch);
        take_result(fetch, error);
        forget_easy(fetch);
        fetch->on_done(fetch); // which may free it
    }
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    const struct watch *watch = poll->data;
    struct fetcher *fetcher = watch->fetcher;
    int flags = 0, running;

    // An error of the socket, by which the handle is stopped. There may be an answer in front of
    // it.
    if (status < 0) {
        uv_poll_start(poll, watch->events, on_event);
        events = watch->events;
    }
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(fetcher->multi, watch->fd, flags, &running);
    deliver_done(fetcher);
}

static void on_time(uv_timer_t *timer)
{
    struct fetcher *fetcher = timer->data;
    int running;

    curl_multi_socket_action(fetcher->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    deliver_done(fetcher);
}

static int set_timer(CURLM *multi, long after_ms, void *data)
{
    struct fetcher *fetcher = data;

    (void)multi;
    if (after_ms < 0) {
        uv_timer_stop(&fetcher->timer);
    } else {
        uv_update_time(fetcher->loop);
        uv_timer_start(&fetcher->timer, on_time, (uint64_t)after_ms, 0);
    }
    return 0;
}

static struct watch *watch_new(struct fetcher *fetcher, curl_socket_t fd)
{
    struct watch *watch = memory_zeroed(sizeof *watch);

    watch->fetcher = fetcher;
    watch->fd = fd;
    watch->poll.data = watch;
    if (uv_poll_init_socket(fetcher->loop, &watch->poll, fd) != 0) {
        free(watch); // nothing is heard of it: the question's own limit ends it
        return NULL;
    }
    fetcher->handles++;
    curl_multi_assign(fetcher->multi, fd, watch);
    return watch;
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *assigned)
{
    struct fetcher *fetcher = data;
    struct watch *watch = assigned;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watch)
            uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
        curl_multi_assign(fetcher->multi, fd, NULL);
        return 0;
    }
    if (!watch)
        watch = watch_new(fetcher, fd);
    if (watch) {
        watch->events =
            (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
        uv_poll_start(&watch->poll, watch->events, on_event);
    }
    return 0;
}

void fetcher_init(struct fetcher *fetcher, uv_loop_t *loop)
{
    *fetcher = (struct fetcher){.loop = loop, .multi = curl_multi_init(), .handles = 1};
    if (!fetcher->multi)
        abort();
    uv_timer_init(loop, &fetcher->timer);
    fetcher->timer.data = fetcher;
    curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETDATA, fetcher);
    curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERDATA, fetcher);
    curl_multi_setopt(fetcher->multi, CURLMOPT_MAXCONNECTS, FETCHER_IDLE_MAX);
}

void fetcher_close(struct fetcher *fetcher, void (*on_closed)(struct fetcher *fetcher))
{
    fetcher->on_closed = on_closed;
    curl_multi_cleanup(fetcher->multi);
    fetcher->multi = NULL;
    uv_close((uv_handle_t *)&fetcher->timer, on_timer_closed);
}

// One line of a head at a time. Those of interim answers, which are none yet, come first.
static size_t on_head(char *data, size_t size, size_t count, void *owner)
{
    struct fetch *fetch = owner;
    const size_t len = size * count;
    long status = 0;

    curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &status);
    if (len > 0 && (data[0] == '\r' || data[0] == '\n'))
        fetch->result.complete = status >= 200;
    fetch->head_bytes += len;
    return fetch->head_bytes <= FETCH_HEAD_MAX_BYTES ? len : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *owner)
{
    struct fetch *fetch = owner;
    struct fetch_result *result = &fetch->result;
    const size_t len = size * count, room = fetch->request.answer_max_bytes - result->len;
    const size_t taken = len < room ? len : room;

    if (taken > 0) {
        if (!result->body)
            result->body = memory_get(fetch->request.answer_max_bytes);
        memcpy(result->body + result->len, data, taken);
        result->len += taken;
    }
    fetch->full = taken < len;
    return fetch->full ? 0 : len; // 0 ends the transfer
}

static int on_lookup(void *resolver, void *reserved, void *owner)
{
    struct fetch *fetch = owner;

    (void)resolver, (void)reserved;
    fetch->looked_up = true;
    return 0;
}

// The host has an address, and nobody waits for more.
static int on_socket(void *owner, curl_socket_t fd, curlsocktype purpose)
{
    const struct fetch *fetch = owner;

    (void)fd, (void)purpose;
    return fetch->abandoned ? CURL_SOCKOPT_ERROR : CURL_SOCKOPT_OK;
}

static void add_field(struct fetch *fetch, const char *field)
{
    struct curl_slist *longer = curl_slist_append(fetch->fields, field);

    if (!longer)
        abort();
    fetch->fields = longer;
}

static void set_transport(CURL *easy, const struct fetch_request *request)
{
    const bool secure = strncmp(request->url, "https:", 6) == 0;

    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, secure ? "https" : "http");
    if (request->socket) {
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, request->socket);
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    }
    if (request->ca_file) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file); // CAPATH stays the system's
        curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_S);
    }
}

static void set_easy(struct fetch *fetch)
{
    const struct fetch_request *request = &fetch->request;
    CURL *easy = fetch->easy;

    curl_easy_setopt(easy, CURLOPT_PRIVATE, fetch);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "derper");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    // A resolver that hangs must not be waited for when the question has ended.
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, on_lookup);
    curl_easy_setopt(easy, CURLOPT_RESOLVER_START_DATA, fetch);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, fetch);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, fetch->result.detail);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, fetch);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
    if (*request->body) {
        add_field(fetch, "Content-Type: application/json");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fetch->fields);
    }
    set_transport(easy, request);
}

void fetch_start(struct fetcher *fetcher, struct fetch *fetch, void (*on_done)(struct fetch *fetch))
{
    assert(!fetch->easy);
    free(fetch->result.body);
    fetch->result = (struct fetch_result){0};
    fetch->fetcher = fetcher;
    fetch->on_done = on_done;
    fetch->head_bytes = 0;
    fetch->full = fetch->looked_up = fetch->abandoned = false;
    fetch->easy = curl_easy_init();
    if (!fetch->easy)
        abort();
    set_easy(fetch);
    if (curl_multi_add_handle(fetcher->multi, fetch->easy) != CURLM_OK)
        abort();
}

bool fetch_resolving(const struct fetch *fetch)
{
    curl_off_t took_us = 0; // 0 until there is an address

    if (!fetch->easy || !fetch->looked_up || fetch->request.socket)
        return false;
    curl_easy_getinfo(fetch->easy, CURLINFO_NAMELOOKUP_TIME_T, &took_us);
    return took_us == 0;
}

void fetch_abandon(struct fetch *fetch)
{
    fetch->abandoned = true;
}

void fetch_end(struct fetch *fetch)
{
    forget_easy(fetch);
    free(fetch->result.body);
    fetch->result.body = NULL;
}
