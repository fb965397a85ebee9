// SPDX-License-Identifier: BSD-3-Clause
#include "calls.h"

#include "base/counter.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS_MAX 64

// Each thread counts on lines of its own, so that counting shares nothing.
static struct mine {
    struct counter calls[CALLS];
} __attribute__((aligned(128))) threads[THREADS_MAX];

static atomic_size_t thread_count;

static void count(enum call call)
{
    static __thread struct mine *mine;

    if (!mine) {
        const size_t i = atomic_fetch_add(&thread_count, 1);

        if (i >= THREADS_MAX)
            abort();
        mine = &threads[i];
    }
    counter_add(&mine->calls[call], 1);
}

const char *calls_name(enum call call)
{
    static const char *const names[CALLS] = {
        [CALL_LOCK] = "locks",       [CALL_CONTENDED] = "contended", [CALL_WAIT] = "waits",
        [CALL_RECEIVE] = "receives", [CALL_SEND] = "sends",          [CALL_WAKE] = "wakes",
    };
    return names[call];
}

int64_t calls_total(enum call call)
{
    int64_t total = 0;

    for (size_t i = 0; i < THREADS_MAX; i++)
        total += counter_read(&threads[i].calls[call]);
    return total;
}

// The C library's own function behind the one of this name here.
#define NEXT(name)                 \
    static __typeof__(name) *next; \
    if (!next)                     \
    next = (__typeof__(next))dlsym(RTLD_NEXT, #name)

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    NEXT(pthread_mutex_lock);
    count(CALL_LOCK);
    if (pthread_mutex_trylock(mutex) == 0)
        return 0;
    count(CALL_CONTENDED);
    return next(mutex);
}

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    NEXT(recv);
    count(CALL_RECEIVE);
    return next(fd, data, len, flags);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    NEXT(send);
    count(CALL_SEND);
    return next(fd, data, len, flags);
}

int eventfd_write(int fd, eventfd_t value)
{
    NEXT(eventfd_write);
    count(CALL_WAKE);
    return next(fd, value);
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    NEXT(epoll_wait);
    if (timeout != 0)
        count(CALL_WAIT);
    return next(fd, events, max, timeout);
}
