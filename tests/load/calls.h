// SPDX-License-Identifier: BSD-3-Clause
//
// Counts what threads do to each other and to the kernel: calls that this program and its shared
// libraries make of the C library pass through here. For programs that are measured, not for tests.
#ifndef LOAD_CALLS_H
#define LOAD_CALLS_H

#include <stdint.h>

enum call {
    CALL_LOCK,      // pthread_mutex_lock
    CALL_CONTENDED, // of these, those that found the lock taken
    CALL_WAIT,      // epoll_wait that may sleep
    CALL_RECEIVE,   // recv
    CALL_SEND,      // send
    CALL_WAKE,      // eventfd_write
    CALLS
};

const char *calls_name(enum call call);

// Of all threads since the start.
int64_t calls_total(enum call call);

#endif
