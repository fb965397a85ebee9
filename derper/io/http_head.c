// SPDX-License-Identifier: BSD-3-Clause
#include "io/http_head.h"

#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

static const char *const field_names[] = {
    [FIELD_HOST] = "Host",
    [FIELD_UPGRADE] = "Upgrade",
    [FIELD_WEBSOCKET_PROTOCOL] = "Sec-WebSocket-Protocol",
    [FIELD_FAST_START] = "Derp-Fast-Start",
    [FIELD_IDEAL_NODE] = "Ideal-Node",
    [FIELD_CHALLENGE] = "X-Tailscale-Challenge",
    [FIELD_FORWARDED_FOR] = "X-Forwarded-For",
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void append(struct http_head *head, struct span *span, const char *data, size_t len)
{
    if (head->text_len + len > head->text_capacity) {
        head->text_capacity = least((head->text_len + len) * 2, HTTP_HEAD_MAX_BYTES);
        head->text = memory_resize(head->text, head->text_capacity);
    }
    memcpy(head->text + head->text_len, data, len);
    head->text_len += len;
    span->len += len;
}

static int on_url(llhttp_t *parser, const char *data, size_t len)
{
    struct http_head *head = parser->data;
    struct span *target = &head->spans[FIELD_TARGET];

    target->present = true;
    if (target->len + len > HTTP_TARGET_MAX_BYTES) {
        head->error_status = 414;
        return HPE_USER;
    }
    append(head, target, data, len);
    return 0;
}

// RFC 9110, section 5.6.2. The parser lets spaces through.
static bool is_token(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)data[i];

        if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return true;
}

static int on_field_name(llhttp_t *parser, const char *data, size_t len)
{
    struct http_head *head = parser->data;
    const size_t room = sizeof head->name - head->name_len;

    if (!is_token(data, len))
        return HPE_USER;
    // A name that fills the buffer is none of ours.
    len = len < room ? len : room;
    memcpy(head->name + head->name_len, data, len);
    head->name_len += len;
    return 0;
}

static int refuse_field(struct http_head *head)
{
    head->error_status = 431;
    return HPE_USER;
}

// The field whose name is in hand; -1: none of ours.
static int find_field(const struct http_head *head)
{
    for (int i = 0; i < FIELD_TARGET; i++)
        if (text_equals_nocase(head->name, head->name_len, field_names[i]))
            return i;
    return -1;
}

// A field goes on where it is given again (RFC 9110, section 5.3), and so has to be the last text.
static int go_on_with(struct http_head *head, struct span *span)
{
    char *text = head->text + span->start;
    const size_t behind = head->text_len - span->start - span->len;
    char moved[HTTP_FIELD_MAX_BYTES];

    if (span->len + 2 > HTTP_FIELD_MAX_BYTES)
        return refuse_field(head);
    if (span->len > 0) {
        memcpy(moved, text, span->len);
        memmove(text, text + span->len, behind);
        memcpy(text + behind, moved, span->len);
    }
    for (int i = 0; i < FIELDS; i++)
        if (head->spans[i].start > span->start)
            head->spans[i].start -= span->len;
    span->start = head->text_len - span->len;
    append(head, span, ", ", 2);
    return 0;
}

static int on_field_name_complete(llhttp_t *parser)
{
    struct http_head *head = parser->data;
    const int field = find_field(head);

    head->name_len = 0;
    head->field = -1;
    if (field < 0)
        return 0;
    if (head->spans[field].present && field == FIELD_HOST) {
        head->error_status = 400; // RFC 9112, section 3.2
        return HPE_USER;
    }
    // The first of several counts, but those that proxies add are one list.
    if (head->spans[field].present && field != FIELD_FORWARDED_FOR)
        return 0;
    head->field = field;
    if (head->spans[field].present)
        return go_on_with(head, &head->spans[field]);
    head->spans[field] = (struct span){.start = head->text_len, .present = true};
    return 0;
}

static int on_field_value(llhttp_t *parser, const char *data, size_t len)
{
    struct http_head *head = parser->data;

    if (head->field < 0)
        return 0;

    struct span *span = &head->spans[head->field];
    const size_t room = HTTP_FIELD_MAX_BYTES - span->len;

    // Whoever is named behind a cut is not who the proxy has named.
    if (len > room && head->field == FIELD_FORWARDED_FOR)
        return refuse_field(head);
    append(head, span, data, least(len, room));
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct http_head *head = parser->data;

    head->keep_alive = llhttp_should_keep_alive(parser);
    head->has_body = parser->content_length > 0 || (parser->flags & F_TRANSFER_ENCODING);
    return 2; // no body is read: the parser stops right behind the head
}

static int on_message_complete(llhttp_t *parser)
{
    struct http_head *head = parser->data;

    head->complete = true;
    return 0;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field_name,
    .on_header_field_complete = on_field_name_complete,
    .on_header_value = on_field_value,
    .on_headers_complete = on_headers_complete,
    .on_message_complete = on_message_complete,
};

void http_head_begin(struct http_head *head)
{
    *head =
        (struct http_head){.text = head->text, .text_capacity = head->text_capacity, .field = -1};
    llhttp_init(&head->parser, HTTP_REQUEST, &settings);
    head->parser.data = head;
}

void http_head_free(struct http_head *head)
{
    free(head->text);
}

static struct http_text get_text(const struct http_head *head, enum field field)
{
    const struct span *span = &head->spans[field];
    struct http_text text = {NULL, 0};

    if (!span->present)
        return text;
    text.data = head->text ? head->text + span->start : "";
    text.len = span->len;
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

// Where the authority of a target in absolute form begins; NULL for other forms.
static const char *find_authority(struct http_text target)
{
    const char *scheme_end;

    if (!target.data || target.len == 0 || *target.data == '/')
        return NULL;
    scheme_end = memmem(target.data, target.len, "://", 3);
    return scheme_end ? scheme_end + 3 : NULL;
}

// Splits a target in origin or absolute form (RFC 9112, section 3.2). The authority of an absolute
// one takes the place of the Host field (section 3.2.2).
static void split_target(struct http_text target, struct http_request *request)
{
    const char *const end = target.data + target.len;
    const char *const authority = find_authority(target);
    const char *path = target.data;
    const char *question;

    if (authority) {
        for (path = authority; path < end && *path != '/' && *path != '?'; path++)
            ;
        request->host = (struct http_text){authority, (size_t)(path - authority)};
    }
    question = memchr(path, '?', (size_t)(end - path));
    request->path = (struct http_text){path, (size_t)((question ? question : end) - path)};
    if (question)
        request->query = (struct http_text){question + 1, (size_t)(end - question) - 1};
}

void http_head_request(const struct http_head *head, struct http_request *request)
{
    const llhttp_method_t method = head->parser.method;

    *request = (struct http_request){
        .method = llhttp_method_name(method),
        .get = method == HTTP_GET,
        .head = method == HTTP_HEAD,
        .host = get_text(head, FIELD_HOST),
        .upgrade = get_text(head, FIELD_UPGRADE),
        .websocket_protocol = get_text(head, FIELD_WEBSOCKET_PROTOCOL),
        .fast_start = get_text(head, FIELD_FAST_START),
        .ideal_node = get_text(head, FIELD_IDEAL_NODE),
        .challenge = get_text(head, FIELD_CHALLENGE),
        .forwarded_for = get_text(head, FIELD_FORWARDED_FOR),
    };
    split_target(get_text(head, FIELD_TARGET), request);
}

int http_head_judge(const struct http_head *head)
{
    const llhttp_t *parser = &head->parser;

    if (parser->http_major != 1)
        return parser->http_major == 0 ? 400 : 505;
    // RFC 9112, section 3.2
    return parser->http_minor == 1 && !head->spans[FIELD_HOST].present ? 400 : 0;
}

size_t http_head_feed(struct http_head *head, const uint8_t *data, size_t len)
{
    const size_t room = HTTP_HEAD_MAX_BYTES - head->bytes;
    const size_t n = least(len, room);
    const enum llhttp_errno err = llhttp_execute(&head->parser, (const char *)data, n);

    head->bytes += n;
    if (head->complete && err == HPE_PAUSED_UPGRADE)
        return (size_t)(llhttp_get_error_pos(&head->parser) - (const char *)data);
    if (err != HPE_OK)
        head->error_status = head->error_status ? head->error_status : 400;
    else if (head->bytes >= HTTP_HEAD_MAX_BYTES)
        head->error_status = 431;
    return n;
}
