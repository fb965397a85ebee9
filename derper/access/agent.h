// SPDX-License-Identifier: BSD-3-Clause
//
// Asking tailscaled who a node key belongs to, over the Unix socket of its LocalAPI. Pure: what to
// ask, and what an answer means.
#ifndef DERPER_ACCESS_AGENT_H
#define DERPER_ACCESS_AGENT_H

#include "access/answer.h"
#include "access/fetch.h"
#include "base/key.h"

#define AGENT_SOCKET_DEFAULT "/var/run/tailscale/tailscaled.sock"

void agent_ask(struct fetch_request *request, const char *socket, const struct key *key);

// ACCESS_NOT_MEMBER is not the last word: an agent that is starting, or logged out, knows nobody.
// So it is asked how it is and, as it may have come up meanwhile, about the key once more.
enum access_reason agent_judge(const struct fetch_result *result);

void agent_ask_status(struct fetch_request *request, const char *socket);

// ACCESS_NOT_MEMBER when it runs and can know, otherwise what is wrong with it or its answer.
// `self`, the agent's own key, may be NULL; all zero when it has none.
enum access_reason agent_judge_status(const struct fetch_result *result, struct key *self);

// A sentence without a full stop: what is wrong with the agent, and what to do.
void agent_explain(char *out, size_t size, enum access_reason reason, const char *socket,
                   const struct fetch_result *result);

#endif
