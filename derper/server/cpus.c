// SPDX-License-Identifier: BSD-3-Clause
#include "server/cpus.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define CGROUP2_ROOT "/sys/fs/cgroup"
#define CGROUP1_QUOTA "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"
#define CGROUP1_PERIOD "/sys/fs/cgroup/cpu/cpu.cfs_period_us"

static bool read_text(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t n;

    if (!file)
        return false;
    n = fread(out, 1, size - 1, file);
    fclose(file);
    out[n] = '\0';
    return n > 0;
}

static size_t rounded_up(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    return (size_t)((quota + period - 1) / period);
}

size_t cpus_from_quota(const char *text)
{
    long long quota, period;

    if (sscanf(text, "%lld %lld", &quota, &period) != 2)
        return 0;
    return rounded_up(quota, period);
}

static size_t smaller(size_t a, size_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

// cgroup v2: the limits of our group and of those above it all hold. In a container ours is the
// root.
static size_t quota_v2(void)
{
    char groups[4096], path[4352], text[128];
    size_t least = 0;
    char *group, *slash;

    if (!read_text("/proc/self/cgroup", groups, sizeof groups))
        return 0;
    group = strstr(groups, "0::/");
    if (!group)
        return 0;
    group += 3;
    group[strcspn(group, "\n")] = '\0';
    do {
        snprintf(path, sizeof path, CGROUP2_ROOT "%s/cpu.max", group);
        if (read_text(path, text, sizeof text))
            least = smaller(least, cpus_from_quota(text));
        slash = strrchr(group, '/');
        if (slash)
            *slash = '\0';
    } while (slash);
    return least;
}

static size_t quota_v1(void)
{
    char text[64];
    long long quota = 0, period = 0;

    if (!read_text(CGROUP1_QUOTA, text, sizeof text) || sscanf(text, "%lld", &quota) != 1 ||
        !read_text(CGROUP1_PERIOD, text, sizeof text) || sscanf(text, "%lld", &period) != 1)
        return 0;
    return rounded_up(quota, period);
}

size_t cpus_usable(void)
{
    cpu_set_t set;
    size_t count = 0;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        count = (size_t)CPU_COUNT(&set);
    count = smaller(count, smaller(quota_v2(), quota_v1()));
    return count > 0 ? count : 1;
}
