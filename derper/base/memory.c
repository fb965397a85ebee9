// SPDX-License-Identifier: BSD-3-Clause
#include "base/memory.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

static void *checked(void *memory, size_t size)
{
    if (!memory && size > 0) {
        log_warnx("out of memory: %zu bytes could not be had", size);
        abort();
    }
    return memory;
}

void *memory_get(size_t size)
{
    return checked(malloc(size), size);
}

void *memory_zeroed(size_t size)
{
    return checked(calloc(1, size), size);
}

void *memory_zeroed_aligned(size_t size, size_t alignment)
{
    return memset(checked(aligned_alloc(alignment, size), size), 0, size);
}

void *memory_resize(void *old, size_t size)
{
    return checked(realloc(old, size), size);
}
