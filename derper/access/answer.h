// SPDX-License-Identifier: BSD-3-Clause
//
// What a source of admission (the allow-list, an agent, a URL) says about a client, or why it says
// nothing.
#ifndef DERPER_ACCESS_ANSWER_H
#define DERPER_ACCESS_ANSWER_H

enum access_reason {
    ACCESS_MEMBER,
    ACCESS_NOT_MEMBER,

    ACCESS_UNREACHABLE, // a URL's host
    ACCESS_TLS_FAILED,  // the certificate of a URL's host, most often
    ACCESS_CUT,         // the connection ended before an answer
    ACCESS_TIMED_OUT,

    ACCESS_BUSY,          // the query waited in our own line
    ACCESS_NO_SOCKET,     // an agent's
    ACCESS_NOT_LISTENING, // nobody behind an agent's socket
    ACCESS_NOT_PERMITTED, // to ask the agent
    ACCESS_TOO_OLD,       // the agent, for this question
    ACCESS_NOT_RUNNING,   // an agent that is there, but knows no network: starting, or logged out
    ACCESS_OFFLINE,       // an agent that its coordination server does not tell who is a member now
    ACCESS_BAD_STATUS,    // an answer of HTTP that is none to our question
    ACCESS_BAD_REDIRECT,
    ACCESS_BAD_ANSWER, // not HTTP, or a body that is not what was asked for
    ACCESS_REASONS
};

enum access_class {
    ACCESS_CLASS_YES,
    ACCESS_CLASS_NO,
    ACCESS_CLASS_SILENT, // no answer came: what --verify-client-url-fail-open is about
    ACCESS_CLASS_FAULT,  // any other answer, or a question that could not be asked
};

// A word with underscores, for counters.
const char *access_reason_name(enum access_reason reason);

enum access_class access_reason_class(enum access_reason reason);

#endif
