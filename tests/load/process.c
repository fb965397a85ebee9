// SPDX-License-Identifier: BSD-3-Clause
#include "process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 320
#define NS_PER_SECOND 1000000000ULL

static bool read_thread(pid_t pid, const char *name, struct process_thread *out)
{
    char path[PATH_BYTES];
    FILE *file;
    int fields;

    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, name);
    file = fopen(path, "re");
    if (!file)
        return false;
    fields = fscanf(file, "%" SCNu64 " %" SCNu64, &out->ran_ns, &out->waited_ns);
    fclose(file);
    out->id = (pid_t)atoi(name);
    return fields == 2;
}

static bool read_threads(pid_t pid, struct process_cpu *out)
{
    char path[PATH_BYTES];
    struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    folder = opendir(path);
    if (!folder)
        return false;
    out->count = 0;
    while ((entry = readdir(folder)) && out->count < PROCESS_THREADS_MAX)
        if (entry->d_name[0] != '.' && read_thread(pid, entry->d_name, &out->threads[out->count]))
            out->count++;
    closedir(folder);
    return true;
}

static bool read_ticks(pid_t pid, uint64_t *out)
{
    char path[PATH_BYTES], line[1024];
    const char *at;
    uint64_t user, system;
    size_t n;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    n = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[n] = '\0';
    at = strrchr(line, ')'); // the name in front may hold anything
    if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
                      &user, &system) != 2)
        return false;
    *out = (user + system) * (NS_PER_SECOND / (uint64_t)sysconf(_SC_CLK_TCK));
    return true;
}

bool process_cpu_read(pid_t pid, struct process_cpu *out)
{
    return read_threads(pid, out) && read_ticks(pid, &out->ticks_ns);
}

static const struct process_thread *find(const struct process_cpu *cpu, pid_t id)
{
    for (int i = 0; i < cpu->count; i++)
        if (cpu->threads[i].id == id)
            return &cpu->threads[i];
    return NULL;
}

void process_cpu_between(const struct process_cpu *before, const struct process_cpu *after,
                         struct process_spent *out)
{
    *out = (struct process_spent){.by_schedstat = after->count > 0};
    for (int i = 0; i < after->count; i++) {
        out->ran_ns += after->threads[i].ran_ns;
        out->waited_ns += after->threads[i].waited_ns;
    }
    for (int i = 0; i < before->count; i++) {
        if (!find(after, before->threads[i].id)) {
            *out = (struct process_spent){.ran_ns = after->ticks_ns - before->ticks_ns};
            return;
        }
        out->ran_ns -= before->threads[i].ran_ns;
        out->waited_ns -= before->threads[i].waited_ns;
    }
    if (!out->by_schedstat)
        out->ran_ns = after->ticks_ns - before->ticks_ns;
}

// A line "NAME:  123 kB" of a file of /proc, in bytes.
static uint64_t read_kilobytes(const char *path, const char *name)
{
    char line[256];
    uint64_t value = 0;
    FILE *file = fopen(path, "re");

    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0) {
            value = strtoull(line + strlen(name), NULL, 10) * 1024;
            break;
        }
    fclose(file);
    return value;
}

static uint64_t rss_by_statm(pid_t pid)
{
    char path[PATH_BYTES];
    uint64_t pages = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%*u %" SCNu64, &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t process_rss(pid_t pid)
{
    char path[PATH_BYTES];
    uint64_t bytes;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    bytes = read_kilobytes(path, "Rss:");
    return bytes ? bytes : rss_by_statm(pid);
}

// A line "TCP: inuse 4 orphan 0 tw 0 alloc 6 mem 1": the last number, in pages.
static uint64_t read_tcp_pages(void)
{
    char line[256];
    uint64_t pages = 0;
    FILE *file = fopen("/proc/net/sockstat", "re");

    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "TCP: inuse %*u orphan %*u tw %*u alloc %*u mem %" SCNu64, &pages) == 1)
            break;
    fclose(file);
    return pages;
}

void process_kernel_read(struct process_kernel *out)
{
    *out = (struct process_kernel){
        .slab_bytes = read_kilobytes("/proc/meminfo", "Slab:"),
        .slab_unreclaimable_bytes = read_kilobytes("/proc/meminfo", "SUnreclaim:"),
        .tcp_buffer_bytes = read_tcp_pages() * (uint64_t)sysconf(_SC_PAGESIZE),
    };
}
