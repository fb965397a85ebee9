// SPDX-License-Identifier: BSD-3-Clause
#include "server/admission_desk.h"

#include "access/agent.h"
#include "access/fetch.h"
#include "base/memory.h"
#include "server/go_duration.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECALL_MS 10000 // within it everybody is asked about, when a key was taken out of the list

// From a worker: a question, or that it is not interested any more.
struct desk_note {
    struct desk_note *next;
    struct client_handle client;
    bool cancels;
    struct key key;
    char address[INET6_ADDRSTRLEN];
};

// A client that is asked about.
struct visit {
    struct access_ask ask;
    struct admission_desk *desk;
    struct client_handle client;
};

// A worker's client, by slot.
struct place {
    struct visit *visit;     // while it is asked about
    uint32_t generation;     // whose past it is
    struct access_past past; // of the last verdict
};

struct desk_places {
    struct place *places;
    size_t capacity;
};

// --- On the workers' threads ---

static void post(struct admission_desk *desk, struct desk_note *note)
{
    bool first;

    note->next = NULL;
    pthread_mutex_lock(&desk->lock);
    first = !desk->first;
    if (first)
        desk->first = note;
    else
        desk->last->next = note;
    desk->last = note;
    pthread_mutex_unlock(&desk->lock);
    if (first)
        uv_async_send(&desk->wake);
}

static void post_question(void *desk, const struct client_handle *client, const struct key *key,
                          const char *address)
{
    struct desk_note *note = memory_zeroed(sizeof *note);

    note->client = *client;
    note->key = *key;
    snprintf(note->address, sizeof note->address, "%s", address);
    post(desk, note);
}

static void post_cancel(void *desk, const struct client_handle *client)
{
    struct desk_note *note = memory_zeroed(sizeof *note);

    note->client = *client;
    note->cancels = true;
    post(desk, note);
}

// --- On the main thread ---

static struct place *place_of(struct admission_desk *desk, const struct client_handle *client)
{
    struct desk_places *mine = &desk->places[client->worker];

    if (client->slot >= mine->capacity) {
        const size_t capacity = (size_t)client->slot * 2 + 64;

        mine->places = memory_resize(mine->places, capacity * sizeof *mine->places);
        memset(mine->places + mine->capacity, 0,
               (capacity - mine->capacity) * sizeof *mine->places);
        mine->capacity = capacity;
    }
    return &mine->places[client->slot];
}

static void on_verdict(struct access_ask *ask, enum access_verdict verdict)
{
    static const enum admission_verdict verdicts[ACCESS_VERDICTS] = {
        [ACCESS_ALLOWED] = ADMISSION_ALLOWED,
        [ACCESS_REFUSED] = ADMISSION_REFUSED,
        [ACCESS_UNANSWERED] = ADMISSION_UNANSWERED,
    };
    struct visit *visit = list_entry(ask, struct visit, ask);
    struct place *place = place_of(visit->desk, &visit->client);

    place->visit = NULL;
    place->generation = visit->client.generation;
    place->past = ask->past;
    relay_admit(visit->desk->relay, &visit->client, verdicts[verdict]);
    free(visit);
}

static void end_visit(struct place *place)
{
    access_cancel(&place->visit->ask);
    free(place->visit);
    place->visit = NULL;
}

static void take_note(struct admission_desk *desk, const struct desk_note *note)
{
    struct place *place = place_of(desk, &note->client);
    struct visit *visit = place->visit;

    if (note->cancels) {
        if (visit && client_handle_equal(&visit->client, &note->client))
            end_visit(place);
        return;
    }
    assert(!visit); // the last one has had its verdict, or was cancelled
    place->visit = visit = memory_zeroed(sizeof *visit);
    visit->desk = desk;
    visit->client = note->client;
    access_ask(desk->access, &visit->ask, &note->key, note->address,
               place->generation == note->client.generation ? &place->past : NULL, on_verdict);
}

static struct desk_note *take_notes(struct admission_desk *desk)
{
    struct desk_note *notes;

    pthread_mutex_lock(&desk->lock);
    notes = desk->first;
    desk->first = desk->last = NULL;
    pthread_mutex_unlock(&desk->lock);
    return notes;
}

static void on_wake(uv_async_t *wake)
{
    struct admission_desk *desk = wake->data;
    struct desk_note *note = take_notes(desk);

    while (note) {
        struct desk_note *next = note->next;

        take_note(desk, note);
        free(note);
        note = next;
    }
}

// --- From outside ---

static void on_removal(void *data)
{
    const struct admission_desk *desk = data;

    relay_recheck(desk->relay, RECALL_MS);
}

static void configure(struct access_config *config, const struct options *options, uv_loop_t *loop)
{
    static const char *const default_sockets[] = {AGENT_SOCKET_DEFAULT};
    const bool given = options->sockets.count > 0;

    *config = (struct access_config){
        .loop = loop,
        .allow_keys = *options->allow_keys ? options->allow_keys : NULL,
        .urls = options->verify_client_urls.items,
        .url_count = options->verify_client_urls.count,
        .ca_file = *options->verify_client_ca ? options->verify_client_ca : NULL,
        .fail_open = options->verify_client_url_fail_open,
        .grace_ms = (uint64_t)duration_ms_up(options->verify_grace_ns),
    };
    if (options->verify_clients) {
        config->sockets = given ? options->sockets.items : default_sockets;
        config->socket_count = given ? options->sockets.count : 1;
        config->watch_agents = true;
    }
}

bool desk_wanted(const struct options *options)
{
    return options->verify_clients || options->verify_client_urls.count > 0 || *options->allow_keys;
}

bool desk_check(const struct options *options, char *error, size_t size)
{
    struct access_config config;

    configure(&config, options, NULL);
    return access_check_files(&config, error, size);
}

bool desk_open(struct admission_desk *desk, const struct options *options, struct relay *relay,
               size_t workers, uv_loop_t *loop, char *error, size_t size)
{
    struct access_config config;

    configure(&config, options, loop);
    config.on_removal = on_removal;
    config.data = desk;
    desk->access = access_new(&config, error, size);
    if (!desk->access)
        return false;
    desk->admission = (struct admission){desk, post_question, post_cancel};
    desk->relay = relay;
    desk->workers = workers;
    desk->places = memory_zeroed(workers * sizeof *desk->places);
    pthread_mutex_init(&desk->lock, NULL);
    uv_async_init(loop, &desk->wake, on_wake);
    desk->wake.data = desk;
    return true;
}

int desk_descriptors(const struct options *options)
{
    struct access_config config;

    configure(&config, options, NULL);
    if (config.socket_count + config.url_count == 0)
        return 0;
    return (int)config.socket_count * (SOURCE_OPEN_MAX + 1) +
           (int)config.url_count * SOURCE_OPEN_MAX * FETCH_DESCRIPTORS +
           (config.url_count > 0 ? (int)FETCHER_IDLE_MAX : 0) + FETCHER_DESCRIPTORS;
}

bool desk_health(void *data, char *why, size_t size)
{
    const struct admission_desk *desk = data;

    return !desk->access || access_health(desk->access, why, size);
}

bool desk_reload(struct admission_desk *desk)
{
    return desk->access && access_reload(desk->access, "SIGHUP");
}

static void on_closed(uv_handle_t *handle)
{
    struct admission_desk *desk = handle->data;

    for (size_t i = 0; i < desk->workers; i++)
        free(desk->places[i].places);
    free(desk->places);
    pthread_mutex_destroy(&desk->lock);
}

void desk_close(struct admission_desk *desk)
{
    struct desk_note *note;

    if (!desk->access)
        return;
    for (note = take_notes(desk); note;) {
        struct desk_note *next = note->next;

        free(note);
        note = next;
    }
    for (size_t i = 0; i < desk->workers; i++)
        for (size_t j = 0; j < desk->places[i].capacity; j++)
            if (desk->places[i].places[j].visit)
                end_visit(&desk->places[i].places[j]);
    access_close(desk->access);
    uv_close((uv_handle_t *)&desk->wake, on_closed);
}
