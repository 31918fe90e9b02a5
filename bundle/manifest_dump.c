/* SPDX-License-Identifier: Apache-2.0 */
/* One element of a list per line, so that people, diff and sed can read what is signed. */
#include "bundle/manifest.h"

#include <stdio.h>

static json_t *text_json(const char *text)
{
    json_t *value = text ? json_string(text) : NULL;
    return value ? value : json_null(); // not UTF-8: the reader names the field
}

static void set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, text_json(text));
}

static void set_number(json_t *object, const char *key, uint64_t number)
{
    json_object_set_new(object, key, json_integer((json_int_t)number));
}

static void set_digest(json_t *object, const char *key, const struct kp_digest *digest)
{
    set_text(object, key, kp_digest_hex(digest).hex);
}

static void set_texts(json_t *object, const char *key, const char *const *texts)
{
    json_t *array = json_array();
    for (; texts && *texts; texts++)
        json_array_append_new(array, text_json(*texts));
    json_object_set_new(object, key, array);
}

static void set_roles(json_t *object, unsigned roles)
{
    json_t *array = json_array();
    for (unsigned role = 1; role <= KP_ROLE_ETCD; role <<= 1)
        if (roles & role)
            json_array_append_new(array, text_json(kp_role_text(role)));
    json_object_set_new(object, "roles", array);
}

static json_t *dump_entry(const struct kp_manifest *m, size_t i)
{
    const struct kp_entry *entry = &m->entries[i];
    json_t *out = json_object();
    set_text(out, "path", entry->path);
    set_number(out, "size", entry->size);
    set_digest(out, "sha256", &entry->sha256);
    return out;
}

static json_t *dump_blob(const struct kp_manifest *m, size_t i)
{
    const struct kp_blob *blob = &m->blobs[i];
    json_t *out = json_object();
    set_digest(out, "sha256", &blob->sha256);
    set_number(out, "size", blob->size);
    set_text(out, "media_type", blob->media_type);
    if (blob->base)
        set_digest(out, "base", blob->base);
    return out;
}

static json_t *dump_file(const struct kp_manifest *m, size_t i)
{
    const struct kp_file *file = &m->files[i];
    char mode[16];
    json_t *out = json_object();
    snprintf(mode, sizeof(mode), "%04o", file->mode);
    set_text(out, "name", file->name);
    set_text(out, "component", file->component);
    set_text(out, "version", file->version);
    set_text(out, "arch", file->arch);
    set_text(out, "target", file->target);
    set_text(out, "mode", mode);
    set_roles(out, file->roles);
    set_digest(out, "blob", &file->blob);
    set_number(out, "blob_size", file->blob_size);
    set_digest(out, "sha256", &file->sha256);
    set_number(out, "size", file->size);
    set_text(out, "origin", file->origin);
    set_text(out, "license", file->license ? file->license : "");
    if (file->programs && file->programs[0])
        set_texts(out, "programs", file->programs);
    if (file->runtime)
        set_text(out, "runtime", file->runtime);
    return out;
}

static json_t *dump_runtime(const struct kp_manifest *m, size_t i)
{
    const struct kp_runtime *runtime = &m->runtimes[i];
    json_t *out = json_object();
    set_text(out, "name", runtime->name);
    set_text(out, "kind", kp_runtime_kinds[runtime->kind]);
    set_text(out, "version", runtime->version);
    set_number(out, "config", runtime->config);
    return out;
}

static json_t *dump_image(const struct kp_manifest *m, size_t i)
{
    const struct kp_image *image = &m->images[i];
    json_t *out = json_object();
    set_text(out, "reference", image->reference);
    set_text(out, "name", image->name ? image->name : "");
    set_digest(out, "digest", &image->digest);
    set_text(out, "media_type", image->media_type);
    set_texts(out, "arches", image->arches);
    set_roles(out, image->roles);
    json_object_set_new(out, "pinned", json_boolean(image->pinned));
    set_text(out, "why", image->why ? image->why : "");
    set_text(out, "license", image->license ? image->license : "");
    return out;
}

static json_t *dump_replaces(const struct kp_cluster_manifest *manifest)
{
    json_t *out = json_array();
    for (size_t i = 0; i < manifest->replace_count; i++) {
        json_t *item = json_object();
        set_text(item, "find", manifest->replace[i].find);
        set_text(item, "with", manifest->replace[i].with);
        json_array_append_new(out, item);
    }
    return out;
}

static json_t *dump_waits(const struct kp_cluster_manifest *manifest)
{
    json_t *out = json_array();
    for (size_t i = 0; i < manifest->wait_count; i++) {
        json_t *item = json_object();
        set_text(item, "kind", manifest->wait[i].kind);
        set_text(item, "namespace", manifest->wait[i].namespace_);
        set_text(item, "name", manifest->wait[i].name);
        json_array_append_new(out, item);
    }
    return out;
}

static json_t *dump_checks(const struct kp_cluster_manifest *manifest)
{
    json_t *out = json_array();
    for (size_t i = 0; i < manifest->check_count; i++) {
        json_t *item = json_object();
        set_text(item, "kind", manifest->checks[i].kind);
        set_text(item, "subject", manifest->checks[i].subject);
        set_text(item, "what", manifest->checks[i].what);
        json_array_append_new(out, item);
    }
    return out;
}

static json_t *dump_manifest(const struct kp_manifest *m, size_t i)
{
    const struct kp_cluster_manifest *manifest = &m->manifests[i];
    json_t *out = json_object();
    set_text(out, "name", manifest->name);
    set_text(out, "why", manifest->why ? manifest->why : "");
    set_digest(out, "blob", &manifest->blob);
    set_number(out, "size", manifest->size);
    set_text(out, "origin", manifest->origin);
    json_object_set_new(out, "replace", dump_replaces(manifest));
    json_object_set_new(out, "wait", dump_waits(manifest));
    if (manifest->addon)
        set_text(out, "addon", manifest->addon);
    if (manifest->version)
        set_text(out, "version", manifest->version);
    if (manifest->check_count)
        json_object_set_new(out, "checks", dump_checks(manifest));
    return out;
}

static json_t *dump_hook(const struct kp_manifest *m, size_t i)
{
    const struct kp_hook *hook = &m->hooks[i];
    json_t *out = json_object();
    set_text(out, "phase", hook->phase);
    set_text(out, "when", hook->after ? "after" : "before");
    set_text(out, "where", hook->where);
    set_text(out, "file", hook->file);
    set_number(out, "timeout", hook->timeout);
    return out;
}

static json_t *dump_base(const struct kp_manifest *m, size_t i)
{
    json_t *out = json_object();
    set_digest(out, "id", &m->bases[i].id);
    set_text(out, "name", m->bases[i].name);
    set_number(out, "serial", m->bases[i].serial);
    return out;
}

static void add_json(struct kp_buf *buf, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    kp_buf_adds(buf, text ? text : "null");
    kp_free(text);
    json_decref(value);
}

static void add_list(struct kp_buf *buf, const char *key, const struct kp_manifest *manifest,
                     size_t count, json_t *(*dump)(const struct kp_manifest *, size_t))
{
    kp_buf_addf(buf, ",\n\"%s\":[", key);
    for (size_t i = 0; i < count; i++) {
        kp_buf_adds(buf, i ? ",\n " : "\n ");
        add_json(buf, dump(manifest, i));
    }
    kp_buf_adds(buf, "]");
}

static json_t *dump_head(const struct kp_manifest *manifest)
{
    json_t *head = json_object();
    set_text(head, "kind", KP_MANIFEST_KIND);
    set_text(head, "name", manifest->name);
    set_number(head, "serial", manifest->serial);
    set_text(head, "created", manifest->created);
    if (manifest->expires)
        set_text(head, "expires", manifest->expires);
    set_text(head, "kubernetes", manifest->kubernetes);
    set_text(head, "kubeadm_api", manifest->kubeadm_api);
    set_number(head, "containerd_config", manifest->containerd_config);
    set_text(head, "network", manifest->network);
    set_text(head, "minimum_kinstall", manifest->minimum_kinstall);
    set_texts(head, "arches", manifest->arches);
    set_texts(head, "programs", manifest->programs);
    set_number(head, "tail_length", manifest->tail_length);
    return head;
}

char *kp_manifest_dump(const struct kp_manifest *manifest, size_t *len)
{
    // room beyond what the reader takes, so that what is too long is refused there, not cut here
    kp_auto_value(kp_buf) buf = KP_BUF(2 * KP_MANIFEST_MAX);
    kp_auto_json head = dump_head(manifest);
    const char *key;
    json_t *value;
    json_object_foreach(head, key, value)
    {
        kp_buf_addf(&buf, "%s\"%s\":", buf.len ? ",\n" : "{", key);
        add_json(&buf, json_incref(value));
    }
    if (manifest->runtime_count)
        add_list(&buf, "runtimes", manifest, manifest->runtime_count, dump_runtime);
    add_list(&buf, "entries", manifest, manifest->entry_count, dump_entry);
    add_list(&buf, "blobs", manifest, manifest->blob_count, dump_blob);
    add_list(&buf, "files", manifest, manifest->file_count, dump_file);
    add_list(&buf, "images", manifest, manifest->image_count, dump_image);
    add_list(&buf, "manifests", manifest, manifest->manifest_count, dump_manifest);
    if (manifest->hook_count)
        add_list(&buf, "hooks", manifest, manifest->hook_count, dump_hook);
    add_list(&buf, "bases", manifest, manifest->base_count, dump_base);
    if (json_array_size(manifest->revocations)) {
        kp_buf_adds(&buf, ",\n\"revocations\":");
        add_json(&buf, json_deep_copy(manifest->revocations));
    }
    if (manifest->provenance) {
        kp_buf_adds(&buf, ",\n\"provenance\":");
        add_json(&buf, json_deep_copy(manifest->provenance));
    }
    kp_buf_adds(&buf, "}\n");
    *len = buf.len;
    return kp_buf_steal(&buf);
}
