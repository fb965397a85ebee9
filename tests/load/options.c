// SPDX-License-Identifier: BSD-3-Clause
#include "options.h"

#include "payload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const mode_names[] = {
    [MODE_RELAY] = "relay", [MODE_IDLE] = "idle", [MODE_LOGIN] = "login", [MODE_STORM] = "storm",
    [MODE_STUN] = "stun",   [MODE_ECHO] = "echo", [MODE_PASS] = "pass",
};
#define MODES (sizeof mode_names / sizeof mode_names[0])

enum kind { KIND_COUNT, KIND_REAL };

// Every option with a number, and its bounds.
static const struct {
    const char *name;
    enum kind kind;
    size_t offset;
    double least, most;
} numbers[] = {
    {"--pairs", KIND_COUNT, offsetof(struct options, pairs), 1, 9000},
    {"--payload", KIND_COUNT, offsetof(struct options, payload_bytes), PAYLOAD_MIN_BYTES,
     PAYLOAD_MAX_BYTES},
    {"--rate", KIND_COUNT, offsetof(struct options, rate), 0, 10000000},
    {"--burst", KIND_COUNT, offsetof(struct options, burst), 1, 64},
    {"--frames", KIND_COUNT, offsetof(struct options, frames), 1, 100000000},
    {"--clients", KIND_COUNT, offsetof(struct options, clients), 2, 19000},
    {"--logins", KIND_COUNT, offsetof(struct options, logins), 1, 1000000},
    {"--requests", KIND_COUNT, offsetof(struct options, requests), 1, 100000000},
    {"--window", KIND_COUNT, offsetof(struct options, window), 1, 64},
    {"--at-once", KIND_COUNT, offsetof(struct options, at_once), 1, 19000},
    {"--seconds", KIND_REAL, offsetof(struct options, seconds), 0.1, 600},
    {"--warmup", KIND_REAL, offsetof(struct options, warmup_s), 0, 60},
    {"--hold", KIND_REAL, offsetof(struct options, hold_s), 0, 3600},
    {"--memory", KIND_REAL, offsetof(struct options, memory_gib), 0.001, 1024},
};
#define NUMBERS (sizeof numbers / sizeof numbers[0])

void options_usage(FILE *out)
{
    fputs("usage: derper-load MODE --target IP:PORT [--pid PID] [OPTION VALUE]...\n"
          "\n"
          "Loads any DERP relay and prints one line of JSON. Ends with 0 when the run is valid,\n"
          "with 3 when it is not, with 1 when it could not be made.\n"
          "\n"
          "modes:\n"
          "  relay   pairs of clients, one sends, the other checks what arrives\n"
          "  idle    clients that send and receive once and then stay\n"
          "  login   TLS and DERP logins, one after another on several connections\n"
          "  storm   clients that lose their relay, and come back when it listens again\n"
          "  stun    STUN binding requests; the target is the UDP port\n"
          "  echo    a bare UDP echo on the target's address, until it is killed: what to measure\n"
          "          a STUN server against\n"
          "  pass    a bare passer of bytes on the target's address, until it is killed: what to\n"
          "          measure a relay against\n"
          "\n"
          "all modes:\n"
          "  --target IP:PORT  the relay\n"
          "  --ports LIST      connections go to these ports of the target in turn (relay, idle)\n"
          "  --host NAME       for the Host header (the target's IP)\n"
          "  --pid PID         the relay's process, on this machine: its CPU time and memory\n"
          "  --plain           no TLS\n"
          "  --suites LIST     TLS 1.3 suites in OpenSSL's words (AES-128-GCM first)\n"
          "  --upgrade         wait for the relay's 101, instead of a fast start\n"
          "  --at-once N       logins under way at the same time (32)\n"
          "\n"
          "relay:\n"
          "  --pairs N --payload BYTES --burst FRAMES   (16, 1200, 1 frame a write)\n"
          "  --rate N          frames a second in total (20000); 0: as fast as sockets take them\n"
          "  --seconds S --warmup S                     (5, 1: not counted)\n"
          "  --frames N        in all, with rate 0 (200000; the first tenth is warm-up)\n"
          "  --memory GIB      for records sealed ahead (4)\n"
          "  --bare            the target is a passer, not a relay: no TLS, no login\n"
          "\n"
          "idle:   --clients N --payload BYTES (2000, 1200)\n"
          "        --hold S    end by itself after S seconds (5), or sooner at SIGTERM or SIGINT\n"
          "login:  --logins N  in total (2000)\n"
          "storm:  --clients N --payload BYTES (2000, 1200) and no --pid: prints \"ready\" on\n"
          "        standard error when the relay may be killed and started again, on the same\n"
          "        port with the same key. All come back at once, unless --at-once is given.\n"
          "stun:   --requests N (200000) --window N in flight on each of 4 sockets (16)\n"
          "        --rate N    requests a second; 0: as the answers come (0)\n"
          "        --echo      the target is an echo, not a STUN server\n"
          "echo:   --pktinfo   with the control messages that name the address that was asked\n",
          out);
}

const char *options_mode_name(enum mode mode)
{
    return mode_names[mode];
}

static bool complain(const char *what, const char *value)
{
    fprintf(stderr, "derper-load: %s: %s\n", value, what);
    return false;
}

static bool parse_mode(struct options *options, const char *word)
{
    for (size_t i = 0; i < MODES; i++)
        if (strcmp(word, mode_names[i]) == 0) {
            options->mode = (enum mode)i;
            return true;
        }
    return complain("no such mode: relay, idle, login, storm, stun, echo or pass", word);
}

static bool parse_target(struct options *options, const char *text)
{
    struct conn_target *target = &options->target;
    const char *colon = strrchr(text, ':');
    char *end;
    unsigned long port;

    if (!colon || (size_t)(colon - text) >= sizeof target->host)
        return complain("the target must be IP:PORT", text);
    memcpy(target->host, text, (size_t)(colon - text));
    target->host[colon - text] = '\0';
    port = strtoul(colon + 1, &end, 10);
    if (inet_pton(AF_INET, target->host, &target->address.sin_addr) != 1 || *end || port == 0 ||
        port > 65535)
        return complain("the target must be IP:PORT", text);
    target->address.sin_family = AF_INET;
    target->address.sin_port = htons((uint16_t)port);
    return true;
}

static bool parse_ports(struct options *options, const char *text)
{
    struct conn_target *target = &options->target;

    for (const char *at = text; *at;) {
        char *end;
        const unsigned long port = strtoul(at, &end, 10);

        if (end == at || (*end && *end != ',') || port == 0 || port > 65535 ||
            target->port_count == CONN_PORTS_MAX)
            return complain("must be ports with commas between them", text);
        target->ports[target->port_count++] = (uint16_t)port;
        at = *end ? end + 1 : end;
    }
    return true;
}

static bool parse_number(struct options *options, size_t which, const char *text)
{
    char *end;
    double value;
    void *field = (char *)options + numbers[which].offset;

    errno = 0;
    value = strtod(text, &end);
    if (end == text || *end || errno || !(value >= numbers[which].least) ||
        value > numbers[which].most) {
        fprintf(stderr, "derper-load: %s %s: must be a number from %g to %g\n", numbers[which].name,
                text, numbers[which].least, numbers[which].most);
        return false;
    }
    if (numbers[which].kind == KIND_REAL)
        *(double *)field = value;
    else
        *(uint64_t *)field = (uint64_t)value;
    return true;
}

static bool parse_pid(struct options *options, const char *text)
{
    char *end;
    const long pid = strtol(text, &end, 10);

    if (*end || pid <= 0)
        return complain("no process id", text);
    options->pid = (pid_t)pid;
    return true;
}

static bool parse_host(struct options *options, const char *text)
{
    if (strlen(text) >= sizeof options->target.host)
        return complain("too long", text);
    strcpy(options->target.host, text);
    return true;
}

static bool parse_word(struct options *options, const char *name, const char *value)
{
    for (size_t i = 0; i < NUMBERS; i++)
        if (strcmp(name, numbers[i].name) == 0)
            return parse_number(options, i, value);
    if (strcmp(name, "--target") == 0)
        return parse_target(options, value);
    if (strcmp(name, "--ports") == 0)
        return parse_ports(options, value);
    if (strcmp(name, "--host") == 0)
        return parse_host(options, value);
    if (strcmp(name, "--pid") == 0)
        return parse_pid(options, value);
    if (strcmp(name, "--suites") != 0)
        return complain("unknown option", name);
    options->suites = value;
    return true;
}

static bool parse_flag(struct options *options, const char *name)
{
    if (strcmp(name, "--plain") == 0)
        options->plain = true;
    else if (strcmp(name, "--upgrade") == 0)
        options->target.fast_start = false;
    else if (strcmp(name, "--echo") == 0)
        options->echo = true;
    else if (strcmp(name, "--pktinfo") == 0)
        options->pktinfo = true;
    else if (strcmp(name, "--bare") == 0)
        options->bare = options->plain = options->target.bare = true;
    else
        return false;
    return true;
}

bool options_parse(struct options *options, int argc, char **argv)
{
    *options = (struct options){.target.fast_start = true,
                                .pairs = 16,
                                .payload_bytes = 1200,
                                .rate = UINT64_MAX,
                                .burst = 1,
                                .frames = 200000,
                                .clients = 2000,
                                .logins = 2000,
                                .requests = 200000,
                                .window = 16,
                                .seconds = 5,
                                .warmup_s = 1,
                                .hold_s = 5,
                                .memory_gib = 4};
    if (argc < 2)
        return complain("a mode is needed", "no arguments");
    if (!parse_mode(options, argv[1]))
        return false;
    for (int i = 2; i < argc; i++) {
        if (parse_flag(options, argv[i]))
            continue;
        if (i + 1 == argc)
            return complain("unknown, or its value is missing", argv[i]);
        if (!parse_word(options, argv[i], argv[i + 1]))
            return false;
        i++;
    }
    if (options->target.address.sin_port == 0)
        return complain("is needed", "--target");
    if (options->rate == UINT64_MAX)
        options->rate = options->mode == MODE_STUN ? 0 : 20000;
    if (options->at_once == 0)
        options->at_once = options->mode == MODE_STORM ? options->clients : 32;
    return true;
}
