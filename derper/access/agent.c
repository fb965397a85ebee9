// SPDX-License-Identifier: BSD-3-Clause
#include "access/agent.h"

#include "base/text.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define HOST "http://local-tailscaled.sock"   // its LocalAPI insists on this name
#define STATUS_MAX_BYTES ((size_t)128 * 1024) // its own node with all capabilities is in it

static void ask(struct fetch_request *request, const char *socket, size_t answer_max_bytes)
{
    request->body[0] = '\0';
    request->socket = socket;
    request->ca_file = NULL;
    request->answer_max_bytes = answer_max_bytes;
}

void agent_ask(struct fetch_request *request, const char *socket, const struct key *key)
{
    char name[KEY_NAME_CHARS + 1];

    key_name(key, name);
    snprintf(request->url, sizeof request->url, HOST "/localapi/v0/whois?addr=%s", name);
    ask(request, socket, 0); // the status says it all
}

void agent_ask_status(struct fetch_request *request, const char *socket)
{
    snprintf(request->url, sizeof request->url, HOST "/localapi/v0/status?peers=false");
    ask(request, socket, STATUS_MAX_BYTES);
}

static enum access_reason judge_failure(const struct fetch_result *result)
{
    if (result->error == CURLE_COULDNT_CONNECT) {
        switch (result->system_error) {
        case ENOENT:
        case ENOTDIR:
            return ACCESS_NO_SOCKET;
        case EACCES:
        case EPERM:
            return ACCESS_NOT_PERMITTED;
        default:
            return ACCESS_NOT_LISTENING;
        }
    }
    if (result->error == CURLE_UNSUPPORTED_PROTOCOL || result->error == CURLE_WEIRD_SERVER_REPLY ||
        result->error == CURLE_WRITE_ERROR)
        return ACCESS_BAD_ANSWER;
    return ACCESS_CUT;
}

enum access_reason agent_judge(const struct fetch_result *result)
{
    if (!result->complete)
        return judge_failure(result);
    switch (result->status) {
    case 200:
        return ACCESS_MEMBER;
    case 404:
        return ACCESS_NOT_MEMBER;
    case 400:
        return ACCESS_TOO_OLD;
    case 403:
        return ACCESS_NOT_PERMITTED;
    default:
        return ACCESS_BAD_STATUS;
    }
}

static void read_self(const json_t *status, struct key *self)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(status, "Self"), "PublicKey"));

    if (text)
        key_from_name(self, text, strlen(text));
}

// "Running" alone says little: after a start it may come from a network map of the disk, with no
// peers in it. An agent that tells no "Online" is older than that.
static enum access_reason judge_state(const json_t *status)
{
    const char *state = json_string_value(json_object_get(status, "BackendState"));

    if (!state)
        return ACCESS_BAD_ANSWER;
    if (strcmp(state, "Running") != 0)
        return ACCESS_NOT_RUNNING;
    return json_is_false(json_object_get(json_object_get(status, "Self"), "Online"))
               ? ACCESS_OFFLINE
               : ACCESS_NOT_MEMBER;
}

enum access_reason agent_judge_status(const struct fetch_result *result, struct key *self)
{
    enum access_reason reason;
    json_t *status;

    if (self)
        *self = (struct key){{0}};
    if (!result->complete || result->error != CURLE_OK)
        return judge_failure(result);
    if (result->status != 200)
        return ACCESS_BAD_STATUS;
    status = json_loadb(result->body ? result->body : "", result->len, 0, NULL);
    reason = judge_state(status);
    if (self)
        read_self(status, self);
    json_decref(status);
    return reason;
}

void agent_explain(char *out, size_t size, enum access_reason reason, const char *socket,
                   const struct fetch_result *result)
{
    switch (reason) {
    case ACCESS_NO_SOCKET:
        snprintf(out, size,
                 "there is no tailscaled socket %s: start tailscaled, name its socket with "
                 "--socket, or, in a container, mount the socket's folder",
                 socket);
        break;
    case ACCESS_NOT_LISTENING:
        snprintf(out, size,
                 "nobody listens on the tailscaled socket %s: start tailscaled; in a container, "
                 "mount the socket's folder and not the socket, which is a new file each time "
                 "tailscaled starts",
                 socket);
        break;
    case ACCESS_NOT_PERMITTED:
        snprintf(out, size,
                 "tailscaled (%s) does not permit this user to ask: run the relay as root, or make "
                 "its user the operator (tailscale set --operator=USER)",
                 socket);
        break;
    case ACCESS_TOO_OLD:
        snprintf(out, size, "tailscaled (%s) is too old to be asked for node keys: update it",
                 socket);
        break;
    case ACCESS_NOT_RUNNING:
        snprintf(out, size,
                 "tailscaled (%s) runs, but is connected to no network, so it knows nobody: see "
                 "\"tailscale status\", and log it in with \"tailscale up\"",
                 socket);
        break;
    case ACCESS_OFFLINE:
        snprintf(out, size,
                 "tailscaled (%s) does not reach its coordination server, so whom it does not know "
                 "may be a member all the same: see \"tailscale status\", and whether Headscale "
                 "runs",
                 socket);
        break;
    case ACCESS_TIMED_OUT:
        snprintf(out, size, "tailscaled (%s) took the question and did not answer: restart it",
                 socket);
        break;
    case ACCESS_CUT:
        snprintf(out, size,
                 "tailscaled (%s) closed the connection before it answered: it is restarting, or "
                 "its log says why",
                 socket);
        break;
    case ACCESS_BUSY:
        snprintf(out, size,
                 "tailscaled (%s) answers too slowly for all who ask: what comes again is asked "
                 "again",
                 socket);
        break;
    case ACCESS_BAD_STATUS:
        snprintf(out, size,
                 "tailscaled (%s) answered with HTTP status %ld, which is none of those it should: "
                 "is this tailscaled's socket, and what does its log say?",
                 socket, result->status);
        break;
    default:
        snprintf(out, size,
                 "what answers on %s does not speak as tailscaled does: give tailscaled's socket "
                 "with --socket",
                 socket);
        break;
    }
}
