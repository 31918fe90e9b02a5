/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/manifest.h"

#include <stdlib.h>

static const struct {
    const char *text;
    unsigned role;
} roles[] = {
    {"control-plane", KP_ROLE_CONTROL_PLANE},
    {"worker", KP_ROLE_WORKER},
    {"etcd", KP_ROLE_ETCD},
};

const char *const kp_hook_phases[] = {"mirror", "prepare", "runtime", "tools",  "etcd",
                                      "init",   "join",    "network", "addons", "secure",
                                      "custom", "prove",   NULL};
const char *const kp_hook_places[] = {"admin", "first", "control-plane", "worker", "etcd",
                                      "all",   NULL};
const char *const kp_addon_check_kinds[] = {"condition", "items", "admit", "volume", NULL};

struct kp_manifest *kp_manifest_new(void)
{
    struct kp_manifest *manifest = kp_alloc(sizeof(*manifest));
    manifest->arena = kp_arena_new();
    return manifest;
}

void kp_manifest_free(struct kp_manifest *manifest)
{
    if (!manifest)
        return;
    json_decref(manifest->document);
    kp_arena_free(manifest->arena);
    kp_free(manifest);
}

static int compare_blob(const void *key, const void *item)
{
    return memcmp(((const struct kp_digest *)key)->bytes,
                  ((const struct kp_blob *)item)->sha256.bytes, KP_SHA256_LEN);
}

const struct kp_blob *kp_manifest_blob(const struct kp_manifest *manifest,
                                       const struct kp_digest *digest)
{
    if (!manifest->blob_count)
        return NULL;
    return bsearch(digest, manifest->blobs, manifest->blob_count, sizeof(*manifest->blobs),
                   compare_blob);
}

const struct kp_file *kp_manifest_file(const struct kp_manifest *manifest, const char *name,
                                       const char *arch)
{
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct kp_file *file = &manifest->files[i];
        if (strcmp(file->name, name) == 0 && strcmp(file->arch, arch) == 0)
            return file;
    }
    return NULL;
}

const char *const kp_runtime_kinds[] = {"containerd", "crio", "oci", NULL};

const struct kp_runtime *kp_manifest_runtime(const struct kp_manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->runtime_count; i++)
        if (strcmp(manifest->runtimes[i].name, name) == 0)
            return &manifest->runtimes[i];
    return NULL;
}

const struct kp_image *kp_manifest_image(const struct kp_manifest *manifest, const char *name)
{
    for (size_t i = 0; name[0] && i < manifest->image_count; i++)
        if (strcmp(manifest->images[i].name, name) == 0)
            return &manifest->images[i];
    return NULL;
}

unsigned kp_role_parse(const char *text)
{
    for (size_t i = 0; i < KP_COUNT(roles); i++)
        if (strcmp(text, roles[i].text) == 0)
            return roles[i].role;
    return 0;
}

const char *kp_role_text(unsigned role)
{
    for (size_t i = 0; i < KP_COUNT(roles); i++)
        if (role == roles[i].role)
            return roles[i].text;
    return NULL;
}
