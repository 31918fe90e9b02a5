/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/set.h"
#include "core/screen.h"
#include "core/text.h"
#include "pack/commands.h"

#include <stddef.h>
#include <stdio.h>

#define FIELD(member) offsetof(struct kp_reading_options, member)
#define KEY_OPTION                                                                                 \
    {                                                                                              \
        "key", 0, KP_OPT_LIST, FIELD(keys), "FILE", "a public key to trust for this run", 0        \
    }
#define JSON_OPTION                                                                                \
    {                                                                                              \
        "json", 0, KP_OPT_FLAG, FIELD(json), NULL, "JSON on stdout", 0                             \
    }

const struct kp_option kp_verify_options_table[] = {
    KEY_OPTION,
    JSON_OPTION,
    {"all", 0, KP_OPT_FLAG, FIELD(all), NULL, "go on after the first damage and list every one", 0},
    {"base", 0, KP_OPT_LIST, FIELD(bases), "FILE",
     "a base of the delta: verify both, and that nothing is missing", 0},
    {"quiet", 'q', KP_OPT_FLAG, FIELD(quiet), NULL, "no progress", 0},
    {0},
};
const struct kp_option kp_inspect_options[] = {KEY_OPTION, JSON_OPTION, {0}};
const struct kp_option kp_sbom_options[] = {
    KEY_OPTION,
    JSON_OPTION,
    {"base", 0, KP_OPT_LIST, FIELD(bases), "FILE",
     "a base of the delta: its images' layers are looked into too", 0},
    {0},
};

static uint64_t blobs_size(const struct kp_manifest *m)
{
    uint64_t size = 0;
    for (size_t i = 0; i < m->blob_count; i++)
        size += m->blobs[i].size;
    return size;
}

static uint64_t files_size(const struct kp_manifest *m)
{
    uint64_t size = 0;
    for (size_t i = 0; i < m->file_count; i++)
        size += m->files[i].blob_size;
    return size;
}

static void add_words(struct kp_buf *buf, const char *const *words)
{
    for (size_t i = 0; words[i]; i++)
        kp_buf_addf(buf, "%s%s", i ? " " : "", words[i]);
}

/* Bytes of the blobs that lie in the base. */
static uint64_t base_size(const struct kp_manifest *m, const struct kp_base *base)
{
    uint64_t size = 0;
    for (size_t i = 0; i < m->blob_count; i++)
        size += m->blobs[i].base == &base->id ? m->blobs[i].size : 0;
    return size;
}

static void print_runtimes(const struct kp_manifest *m)
{
    for (size_t i = 0; i < m->runtime_count; i++)
        printf("%-11s %s   %s %s\n", i ? "" : "runtimes", m->runtimes[i].name,
               kp_runtime_kinds[m->runtimes[i].kind], m->runtimes[i].version);
}

static json_t *runtimes_json(const struct kp_manifest *m)
{
    json_t *out = json_array();
    for (size_t i = 0; i < m->runtime_count; i++)
        json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:i}", "name", m->runtimes[i].name,
                                             "kind", kp_runtime_kinds[m->runtimes[i].kind],
                                             "version", m->runtimes[i].version, "config",
                                             (int)m->runtimes[i].config));
    return out;
}

static void print_inspected(const struct kp_bundle *bundle, const struct kp_signers *signers)
{
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    kp_auto_value(kp_buf) names = KP_BUF(65536);
    kp_auto_value(kp_buf) arches = KP_BUF(4096);
    kp_auto_value(kp_buf) programs = KP_BUF(65536);
    kp_signers_text(signers, &names);
    add_words(&arches, m->arches);
    add_words(&programs, m->programs);
    printf("name        %s\nid          %s\nserial      %llu\ncreated     %s\n", m->name,
           kp_digest_hex(&m->id).hex, (unsigned long long)m->serial, m->created);
    if (m->expires)
        printf("expires     %s\n", m->expires);
    printf("signed by   %s\nkubernetes  %s   kubeadm %s   containerd config %u   network %s\n",
           kp_buf_slice(&names).ptr, m->kubernetes, m->kubeadm_api, m->containerd_config,
           m->network);
    print_runtimes(m);
    printf("arch        %s\n", kp_buf_slice(&arches).ptr);
    printf("size        %s: %zu files %s, %zu images, %zu manifest%s\n",
           kp_text_bytes(kp_bundle_size(bundle)).s, m->file_count, kp_text_bytes(files_size(m)).s,
           m->image_count, m->manifest_count, m->manifest_count == 1 ? "" : "s");
    for (size_t i = 0; i < m->base_count; i++)
        printf("base        %s   %s of it\n", kp_base_text(&m->bases[i]).s,
               kp_text_bytes(base_size(m, &m->bases[i])).s);
    printf("needs       kinstall %s or newer; on nodes: %s\n", m->minimum_kinstall,
           kp_buf_slice(&programs).ptr);
}

static json_t *inspect_json(const struct kp_bundle *bundle, const struct kp_signers *signers)
{
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    json_t *arches = json_array(), *programs = json_array();
    for (size_t i = 0; m->arches[i]; i++)
        json_array_append_new(arches, json_string(m->arches[i]));
    for (size_t i = 0; m->programs[i]; i++)
        json_array_append_new(programs, json_string(m->programs[i]));
    json_t *out = json_pack(
        "{s:s, s:s, s:s, s:I, s:s, s:s?, s:s, s:s, s:i, s:s, s:s, s:o, s:o, s:I, s:I, s:i, s:i, "
        "s:i}",
        "bundle", kp_bundle_path(bundle), "id", kp_digest_hex(&m->id).hex, "name", m->name,
        "serial", (json_int_t)m->serial, "created", m->created, "expires", m->expires, "kubernetes",
        m->kubernetes, "kubeadm_api", m->kubeadm_api, "containerd_config",
        (int)m->containerd_config, "network", m->network, "minimum_kinstall", m->minimum_kinstall,
        "arches", arches, "programs", programs, "size", (json_int_t)kp_bundle_size(bundle),
        "blobs_size", (json_int_t)blobs_size(m), "files", (int)m->file_count, "images",
        (int)m->image_count, "manifests", (int)m->manifest_count);
    json_object_set_new(out, "runtimes", runtimes_json(m));
    json_object_set_new(out, "bases", kp_bases_json(m->bases, m->base_count));
    json_object_set_new(out, "signers", kp_signers_json(signers));
    if (m->provenance)
        json_object_set_new(out, "provenance", json_deep_copy(m->provenance));
    return out;
}

int kp_cmd_inspect(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_reading_options *o = options;
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_signers signers = {0};
    (void)argc;
    if (kp_open_trusted(&bundle, argv[0], &o->keys, &trust, &signers, err) < 0)
        return -1;
    if (!o->json) {
        print_inspected(bundle, &signers);
        return 0;
    }
    kp_auto_json out = inspect_json(bundle, &signers);
    kp_json_print(out);
    return 0;
}

static void roles_text(unsigned roles, char out[64])
{
    size_t len = 0;
    snprintf(out, 64, "-");
    for (unsigned role = 1; role <= KP_ROLE_ETCD; role <<= 1)
        if (roles & role)
            len +=
                (size_t)snprintf(out + len, 64 - len, "%s%s", len ? "," : "", kp_role_text(role));
}

static void list_files(const struct kp_manifest *m)
{
    static const char *const heads[] = {"FILE",   "VERSION", "ARCH",  "SIZE",
                                        "STORED", "ROLES",   "TARGET"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    kp_table_right(table, 3);
    kp_table_right(table, 4);
    for (size_t i = 0; i < m->file_count; i++) {
        const struct kp_file *file = &m->files[i];
        char roles[64];
        roles_text(file->roles, roles);
        kp_table_cell(table, KP_PLAIN, "%s", file->name);
        kp_table_cell(table, KP_PLAIN, "%s", file->version);
        kp_table_cell(table, KP_PLAIN, "%s", file->arch);
        kp_table_cell(table, KP_PLAIN, "%s", kp_text_bytes(file->size).s);
        const struct kp_blob *blob = kp_manifest_blob(m, &file->blob);
        if (blob && blob->base)
            kp_table_cell(table, KP_DIM, "base %.8s", kp_digest_hex(blob->base).hex);
        else
            kp_table_cell(table, KP_PLAIN, "%s", kp_text_bytes(file->blob_size).s);
        kp_table_cell(table, KP_PLAIN, "%s", roles);
        kp_table_cell(table, KP_PLAIN, "%s", file->target);
    }
    kp_table_print(table, stdout);
}

static void list_images(const struct kp_manifest *m)
{
    static const char *const heads[] = {"IMAGE", "DIGEST", "ROLES", "WHY"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    for (size_t i = 0; i < m->image_count; i++) {
        const struct kp_image *image = &m->images[i];
        char roles[64];
        roles_text(image->roles, roles);
        kp_table_cell(table, KP_PLAIN, "%s", image->reference);
        kp_table_cell(table, KP_PLAIN, "sha256:%.12s", kp_digest_hex(&image->digest).hex);
        kp_table_cell(table, KP_PLAIN, "%s", roles);
        kp_table_cell(table, KP_PLAIN, "%s", image->why);
    }
    kp_table_print(table, stdout);
}

static void list_manifests(const struct kp_manifest *m)
{
    static const char *const heads[] = {"MANIFEST", "SIZE", "WHY", "ORIGIN"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    kp_table_right(table, 1);
    for (size_t i = 0; i < m->manifest_count; i++) {
        kp_table_cell(table, KP_PLAIN, "%s", m->manifests[i].name);
        kp_table_cell(table, KP_PLAIN, "%s", kp_text_bytes(m->manifests[i].size).s);
        kp_table_cell(table, KP_PLAIN, "%s", m->manifests[i].why);
        kp_table_cell(table, KP_PLAIN, "%s", m->manifests[i].origin);
    }
    kp_table_print(table, stdout);
}

static void list_hooks(const struct kp_manifest *m)
{
    static const char *const heads[] = {"HOOK", "PHASE", "WHERE", "SECONDS"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    kp_table_right(table, 3);
    for (size_t i = 0; i < m->hook_count; i++) {
        kp_table_cell(table, KP_PLAIN, "%s", m->hooks[i].file);
        kp_table_cell(table, KP_PLAIN, "%s %s", m->hooks[i].after ? "after" : "before",
                      m->hooks[i].phase);
        kp_table_cell(table, KP_PLAIN, "%s", m->hooks[i].where);
        kp_table_cell(table, KP_PLAIN, "%llu", (unsigned long long)m->hooks[i].timeout);
    }
    kp_table_print(table, stdout);
}

static void list_json(const struct kp_manifest *m)
{
    static const char *const keys[] = {"name", "files", "images", "manifests", "hooks", "bases"};
    kp_auto_json out = json_object();
    kp_auto_json document = NULL;
    struct kp_err ignored = KP_ERR_INIT;
    size_t len;
    kp_auto_free char *text = kp_manifest_dump(m, &len);
    if (kp_json_parse(&document, (struct kp_slice){text, len}, 2 * KP_MANIFEST_MAX, "bundle.json",
                      &ignored) < 0)
        return; // it was read from such a text
    for (size_t i = 0; i < KP_COUNT(keys); i++)
        if (json_object_get(document, keys[i]))
            json_object_set(out, keys[i], json_object_get(document, keys[i]));
    kp_json_print(out);
}

int kp_cmd_list(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_reading_options *o = options;
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_signers signers = {0};
    (void)argc;
    if (kp_open_trusted(&bundle, argv[0], &o->keys, &trust, &signers, err) < 0)
        return -1;
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    if (o->json) {
        list_json(m);
        return 0;
    }
    list_files(m);
    putchar('\n');
    list_images(m);
    if (m->manifest_count) {
        putchar('\n');
        list_manifests(m);
    }
    if (m->hook_count) {
        putchar('\n');
        list_hooks(m);
    }
    return 0;
}
