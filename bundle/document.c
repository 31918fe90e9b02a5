/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/document.h"

#include "core/file.h"

void kp_document_free(struct kp_document *document)
{
    if (!document)
        return;
    kp_free(document->text);
    kp_free(document);
}

struct kp_document *kp_document_new(char *text, size_t len)
{
    struct kp_document *document = kp_alloc(sizeof(*document));
    document->text = text;
    document->len = len;
    kp_sha256(text, len, &document->id);
    return document;
}

struct kp_slice kp_document_slice(const struct kp_document *document)
{
    return (struct kp_slice){document->text, document->len};
}

static char *signature_path(const char *path)
{
    size_t stem = strlen(path) - (kp_ends_with(path, ".json") ? 5 : 0);
    return kp_asprintf("%.*s.sig", (int)stem, path);
}

static int as_usage(struct kp_err *err)
{
    if (err)
        err->code = KP_USAGE;
    return -1;
}

int kp_document_load(struct kp_document **out, const char *path, struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    kp_auto_free char *block = NULL;
    kp_auto_free char *beside = signature_path(path);
    size_t len, block_len;
    if (kp_file_read(path, KP_DOCUMENT_MAX, &text, &len, err) < 0)
        return as_usage(err);
    kp_auto(kp_document) document = kp_document_new(kp_steal(&text), len);
    if (kp_file_exists(beside)) {
        if (kp_file_read(beside, KP_SIG_SIZE, &block, &block_len, err) < 0)
            return as_usage(err);
        if (block_len != KP_SIG_SIZE)
            return kp_fail_as(err, KP_UNTRUSTED, "bad_signature_block", "%s: %zu bytes, not %zu",
                              beside, block_len, KP_SIG_SIZE);
        if (kp_signatures_parse(&document->signatures, block, err) < 0)
            return kp_wrap(err, "%s", beside);
    }
    *out = kp_steal(&document);
    return 0;
}

int kp_document_save(const struct kp_document *document, const char *path, struct kp_err *err)
{
    kp_auto_free char *beside = signature_path(path);
    kp_auto_free char *block = kp_alloc(KP_SIG_SIZE);
    kp_signatures_format(&document->signatures, block);
    if (kp_file_write_atomic(beside, (struct kp_slice){block, KP_SIG_SIZE}, 0644, err) < 0)
        return -1;
    return kp_file_write_atomic(path, kp_document_slice(document), 0644, err);
}

int kp_document_sign(struct kp_document *document, const struct kp_key *key, struct kp_err *err)
{
    struct kp_signature signature;
    if (kp_sign(key, kp_document_slice(document), &signature, err) < 0)
        return -1;
    return kp_signature_add(&document->signatures, &signature, err);
}

json_t *kp_document_json(const struct kp_document *document)
{
    kp_auto_free char *block = kp_alloc(KP_SIG_SIZE);
    size_t len = KP_SIG_SIZE;
    kp_signatures_format(&document->signatures, block);
    while (len && block[len - 1] == ' ')
        len--;
    return json_pack("{s:s%, s:s%}", "document", document->text, document->len, "signatures", block,
                     len);
}

static int bad(struct kp_err *err, const char *what)
{
    return kp_fail_as(err, KP_UNTRUSTED, "bad_document", "%s", what);
}

int kp_document_from_json(struct kp_document **out, const json_t *value, struct kp_err *err)
{
    const json_t *text = json_object_get(value, "document");
    const json_t *lines = json_object_get(value, "signatures");
    kp_auto_free char *block = kp_alloc(KP_SIG_SIZE);
    if (!json_is_string(text) || !json_is_string(lines) || json_object_size(value) != 2 ||
        json_string_length(text) > KP_DOCUMENT_MAX || json_string_length(lines) > KP_SIG_SIZE)
        return bad(err, "not a signed document (document, signatures)");
    memset(block, ' ', KP_SIG_SIZE);
    memcpy(block, json_string_value(lines), json_string_length(lines));
    size_t len = json_string_length(text);
    char *copy = kp_alloc(len + 1);
    memcpy(copy, json_string_value(text), len);
    kp_auto(kp_document) document = kp_document_new(copy, len);
    if (kp_signatures_parse(&document->signatures, block, err) < 0)
        return -1;
    *out = kp_steal(&document);
    return 0;
}

int kp_document_parse(json_t **out, const struct kp_document *document, const char *kind,
                      struct kp_err *err)
{
    kp_auto_json value = NULL;
    if (kp_json_parse(&value, kp_document_slice(document), KP_DOCUMENT_MAX, "document", err) < 0) {
        if (err) {
            err->code = KP_UNTRUSTED;
            err->reason = "bad_document";
        }
        return -1;
    }
    const char *found = json_string_value(json_object_get(value, "kind"));
    if (!found || strcmp(found, kind) != 0)
        return kp_fail_as(err, KP_UNTRUSTED, "bad_document", "kind \"%.64s\": %s is needed",
                          found ? found : "", kind);
    *out = kp_steal(&value);
    return 0;
}

int kp_document_canonical(const struct kp_document *document, json_t *value, struct kp_err *err)
{
    kp_auto_json owned = value;
    kp_auto_free char *text = kp_json_dump(owned, false);
    if (strlen(text) == document->len && memcmp(text, document->text, document->len) == 0)
        return 0;
    return bad(err, "not in its one canonical form");
}
