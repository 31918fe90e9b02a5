/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/cis.h"

#include "core/buf.h"
#include "core/slice.h"
#include "install/check/cis_ask.h"

#include <fnmatch.h>

#define LIST_MAX ((size_t)16 << 10)
#define NO_CIPHERS_NEEDED "VersionTLS13" /* it has none but strong ones */

/* --- judging ---------------------------------------------------------------------------------- */

/* A name may have dots itself. */
static const json_t *walk(const json_t *object, const char *path)
{
    const json_t *at = json_object_get(object, path);
    const char *dot = strchr(path, '.');
    if (at || !dot)
        return at;
    kp_auto_free char *key = kp_strndup(path, (size_t)(dot - path));
    return walk(json_object_get(object, key), dot + 1);
}

/* "a,b" */
static char *join(const json_t *list)
{
    kp_auto_value(kp_buf) out = KP_BUF(LIST_MAX);
    size_t i;
    json_t *word;
    json_array_foreach(list, i, word) kp_buf_addf(
        &out, "%s%s", i ? "," : "", json_string_value(word) ? json_string_value(word) : "");
    return kp_strdup(out.len ? kp_buf_slice(&out).ptr : "");
}

/* The text of an argument, or of a field given by its path. */
static char *look_up(const json_t *object, const char *path)
{
    const json_t *at = walk(object, path);
    if (json_is_string(at))
        return kp_strdup(json_string_value(at));
    if (json_is_integer(at))
        return kp_asprintf("%lld", (long long)json_integer_value(at));
    if (json_is_boolean(at))
        return kp_strdup(json_is_true(at) ? "true" : "false");
    return json_is_array(at) ? join(at) : NULL;
}

static bool list_has(const char *list, const char *wanted)
{
    struct kp_slice rest = kp_slice_of(list), word;
    while (kp_slice_cut(&rest, ',', &word))
        if (kp_slice_equal(word, wanted))
            return true;
    return kp_slice_equal(rest, wanted);
}

static bool are_among(const char *list, const char *allowed)
{
    struct kp_slice rest = kp_slice_of(list), word;
    while (rest.len) {
        if (!kp_slice_cut(&rest, ',', &word)) {
            word = rest;
            rest.len = 0;
        }
        kp_auto_free char *text = kp_strndup(word.ptr, word.len);
        if (!list_has(allowed, text))
            return false;
    }
    return *list != '\0';
}

static bool is_at_least(const char *text, const char *least)
{
    uint64_t have, need;
    return text && kp_parse_u64(kp_slice_of(text), UINT32_MAX, &have) &&
           kp_parse_u64(kp_slice_of(least), UINT32_MAX, &need) && have >= need;
}

static bool judge_value(const struct kp_cis_check *check, const char *value)
{
    const char *effective = value ? value : check->fallback;
    switch (check->rule) {
    case KP_CIS_EQUALS:
        return effective && strcmp(effective, check->value) == 0;
    case KP_CIS_NOT:
        return !value || strcmp(value, check->value) != 0;
    case KP_CIS_SET:
        return value && *value;
    case KP_CIS_UNSET:
        return !value;
    case KP_CIS_HAS:
        return value && list_has(value, check->value);
    case KP_CIS_HAS_NOT:
        return !value || !list_has(value, check->value);
    case KP_CIS_LEAST:
        return is_at_least(value, check->value);
    case KP_CIS_AMONG:
        return value && are_among(value, check->value);
    case KP_CIS_MODE:
    case KP_CIS_OWNER:
        break;
    }
    return false;
}

/* "600 root:root" */
static bool judge_file(const struct kp_cis_check *check, const char *state)
{
    struct kp_slice owner = kp_slice_of(state), mode;
    uint64_t have, most;
    if (!kp_slice_cut(&owner, ' ', &mode) || !kp_parse_octal(mode, 07777, &have))
        return false;
    if (check->rule == KP_CIS_OWNER)
        return kp_slice_equal(owner, check->value);
    return kp_parse_octal(kp_slice_of(check->value), 07777, &most) && (have & ~most & 0777) == 0;
}

/* A path, or a pattern of paths: the first that is not as it should be is what was found. */
static bool judge_files(const struct kp_cis_check *check, const json_t *files, bool *applies,
                        char **found)
{
    bool pattern = strchr(check->subject, '*') != NULL;
    const char *path;
    json_t *state;
    *applies = false;
    *found = NULL;
    json_object_foreach((json_t *)files, path, state)
    {
        const char *text = json_string_value(state);
        if (fnmatch(check->subject, path, 0) != 0)
            continue;
        *applies = true;
        if (!*found)
            *found = kp_strdup(text);
        if (judge_file(check, text))
            continue;
        kp_free(*found);
        *found = pattern ? kp_asprintf("%s of %s", text, path) : kp_strdup(text);
        return false;
    }
    *found = *found ? *found : kp_strdup("");
    return true;
}

bool kp_cis_judge(const struct kp_cis_check *check, const struct kp_cis_node *node, bool *applies,
                  char **found)
{
    if (check->on == KP_CIS_FILE)
        return judge_files(check, node->files, applies, found);
    const json_t *object = node->objects[check->on];
    kp_auto_free char *value = look_up(object, check->subject);
    *applies = object != NULL;
    *found = kp_strdup(value ? value : "not set");
    if (object && !value && check->rule == KP_CIS_AMONG) {
        kp_auto_free char *version = look_up(object, check->fallback);
        return version && strcmp(version, NO_CIPHERS_NEEDED) == 0;
    }
    return !object || judge_value(check, value);
}

/* --- the report ------------------------------------------------------------------------------- */

static json_t *judge_all(const struct kp_cis_node *nodes, size_t count, size_t *failed)
{
    json_t *out = json_array();
    for (const struct kp_cis_check *check = kp_cis_checks; check->id; check++) {
        json_t *failures = json_array();
        size_t looked = 0;
        for (size_t i = 0; i < count; i++) {
            bool applies;
            kp_auto_free char *found = NULL;
            bool ok = kp_cis_judge(check, &nodes[i], &applies, &found);
            looked += applies;
            if (!ok)
                json_array_append_new(failures, json_pack("{s:s, s:s, s:s, s:s?}", "node",
                                                          nodes[i].name, "subject", check->subject,
                                                          "found", found, "wanted", check->value));
        }
        bool ok = json_array_size(failures) == 0;
        *failed += !ok;
        json_array_append_new(out, json_pack("{s:s, s:s, s:b, s:I, s:o}", "id", check->id, "title",
                                             check->title, "ok", ok, "nodes", (json_int_t)looked,
                                             "failures", failures));
    }
    return out;
}

static json_t *gaps(void)
{
    json_t *out = json_array();
    for (const struct kp_cis_gap *gap = kp_cis_gaps; gap->ids; gap++)
        json_array_append_new(out, json_pack("{s:s, s:s}", "ids", gap->ids, "why", gap->why));
    return out;
}

int kp_cis_report(json_t **out, struct kp_site *site, struct kp_err *err)
{
    kp_auto_free struct kp_cis_node *nodes = kp_alloc_array(site->node_count + 1, sizeof(*nodes));
    kp_auto_json evidence = NULL;
    size_t failed = 0, count;
    if (kp_cis_ask(&evidence, nodes, &count, site, err) < 0)
        return -1;
    json_t *checks = judge_all(nodes, count, &failed);
    *out = json_pack("{s:s, s:o, s:o, s:I}", "benchmark", "CIS Kubernetes 1.9", "checks", checks,
                     "not_covered", gaps(), "failed", (json_int_t)failed);
    return 0;
}
