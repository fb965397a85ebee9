// SPDX-License-Identifier: BSD-3-Clause
//
// In front of TLS, on connections of proxies that the configuration names: the PROXY protocol's
// header, which says whose connection it is. Then the OpenSSL engine takes over.
#include "base/memory.h"
#include "io/engine.h"
#include "proto/proxy.h"

#include <stdlib.h>
#include <string.h>

static struct log_limit refusal_log = LOG_LIMIT_INIT;

// The beginning of a header that came in pieces.
struct begun {
    size_t len;
    uint8_t bytes[PROXY_HEADER_MAX_BYTES];
};

static void forget_begun(struct stream *stream)
{
    free(stream->begun);
    stream->begun = NULL;
}

static bool refuse(struct stream *stream)
{
    counter_add(&stream->io->counters.proxy_refusals, 1);
    stream_log_tls(stream, &refusal_log, "no PROXY protocol header in front, or a broken one",
                   "; --proxy-protocol-from says that this address sends them: let it, or take it "
                   "out there");
    return stream_fail(stream, STREAM_END_TLS);
}

// The header is whole: `data` is what came behind it.
static bool go_on(struct stream *stream, const struct proxy_header *header, uint8_t *data,
                  size_t len)
{
    forget_begun(stream);
    // Of somebody that the proxy cannot name: he is not to pass for the proxy.
    if (!header->own)
        stream_set_peer(stream, header->has_peer ? &header->address : &in6addr_any, header->port);
    stream->engine = &engine_openssl;
    return len == 0 || stream->engine->receive(stream, data, len);
}

static bool receive(struct stream *stream, uint8_t *data, size_t len)
{
    struct begun *begun = stream->begun;
    const size_t before = begun ? begun->len : 0;
    struct proxy_header header;
    enum proxy_result result;
    size_t taken = len;

    if (begun) {
        taken = len < sizeof begun->bytes - before ? len : sizeof begun->bytes - before;
        memcpy(begun->bytes + before, data, taken);
        begun->len += taken;
    }
    result =
        begun ? proxy_parse(begun->bytes, begun->len, &header) : proxy_parse(data, len, &header);
    if (result == PROXY_BAD)
        return refuse(stream);
    if (result == PROXY_OK)
        return go_on(stream, &header, data + header.bytes - before, len + before - header.bytes);
    if (!begun) {
        stream->begun = memory_get(sizeof *stream->begun);
        stream->begun->len = len; // less than a header, which is bounded
        memcpy(stream->begun->bytes, data, len);
    }
    return true;
}

// The owner has nothing to say before the handshake.
static bool seal(struct stream *stream, const struct stream_buf *pieces, size_t count)
{
    (void)stream, (void)pieces, (void)count;
    return false;
}

static void say_nothing(struct stream *stream)
{
    (void)stream;
}

const struct engine engine_proxy = {
    .receive = receive,
    .seal = seal,
    .goodbye = say_nothing,
    .stop = forget_begun,
};
