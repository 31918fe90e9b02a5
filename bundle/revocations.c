/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/revocations.h"

#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#define WHY_MAX ((size_t)256)
#define FILE_MAX ((size_t)4 << 20)

struct item {
    enum kp_revoked_what what;
    struct kp_digest id;
    char *why;
};
struct kp_revoked {
    struct item *items; /* sorted: keys, then bundles, each by id */
    size_t count;
};

struct kp_revoked *kp_revoked_new(void)
{
    return kp_alloc(sizeof(struct kp_revoked));
}

void kp_revoked_free(struct kp_revoked *revoked)
{
    if (!revoked)
        return;
    for (size_t i = 0; i < revoked->count; i++)
        kp_free(revoked->items[i].why);
    kp_free(revoked->items);
    kp_free(revoked);
}

static int compare(const struct item *item, enum kp_revoked_what what, const struct kp_digest *id)
{
    if (item->what != what)
        return item->what < what ? -1 : 1;
    return memcmp(item->id.bytes, id->bytes, KP_SHA256_LEN);
}

int kp_revoked_add(struct kp_revoked *revoked, enum kp_revoked_what what,
                   const struct kp_digest *id, const char *why, struct kp_err *err)
{
    size_t at = 0;
    while (at < revoked->count && compare(&revoked->items[at], what, id) < 0)
        at++;
    if (at < revoked->count && compare(&revoked->items[at], what, id) == 0)
        return 0;
    if (revoked->count == KP_REVOKED_MAX)
        return kp_fail(err, KP_USAGE, "more than %d revocations", KP_REVOKED_MAX);
    if (!kp_text_plain(why, WHY_MAX))
        return kp_fail(err, KP_USAGE, "a reason is at most %zu printable ASCII characters",
                       WHY_MAX);
    revoked->items = kp_realloc_array(revoked->items, revoked->count + 1, sizeof(*revoked->items));
    memmove(&revoked->items[at + 1], &revoked->items[at],
            (revoked->count - at) * sizeof(*revoked->items));
    revoked->items[at] = (struct item){what, *id, kp_strdup(why)};
    revoked->count++;
    return 0;
}

int kp_revoked_merge(struct kp_revoked *into, const struct kp_revoked *from, struct kp_err *err)
{
    for (size_t i = 0; i < from->count; i++)
        if (kp_revoked_add(into, from->items[i].what, &from->items[i].id, from->items[i].why, err) <
            0)
            return -1;
    return 0;
}

const char *kp_revoked_why(const struct kp_revoked *revoked, enum kp_revoked_what what,
                           const struct kp_digest *id)
{
    for (size_t i = 0; revoked && i < revoked->count; i++)
        if (compare(&revoked->items[i], what, id) == 0)
            return revoked->items[i].why;
    return NULL;
}

size_t kp_revoked_count(const struct kp_revoked *revoked)
{
    return revoked->count;
}

static json_t *items_json(const struct kp_revoked *revoked, enum kp_revoked_what what)
{
    json_t *out = json_array();
    for (size_t i = 0; i < revoked->count; i++)
        if (revoked->items[i].what == what)
            json_array_append_new(out, json_pack("{s:s, s:s}", "id",
                                                 kp_digest_hex(&revoked->items[i].id).hex, "why",
                                                 revoked->items[i].why));
    return out;
}

json_t *kp_revoked_json(const struct kp_revoked *revoked)
{
    return json_pack("{s:o, s:o}", "keys", items_json(revoked, KP_REVOKED_KEY), "bundles",
                     items_json(revoked, KP_REVOKED_BUNDLE));
}

static void read_items(struct kp_revoked *into, struct kp_json_reader *top, const char *key,
                       enum kp_revoked_what what)
{
    const json_t *array;
    size_t n = kp_json_array(top, key, KP_REVOKED_MAX, false, &array);
    for (size_t i = 0; i < n && !top->failed; i++) {
        struct kp_json_reader item = kp_json_element(top, key, array, i);
        struct kp_err why = KP_ERR_INIT;
        struct kp_digest id = kp_json_digest(&item, "id");
        const char *text = kp_json_text(&item, "why", WHY_MAX);
        if (!item.failed && kp_revoked_add(into, what, &id, text, &why) < 0)
            kp_json_complain(&item, "why", "%s", why.message);
        top->failed = kp_json_finish(&item) < 0;
    }
}

int kp_revoked_from_json(struct kp_revoked *into, const json_t *value, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_json_reader top = kp_json_read(value, KP_REVOKED_FILE, arena, err);
    read_items(into, &top, "keys", KP_REVOKED_KEY);
    read_items(into, &top, "bundles", KP_REVOKED_BUNDLE);
    return kp_json_finish(&top);
}

static json_t *document_json(const struct kp_revoked *revoked, const char *created)
{
    return json_pack("{s:s, s:s, s:o, s:o}", "kind", KP_REVOCATIONS_KIND, "created", created,
                     "keys", items_json(revoked, KP_REVOKED_KEY), "bundles",
                     items_json(revoked, KP_REVOKED_BUNDLE));
}

char *kp_revocations_dump(const struct kp_revoked *revoked, const char *created)
{
    kp_auto_json value = document_json(revoked, created);
    return kp_json_dump(value, false);
}

static int parse(struct kp_revoked *into, const json_t *value, char **created, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_json_reader top = kp_json_read(value, "revocations", arena, err);
    time_t when;
    (void)kp_json_text(&top, "kind", WHY_MAX);
    const char *text = kp_json_text(&top, "created", WHY_MAX);
    if (!top.failed && !kp_parse_utc(text, &when))
        kp_json_complain(&top, "created", "a time like 2026-11-23T21:00:00Z is needed");
    read_items(into, &top, "keys", KP_REVOKED_KEY);
    read_items(into, &top, "bundles", KP_REVOKED_BUNDLE);
    if (kp_json_finish(&top) < 0)
        return -1;
    *created = kp_strdup(text);
    return 0;
}

int kp_revocations_read(struct kp_revoked *into, const struct kp_document *document, char **created,
                        struct kp_err *err)
{
    kp_auto_json value = NULL;
    kp_auto(kp_revoked) read = kp_revoked_new();
    kp_auto_free char *when = NULL;
    if (kp_document_parse(&value, document, KP_REVOCATIONS_KIND, err) < 0)
        return kp_wrap(err, "revocations");
    if (parse(read, value, &when, err) < 0) {
        if (err) {
            err->code = KP_UNTRUSTED;
            err->reason = "bad_document";
        }
        return -1;
    }
    if (kp_document_canonical(document, document_json(read, when), err) < 0)
        return kp_wrap(err, "revocations");
    if (created)
        *created = kp_steal(&when);
    return kp_revoked_merge(into, read, err);
}

int kp_revocations_take(struct kp_revoked *into, const struct kp_document *document,
                        const struct kp_trust *trust, bool *counted, struct kp_err *err)
{
    kp_auto(kp_revoked) read = kp_revoked_new();
    kp_auto_free char *created = NULL;
    struct kp_judging how = kp_judging_by(trust, KP_KEY_REVOKE, "the revocations");
    struct kp_err why = KP_ERR_INIT;
    *counted = false;
    if (!kp_trust_count(trust) || kp_revocations_read(read, document, &created, &why) < 0)
        return 0; // of nobody whom we know; what does not parse was not signed by them either
    how.created = created;
    if (kp_signatures_judge(&document->signatures, &how, kp_document_slice(document), NULL, &why) <
        0) {
        if (!why.reason || strcmp(why.reason, "bad_signature") != 0)
            return 0;
        if (err)
            *err = why;
        return -1;
    }
    *counted = true;
    return kp_revoked_merge(into, read, err);
}

int kp_revoked_load(struct kp_revoked *into, const char *folder, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(folder, KP_REVOKED_FILE);
    kp_auto_free char *text = NULL;
    kp_auto_json value = NULL;
    size_t len;
    if (!kp_file_exists(path))
        return 0;
    if (kp_file_read(path, FILE_MAX, &text, &len, err) < 0 ||
        kp_json_parse(&value, (struct kp_slice){text, len}, FILE_MAX, path, err) < 0 ||
        kp_revoked_from_json(into, value, err) < 0)
        return kp_wrap(err, "what is revoked, %s", path);
    return 0;
}

int kp_revoked_keep(const struct kp_revoked *revoked, const char *folder, bool *changed,
                    struct kp_err *err)
{
    kp_auto(kp_revoked) all = kp_revoked_new();
    kp_auto_free char *path = kp_path_join(folder, KP_REVOKED_FILE);
    if (changed)
        *changed = false;
    if (!revoked->count)
        return 0;
    if (kp_mkdirs(folder, 0755, err) < 0)
        return -1;
    kp_auto_fd int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return kp_fail_sys(err, errno, "lock %s", folder);
    if (kp_revoked_load(all, folder, err) < 0)
        return -1;
    size_t before = all->count;
    if (kp_revoked_merge(all, revoked, err) < 0)
        return -1;
    if (all->count == before)
        return 0;
    if (changed)
        *changed = true;
    kp_auto_json value = kp_revoked_json(all);
    kp_auto_free char *text = kp_json_dump(value, false);
    return kp_file_write_atomic(path, kp_slice_of(text), 0644, err);
}
