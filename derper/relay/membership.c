// SPDX-License-Identifier: BSD-3-Clause
#include "relay/membership.h"

#include "base/log.h"
#include "relay/forward.h"
#include "relay/outgoing.h"

#include <sodium.h>

static struct log_limit refused_log = LOG_LIMIT_INIT;

// False when the key has too many connections.
static bool enter(struct client *client, const struct client_info *info)
{
    struct worker *worker = client->worker;
    struct client_handle first;
    bool full;

    if (!client->handle.generation)
        client->handle = slots_take(&worker->slots, (uint16_t)worker->index, client);
    client->dup =
        directory_add(&worker->relay->directory, &info->key, &client->handle, &first, &full);
    if (full)
        return false;
    client->key = info->key;
    client->can_ack_pings = info->can_ack_pings;
    client_set_state(client, CLIENT_UP);
    if (first.generation)
        forward_duplicate(worker, &first);
    count(&worker->counters.connections);
    counter_add(&worker->counters.logins_pending, -1);
    counter_add(&worker->counters.notideal_connections, client->not_ideal);
    return true;
}

static bool send_server_info(struct client *client, const uint8_t shared[static KEY_BYTES])
{
    uint8_t frame[LOGIN_SERVER_INFO_MAX_BYTES];

    return outgoing_control(client, frame,
                            login_put_server_info(frame, shared, &client->worker->limits), NULL, 0);
}

bool member_tell_limits(struct client *client)
{
    const struct relay_config *config = &client->worker->relay->config;
    uint8_t shared[KEY_BYTES];
    const bool told =
        login_shared_key(&config->key, &client->key, shared) && send_server_info(client, shared);

    sodium_memzero(shared, sizeof shared);
    return told;
}

static bool refuse(struct client *client, enum login_result why)
{
    count(&client->worker->counters.login_refused[why]);
    log_limited(&refused_log, "a login was refused: %s", login_result_name(why));
    client->end = CLIENT_END_LOGIN_REFUSED;
    return false;
}

bool member_open(struct client *client, const uint8_t *payload, size_t len, struct login *login)
{
    const struct relay_config *config = &client->worker->relay->config;
    enum login_result result;

    *login = (struct login){0};
    result = login_open_client_info(&config->key, payload, len, &login->info, login->shared);
    return result == LOGIN_OK || refuse(client, result);
}

bool member_join(struct client *client, const struct login *login)
{
    if (!enter(client, &login->info))
        return refuse(client, LOGIN_TOO_MANY);
    if (send_server_info(client, login->shared))
        return true;
    client->end = CLIENT_END_MEMORY;
    return false;
}

static void *merge(void *old, void *new)
{
    return sent_to_merge(old, new);
}

static void count_left(const struct client *client)
{
    struct relay_counters *counters = &client->worker->counters;

    counter_add(&counters->connections, -1);
    counter_add(&counters->home_connections, -(int64_t)client->home);
    counter_add(&counters->notideal_connections, -(int64_t)client->not_ideal);
}

// While other connections of the key are left, what this one has sent to is theirs to remember.
void member_leave(struct client *client)
{
    struct worker *worker = client->worker;
    struct sent_to *mine = client->sent_to;
    void *kept;

    client->sent_to = NULL;
    count_left(client);
    slots_give_back(&worker->slots, &client->handle);
    if (!directory_remove(&worker->relay->directory, &client->key, &client->handle, mine, merge,
                          &kept))
        return;
    mine = sent_to_merge(kept, mine);
    if (mine && !atomic_load_explicit(&worker->relay->stopping, memory_order_relaxed))
        for (size_t i = 0; i < mine->count; i++)
            forward_peer_gone(worker, mine->hashes[i], &client->key);
    sent_to_free(mine);
}
