// SPDX-License-Identifier: BSD-3-Clause
#include "prometheus.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_name(const char *at, bool colon)
{
    if (!isalpha((unsigned char)*at) && *at != '_' && !(colon && *at == ':'))
        return NULL;
    while (isalnum((unsigned char)*at) || *at == '_' || (colon && *at == ':'))
        at++;
    return at;
}

// One label: name="text", with no escapes but three.
static const char *skip_label(const char *at)
{
    at = skip_name(at, false);
    if (!at || strncmp(at, "=\"", 2) != 0)
        return NULL;
    for (at += 2; *at && *at != '"'; at++)
        if (*at == '\\' && !strchr("\\\"n", *++at))
            return NULL;
    return *at == '"' ? at + 1 : NULL;
}

static const char *skip_labels(const char *at)
{
    if (*at != '{')
        return at;
    do {
        at = skip_label(at + 1);
    } while (at && *at == ',');
    return at && *at == '}' ? at + 1 : NULL;
}

static bool name_is(const char *series, const char *family, size_t family_len, const char *suffix)
{
    const size_t suffix_len = strlen(suffix);
    const char end = series[family_len + suffix_len];

    return strncmp(series, family, family_len) == 0 &&
           strncmp(series + family_len, suffix, suffix_len) == 0 && (end == '\0' || end == '{');
}

// The sample belongs to the family whose TYPE line was the last one.
static bool in_last_family(const struct prometheus *page, const char *series)
{
    const char *family, *space;
    size_t len;

    if (page->family_count == 0)
        return false;
    family = page->families[page->family_count - 1];
    space = strchr(family, ' ');
    len = (size_t)(space - family);
    if (strcmp(space, " histogram") != 0)
        return name_is(series, family, len, "");
    return name_is(series, family, len, "_bucket") || name_is(series, family, len, "_sum") ||
           name_is(series, family, len, "_count");
}

static const char *read_type(struct prometheus *page, const char *line)
{
    const char *name = line + strlen("# TYPE ");
    const char *end = skip_name(name, true);

    if (!end || *end != ' ')
        return "bad name in a TYPE line";
    if (strcmp(end, " counter") != 0 && strcmp(end, " gauge") != 0 &&
        strcmp(end, " histogram") != 0)
        return "unknown type";
    for (size_t i = 0; i < page->family_count; i++)
        if (strncmp(page->families[i], name, (size_t)(end - name) + 1) == 0)
            return "family comes twice";
    snprintf(page->families[page->family_count++], PROMETHEUS_NAME_BYTES, "%s", name);
    return NULL;
}

static const char *read_sample(struct prometheus *page, const char *line)
{
    struct prometheus_sample *sample = &page->samples[page->count];
    const char *end = skip_name(line, true);
    char *number_end;

    end = end ? skip_labels(end) : NULL;
    if (!end || *end != ' ' || (size_t)(end - line) >= sizeof sample->series)
        return "bad name or labels";
    snprintf(sample->series, sizeof sample->series, "%.*s", (int)(end - line), line);
    sample->value = strtod(end + 1, &number_end);
    if (number_end == end + 1 || *number_end || isspace((unsigned char)end[1]))
        return "bad value";
    if (!in_last_family(page, sample->series))
        return "sample without its TYPE line in front";
    if (prometheus_value(page, sample->series) != -1)
        return "sample comes twice";
    if (strcmp(strchr(page->families[page->family_count - 1], ' '), " counter") == 0 &&
        !(sample->value >= 0))
        return "counter below zero";
    return ++page->count < PROMETHEUS_SAMPLES_MAX ? NULL : "too many samples";
}

// Buckets follow each other upwards, the last one is +Inf and equals the count.
static const char *check_histogram(const struct prometheus *page, const char *family, size_t len)
{
    double last = 0, infinite = -1, count = -1, sum = -1;

    for (size_t i = 0; i < page->count; i++) {
        const char *series = page->samples[i].series;
        const double value = page->samples[i].value;

        if (name_is(series, family, len, "_count"))
            count = value;
        else if (name_is(series, family, len, "_sum"))
            sum = value;
        else if (name_is(series, family, len, "_bucket") && value < last)
            return "buckets go down";
        else if (name_is(series, family, len, "_bucket"))
            last = value;
        if (name_is(series, family, len, "_bucket") && strstr(series, "{le=\"+Inf\"}"))
            infinite = value;
    }
    return infinite >= 0 && infinite == count && sum >= 0 && last == count ? NULL
                                                                           : "histogram incomplete";
}

static bool read_line(struct prometheus *page, const char *line, size_t len)
{
    if (len >= sizeof page->line) {
        page->fault = "line too long";
        return false;
    }
    memcpy(page->line, line, len);
    page->line[len] = '\0';
    page->fault = strncmp(page->line, "# TYPE ", 7) == 0 ? read_type(page, page->line)
                                                         : read_sample(page, page->line);
    return !page->fault;
}

bool prometheus_read(struct prometheus *page, const char *text, size_t len)
{
    const char *const end = text + len;

    memset(page, 0, sizeof *page);
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));

        if (!newline) {
            page->fault = "the last line has no end";
            return false;
        }
        if (!read_line(page, text, (size_t)(newline - text)))
            return false;
        text = newline + 1;
    }
    for (size_t i = 0; i < page->family_count && !page->fault; i++) {
        const char *space = strchr(page->families[i], ' ');

        if (strcmp(space, " histogram") == 0)
            page->fault =
                check_histogram(page, page->families[i], (size_t)(space - page->families[i]));
    }
    return !page->fault;
}

double prometheus_value(const struct prometheus *page, const char *series)
{
    for (size_t i = 0; i < page->count; i++)
        if (strcmp(page->samples[i].series, series) == 0)
            return page->samples[i].value;
    return -1;
}

const char *prometheus_type(const struct prometheus *page, const char *family)
{
    const size_t len = strlen(family);

    for (size_t i = 0; i < page->family_count; i++)
        if (strncmp(page->families[i], family, len) == 0 && page->families[i][len] == ' ')
            return page->families[i] + len + 1;
    return NULL;
}
