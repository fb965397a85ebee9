// SPDX-License-Identifier: BSD-3-Clause
//
// What a process costs, as the kernel counts it: CPU time of all its threads, resident memory.
#ifndef LOAD_PROCESS_H
#define LOAD_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_THREADS_MAX 512

struct process_thread {
    pid_t id;
    uint64_t ran_ns, waited_ns;
};

struct process_cpu {
    struct process_thread threads[PROCESS_THREADS_MAX];
    int count;
    uint64_t ticks_ns; // user and system time of /proc/PID/stat, ended threads included
};

struct process_spent {
    uint64_t ran_ns;
    uint64_t waited_ns; // ready to run, but something else had the core
    bool by_schedstat;  // false: by the ticks of /proc/PID/stat, as a thread ended meanwhile
};

// False when the process is not there, or not ours to read.
bool process_cpu_read(pid_t pid, struct process_cpu *out);
void process_cpu_between(const struct process_cpu *before, const struct process_cpu *after,
                         struct process_spent *out);

// Resident bytes by smaps_rollup, else by statm. 0 when neither can be read.
uint64_t process_rss(pid_t pid);

// What the kernel has taken for the whole machine, and so for both ends of each connection.
struct process_kernel {
    uint64_t slab_bytes, slab_unreclaimable_bytes; // /proc/meminfo
    uint64_t tcp_buffer_bytes;                     // /proc/net/sockstat, in whole pages
};

// What cannot be read is 0.
void process_kernel_read(struct process_kernel *out);

#endif
