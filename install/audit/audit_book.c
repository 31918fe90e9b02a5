/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the audit log: every record taken into one picture of the site. */
#include "install/audit/audit_log.h"

#include "install/audit/audit_acknowledge.h"

#include "bundle/spki.h"
#include "core/file.h"

#include <stdio.h>

#define SIGNATURE_MEMBER ",\"signature\":\""
#define SIGNATURE_HEX (2 * KP_ED25519_SIGNATURE)
#define NODE_STATE_FOLDER "/var/lib/kpack"

void kp_audit_book_release(struct kp_audit_book *book)
{
    kp_free(book->digests);
    json_decref(book->runs);
    json_decref(book->nodes);
    json_decref(book->problems);
    json_decref(book->acknowledged);
    *book = (struct kp_audit_book){0};
}

bool kp_audit_line_is_signed(struct kp_slice line, const char *key_pem)
{
    uint8_t signature[KP_ED25519_SIGNATURE], key[KP_ED25519_KEY];
    size_t tail = strlen(SIGNATURE_MEMBER) + SIGNATURE_HEX + 2;
    struct kp_err ignored;
    if (line.len <= tail || !key_pem)
        return false;
    const char *member = line.ptr + line.len - tail;
    const char *hex = member + strlen(SIGNATURE_MEMBER);
    if (memcmp(member, SIGNATURE_MEMBER, strlen(SIGNATURE_MEMBER)) != 0 ||
        memcmp(line.ptr + line.len - 2, "\"}", 2) != 0 ||
        !kp_parse_hex((struct kp_slice){hex, SIGNATURE_HEX}, signature, sizeof(signature)) ||
        kp_spki_parse(kp_slice_of(key_pem), key, &ignored) < 0)
        return false;
    size_t len = line.len - tail;
    kp_auto_free char *message = kp_asprintf("%.*s}", (int)len, line.ptr);
    return kp_spki_verify(key, (struct kp_slice){message, len + 1}, signature);
}

static void note_problem(struct kp_audit_book *book, uint64_t line, const char *fmt, ...)
    KP_PRINTF(3, 4);

static void note_problem(struct kp_audit_book *book, uint64_t line, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_array_append_new(book->problems,
                          json_pack("{s:I, s:s}", "line", (json_int_t)line, "text", text));
}

static json_t *node_of(struct kp_audit_book *book, const char *name)
{
    json_t *node = json_object_get(book->nodes, name);
    if (node)
        return node;
    node = json_pack("{s:{}, s:{}}", "files", "seen");
    json_object_set_new(book->nodes, name, node);
    return node;
}

static void take_into(json_t *list, const json_t *record, uint64_t line)
{
    json_t *one = json_copy((json_t *)(uintptr_t)record);
    json_object_set_new(one, "line", json_integer((json_int_t)line));
    json_array_append_new(list, one);
}

static void take_end(struct kp_audit_book *book, const json_t *record)
{
    for (size_t i = json_array_size(book->runs); i-- > 0;) {
        json_t *run = json_array_get(book->runs, i);
        if (strcmp(kp_json_string(run, "run"), kp_json_string(record, "run")) != 0)
            continue;
        json_object_set(run, "end", (json_t *)(uintptr_t)record);
        return;
    }
}

static bool is_beneath(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static void forget_beneath(json_t *files, const char *folder)
{
    const char *path;
    json_t *value;
    void *next;
    json_object_foreach_safe(files, next, path, value)
    {
        if (is_beneath(path, folder))
            json_object_del(files, path);
    }
}

static void take_removed(struct kp_audit_book *book, const char *name, const char *path)
{
    json_t *node = node_of(book, name);
    forget_beneath(json_object_get(node, "files"), path);
    forget_beneath(json_object_get(node, "seen"), path);
    // With its state folder the node's log and key are gone: what comes next is a new node.
    if (*path && is_beneath(NODE_STATE_FOLDER, path))
        json_object_del(book->nodes, name);
}

static void take_node(struct kp_audit_book *book, const json_t *record, uint64_t line)
{
    const char *name = kp_json_string(record, "node"), *was = kp_json_string(record, "was");
    if (*was) {
        note_problem(book, line, "%s: %s", name, was);
        json_object_del(book->nodes, name);
    }
    json_object_set(node_of(book, name), "key", json_object_get(record, "key"));
}

/* Does the line follow from the one that this node sent before? */
static const char *check_placed(const struct kp_audit_book *book, const json_t *node,
                                const json_t *placed, struct kp_slice line)
{
    json_int_t before = json_integer_value(json_object_get(node, "count"));
    const struct kp_digest_text none = kp_digest_hex(&(struct kp_digest){{0}});
    const char *digest = json_string_value(json_object_get(node, "digest"));
    const char *prev = json_string_value(json_object_get(placed, "prev"));
    if (strcmp(kp_json_string(placed, "kind"), "kpack.placed/v1") != 0)
        return "is no line of a node's log";
    if (json_integer_value(json_object_get(placed, "n")) != before + 1 || !prev ||
        strcmp(prev, digest ? digest : none.hex) != 0)
        return "does not follow from the node's line before";
    if (book->check && !kp_audit_line_is_signed(line, kp_json_string(node, "key")))
        return "is not signed by the node's key";
    return NULL;
}

static void take_placed(struct kp_audit_book *book, const json_t *record, uint64_t at)
{
    const char *text = kp_json_string(record, "placed"), *name = kp_json_string(record, "node");
    struct kp_slice line = kp_slice_of(text);
    json_t *node = node_of(book, name);
    struct kp_err why = KP_ERR_INIT;
    struct kp_digest digest;
    kp_auto_json placed = NULL;
    if (kp_json_parse(&placed, line, KP_CHAIN_LINE_MAX, "placed", &why) < 0) {
        note_problem(book, at, "%s: what it placed cannot be read", name);
        return;
    }
    const char *wrong = check_placed(book, node, placed, line);
    if (wrong)
        note_problem(book, at, "%s: what it placed %s", name, wrong);
    kp_sha256(line.ptr, line.len, &digest);
    json_object_set(node, "count", json_object_get(placed, "n"));
    json_object_set_new(node, "digest", json_string(kp_digest_hex(&digest).hex));
    json_object_set_new(placed, "line", json_integer((json_int_t)at));
    const char *path = kp_json_string(placed, "path");
    if (strcmp(kp_json_string(placed, "op"), "remove") == 0)
        take_removed(book, name, path);
    else if (*path)
        json_object_set(json_object_get(node, "files"), path, placed);
}

static void take_seen(struct kp_audit_book *book, const json_t *record, uint64_t line)
{
    json_t *seen = json_object_get(node_of(book, kp_json_string(record, "node")), "seen");
    size_t i;
    const json_t *file;
    json_array_foreach(json_object_get(record, "files"), i, file)
    {
        json_t *one = json_copy((json_t *)(uintptr_t)file);
        json_object_set_new(one, "line", json_integer((json_int_t)line));
        json_object_set_new(seen, kp_json_string(file, "path"), one);
    }
}

static void keep_digest(struct kp_audit_book *book, const struct kp_chain_head *head)
{
    if ((book->digest_count & (book->digest_count - 1)) == 0) {
        size_t room = book->digest_count ? 2 * book->digest_count : 1;
        book->digests = kp_realloc_array(book->digests, room, sizeof(*book->digests));
    }
    book->digests[book->digest_count++] = head->digest;
}

int kp_audit_book_take(void *user, const json_t *record, struct kp_slice line,
                       const struct kp_chain_head *head, struct kp_err *err)
{
    struct kp_audit_book *book = user;
    const char *type = kp_json_string(record, "type");
    (void)line;
    (void)err;
    if (!book->nodes) {
        book->nodes = json_object();
        book->runs = json_array();
        book->problems = json_array();
        book->acknowledged = json_array();
    }
    keep_digest(book, head);
    if (strcmp(type, "run") == 0)
        take_into(book->runs, record, head->count);
    else if (strcmp(type, "acknowledged") == 0)
        take_into(book->acknowledged, record, head->count);
    else if (strcmp(type, "end") == 0)
        take_end(book, record);
    else if (strcmp(type, "node") == 0)
        take_node(book, record, head->count);
    else if (strcmp(type, "placed") == 0)
        take_placed(book, record, head->count);
    else if (strcmp(type, "seen") == 0)
        take_seen(book, record, head->count);
    else if (strcmp(type, "removed") == 0)
        take_removed(book, kp_json_string(record, "node"), kp_json_string(record, "path"));
    else
        note_problem(book, head->count, "a record of unknown type \"%.40s\"", type);
    return 0;
}

static int read_kept_head(struct kp_audit_book *book, const char *folder, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(folder, KP_AUDIT_HEAD_FILE), *text = NULL;
    size_t len;
    if (!kp_file_exists(path))
        return 0;
    if (kp_file_read(path, 256, &text, &len, err) < 0)
        return -1;
    if (!kp_chain_head_parse((struct kp_slice){text, len}, &book->kept))
        book->cut = true; // somebody was at it
    return 0;
}

int kp_audit_book_read(struct kp_audit_book *out, const char *state_folder, bool check,
                       struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(state_folder, KP_AUDIT_FILE);
    kp_auto_value(kp_audit_book) book = {.check = check};
    book.nodes = json_object();
    book.runs = json_array();
    book.problems = json_array();
    book.acknowledged = json_array();
    if (kp_chain_read(path, kp_audit_book_take, &book, &book.chain, err) < 0 ||
        read_kept_head(&book, state_folder, err) < 0)
        return -1;
    uint64_t kept = book.kept.count;
    // Lines that are no records are not in digests: then the chain has said enough.
    if (kept > book.chain.head.count ||
        (kept && book.digest_count == book.chain.head.count &&
         !kp_digest_equal(&book.digests[kept - 1], &book.kept.digest)))
        book.cut = true;
    kp_audit_forgive_book(&book);
    *out = book;
    book = (struct kp_audit_book){0};
    return 0;
}
