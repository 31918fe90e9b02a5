/* SPDX-License-Identifier: Apache-2.0 */
#include "install/runtime.h"

#include <stdio.h>

#define RUNC_NAME "runc"

static const struct kp_runtime_place places[] = {
    [KP_RUNTIME_CONTAINERD] = {"/usr/local/bin/containerd", "containerd.service",
                               "/run/containerd/containerd.sock",
                               "unix:///run/containerd/containerd.sock", "/var/lib/containerd",
                               "/run/containerd", "/etc/containerd"},
    [KP_RUNTIME_CRIO] = {"/usr/local/bin/crio", "crio.service", "/run/crio/crio.sock",
                         "unix:///run/crio/crio.sock", "/var/lib/containers/storage",
                         "/run/containers/storage", "/etc/crio"},
};

const struct kp_runtime_place *kp_runtime_place(enum kp_runtime_kind kind)
{
    return kind == KP_RUNTIME_OCI ? NULL : &places[kind];
}

static const char *first_of(const char *a, const char *b)
{
    return a ? a : b;
}

/* Before bundles had a list of runtimes. */
static struct kp_runtime only_containerd(const struct kp_manifest *manifest)
{
    struct kp_runtime out = {.name = "containerd",
                             .kind = KP_RUNTIME_CONTAINERD,
                             .version = "",
                             .config = manifest->containerd_config};
    for (size_t i = 0; i < manifest->file_count; i++)
        if (strcmp(manifest->files[i].component, "containerd") == 0)
            out.version = manifest->files[i].version;
    return out;
}

bool kp_runtime_find(struct kp_runtime *out, const struct kp_inventory *inventory,
                     const struct kp_manifest *manifest, const struct kp_node *node)
{
    const char *wanted = first_of(node->runtime, inventory->runtime);
    if (!manifest->runtime_count) {
        *out = only_containerd(manifest);
        return !wanted || strcmp(wanted, out->name) == 0;
    }
    for (size_t i = 0; i < manifest->runtime_count; i++) {
        *out = manifest->runtimes[i];
        if (out->kind != KP_RUNTIME_OCI && (!wanted || strcmp(out->name, wanted) == 0))
            return true;
    }
    for (size_t i = 0; wanted && i < manifest->runtime_count; i++) {
        *out = manifest->runtimes[i];
        if (out->kind != KP_RUNTIME_OCI && strcmp(kp_runtime_kinds[out->kind], wanted) == 0)
            return true;
    }
    return false;
}

struct kp_runtime kp_runtime_of(const struct kp_inventory *inventory,
                                const struct kp_manifest *manifest, const struct kp_node *node)
{
    struct kp_runtime out;
    return kp_runtime_find(&out, inventory, manifest, node) ? out : only_containerd(manifest);
}

const char *kp_runtime_oci(const struct kp_inventory *inventory, const struct kp_node *node)
{
    return first_of(first_of(node->oci_runtime, inventory->oci_runtime), RUNC_NAME);
}

static const char *carried(struct kp_arena *arena, const struct kp_manifest *manifest)
{
    const char *out = "";
    for (size_t i = 0; i < manifest->runtime_count; i++)
        out = kp_arena_printf(arena, "%s%s%s", out, i ? ", " : "", manifest->runtimes[i].name);
    return *out ? out : "containerd";
}

static int refuse(const struct kp_inventory *inventory, const struct kp_manifest *manifest,
                  const struct kp_node *node, const char *key, const char *wanted,
                  struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_fail_as(err, KP_MISSING, "runtime_missing",
               "%s: %s: %s is asked for on %s, the bundle carries %s", inventory->path, key, wanted,
               node->name, carried(arena, manifest));
    return kp_hint(err, "change the inventory, or make a bundle with --runtime %s,%s",
                   carried(arena, manifest), wanted);
}

int kp_runtime_check(const struct kp_inventory *inventory, const struct kp_manifest *manifest,
                     struct kp_err *err)
{
    size_t members = kp_inventory_members(inventory);
    for (size_t i = 0; i < members; i++) {
        const struct kp_node *node = &inventory->nodes[i];
        const char *oci = kp_runtime_oci(inventory, node);
        const struct kp_runtime *found = kp_manifest_runtime(manifest, oci);
        struct kp_runtime runtime;
        if (!kp_runtime_find(&runtime, inventory, manifest, node))
            return refuse(inventory, manifest, node, "runtime",
                          first_of(first_of(node->runtime, inventory->runtime), ""), err);
        if (strcmp(oci, RUNC_NAME) != 0 && (!found || found->kind != KP_RUNTIME_OCI))
            return refuse(inventory, manifest, node, "oci_runtime", oci, err);
    }
    return 0;
}

bool kp_runtime_takes(const struct kp_inventory *inventory, const struct kp_manifest *manifest,
                      const struct kp_node *node, const struct kp_file *file)
{
    return !file->runtime ||
           strcmp(file->runtime, kp_runtime_of(inventory, manifest, node).name) == 0 ||
           strcmp(file->runtime, kp_runtime_oci(inventory, node)) == 0;
}

void kp_runtime_version(char *out, size_t size, const char *said)
{
    static const char digits[] = "0123456789";
    *out = '\0';
    for (const char *word = said; *word; word += strcspn(word, " \t\n")) {
        word += strspn(word, " \t\n");
        const char *number = *word == 'v' ? word + 1 : word;
        size_t major = strspn(number, digits);
        if (!major || number[major] != '.' || !strspn(number + major + 1, digits))
            continue;
        snprintf(out, size, "%.*s", (int)strcspn(number, " \t\n"), number);
        return;
    }
}
