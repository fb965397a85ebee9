// SPDX-License-Identifier: BSD-3-Clause
#include "relay/admission.h"

#include "base/memory.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static void ask(struct client *client, const struct key *key)
{
    const struct admission *admission = client->worker->relay->config.admission;
    char address[INET6_ADDRSTRLEN];

    stream_peer_text(client->stream, address);
    client->asked = true;
    admission->ask(admission->data, &client->handle, key, address);
}

void admission_begin(struct client *client, const struct login *login)
{
    struct worker *worker = client->worker;

    client->handle = slots_take(&worker->slots, (uint16_t)worker->index, client);
    client->asking = memory_zeroed(sizeof *client->asking);
    client->asking->login = *login;
    worker->kept_bytes += sizeof *client->asking;
    client_set_state(client, CLIENT_ASKING);
    stream_establish(client->stream); // it waits for us, not we for it
    stream_pause(client->stream);
    io_context_arm(&worker->io, &client->timer, ADMISSION_LIMIT_MS);
    ask(client, &login->info.key);
}

void admission_keep(struct client *client, const uint8_t *data, size_t len)
{
    struct asking *asking = client->asking;

    if (len == 0)
        return;
    asking->kept = memory_resize(asking->kept, asking->len + len);
    memcpy(asking->kept + asking->len, data, len);
    asking->len += len;
    client->worker->kept_bytes += len;
}

struct asking *admission_end(struct client *client)
{
    const struct admission *admission = client->worker->relay->config.admission;
    struct asking *asking = client->asking;

    if (client->asked)
        admission->cancel(admission->data, &client->handle);
    client->asked = false;
    if (asking)
        client->worker->kept_bytes -= sizeof *asking + asking->len;
    client->asking = NULL;
    return asking;
}

void admission_free(struct asking *asking)
{
    if (!asking)
        return;
    free(asking->kept);
    sodium_memzero(asking, sizeof *asking);
    free(asking);
}

void admission_recheck(struct client *client)
{
    const uint32_t recheck_ms = client->worker->relay->config.recheck_ms;

    client->recheck_at_ms += recheck_ms;
    client->rechecked = recheck_ms > 0;
    if (!client->asked)
        ask(client, &client->key);
}
