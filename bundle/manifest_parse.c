/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/layout.h"
#include "bundle/names.h"
#include "bundle/revocations.h"
#include "core/text.h"

#include <stdlib.h>

struct parsing {
    struct kp_manifest *m;
    struct kp_json_reader *top;
};

typedef bool name_rule(const char *text);

static const char *read_ruled(struct kp_json_reader *r, const char *key, name_rule *rule,
                              const char *needed)
{
    const char *text = kp_json_text(r, key, KP_TEXT_MAX);
    if (!r->failed && !rule(text))
        kp_json_complain(r, key, "\"%.64s\": %s is needed", text, needed);
    return text;
}

static const char *read_name(struct kp_json_reader *r, const char *key)
{
    return read_ruled(r, key, kp_name_ok, "a name of letters, digits and . _ + -");
}

static bool plain_rule(const char *text)
{
    return kp_text_plain(text, KP_TEXT_MAX);
}

static const char *read_plain(struct kp_json_reader *r, const char *key)
{
    return read_ruled(r, key, plain_rule, "printable ASCII");
}

static bool name_or_empty(const char *text)
{
    return !text[0] || kp_name_ok(text);
}

static bool utc_rule(const char *text)
{
    time_t when;
    return kp_parse_utc(text, &when);
}

static bool kubernetes_or_empty(const char *text)
{
    return !text[0] || kp_kubernetes_ok(text);
}

static unsigned read_roles(struct kp_json_reader *r)
{
    const char **texts = kp_json_texts(r, "roles", 3, false, NULL);
    unsigned roles = 0;
    for (; !r->failed && *texts; texts++) {
        unsigned role = kp_role_parse(*texts);
        if (!role || roles & role)
            kp_json_complain(r, "roles", "\"%.64s\" is unknown or there twice", *texts);
        roles |= role;
    }
    return roles;
}

static bool has_text(const char *const *texts, const char *text)
{
    for (; *texts; texts++)
        if (strcmp(*texts, text) == 0)
            return true;
    return false;
}

static const char **read_words(struct kp_json_reader *r, const char *key, size_t max,
                               name_rule *rule)
{
    const char **texts = kp_json_texts(r, key, max, false, NULL);
    for (size_t i = 0; !r->failed && texts[i]; i++)
        if (!rule(texts[i]) || has_text(texts + i + 1, texts[i]))
            kp_json_complain(r, key, "\"%.64s\" is not allowed here, or there twice", texts[i]);
    return texts;
}

/* What a package brings is among what nodes must have. */
static const char **read_brought(const struct kp_manifest *m, struct kp_json_reader *r)
{
    if (!json_object_get(r->object, "programs"))
        return NULL;
    const char **names = read_words(r, "programs", KP_PROGRAMS_MAX, kp_name_ok);
    for (size_t i = 0; !r->failed && names[i]; i++)
        if (!has_text(m->programs, names[i]))
            kp_json_complain(r, "programs", "\"%.64s\" is not among the bundle's programs",
                             names[i]);
    return names;
}

static void check_arch(const struct kp_manifest *m, struct kp_json_reader *r, const char *key,
                       const char *arch)
{
    if (!r->failed && !has_text(m->arches, arch))
        kp_json_complain(r, key, "\"%.64s\" is not among the bundle's arches", arch);
}

/* The blob must be listed, with this size. */
static void check_blob(const struct kp_manifest *m, struct kp_json_reader *r, const char *key,
                       const struct kp_digest *digest, uint64_t size)
{
    const struct kp_blob *blob = kp_manifest_blob(m, digest);
    if (r->failed)
        return;
    if (!blob)
        kp_json_complain(r, key, "%s is not in blobs", kp_digest_hex(digest).hex);
    else if (blob->size != size)
        kp_json_complain(r, key, "the size differs from that in blobs");
}

static void parse_base(struct parsing *p, struct kp_json_reader *r, size_t i)
{
    struct kp_base *base = &p->m->bases[i];
    base->id = kp_json_digest(r, "id");
    base->name = read_name(r, "name");
    base->serial = kp_json_number(r, "serial", INT64_MAX);
    for (size_t k = 0; k < i; k++)
        if (kp_digest_equal(&p->m->bases[k].id, &base->id))
            kp_json_complain(r, "id", "%s is there twice", kp_digest_hex(&base->id).hex);
}

static void parse_entry(struct parsing *p, struct kp_json_reader *r, size_t i)
{
    static const char *const fixed[] = {KP_PATH_LEAVES, KP_PATH_OCI_LAYOUT, KP_PATH_INDEX};
    struct kp_entry *entry = &p->m->entries[i];
    entry->path = kp_json_text(r, "path", KP_BLOB_PATH_LEN);
    entry->size = kp_json_number(r, "size", KP_ENTRY_SIZE_MAX);
    entry->sha256 = kp_json_digest(r, "sha256");
    struct kp_blob_path path = kp_layout_blob_path(&entry->sha256);
    const char *needed = i < KP_FIXED_ENTRIES ? fixed[i] : path.s;
    if (!r->failed && strcmp(entry->path, needed) != 0)
        kp_json_complain(r, "path", "\"%.80s\": %s is needed here", entry->path, needed);
}

static void read_base_of(struct parsing *p, struct kp_json_reader *r, struct kp_blob *blob)
{
    if (!json_object_get(r->object, "base"))
        return;
    struct kp_digest id = kp_json_digest(r, "base");
    for (size_t i = 0; i < p->m->base_count; i++)
        if (kp_digest_equal(&p->m->bases[i].id, &id))
            blob->base = &p->m->bases[i].id;
    if (!blob->base)
        kp_json_complain(r, "base", "%s is not in bases", kp_digest_hex(&id).hex);
}

static void parse_blob(struct parsing *p, struct kp_json_reader *r, size_t i)
{
    struct kp_blob *blob = &p->m->blobs[i];
    blob->sha256 = kp_json_digest(r, "sha256");
    blob->size = kp_json_number(r, "size", KP_ENTRY_SIZE_MAX);
    blob->media_type = read_ruled(r, "media_type", kp_media_type_ok, "a media type");
    read_base_of(p, r, blob);
    if (i && memcmp(blob[-1].sha256.bytes, blob->sha256.bytes, KP_SHA256_LEN) >= 0)
        kp_json_complain(r, "sha256", "blobs are not in ascending order");
}

static unsigned read_mode(struct kp_json_reader *r)
{
    const char *text = kp_json_text(r, "mode", KP_NAME_MAX);
    uint64_t mode = 0;
    if (!r->failed && (strlen(text) != 4 || !kp_parse_octal(kp_slice_of(text), 0755, &mode) ||
                       (mode & ~(uint64_t)0755)))
        kp_json_complain(r, "mode", "\"%.64s\": four octal digits within 0755 are needed", text);
    return (unsigned)mode;
}

static void parse_runtime(struct parsing *p, struct kp_json_reader *r, size_t i)
{
    struct kp_runtime *runtime = &p->m->runtimes[i];
    const char *kind = kp_json_text(r, "kind", KP_NAME_MAX);
    runtime->name = read_name(r, "name");
    runtime->version = read_ruled(r, "version", kp_version_ok, "a version");
    runtime->config = (unsigned)kp_json_number(r, "config", 16);
    while (kp_runtime_kinds[runtime->kind] && strcmp(kp_runtime_kinds[runtime->kind], kind) != 0)
        runtime->kind++;
    if (!r->failed && !kp_runtime_kinds[runtime->kind])
        kp_json_complain(r, "kind", "\"%.64s\": containerd, crio or oci is needed", kind);
    for (size_t k = 0; k < i && !r->failed; k++)
        if (strcmp(p->m->runtimes[k].name, runtime->name) == 0)
            kp_json_complain(r, "name", "\"%s\" is there twice", runtime->name);
}

static void read_runtime_of(struct parsing *p, struct kp_json_reader *r, struct kp_file *file)
{
    file->runtime = kp_json_text_optional(r, "runtime", KP_NAME_MAX);
    if (!r->failed && file->runtime && !kp_manifest_runtime(p->m, file->runtime))
        kp_json_complain(r, "runtime", "\"%.64s\" is not in runtimes", file->runtime);
}

static void parse_file(struct parsing *p, struct kp_json_reader *r, size_t i)
{
    struct kp_file *file = &p->m->files[i];
    file->name = read_name(r, "name");
    file->component = read_name(r, "component");
    file->version = read_ruled(r, "version", kp_version_ok, "a version");
    file->arch = read_ruled(r, "arch", kp_arch_ok, "an architecture (amd64, arm64)");
    file->target = read_ruled(r, "target", kp_target_ok, "an absolute, normalised path");
    file->mode = read_mode(r);
    file->roles = read_roles(r);
    file->blob = kp_json_digest(r, "blob");
    file->blob_size = kp_json_number(r, "blob_size", KP_ENTRY_SIZE_MAX);
    file->sha256 = kp_json_digest(r, "sha256");
    file->size = kp_json_number(r, "size", INT64_MAX);
    file->origin = read_plain(r, "origin");
    file->license = read_plain(r, "license");
    file->programs = read_brought(p->m, r);
    read_runtime_of(p, r, file);
    check_arch(p->m, r, "arch", file->arch);
    check_blob(p->m, r, "blob", &file->blob, file->blob_size);
}

static void check_image(struct parsing *p, struct kp_json_reader *r, const struct kp_image *image)
{
    const struct kp_blob *blob = kp_manifest_blob(p->m, &image->digest);
    if (r->failed)
        return;
    if (!blob)
        kp_json_complain(r, "digest", "%s is not in blobs", kp_digest_hex(&image->digest).hex);
    else if (strcmp(blob->media_type, image->media_type) != 0)
        kp_json_complain(r, "media_type", "differs from that in blobs");
    for (size_t i = 0; image->arches[i]; i++)
        check_arch(p->m, r, "arches", image->arches[i]);
}

static void parse_image(struct parsing *p, struct kp_json_reader *r, size_t i)
{
    struct kp_image *image = &p->m->images[i];
    image->reference = read_ruled(r, "reference", kp_reference_ok,
                                  "a full image reference (registry.k8s.io/pause:3.9)");
    image->name = read_ruled(r, "name", name_or_empty, "a name");
    image->digest = kp_json_digest(r, "digest");
    image->media_type = read_ruled(r, "media_type", kp_media_type_ok, "a media type");
    image->arches = read_words(r, "arches", KP_ARCHES_MAX, kp_arch_ok);
    image->roles = read_roles(r);
    image->pinned = kp_json_bool_optional(r, "pinned", false);
    image->why = read_plain(r, "why");
    image->license = read_plain(r, "license");
    check_image(p, r, image);
}

static void parse_replaces(struct parsing *p, struct kp_json_reader *r,
                           struct kp_cluster_manifest *manifest)
{
    const json_t *array;
    size_t n = kp_json_array(r, "replace", KP_REPLACES_MAX, false, &array);
    struct kp_replace *out = kp_arena_array(p->m->arena, n, sizeof(*out));
    for (size_t i = 0; i < n && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "replace", array, i);
        out[i].find = kp_json_text(&item, "find", KP_TEXT_MAX);
        out[i].with = read_name(&item, "with");
        if (!item.failed && !out[i].find[0])
            kp_json_complain(&item, "find", "is empty");
        r->failed = kp_json_finish(&item) < 0;
    }
    manifest->replace = out;
    manifest->replace_count = n;
}

static bool dns_rule(const char *text)
{
    return kp_text_dns_name(text, 253);
}

static bool dns_or_empty(const char *text)
{
    return !text[0] || dns_rule(text);
}

static void parse_waits(struct parsing *p, struct kp_json_reader *r,
                        struct kp_cluster_manifest *manifest)
{
    const json_t *array;
    size_t n = kp_json_array(r, "wait", KP_REPLACES_MAX, false, &array);
    struct kp_wait *out = kp_arena_array(p->m->arena, n, sizeof(*out));
    for (size_t i = 0; i < n && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "wait", array, i);
        out[i].kind = read_name(&item, "kind");
        out[i].namespace_ = read_ruled(&item, "namespace", dns_or_empty, "a namespace");
        out[i].name = read_ruled(&item, "name", dns_rule, "an object's name");
        r->failed = kp_json_finish(&item) < 0;
    }
    manifest->wait = out;
    manifest->wait_count = n;
}

static bool check_kind_rule(const char *text)
{
    return has_text(kp_addon_check_kinds, text);
}

static void parse_checks(struct parsing *p, struct kp_json_reader *r,
                         struct kp_cluster_manifest *manifest)
{
    const json_t *array = NULL;
    size_t n = kp_json_array(r, "checks", KP_REPLACES_MAX, true, &array);
    struct kp_addon_check *out = kp_arena_array(p->m->arena, n, sizeof(*out));
    for (size_t i = 0; i < n && !r->failed; i++) {
        struct kp_json_reader item = kp_json_element(r, "checks", array, i);
        out[i].kind = read_ruled(&item, "kind", check_kind_rule, "condition, items, admit, volume");
        out[i].subject = kp_json_text(&item, "subject", KP_CHECK_TEXT_MAX);
        out[i].what = read_plain(&item, "what");
        r->failed = kp_json_finish(&item) < 0;
    }
    manifest->checks = out;
    manifest->check_count = n;
}

static void parse_cluster_manifest(struct parsing *p, struct kp_json_reader *r, size_t i)
{
    struct kp_cluster_manifest *manifest = &p->m->manifests[i];
    manifest->name = read_name(r, "name");
    manifest->why = read_plain(r, "why");
    manifest->blob = kp_json_digest(r, "blob");
    manifest->size = kp_json_number(r, "size", KP_ENTRY_SIZE_MAX);
    manifest->origin = read_plain(r, "origin");
    parse_replaces(p, r, manifest);
    parse_waits(p, r, manifest);
    if (json_object_get(r->object, "addon"))
        manifest->addon = read_name(r, "addon");
    if (json_object_get(r->object, "version"))
        manifest->version = read_ruled(r, "version", kp_version_ok, "a version");
    parse_checks(p, r, manifest);
    check_blob(p->m, r, "blob", &manifest->blob, manifest->size);
}

static bool phase_rule(const char *text)
{
    return has_text(kp_hook_phases, text);
}

/* Its file is there for every arch of the bundle. */
static void check_hook_file(struct parsing *p, struct kp_json_reader *r, const struct kp_hook *hook)
{
    for (size_t i = 0; !r->failed && p->m->arches[i]; i++)
        if (!kp_manifest_file(p->m, hook->file, p->m->arches[i]))
            kp_json_complain(r, "file", "\"%.64s\" is not in files for %s", hook->file,
                             p->m->arches[i]);
}

static void parse_hook(struct parsing *p, struct kp_json_reader *r, size_t i)
{
    struct kp_hook *hook = &p->m->hooks[i];
    hook->phase = read_ruled(r, "phase", phase_rule, "the name of a phase");
    const char *when = kp_json_text(r, "when", KP_NAME_MAX);
    hook->after = strcmp(when, "after") == 0;
    if (!r->failed && !hook->after && strcmp(when, "before") != 0)
        kp_json_complain(r, "when", "before or after is needed");
    hook->where = read_ruled(r, "where", dns_rule, "a place or a node's name");
    hook->file = read_name(r, "file");
    hook->timeout = kp_json_number(r, "timeout", KP_HOOK_TIMEOUT_MAX);
    if (!r->failed && !hook->timeout)
        kp_json_complain(r, "timeout", "is 0");
    check_hook_file(p, r, hook);
}

static void parse_list(struct parsing *p, const char *key, size_t max, size_t item_size, void *out,
                       size_t *count,
                       void (*parse)(struct parsing *, struct kp_json_reader *, size_t))
{
    const json_t *array;
    size_t n = kp_json_array(p->top, key, max, false, &array);
    void *items = kp_arena_array(p->m->arena, n, item_size);
    memcpy(out, &items, sizeof(items));
    *count = n;
    for (size_t i = 0; i < n && !p->top->failed; i++) {
        struct kp_json_reader item = kp_json_element(p->top, key, array, i);
        if (!item.failed)
            parse(p, &item, i);
        p->top->failed = kp_json_finish(&item) < 0;
    }
}
#define PARSE_LIST(p, key, max, list, count, parse)                                                \
    parse_list(p, key, max, sizeof(*(p)->m->list), &(p)->m->list, &(p)->m->count, parse)

static void parse_head(struct kp_manifest *m, struct kp_json_reader *r)
{
    m->name = read_name(r, "name");
    m->serial = kp_json_number(r, "serial", INT64_MAX);
    m->created = read_ruled(r, "created", utc_rule, "a time like 2026-11-23T21:00:00Z");
    if (json_object_get(r->object, "expires"))
        m->expires = read_ruled(r, "expires", utc_rule, "a time like 2026-11-23T21:00:00Z");
    m->kubernetes = read_ruled(r, "kubernetes", kubernetes_or_empty, "a version like v1.30.14");
    m->kubeadm_api = read_ruled(r, "kubeadm_api", name_or_empty, "a version like v1beta3");
    m->containerd_config = (unsigned)kp_json_number(r, "containerd_config", 16);
    m->network = read_ruled(r, "network", name_or_empty, "a name");
    m->minimum_kinstall = read_ruled(r, "minimum_kinstall", kp_version_ok, "a version");
    m->arches = read_words(r, "arches", KP_ARCHES_MAX, kp_arch_ok);
    m->programs = read_words(r, "programs", KP_PROGRAMS_MAX, kp_name_ok);
    m->tail_length = kp_json_number(r, "tail_length", INT64_MAX);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Complains at key where two of the texts are equal; sorts them. */
static void check_distinct(struct kp_json_reader *r, const char *key, const char **texts, size_t n)
{
    qsort(texts, n, sizeof(*texts), compare_texts);
    for (size_t i = 1; i < n && !r->failed; i++)
        if (strcmp(texts[i - 1], texts[i]) == 0)
            kp_json_complain(r, key, "\"%s\" is there twice", texts[i]);
}

/* Two runtimes may each bring their own; no node gets both. */
static const char *file_key(const struct kp_manifest *m, const struct kp_file *file,
                            const char *what)
{
    return kp_arena_printf(m->arena, "%s, %s%s%s", what, file->arch, file->runtime ? ", " : "",
                           file->runtime ? file->runtime : "");
}

/* What one node gets must differ: of all nodes' files and of its runtime's. */
static void check_shadowed(struct parsing *p, const struct kp_file *file)
{
    for (size_t i = 0; file->runtime && i < p->m->file_count; i++) {
        const struct kp_file *other = &p->m->files[i];
        if (!other->runtime && strcmp(other->arch, file->arch) == 0 &&
            (strcmp(other->name, file->name) == 0 || strcmp(other->target, file->target) == 0))
            kp_json_complain(p->top, "files", "%s of %s is also there for all nodes", file->name,
                             file->runtime);
    }
}

static void check_twice(struct parsing *p)
{
    struct kp_manifest *m = p->m;
    size_t most = m->file_count > m->image_count ? m->file_count : m->image_count;
    kp_auto_free const char **texts = kp_alloc_array(most, sizeof(*texts));
    for (size_t i = 0; i < m->file_count; i++)
        texts[i] = file_key(m, &m->files[i], m->files[i].name);
    check_distinct(p->top, "files", texts, m->file_count);
    for (size_t i = 0; i < m->file_count; i++)
        texts[i] = file_key(m, &m->files[i], m->files[i].target);
    check_distinct(p->top, "files", texts, m->file_count);
    for (size_t i = 0; i < m->file_count && !p->top->failed; i++)
        check_shadowed(p, &m->files[i]);
    for (size_t i = 0; i < m->image_count; i++)
        texts[i] = m->images[i].reference;
    check_distinct(p->top, "images", texts, m->image_count);
}

static void check_leaves(struct parsing *p, uint64_t tail, uint64_t leaves)
{
    const struct kp_manifest *m = p->m;
    if (m->entries[0].size != leaves * KP_SHA256_LEN || m->entries[0].size > KP_LEAVES_MAX)
        kp_json_complain(p->top, "entries", "%s has %llu bytes; the entries need %llu",
                         KP_PATH_LEAVES, (unsigned long long)m->entries[0].size,
                         (unsigned long long)leaves * KP_SHA256_LEN);
    if (m->tail_length != tail)
        kp_json_complain(p->top, "tail_length", "is %llu; the entries make %llu",
                         (unsigned long long)m->tail_length, (unsigned long long)tail);
}

/* The entries are the three fixed ones, then exactly the blobs that no base holds. */
static void check_entries(struct parsing *p)
{
    const struct kp_manifest *m = p->m;
    uint64_t tail = KP_END_FRAME, leaves = 0;
    size_t at = KP_FIXED_ENTRIES;
    if (p->top->failed)
        return;
    if (m->entry_count < KP_FIXED_ENTRIES) {
        kp_json_complain(p->top, "entries", "the first %d are missing", KP_FIXED_ENTRIES);
        return;
    }
    for (size_t i = 0; i < m->blob_count; i++) {
        const struct kp_blob *blob = &m->blobs[i];
        if (blob->base)
            continue;
        if (at == m->entry_count || m->entries[at].size != blob->size ||
            !kp_digest_equal(&m->entries[at].sha256, &blob->sha256)) {
            kp_json_complain(p->top, "entries", "blob %s has no entry at its place, element %zu",
                             kp_digest_hex(&blob->sha256).hex, at);
            return;
        }
        at++;
    }
    if (at != m->entry_count)
        kp_json_complain(p->top, "entries", "element %zu is in no blob's place", at);
    for (size_t i = 0; i < m->entry_count; i++) {
        tail += kp_layout_entry_size(m->entries[i].size);
        leaves += i ? kp_layout_leaves(m->entries[i].size) : 0;
    }
    check_leaves(p, tail, leaves);
}

/* A base that holds nothing would be asked for in vain at the site. */
static void check_bases(struct parsing *p)
{
    const struct kp_manifest *m = p->m;
    bool used[KP_BASES_MAX] = {false};
    for (size_t i = 0; i < m->blob_count; i++)
        for (size_t k = 0; m->blobs[i].base && k < m->base_count; k++)
            used[k] = used[k] || m->blobs[i].base == &m->bases[k].id;
    for (size_t k = 0; !p->top->failed && k < m->base_count; k++)
        if (!used[k])
            kp_json_complain(p->top, "bases", "element %zu holds no blob of this bundle", k);
}

/* Their form only: whether they count is the trust store's to say. */
static void parse_revocations(struct parsing *p)
{
    struct kp_manifest *m = p->m;
    const json_t *array = NULL;
    size_t n = kp_json_array(p->top, "revocations", KP_REVOCATIONS_MAX, true, &array);
    for (size_t i = 0; i < n && !p->top->failed; i++) {
        kp_auto(kp_document) document = NULL;
        struct kp_err why = KP_ERR_INIT;
        if (kp_document_from_json(&document, json_array_get(array, i), &why) < 0)
            kp_json_complain(p->top, "revocations", "element %zu: %s", i, why.message);
    }
    m->revocations = array;
}

static int check_kind(struct kp_json_reader *r, struct kp_err *err)
{
    const char *kind = kp_json_text(r, "kind", KP_NAME_MAX);
    if (r->failed || strcmp(kind, KP_MANIFEST_KIND) == 0)
        return r->failed ? -1 : 0;
    kp_json_complain(r, "kind", "\"%.64s\": %s is needed", kind, KP_MANIFEST_KIND);
    if (kp_starts_with(kind, "kpack.bundle/"))
        kp_hint(err,
                "this bundle was made by another version of kpack; use kinstall of that version");
    return -1;
}

static int parse_document(struct kp_manifest *m, struct kp_err *err)
{
    struct kp_json_reader top = kp_json_read(m->document, KP_PATH_MANIFEST, m->arena, err);
    struct parsing p = {.m = m, .top = &top};
    if (top.failed || check_kind(&top, err) < 0)
        return -1;
    parse_head(m, &top);
    PARSE_LIST(&p, "bases", KP_BASES_MAX, bases, base_count, parse_base);
    PARSE_LIST(&p, "entries", KP_ENTRIES_MAX, entries, entry_count, parse_entry);
    PARSE_LIST(&p, "blobs", KP_ENTRIES_MAX, blobs, blob_count, parse_blob);
    if (top.failed)
        return -1; // what follows looks blobs up
    if (json_object_get(m->document, "runtimes"))
        PARSE_LIST(&p, "runtimes", KP_RUNTIMES_MAX, runtimes, runtime_count, parse_runtime);
    PARSE_LIST(&p, "files", KP_FILES_MAX, files, file_count, parse_file);
    PARSE_LIST(&p, "images", KP_IMAGES_MAX, images, image_count, parse_image);
    PARSE_LIST(&p, "manifests", KP_FILES_MAX, manifests, manifest_count, parse_cluster_manifest);
    if (json_object_get(m->document, "hooks"))
        PARSE_LIST(&p, "hooks", KP_HOOKS_MAX, hooks, hook_count, parse_hook);
    parse_revocations(&p);
    if (json_object_get(m->document, "provenance"))
        m->provenance = kp_json_object(&top, "provenance", true);
    if (top.failed)
        return -1;
    check_twice(&p);
    check_bases(&p);
    check_entries(&p);
    return kp_json_finish(&top);
}

int kp_manifest_parse(struct kp_manifest **out, struct kp_slice text, struct kp_err *err)
{
    kp_auto(kp_manifest) m = kp_manifest_new();
    if (kp_json_parse(&m->document, text, KP_MANIFEST_MAX, KP_PATH_MANIFEST, err) < 0 ||
        parse_document(m, err) < 0) {
        if (err) {
            err->code = KP_DAMAGED;
            err->reason = "bad_manifest";
        }
        return -1;
    }
    kp_sha256(text.ptr, text.len, &m->id);
    *out = kp_steal(&m);
    return 0;
}
