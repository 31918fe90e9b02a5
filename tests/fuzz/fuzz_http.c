/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of requests and replies, ranges, queries: any bytes. */
#include "net/http.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct kp_slice part, struct kp_slice whole)
{
    if (part.len && (part.ptr < whole.ptr || part.ptr + part.len > whole.ptr + whole.len))
        abort();
}

static void check_head(const struct kp_http_head *head, struct kp_slice bytes)
{
    if (head->size > bytes.len || head->size > KP_HTTP_HEAD_MAX)
        abort();
    if (head->chunked && head->has_length)
        abort(); // two framings: the stuff of request smuggling
    for (size_t i = 0; i < head->field_count; i++) {
        inside(head->fields[i].name, bytes);
        inside(head->fields[i].value, bytes);
        if (memchr(head->fields[i].value.ptr, '\n', head->fields[i].value.len))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_slice bytes = {(const char *)data, size};
    struct kp_http_head head;
    uint64_t first = 0, length = 0;
    char text[256];
    int status = kp_http_parse_request(&head, bytes);
    if (status == KP_HTTP_MORE && size >= KP_HTTP_HEAD_MAX)
        abort();
    if (status == 0) {
        check_head(&head, bytes);
        inside(head.path, bytes);
        inside(head.query, bytes);
        kp_http_query(head.query, "n", text, sizeof(text));
        if (kp_http_range(kp_http_field(&head, "Range"), 1000, &first, &length) == KP_RANGE_PART &&
            (!length || first >= 1000 || length > 1000 - first))
            abort();
    }
    if (kp_http_parse_response(&head, bytes) == 0)
        check_head(&head, bytes);
    kp_http_decode(bytes, true, text, sizeof(text));
    return 0;
}
