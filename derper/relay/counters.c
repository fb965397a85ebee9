// SPDX-License-Identifier: BSD-3-Clause
#include "relay/counters.h"

const char *packet_kind_name(enum packet_kind kind)
{
    return kind == PACKET_DISCO ? "disco" : "other";
}

const char *drop_reason_name(enum drop_reason reason)
{
    static const char *const names[DROP_REASONS] = {
        [DROP_UNKNOWN_DEST] = "unknown_dest",
        [DROP_UNKNOWN_DEST_ON_FWD] = "unknown_dest_on_fwd",
        [DROP_GONE_DISCONNECTED] = "gone_disconnected",
        [DROP_QUEUE_HEAD] = "queue_head",
        [DROP_QUEUE_TAIL] = "queue_tail",
        [DROP_QUEUE_CODEL] = "queue_codel",
        [DROP_QUEUE_AGE] = "queue_age",
        [DROP_QUEUE_MEMORY] = "queue_memory",
        [DROP_WRITE_ERROR] = "write_error",
        [DROP_DUP_CLIENT] = "dup_client",
    };
    return names[reason];
}

const char *client_end_name(enum client_end end)
{
    static const char *const names[CLIENT_ENDS] = {
        [CLIENT_END_EOF] = "closed_by_client",
        [CLIENT_END_RESET] = "connection_lost",
        [CLIENT_END_TLS] = "tls_failure",
        [CLIENT_END_LOGIN_TIMEOUT] = "login_timeout",
        [CLIENT_END_CROWDED_OUT] = "crowded_out",
        [CLIENT_END_LOGIN_REFUSED] = "login_refused",
        [CLIENT_END_NOT_ADMITTED] = "not_admitted",
        [CLIENT_END_NO_VERDICT] = "no_verdict",
        [CLIENT_END_WITHDRAWN] = "access_withdrawn",
        [CLIENT_END_BAD_FRAME] = "bad_frame",
        [CLIENT_END_NOT_MESH] = "not_mesh_peer",
        [CLIENT_END_WRITE_TIMEOUT] = "write_timeout",
        [CLIENT_END_WRITE_ERROR] = "write_error",
        [CLIENT_END_FRAME_TIMEOUT] = "frame_timeout",
        [CLIENT_END_MEMORY] = "memory",
        [CLIENT_END_SHUTDOWN] = "shutdown",
    };
    return names[end];
}
