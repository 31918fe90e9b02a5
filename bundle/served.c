/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/served.h"

#include "core/json.h"

#define NAME_MAX_LEN 256

const struct kp_served *kp_served_find(const struct kp_served_list *list,
                                       const struct kp_digest *id)
{
    for (size_t i = 0; i < list->count; i++)
        if (kp_digest_equal(&list->items[i].id, id))
            return &list->items[i];
    return NULL;
}

static int read_one(struct kp_served_list *out, struct kp_json_reader *list, const json_t *array,
                    size_t i)
{
    struct kp_json_reader one = kp_json_element(list, "bundles", array, i);
    struct kp_served *served = &out->items[out->count];
    kp_json_lenient(&one);
    served->id = kp_json_digest(&one, "id");
    served->serial = kp_json_number(&one, "serial", INT64_MAX);
    served->size = kp_json_number(&one, "size", INT64_MAX);
    if (!one.failed && kp_served_find(out, &served->id))
        kp_json_complain(&one, "id", "named twice");
    out->count++;
    return kp_json_finish(&one);
}

int kp_served_parse(struct kp_served_list *out, struct kp_slice text, const char *from,
                    struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto_json document = NULL;
    const json_t *array = NULL;
    *out = (struct kp_served_list){.count = 0};
    if (kp_json_parse(&document, text, KP_SERVED_TEXT_MAX, from, err) < 0)
        return -1;
    struct kp_json_reader r = kp_json_read(document, from, arena, err);
    kp_json_lenient(&r);
    const char *kind = kp_json_text(&r, "kind", NAME_MAX_LEN);
    if (!r.failed && strcmp(kind, KP_SERVED_KIND) != 0)
        kp_json_complain(&r, "kind", "\"%s\" is not " KP_SERVED_KIND, kind);
    out->accepted = kp_json_number_optional(&r, "accepted", INT64_MAX, 0);
    size_t n = kp_json_array(&r, "bundles", KP_SERVED_MAX, false, &array);
    for (size_t i = 0; i < n && !r.failed; i++)
        if (read_one(out, &r, array, i) < 0)
            return -1;
    return kp_json_finish(&r);
}
