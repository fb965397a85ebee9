// SPDX-License-Identifier: BSD-3-Clause
//
// No TLS: for --dev, and behind a proxy that ends TLS.
#include "io/engine.h"

#include <string.h>

static bool receive(struct stream *stream, uint8_t *data, size_t len)
{
    return stream_deliver(stream, data, len);
}

static bool seal(struct stream *stream, const struct stream_buf *pieces, size_t count)
{
    struct io_context *io = stream->io;

    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len == 0)
            continue;
        memcpy(io->out + io->out_len, pieces[i].data, pieces[i].len);
        io->out_len += pieces[i].len;
    }
    return true;
}

static void nothing(struct stream *stream)
{
    (void)stream;
}

const struct engine engine_plain = {
    .receive = receive,
    .seal = seal,
    .goodbye = nothing,
    .stop = nothing,
};
