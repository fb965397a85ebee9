// SPDX-License-Identifier: BSD-3-Clause
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define STALL_US 300000

const size_t worker_counts[WORKER_COUNTS] = {1, 2, 4};
const struct relay_config defaults;

int rig_setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); // as the program does
    return sodium_init() < 0;
}

static void upgrade(struct http_conn *conn, const struct http_request *request)
{
    struct rig *rig = http_data(conn);
    const char *preface = rig->preface ? PREFACE : "";

    if (http_text_is(&request->path, "/stall")) {
        usleep(STALL_US);
        http_respond(conn, &(struct http_response){.status = 204});
        return;
    }
    relay_accept_client(&rig->relay, http_take_stream(conn), preface, strlen(preface),
                        request->ideal_node.data != NULL);
}

void rig_start(struct rig *rig, size_t workers, const struct relay_config *wanted)
{
    struct relay_config config = *wanted;

    memset(rig, 0, sizeof *rig);
    rig->descriptors = descriptors_open();
    rig->service = (struct http_service){.handler = upgrade, .data = rig};
    key_pair_generate(&config.key);
    config.workers = workers;
    config.connections_max = 1000;
    config.queue_packets = config.queue_packets ? config.queue_packets : 1024;
    config.queue_bytes = config.queue_bytes ? config.queue_bytes : RELAY_QUEUE_BYTES_DEFAULT;
    config.waiting_bytes =
        config.waiting_bytes ? config.waiting_bytes : RELAY_WAITING_BYTES_DEFAULT;
    assert_int_equal(relay_start(&rig->relay, &config), 0);
    for (size_t i = 0; i < workers; i++)
        relay_listen(&rig->relay, i, loopback_bind(&rig->ports[i], SMALL_BUFFER),
                     &(struct relay_port){.service = &rig->service});
    key_pair_wipe(&config.key);
}

void rig_stop(struct rig *rig)
{
    const struct key_pair wiped = {.public = {{0}}};

    relay_stop(&rig->relay); // asserts that the directory is empty and that the loops close
    assert_memory_equal(&rig->relay.config.key.private, &wiped.private, sizeof wiped.private);
    assert_int_equal(rig->relay.directory.keys, 0);
    assert_int_equal(rig->relay.directory.dup_conns, 0);
    assert_int_equal(atomic_load(&rig->relay.budget.used), 0);
    assert_int_equal(descriptors_open(), rig->descriptors);
}

struct relay_snapshot snapshot(struct rig *rig)
{
    struct relay_snapshot out;

    relay_snapshot(&rig->relay, &out);
    return out;
}

void with_each(scenario run, const struct relay_config *config)
{
    for (size_t i = 0; i < WORKER_COUNTS; i++) {
        static struct rig rig;

        print_message("%zu workers\n", worker_counts[i]);
        rig_start(&rig, worker_counts[i], config);
        run(&rig);
        rig_stop(&rig);
    }
}

uint16_t port_of(const struct rig *rig, size_t i)
{
    return rig->ports[i % rig->relay.config.workers];
}

struct peer *peer_new(struct rig *rig, size_t worker, const struct key_pair *key)
{
    struct peer *peer = malloc(sizeof *peer);

    peer_login(peer, port_of(rig, worker), key);
    return peer;
}

void peer_free(struct peer *peer)
{
    peer_close(peer);
    free(peer);
}

struct peer *before_login(struct rig *rig, size_t worker)
{
    struct peer *peer = malloc(sizeof *peer);

    key_pair_generate(&peer->key);
    peer_connect(peer, port_of(rig, worker), 0);
    peer_send_request(peer);
    peer_receive_server_key(peer);
    return peer;
}

struct peer *slow_peer_new(struct rig *rig, size_t worker)
{
    struct peer *peer = malloc(sizeof *peer);
    uint8_t frame[512];

    key_pair_generate(&peer->key);
    peer_connect(peer, port_of(rig, worker), SMALL_BUFFER);
    peer_send_request(peer);
    peer_receive_server_key(peer);
    peer_send_bytes(peer, frame, peer_put_client_info(peer, "{\"version\":2}", frame));
    peer_receive_server_info(peer);
    return peer;
}

void expect_at(struct peer *sender, struct peer *at, const char *text)
{
    peer_send_packet(sender, &at->key.public, text, strlen(text));
    peer_expect_packet(at, &sender->key.public, text, strlen(text));
}

void stall(const struct rig *rig, size_t worker)
{
    struct peer *peer = malloc(sizeof *peer);

    peer_connect(peer, port_of(rig, worker), 0);
    peer_send_bytes(peer, STALL_REQUEST, strlen(STALL_REQUEST));
    usleep(STALL_US / 2);
    peer_close(peer);
    free(peer);
}
