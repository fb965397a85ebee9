// SPDX-License-Identifier: BSD-3-Clause
#include "io/context.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdlib.h>

#define KEY_UPDATE_AFTER_RECORDS (1u << 23)
#define KEY_RECORDS_MAX (1u << 24)

const char *tls_failure_name(enum tls_failure failure)
{
    static const char *const names[TLS_FAILURES] = {
        [TLS_FAILURE_NOT_TLS] = "not_tls",
        [TLS_FAILURE_VERSION] = "version",
        [TLS_FAILURE_CIPHER] = "cipher",
        [TLS_FAILURE_SNI] = "sni",
        [TLS_FAILURE_ALPN] = "alpn",
        [TLS_FAILURE_CLIENT_ALERT] = "client_alert",
        [TLS_FAILURE_CLOSED] = "closed",
        [TLS_FAILURE_TIMEOUT] = "timeout",
        [TLS_FAILURE_NO_CERTIFICATE] = "no_certificate",
        [TLS_FAILURE_NO_CHALLENGE] = "no_challenge",
        [TLS_FAILURE_OTHER] = "other",
    };
    return names[failure];
}

void io_context_init(struct io_context *io, uv_loop_t *loop, struct io_budget *budget)
{
    *io = (struct io_context){.loop = loop, .budget = budget};
    wheel_init(&io->wheel, clock_ms());
    turns_init(&io->turns, loop, &io->wheel);
    list_init(&io->http_conns);
    list_init(&io->http_slow);
    io->detach = true;
    io->key_update_after = KEY_UPDATE_AFTER_RECORDS;
    io->key_records_max = KEY_RECORDS_MAX;
    tls13_ciphers_init(&io->ciphers);
    io->read_buffer = memory_get(IO_READ_BYTES);
    io->plain_buffer = memory_get(IO_PLAIN_BYTES);
    io->out = memory_get(IO_WRITE_BYTES);
}

void io_context_deinit(struct io_context *io)
{
    io_context_set_tls(io, NULL);
    BIO_free(io->bio);
    tls13_ciphers_deinit(&io->ciphers);
    pool_deinit(&io->streams);
    pool_deinit(&io->arrivals);
    for (int i = 0; i < TLS13_SUITES; i++)
        pool_deinit(&io->detached[i]);
    free(io->read_buffer);
    free(io->plain_buffer);
    free(io->out);
}

void io_context_arm(struct io_context *io, struct wheel_timer *timer, uint64_t after_ms)
{
    const uint64_t now_ms = clock_ms();

    wheel_skip(&io->wheel, now_ms); // it is run only when something is due
    wheel_arm(&io->wheel, timer, now_ms + after_ms);
}

void io_context_set_tls(struct io_context *io, SSL_CTX *tls)
{
    if (tls)
        SSL_CTX_up_ref(tls);
    SSL_CTX_free(io->tls);
    io->tls = tls;
}
