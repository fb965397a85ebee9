// SPDX-License-Identifier: BSD-3-Clause
#include "access/answer.h"

const char *access_reason_name(enum access_reason reason)
{
    static const char *const names[ACCESS_REASONS] = {
        [ACCESS_MEMBER] = "member",
        [ACCESS_NOT_MEMBER] = "not_member",
        [ACCESS_UNREACHABLE] = "unreachable",
        [ACCESS_TLS_FAILED] = "tls_failed",
        [ACCESS_CUT] = "cut",
        [ACCESS_TIMED_OUT] = "timed_out",
        [ACCESS_BUSY] = "busy",
        [ACCESS_NO_SOCKET] = "no_socket",
        [ACCESS_NOT_LISTENING] = "not_listening",
        [ACCESS_NOT_PERMITTED] = "not_permitted",
        [ACCESS_TOO_OLD] = "too_old",
        [ACCESS_NOT_RUNNING] = "not_running",
        [ACCESS_OFFLINE] = "offline",
        [ACCESS_BAD_STATUS] = "bad_status",
        [ACCESS_BAD_REDIRECT] = "bad_redirect",
        [ACCESS_BAD_ANSWER] = "bad_answer",
    };
    return names[reason];
}

enum access_class access_reason_class(enum access_reason reason)
{
    switch (reason) {
    case ACCESS_MEMBER:
        return ACCESS_CLASS_YES;
    case ACCESS_NOT_MEMBER:
        return ACCESS_CLASS_NO;
    case ACCESS_UNREACHABLE:
    case ACCESS_TLS_FAILED:
    case ACCESS_CUT:
    case ACCESS_TIMED_OUT:
        return ACCESS_CLASS_SILENT;
    default:
        return ACCESS_CLASS_FAULT;
    }
}
