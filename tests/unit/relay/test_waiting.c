// SPDX-License-Identifier: BSD-3-Clause
//
// The bound of what waits on a worker, with thousands of clients that do not read. The worker's
// loop runs on the test's thread, a turn at a time, and its clients are one end of socket pairs.
#include "relay/outgoing.h"

#include "../support/peer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "io/engine.h"
#include "relay/admission.h"
#include "relay/client.h"
#include "relay/worker.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAITING ((size_t)8 * 1024 * 1024)
#define MANY 2000
#define SMALL_BUFFER 4096
#define LARGEST (FRAME_HEADER_BYTES + FRAME_SEND_MAX_BYTES)

static struct relay relay;
static struct worker *worker;
static int far_ends[MANY + 16]; // the peers' sockets
static size_t clients;
static int64_t given; // packets

static void start(void)
{
    memset(&relay, 0, sizeof relay);
    relay.config = (struct relay_config){.workers = 1,
                                         .queue_packets = RELAY_QUEUE_PACKETS_DEFAULT,
                                         .queue_bytes = RELAY_QUEUE_BYTES_DEFAULT,
                                         .waiting_bytes = WAITING};
    key_pair_generate(&relay.config.key);
    directory_init(&relay.directory);
    worker = memory_zeroed_aligned(sizeof *worker, _Alignof(struct worker));
    relay.workers = &worker;
    assert_int_equal(worker_init(worker, &relay, 0), 0);
    clients = given = 0;
}

static void turn(void)
{
    uv_run(&worker->loop, UV_RUN_NOWAIT);
}

static void stop(void)
{
    for (size_t i = 0; i < clients; i++)
        close(far_ends[i]);
    worker_stop(worker);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    assert_int_equal(outgoing_waiting_bytes(worker), 0);
    assert_int_equal(worker->client_count, 0);
    worker_deinit(worker);
    free(worker);
    directory_deinit(&relay.directory);
}

static struct client *knock(void)
{
    const int bytes = SMALL_BUFFER;
    struct stream *stream;
    int fds[2];

    assert_true(clients < sizeof far_ends / sizeof far_ends[0]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    far_ends[clients++] = fds[1];
    stream = stream_accept(&worker->io, fds[0], false, NULL, NULL);
    assert_non_null(stream);
    client_start(worker, stream, NULL, 0, false);
    return list_entry(worker->clients.prev, struct client, node);
}

static struct client *join(void)
{
    struct client *client = knock();

    stream_establish(client->stream); // what newcomers hold does not count
    return client;
}

static void send_to_relay(size_t i, const void *bytes, size_t len)
{
    assert_int_equal(send(far_ends[i], bytes, len, MSG_NOSIGNAL), len);
}

static void log_in(size_t i)
{
    static struct peer peer;
    uint8_t frame[512];

    key_pair_generate(&peer.key);
    peer.server = relay.config.key.public;
    send_to_relay(i, frame, peer_put_client_info(&peer, "{\"version\":2}", frame));
}

// Each turn has time for some of them.
static void log_all_in(void)
{
    for (size_t i = 0; i <= clients; i++)
        turn();
    assert_int_equal(counter_read(&worker->counters.connections), clients);
}

static int64_t dropped(enum drop_reason reason)
{
    return counter_read(&worker->counters.packets_dropped[reason][PACKET_DISCO]) +
           counter_read(&worker->counters.packets_dropped[reason][PACKET_OTHER]);
}

static int64_t closed_for_memory(void)
{
    return counter_read(&worker->counters.client_ends[CLIENT_END_MEMORY]);
}

// Never more than twice what may wait, and what sealing adds.
static void assert_bounded(void)
{
    assert_true(outgoing_waiting_bytes(worker) <= 2 * WAITING + 2 * WAITING / 100 * 3);
}

static void give(struct client *client, enum packet_kind kind, size_t payload)
{
    static uint8_t frame[LARGEST];

    frame_put_header(frame, FRAME_RECV_PACKET, (uint32_t)payload);
    outgoing_packet(client, kind, frame, FRAME_HEADER_BYTES + payload);
    given++;
    assert_bounded();
}

typedef void (*client_fn)(struct client *client);

static void with_each_client(client_fn run)
{
    for (struct list *node = worker->clients.next; node != &worker->clients; node = node->next)
        run(list_entry(node, struct client, node));
}

static const struct client *reader;

static void give_large_ones(struct client *client)
{
    if (client == reader)
        return;
    give(client, PACKET_OTHER, FRAME_SEND_MAX_BYTES);
    give(client, PACKET_OTHER, FRAME_SEND_MAX_BYTES);
    give(client, PACKET_DISCO, FRAME_SEND_MAX_BYTES);
    give(client, PACKET_DISCO, FRAME_SEND_MAX_BYTES);
}

static void check_after_turn(void)
{
    size_t held = 0;

    assert_true(outgoing_waiting_bytes(worker) <= WAITING + WAITING / 2);
    assert_int_equal(counter_read(&worker->counters.waiting_bytes), outgoing_waiting_bytes(worker));
    for (struct list *node = worker->clients.next; node != &worker->clients; node = node->next)
        held += outgoing_held_bytes(list_entry(node, struct client, node));
    assert_int_equal(held, outgoing_waiting_bytes(worker));
}

// Each holds on to what one client may, all in one turn, again and again.
static void test_many_that_do_not_read(void **state)
{
    int64_t lost = 0;

    (void)state;
    start();
    for (size_t i = 0; i < MANY; i++)
        join();
    turn();
    for (int round = 0; round < 5; round++) {
        with_each_client(give_large_ones);
        turn();
        check_after_turn();
    }
    assert_true(closed_for_memory() > 0);
    assert_true(closed_for_memory() < MANY);
    turn();
    while (!list_empty(&worker->clients))
        client_close(list_entry(worker->clients.next, struct client, node), CLIENT_END_EOF);
    for (int reason = 0; reason < DROP_REASONS; reason++)
        lost += dropped(reason);
    assert_int_equal(counter_read(&worker->counters.packets_sent) + lost, given);
    stop();
}

// While others hold all that they can, who reads gets every packet.
static void test_who_reads_loses_nothing(void **state)
{
    struct client *client;
    size_t got = 0, sent = 0;
    uint8_t bytes[8192];
    ssize_t n;

    (void)state;
    start();
    reader = client = join();
    for (size_t i = 1; i < MANY; i++)
        join();
    turn();
    assert_true(recv(far_ends[0], bytes, sizeof bytes, 0) > 0); // the relay's key
    for (int round = 0; round < 300; round++) {
        if (round % 100 == 0)
            with_each_client(give_large_ones);
        else
            for (int i = 0; i < 2; i++, sent += 1237)
                give(client, PACKET_OTHER, 1237 - FRAME_HEADER_BYTES);
        turn();
        while ((n = recv(far_ends[0], bytes, sizeof bytes, 0)) > 0)
            got += (size_t)n;
    }
    assert_int_equal(got, sent);
    assert_true(outgoing_waiting_bytes(worker) >= WAITING / 2);
    assert_true(closed_for_memory() > 0);
    reader = NULL;
    stop();
}

// Reads at least so much, as far as it comes. Returns how much that is.
static size_t read_some(size_t i, size_t most)
{
    uint8_t bytes[2048];
    size_t got = 0;

    for (int tries = 0; got < most && tries < 10; tries++) {
        const ssize_t n = recv(far_ends[i], bytes, sizeof bytes, 0);

        if (n > 0) {
            got += (size_t)n;
            tries = 0;
        }
        turn();
    }
    return got;
}

// A client that goes amid a write: what the kernel has is sent, the rest is lost, each of its kind.
static void test_lost_amid_a_write(void **state)
{
    static const size_t read_bytes[] = {0, 8000, 20000, 40000, 60000};
    enum { DISCO = 20, OTHER = 60, FRAME_BYTES = 1000 };

    (void)state;
    for (size_t i = 0; i < sizeof read_bytes / sizeof read_bytes[0]; i++) {
        struct client *client;
        int64_t whole, disco;
        size_t got;

        start();
        client = join();
        turn();
        read_some(0, FRAME_SERVER_KEY_BYTES);
        for (int n = 0; n < OTHER; n++)
            give(client, PACKET_OTHER, FRAME_BYTES - FRAME_HEADER_BYTES);
        for (int n = 0; n < DISCO; n++)
            give(client, PACKET_DISCO, FRAME_BYTES - FRAME_HEADER_BYTES);
        turn();
        got = read_some(0, read_bytes[i]);
        assert_true(stream_blocked(client->stream));
        client_close(client, CLIENT_END_RESET);
        got += read_some(0, SIZE_MAX);
        whole = (int64_t)got / FRAME_BYTES;
        disco = whole < DISCO ? whole : DISCO;
        assert_in_range(whole, 1, DISCO + OTHER - 1);
        assert_int_equal(counter_read(&worker->counters.packets_sent), whole);
        assert_int_equal(
            counter_read(&worker->counters.packets_dropped[DROP_GONE_DISCONNECTED][PACKET_DISCO]),
            DISCO - disco);
        assert_int_equal(
            counter_read(&worker->counters.packets_dropped[DROP_GONE_DISCONNECTED][PACKET_OTHER]),
            OTHER - (whole - disco));
        stop();
    }
}

// What a client may hold while too much waits.
static void test_parts(void **state)
{
    struct client *hogs[8], *late;
    size_t part, held;

    (void)state;
    start();
    for (size_t i = 0; i < 8; i++)
        hogs[i] = join();
    late = join();
    for (size_t i = 0; i < 1000; i++)
        join();
    turn();
    for (size_t i = 0; !outgoing_reaches(worker, WAITING_SHARED); i++)
        give(hogs[i % 8], i / 8 % 2 ? PACKET_DISCO : PACKET_OTHER, 1200);
    part = outgoing_part_bytes(worker);
    assert_int_equal(part, WAITING / 1009);
    // One packet of any size to a client for which nothing waits, and no other.
    give(late, PACKET_OTHER, FRAME_SEND_MAX_BYTES);
    assert_int_equal(dropped(DROP_QUEUE_MEMORY), 0);
    give(late, PACKET_OTHER, FRAME_SEND_MAX_BYTES);
    give(late, PACKET_DISCO, 100);
    assert_int_equal(dropped(DROP_QUEUE_MEMORY), 2);
    assert_true(outgoing_held_bytes(late) <= LARGEST + CHUNK_SMALL_BYTES);
    // Who has more loses some of it with the next packet, until too much no longer waits.
    held = outgoing_held_bytes(hogs[0]);
    give(hogs[0], PACKET_OTHER, 1200);
    assert_true(dropped(DROP_QUEUE_MEMORY) > 2);
    assert_true(outgoing_held_bytes(hogs[0]) < held);
    assert_true(outgoing_waiting_bytes(worker) < WAITING + CHUNK_LARGE_BYTES);
    turn();
    assert_int_equal(closed_for_memory(), 0);
    stop();
}

#define IN_A_TURN 400

// Chunks are used again within the turn: what they take together is not what all packets take.
static void test_many_that_get_a_packet_in_one_turn(void **state)
{
    const struct list *node;
    uint8_t frame[128];

    (void)state;
    start();
    for (size_t i = 0; i < IN_A_TURN; i++) {
        join();
        turn(); // or what all are told at once fills chunks as well
        log_in(i);
    }
    log_all_in();
    node = worker->clients.next;
    for (size_t i = 0; i < IN_A_TURN; i++, node = node->next) {
        const struct client *to = list_entry(node, struct client, node);

        send_to_relay((i + 1) % IN_A_TURN, frame, peer_put_packet(frame, &to->key, "packet", 6));
    }
    turn(); // reads
    turn(); // has sent what was left
    assert_int_equal(counter_read(&worker->counters.packets_sent), IN_A_TURN);
    assert_true(worker->chunks.bytes <= FLUSH_EARLY_BYTES + CHUNK_SMALL_BYTES);
    assert_true(FLUSH_EARLY_BYTES < IN_A_TURN * CHUNK_SMALL_BYTES / 2);
    stop();
}

static void tell_of_gone(struct client *client)
{
    static const struct key peer;

    for (int i = 0; i < 3000; i++)
        outgoing_peer_gone(client, &peer);
    assert_bounded();
}

static void test_control_frames(void **state)
{
    (void)state;
    start();
    for (size_t i = 0; i < 500; i++)
        join();
    turn();
    with_each_client(tell_of_gone);
    assert_true(counter_read(&worker->counters.control_dropped) > 0);
    turn();
    check_after_turn();
    assert_true(closed_for_memory() > 0);
    stop();
}

// Looks at the sum amid a turn, between the clients' sockets.
static void look(uv_poll_t *poll, int status, int events)
{
    int *looks = poll->data;

    (void)status, (void)events;
    assert_bounded();
    (*looks)++;
    uv_poll_stop(poll);
}

#define HALVES 512
#define LOOKS 64

// All but the end of a frame from each, all in one turn.
static void test_many_that_do_not_end_a_frame(void **state)
{
    static uint8_t frame[LARGEST];
    uv_poll_t looking[LOOKS];
    int pipes[LOOKS][2], looks = 0;
    struct client *first = NULL;

    (void)state;
    start();
    for (size_t i = 0; i < HALVES; i++) {
        struct client *client = join();

        first = first ? first : client;
        log_in(i);
    }
    log_all_in();
    frame_put_header(frame, FRAME_SEND_PACKET, FRAME_SEND_MAX_BYTES);
    for (size_t i = 0; i < HALVES; i++) {
        send_to_relay(i, frame, LARGEST - 100);
        if (i % (HALVES / LOOKS) == 0) {
            const size_t at = i / (HALVES / LOOKS);

            assert_int_equal(pipe(pipes[at]), 0);
            assert_int_equal(write(pipes[at][1], "", 1), 1);
            uv_poll_init(&worker->loop, &looking[at], pipes[at][0]);
            looking[at].data = &looks;
            uv_poll_start(&looking[at], UV_READABLE, look);
        }
    }
    turn();
    assert_int_equal(looks, LOOKS);
    assert_bounded();
    turn(); // its end comes before the loop sleeps again
    check_after_turn();
    assert_true(worker->kept_bytes > WAITING / 2);
    assert_true(closed_for_memory() > 0);
    // The eldest is undisturbed, and owns nothing once its frame has ended.
    assert_true(first->reader.held_bytes > LARGEST - 100);
    send_to_relay(0, frame, 100);
    turn();
    assert_int_equal(counter_read(&worker->counters.packets_received), 1);
    assert_int_equal(first->reader.held_bytes, 0);
    turn();
    check_after_turn();
    for (size_t i = 0; i < LOOKS; i++) {
        uv_close((uv_handle_t *)&looking[i], NULL);
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    turn();
    stop();
}

// As after a handshake: from now on the client is read as TLS 1.3.
static void encrypt(struct client *client)
{
    static const uint8_t secret[TLS13_SECRET_MAX_BYTES];

    assert_true(engine_detached_begin(client->stream, TLS13_AES_128_GCM_SHA256, secret, secret));
}

// The first bytes of the largest record.
static void send_half_record(size_t i, size_t len)
{
    static const uint8_t record[TLS13_HEADER_BYTES + TLS13_CIPHER_MAX_BYTES] = {23, 3, 3, 0x41, 0};

    send_to_relay(i, record, len);
}

#define HALF_RECORDS 1500

// All but the last byte of a record from each.
static void test_many_that_do_not_end_a_record(void **state)
{
    (void)state;
    start();
    for (size_t i = 0; i < HALF_RECORDS; i++) {
        join();
        log_in(i);
    }
    log_all_in();
    with_each_client(encrypt);
    for (size_t i = 0; i < HALF_RECORDS; i++)
        send_half_record(i, TLS13_HEADER_BYTES + TLS13_CIPHER_MAX_BYTES - 1);
    for (int i = 0; i < 4; i++) {
        turn();
        assert_bounded();
    }
    check_after_turn();
    assert_true(worker->io.held_bytes > WAITING / 2);
    assert_true(closed_for_memory() > 0);
    stop();
}

static void keep_alive_comes(struct client *client)
{
    client->keep_alive_ms = (uint32_t)clock_ms();
    wheel_disarm(&worker->io.wheel, &client->timer);
    client->timer.on_time(&client->timer);
    turn();
}

static void test_a_frame_that_does_not_end(void **state)
{
    uint8_t frame[FRAME_HEADER_BYTES + 1000] = {0};
    struct client *client;
    const struct counter *ends;

    (void)state;
    start();
    client = join();
    ends = &worker->counters.client_ends[CLIENT_END_FRAME_TIMEOUT];
    log_in(0);
    log_all_in();
    frame_put_header(frame, FRAME_PING, 1000);
    for (int i = 0; i < 3; i++) { // frames that end between two keep-alives
        send_to_relay(0, frame, 20);
        turn();
        keep_alive_comes(client);
        send_to_relay(0, frame + 20, sizeof frame - 20);
        turn();
    }
    keep_alive_comes(client);
    keep_alive_comes(client);
    send_to_relay(0, frame, 3);
    turn();
    keep_alive_comes(client);
    send_to_relay(0, frame + 3, 400); // it goes on, but not to its end
    turn();
    assert_int_equal(counter_read(ends), 0);
    assert_true(worker->kept_bytes > 400);
    keep_alive_comes(client);
    assert_int_equal(counter_read(ends), 1);
    assert_int_equal(worker->kept_bytes, 0);
    stop();
}

static void test_a_record_that_does_not_end(void **state)
{
    struct client *client;
    const struct counter *ends;

    (void)state;
    start();
    client = join();
    ends = &worker->counters.client_ends[CLIENT_END_FRAME_TIMEOUT];
    log_in(0);
    log_all_in();
    encrypt(client);
    keep_alive_comes(client);
    keep_alive_comes(client);
    send_half_record(0, 3);
    turn();
    keep_alive_comes(client);
    send_half_record(0, 400); // it goes on, but not to its end
    turn();
    assert_int_equal(counter_read(ends), 0);
    assert_true(outgoing_held_bytes(client) > 400);
    client->throttle_timer = &(uv_timer_t){0}; // it is we who do not read
    keep_alive_comes(client);
    client->throttle_timer = NULL;
    assert_int_equal(counter_read(ends), 0);
    keep_alive_comes(client);
    assert_int_equal(counter_read(ends), 1);
    assert_int_equal(worker->io.held_bytes, 0);
    stop();
}

// Nobody keeps half a frame by taking a byte of what waits now and then.
static void test_a_frame_that_does_not_end_while_a_write_is_blocked(void **state)
{
    uint8_t frame[FRAME_HEADER_BYTES + 1000] = {0}, bytes[SMALL_BUFFER];
    struct client *client;
    const struct counter *ends;

    (void)state;
    start();
    relay.config.write_timeout_ms = 2000;
    client = join();
    ends = &worker->counters.client_ends[CLIENT_END_FRAME_TIMEOUT];
    log_in(0);
    log_all_in();
    frame_put_header(frame, FRAME_PING, 1000);
    send_to_relay(0, frame, 300);
    for (int i = 0; i < 8; i++)
        give(client, PACKET_OTHER, FRAME_SEND_MAX_BYTES);
    turn();
    assert_true(client->watched);
    keep_alive_comes(client);
    assert_int_equal(counter_read(ends), 0);
    assert_true(client->keep_alive_ms - (uint32_t)clock_ms() > KEEP_ALIVE_MS / 2);
    assert_true(client->watched);
    // The limit of the write: it has taken something.
    while (stream_unacked_bytes(client->stream) >= client->unacked_before) {
        assert_true(recv(far_ends[0], bytes, sizeof bytes, 0) > 0);
        turn();
    }
    client->write_end_ms = (uint32_t)clock_ms();
    wheel_disarm(&worker->io.wheel, &client->timer);
    client->timer.on_time(&client->timer);
    assert_int_equal(counter_read(ends), 0);
    assert_true(client->watched);
    keep_alive_comes(client);
    assert_int_equal(counter_read(ends), 1);
    assert_int_equal(worker->kept_bytes, 0);
    stop();
}

// A client that cannot be told what it waits for is closed; a new hint waits for the next time.
static void test_no_room_for_what_must_be_told(void **state)
{
    struct client *client;

    (void)state;
    start();
    client = join();
    log_in(0);
    log_all_in();
    join();
    turn();
    client->hint_is_old = 1;
    relay.config.waiting_bytes = 0;
    keep_alive_comes(client);
    assert_int_equal(client->hint_is_old, 1);
    log_in(1);
    turn();
    turn();
    assert_int_equal(closed_for_memory(), 1); // without ServerInfo
    join();
    assert_int_equal(closed_for_memory(), 2); // without ServerKey
    relay.config.waiting_bytes = WAITING;
    keep_alive_comes(client);
    assert_int_equal(client->hint_is_old, 0);
    assert_int_equal(counter_read(&worker->counters.connections), 1);
    assert_int_equal(counter_read(&worker->counters.logins_pending), 0);
    stop();
}

static const void *asking_wiped; // the last one

void __real_sodium_memzero(void *memory, size_t len);
void __wrap_sodium_memzero(void *memory, size_t len);

void __wrap_sodium_memzero(void *memory, size_t len)
{
    if (len == sizeof(struct asking))
        asking_wiped = memory;
    __real_sodium_memzero(memory, len);
}

static void on_ask(void *data, const struct client_handle *client, const struct key *key,
                   const char *address)
{
    (void)data, (void)client, (void)key, (void)address;
}

static void on_cancel(void *data, const struct client_handle *client)
{
    (void)data, (void)client;
}

static const struct admission silent = {.ask = on_ask, .cancel = on_cancel};

#define ASKED 1500
#define BEHIND 16000

// Many that nobody answers about send as much as they may behind their ClientInfo.
static void test_many_that_are_asked_about(void **state)
{
    static uint8_t behind[BEHIND];

    (void)state;
    start();
    relay.config.admission = &silent;
    for (size_t i = 0; i < ASKED; i++) {
        join();
        log_in(i);
        send_to_relay(i, behind, sizeof behind);
    }
    for (size_t i = 0; i < ASKED; i++) {
        turn();
        assert_bounded();
    }
    check_after_turn();
    assert_true(closed_for_memory() > 0);
    assert_true(worker->kept_bytes > WAITING / 2);
    stop();
}

// Whatever a client sends while it is asked about, one read of it is kept. The rest waits in TCP.
static void test_one_read_is_kept(void **state)
{
    static uint8_t behind[100 * 1024];
    struct client *client;

    (void)state;
    start();
    relay.config.admission = &silent;
    client = knock();
    log_in(0);
    send_to_relay(0, behind, sizeof behind);
    for (int i = 0; i < 10; i++)
        turn();
    assert_int_equal(client->state, CLIENT_ASKING);
    assert_true(client->asking->len > 0);
    assert_true(client->asking->len <= IO_NEWCOMER_READ_BYTES);
    stop();
}

static struct client *ask_about_one(const struct asking **asking)
{
    struct client *client = join();
    const size_t i = clients - 1;

    log_in(i);
    turn();
    turn();
    assert_int_equal(client->state, CLIENT_ASKING);
    *asking = client->asking;
    for (int n = 0; n < 10; n++)
        admission_keep(client, (const uint8_t[1000]){0}, 1000);
    assert_ptr_equal(client->asking, *asking); // no copy of what is secret is left anywhere
    assert_int_equal(worker->kept_bytes, sizeof **asking + 10000);
    assert_int_equal(outgoing_held_bytes(client), stream_held_bytes(client->stream) +
                                                      client->control.bytes + worker->kept_bytes);
    asking_wiped = NULL;
    return client;
}

// However a question ends, its secrets are wiped and nothing is counted any more.
static void test_secrets_of_a_question(void **state)
{
    const struct asking *asking;

    (void)state;
    start();
    relay.config.admission = &silent;
    client_close(ask_about_one(&asking), CLIENT_END_RESET);
    assert_ptr_equal(asking_wiped, asking);
    assert_int_equal(worker->kept_bytes, 0);
    for (int verdict = ADMISSION_ALLOWED; verdict <= ADMISSION_UNANSWERED; verdict++) {
        client_admit(ask_about_one(&asking), (enum admission_verdict)verdict);
        assert_ptr_equal(asking_wiped, asking);
        assert_int_equal(worker->kept_bytes, 0);
    }
    assert_int_equal(counter_read(&worker->counters.connections), 1);
    stop();
}

static int group_setup(void **state)
{
    struct rlimit files;

    (void)state;
    signal(SIGPIPE, SIG_IGN); // as the program does
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    return sodium_init() < 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_that_do_not_read),
        cmocka_unit_test(test_who_reads_loses_nothing),
        cmocka_unit_test(test_lost_amid_a_write),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_many_that_get_a_packet_in_one_turn),
        cmocka_unit_test(test_control_frames),
        cmocka_unit_test(test_many_that_do_not_end_a_frame),
        cmocka_unit_test(test_many_that_do_not_end_a_record),
        cmocka_unit_test(test_a_frame_that_does_not_end),
        cmocka_unit_test(test_a_record_that_does_not_end),
        cmocka_unit_test(test_a_frame_that_does_not_end_while_a_write_is_blocked),
        cmocka_unit_test(test_no_room_for_what_must_be_told),
        cmocka_unit_test(test_many_that_are_asked_about),
        cmocka_unit_test(test_one_read_is_kept),
        cmocka_unit_test(test_secrets_of_a_question),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
