// SPDX-License-Identifier: BSD-3-Clause
//
// Allocation of small bounded things: a process that cannot get them cannot go on, and says so.
#ifndef DERPER_BASE_MEMORY_H
#define DERPER_BASE_MEMORY_H

#include <stddef.h>

// Never NULL; the process ends with a message when memory is exhausted.
void *memory_get(size_t size);
void *memory_zeroed(size_t size);
void *memory_zeroed_aligned(size_t size, size_t alignment); // which divides the size
void *memory_resize(void *old, size_t size);

#endif
