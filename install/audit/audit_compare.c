/* SPDX-License-Identifier: Apache-2.0 */
/* What was recorded and signed held against what a node has: pure, each difference goes to a list.
 */
#include "install/audit/audit.h"

#include <stdio.h>

void kp_audit_differ(json_t *list, const char *what, const char *path, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_array_append_new(list,
                          json_pack("{s:s, s:s, s:s}", "what", what, "path", path, "text", text));
}

void kp_audit_compare(json_t *list, const json_t *wanted, const struct kp_digest *signed_digest,
                      const json_t *found)
{
    const char *path = kp_json_string(wanted, "path"), *kind = kp_json_string(found, "kind");
    bool secret = json_object_get(wanted, "hmac") != NULL;
    const char *key = secret ? "hmac" : "sha256";
    const struct kp_digest none = {{0}};
    const struct kp_digest_text hex = kp_digest_hex(signed_digest ? signed_digest : &none);
    const char *needed = signed_digest ? hex.hex : kp_json_string(wanted, key);
    const char *have = kp_json_string(found, key);
    if (strcmp(kind, "missing") == 0) {
        kp_audit_differ(list, "missing", path, "is gone");
        return;
    }
    if (strcmp(kind, "file") != 0) {
        kp_audit_differ(list, "changed", path, "is no regular file (%s)", kind);
        return;
    }
    if (strcmp(needed, have) != 0 && secret)
        kp_audit_differ(list, "changed", path, "is not the secret that was placed");
    else if (strcmp(needed, have) != 0)
        kp_audit_differ(list, "changed", path, "has SHA-256 %.12s…, %s %.12s…", have,
                        signed_digest ? "signed was" : "placed was", needed);
    if (strcmp(kp_json_string(wanted, "mode"), kp_json_string(found, "mode")) != 0)
        kp_audit_differ(list, "mode", path, "has mode %s, was %s", kp_json_string(found, "mode"),
                        kp_json_string(wanted, "mode"));
    json_int_t uid = json_integer_value(json_object_get(found, "uid")),
               gid = json_integer_value(json_object_get(found, "gid"));
    if (uid != json_integer_value(json_object_get(wanted, "uid")) ||
        gid != json_integer_value(json_object_get(wanted, "gid")))
        kp_audit_differ(list, "mode", path, "belongs to %lld:%lld", (long long)uid, (long long)gid);
}

static bool next_word(struct kp_slice *line, struct kp_slice *word)
{
    struct kp_slice rest = kp_slice_trim(*line);
    if (!kp_slice_cut(&rest, ' ', word)) {
        *word = rest;
        rest.len = 0;
    }
    *line = rest;
    return word->len > 0;
}

static void judge_image(json_t *list, const struct kp_manifest *manifest, struct kp_slice reference,
                        const struct kp_digest *digest)
{
    bool known = false;
    kp_auto_free char *name = kp_strndup(reference.ptr, reference.len);
    for (size_t i = 0; i < manifest->image_count; i++) {
        const struct kp_image *image = &manifest->images[i];
        bool same = kp_digest_equal(&image->digest, digest);
        known = known || same;
        if (!same && strcmp(image->reference, name) == 0) {
            kp_audit_differ(list, "image", name, "is %.12s…, signed was %.12s…",
                            kp_digest_hex(digest).hex, kp_digest_hex(&image->digest).hex);
            return;
        }
    }
    if (!known)
        kp_audit_differ(list, "image", name, "did not come from the bundle (%.12s…)",
                        kp_digest_hex(digest).hex);
}

size_t kp_audit_images(json_t *list, const struct kp_manifest *manifest, struct kp_slice listing)
{
    struct kp_slice line, reference, type, text;
    struct kp_digest digest;
    size_t n = 0;
    while (kp_slice_line(&listing, &line)) {
        if (!next_word(&line, &reference) || !next_word(&line, &type) || !next_word(&line, &text) ||
            !kp_digest_parse(text, &digest))
            continue;
        n++;
        judge_image(list, manifest, reference, &digest);
    }
    return n;
}

struct witnesses {
    json_t *list;
    const struct kp_audit_book *book;
    const char *key;
};

static int judge_line(void *user, const json_t *record, struct kp_slice line,
                      const struct kp_chain_head *head, struct kp_err *err)
{
    struct witnesses *w = user;
    const struct kp_audit_book *book = w->book;
    struct kp_digest digest;
    (void)err;
    if (!kp_audit_line_is_signed(line, w->key))
        kp_audit_differ(w->list, "log", "/var/lib/kpack/placed.jsonl",
                        "line %llu is not signed by the node's key",
                        (unsigned long long)head->count);
    if (strcmp(kp_json_string(record, "op"), "witness") != 0)
        return 0;
    uint64_t count = (uint64_t)json_integer_value(json_object_get(record, "site_count"));
    bool known = kp_digest_parse(kp_slice_of(kp_json_string(record, "site_digest")), &digest) &&
                 count >= 1 && count <= book->digest_count &&
                 kp_digest_equal(&book->digests[count - 1], &digest);
    if (known)
        return 0;
    kp_audit_differ(
        w->list, "log", KP_AUDIT_FILE,
        "the node was told of line %llu (%.12s…) of the site's log on %s: it is not there",
        (unsigned long long)count, kp_json_string(record, "site_digest"),
        kp_json_string(record, "time"));
    json_object_set(json_array_get(w->list, json_array_size(w->list) - 1), "digest",
                    json_object_get(record, "site_digest"));
    return 0;
}

void kp_audit_compare_log(json_t *list, const struct kp_audit_book *book, const char *node,
                          const struct kp_node_log_part *part)
{
    const json_t *known = json_object_get(book->nodes, node);
    const char *key = kp_json_string(known, "key");
    struct witnesses w = {list, book, part->key};
    struct kp_chain_state chain;
    struct kp_err ignored;
    uint64_t count = (uint64_t)json_integer_value(json_object_get(known, "count"));
    if (*key && (!part->key || strcmp(part->key, key) != 0))
        kp_audit_differ(list, "log", "/var/lib/kpack/node.key",
                        "the node has another key than before");
    if (kp_chain_parse(kp_buf_slice(&part->lines), NULL, judge_line, &w, &chain, &ignored) < 0)
        return;
    for (size_t i = 0; i < chain.problem_count && i < KP_CHAIN_PROBLEMS_MAX; i++)
        kp_audit_differ(list, "log", "/var/lib/kpack/placed.jsonl", "line %llu %s",
                        (unsigned long long)chain.problems[i].line, chain.problems[i].text);
    if (chain.head.count < count)
        kp_audit_differ(list, "log", "/var/lib/kpack/placed.jsonl",
                        "was cut: it had %llu lines, it has %llu", (unsigned long long)count,
                        (unsigned long long)chain.head.count);
    else if (chain.head.count == count && count &&
             strcmp(kp_json_string(known, "digest"), kp_digest_hex(&chain.head.digest).hex) != 0)
        kp_audit_differ(list, "log", "/var/lib/kpack/placed.jsonl", "its last line was changed");
}
