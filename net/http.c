/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http.h"

#include <string.h>
#include <strings.h>

#define METHOD_MAX 32

static bool is_token_char(unsigned char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return true;
    return c && strchr("!#$%&'*+-.^_`|~", c);
}

static bool is_token(struct kp_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_token_char((unsigned char)s.ptr[i]))
            return false;
    return s.len > 0;
}

static bool same_word(struct kp_slice s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.ptr, word, s.len) == 0;
}

static struct kp_slice trim_blanks(struct kp_slice s)
{
    while (s.len && (*s.ptr == ' ' || *s.ptr == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static bool value_ok(struct kp_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

/* Size of the head with its empty line; 0: not all there; SIZE_MAX: a line end that is not CRLF. */
static size_t head_size(struct kp_slice bytes)
{
    size_t line = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        char c = bytes.ptr[i];
        if (c == '\0' || (c == '\n' && (i == 0 || bytes.ptr[i - 1] != '\r')))
            return SIZE_MAX;
        if (i > 0 && bytes.ptr[i - 1] == '\r' && c != '\n')
            return SIZE_MAX;
        if (c != '\n')
            continue;
        if (i + 1 - line == 2)
            return i + 1;
        line = i + 1;
    }
    return 0;
}

static bool take_line(struct kp_slice *rest, struct kp_slice *line)
{
    const char *end = memchr(rest->ptr, '\r', rest->len);
    if (!end)
        return false;
    *line = (struct kp_slice){rest->ptr, (size_t)(end - rest->ptr)};
    rest->len -= line->len + 2;
    rest->ptr = end + 2;
    return true;
}

static int parse_fields(struct kp_http_head *out, struct kp_slice rest)
{
    struct kp_slice line, name;
    while (take_line(&rest, &line) && line.len) {
        if (out->field_count == KP_HTTP_FIELDS_MAX)
            return 431;
        // A folded line begins with a blank, which is no token character.
        if (!kp_slice_cut(&line, ':', &name) || !is_token(name) || !value_ok(line))
            return 400;
        out->fields[out->field_count++] = (struct kp_http_field){name, trim_blanks(line)};
    }
    return 0;
}

static size_t count_fields(const struct kp_http_head *head, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < head->field_count; i++)
        n += same_word(head->fields[i].name, name);
    return n;
}

/* RFC 9112 §6: how long the body is; anything ambiguous is refused. */
static int parse_framing(struct kp_http_head *out)
{
    size_t lengths = count_fields(out, "Content-Length");
    size_t codings = count_fields(out, "Transfer-Encoding");
    if (lengths > 1 || codings > 1 || (lengths && codings) || (codings && out->minor == 0))
        return 400;
    if (codings && !same_word(kp_http_field(out, "Transfer-Encoding"), "chunked"))
        return 501;
    out->chunked = codings == 1;
    out->has_length = lengths == 1;
    if (lengths && !kp_parse_u64(kp_http_field(out, "Content-Length"), INT64_MAX, &out->length))
        return 400;
    struct kp_slice connection = kp_http_field(out, "Connection");
    out->keep_alive = out->minor >= 1 ? !kp_http_has_token(connection, "close")
                                      : kp_http_has_token(connection, "keep-alive");
    return 0;
}

static int parse_version(struct kp_slice version, unsigned *minor)
{
    if (version.len != 8 || memcmp(version.ptr, "HTTP/", 5) != 0 || version.ptr[6] != '.')
        return 400;
    char major = version.ptr[5], low = version.ptr[7];
    if (major < '0' || major > '9' || low < '0' || low > '9')
        return 400;
    if (major != '1')
        return 505;
    *minor = low == '0' ? 0 : 1;
    return 0;
}

/* origin-form, or absolute-form as a proxy's client sends it (RFC 9112 §3.2). */
static bool parse_target(struct kp_http_head *out, struct kp_slice target)
{
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.ptr[i] <= 0x20 || (unsigned char)target.ptr[i] >= 0x7f ||
            target.ptr[i] == '#')
            return false;
    out->target = target;
    struct kp_slice path = target;
    size_t scheme = kp_slice_starts(path, "http://")    ? 7
                    : kp_slice_starts(path, "https://") ? 8
                                                        : 0;
    if (scheme) {
        const char *slash = memchr(path.ptr + scheme, '/', path.len - scheme);
        if (!slash || slash == path.ptr + scheme)
            return false;
        path = (struct kp_slice){slash, path.len - (size_t)(slash - path.ptr)};
    }
    if (!path.len || path.ptr[0] != '/')
        return false;
    out->query = path;
    if (kp_slice_cut(&out->query, '?', &out->path))
        return true;
    out->path = path;
    out->query = (struct kp_slice){path.ptr + path.len, 0};
    return true;
}

static int parse_request_line(struct kp_http_head *out, struct kp_slice line)
{
    struct kp_slice target;
    if (!kp_slice_cut(&line, ' ', &out->method) || !is_token(out->method) ||
        !kp_slice_cut(&line, ' ', &target))
        return 400;
    if (out->method.len > METHOD_MAX)
        return 501;
    if (target.len > KP_HTTP_TARGET_MAX)
        return 414;
    if (!parse_target(out, target))
        return 400;
    return parse_version(line, &out->minor);
}

static bool host_ok(const struct kp_http_head *head)
{
    size_t n = count_fields(head, "Host");
    if (n != 1)
        return n == 0 && head->minor == 0;
    struct kp_slice host = kp_http_field(head, "Host");
    for (size_t i = 0; i < host.len; i++)
        if (host.ptr[i] == ' ' || host.ptr[i] == '\t' || strchr("/@?#\\", host.ptr[i]) ||
            (unsigned char)host.ptr[i] >= 0x80)
            return false;
    return true;
}

/* The part of both kinds before the first line is read. */
static int find_head(struct kp_http_head *out, struct kp_slice *bytes)
{
    memset(out, 0, offsetof(struct kp_http_head, fields));
    out->field_count = 0;
    out->has_length = out->chunked = out->keep_alive = false;
    out->length = 0;
    struct kp_slice window = {bytes->ptr,
                              bytes->len < KP_HTTP_HEAD_MAX ? bytes->len : KP_HTTP_HEAD_MAX};
    size_t size = head_size(window);
    if (size == SIZE_MAX)
        return 400;
    if (size == 0)
        return bytes->len < KP_HTTP_HEAD_MAX ? KP_HTTP_MORE : 431;
    out->size = size;
    bytes->len = size;
    return 0;
}

int kp_http_parse_request(struct kp_http_head *out, struct kp_slice bytes)
{
    struct kp_slice line;
    int status = find_head(out, &bytes);
    if (status)
        return status;
    if (!take_line(&bytes, &line))
        return 400;
    status = parse_request_line(out, line);
    if (!status)
        status = parse_fields(out, bytes);
    if (!status)
        status = parse_framing(out);
    return status ? status : host_ok(out) ? 0 : 400;
}

int kp_http_parse_response(struct kp_http_head *out, struct kp_slice bytes)
{
    struct kp_slice line, version, code;
    uint64_t status = 0;
    int found = find_head(out, &bytes);
    if (found)
        return found == KP_HTTP_MORE ? KP_HTTP_MORE : 400;
    if (!take_line(&bytes, &line) || !kp_slice_cut(&line, ' ', &version) ||
        parse_version(version, &out->minor) != 0)
        return 400;
    if (!kp_slice_cut(&line, ' ', &code))
        code = line; // some servers leave the blank away where there is no phrase
    if (code.len != 3 || !kp_parse_u64(code, 599, &status) || status < 100)
        return 400;
    out->status = (unsigned)status;
    return parse_fields(out, bytes) || parse_framing(out) ? 400 : 0;
}

struct kp_slice kp_http_field(const struct kp_http_head *head, const char *name)
{
    for (size_t i = 0; i < head->field_count; i++)
        if (same_word(head->fields[i].name, name))
            return head->fields[i].value;
    return (struct kp_slice){NULL, 0};
}

bool kp_http_has_token(struct kp_slice list, const char *token)
{
    struct kp_slice item;
    while (list.len && kp_slice_cut(&list, ',', &item))
        if (same_word(trim_blanks(item), token))
            return true;
    return list.len && same_word(trim_blanks(list), token);
}

enum kp_http_range kp_http_range(struct kp_slice value, uint64_t size, uint64_t *first,
                                 uint64_t *length)
{
    struct kp_slice from, unit;
    uint64_t a = 0, b = INT64_MAX;
    if (!value.len || !kp_slice_cut(&value, '=', &unit) || !same_word(unit, "bytes") ||
        !kp_slice_cut(&value, '-', &from))
        return KP_RANGE_WHOLE;
    bool has_first = from.len > 0, has_last = value.len > 0;
    if ((!has_first && !has_last) || (has_first && !kp_parse_u64(from, INT64_MAX, &a)) ||
        (has_last && !kp_parse_u64(value, INT64_MAX, &b)))
        return KP_RANGE_WHOLE;
    if (!has_first) { // the last b bytes
        a = b < size ? size - b : 0;
        if (b == 0)
            return KP_RANGE_UNSATISFIABLE;
        b = INT64_MAX;
    }
    if (a >= size || b < a)
        return KP_RANGE_UNSATISFIABLE;
    *first = a;
    *length = (b < size ? b + 1 : size) - a;
    return KP_RANGE_PART;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool kp_http_decode(struct kp_slice text, bool plus_is_blank, char *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
            int low = high >= 0 ? hex_value(text.ptr[i + 2]) : -1;
            if (low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        if (c == '\0' || n + 1 >= max)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

bool kp_http_query(struct kp_slice query, const char *name, char *out, size_t max)
{
    while (query.len) {
        struct kp_slice pair, key;
        if (!kp_slice_cut(&query, '&', &pair)) {
            pair = query;
            query.len = 0;
        }
        if (!kp_slice_cut(&pair, '=', &key)) {
            key = pair;
            pair.len = 0;
        }
        if (kp_slice_equal(key, name))
            return kp_http_decode(pair, true, out, max);
    }
    return false;
}

const char *kp_http_status_text(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } texts[] = {{200, "OK"},
                 {206, "Partial Content"},
                 {304, "Not Modified"},
                 {400, "Bad Request"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {408, "Request Timeout"},
                 {414, "URI Too Long"},
                 {416, "Range Not Satisfiable"},
                 {421, "Misdirected Request"},
                 {431, "Request Header Fields Too Large"},
                 {501, "Not Implemented"},
                 {503, "Service Unavailable"},
                 {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Status";
}
