// SPDX-License-Identifier: BSD-3-Clause
//
// Plain TCP on 127.0.0.1 for tests. Everything asserts.
#ifndef TEST_SUPPORT_LOOPBACK_H
#define TEST_SUPPORT_LOOPBACK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

// A bound socket that does not listen yet. `send_bytes` bounds the send buffers of connections that
// it accepts, 0 = the system's.
int loopback_bind(uint16_t *port, int send_bytes);

// A blocking connection; waits for a listener that is about to listen. `receive_bytes` bounds its
// receive buffer, 0 = the system's.
int loopback_connect(uint16_t port, int receive_bytes);

// Closes with a reset instead of an orderly end.
void loopback_reset(int fd);

// Open descriptors of the process.
size_t descriptors_open(void);

#endif
