/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/space.h"

#include "install/runtime.h"

#define UNPACKED_FACTOR 3
#define OCI_MANIFEST_MAX ((size_t)4 << 20)
#define NEST_MAX 3
#define RESERVE_CONTROL_PLANE (600ULL * 1000 * 1000) /* etcd's files, audit and container logs */
#define RESERVE_WORKER (200ULL * 1000 * 1000)

static uint64_t sum_sizes(const json_t *list)
{
    uint64_t sum = 0;
    size_t i;
    json_t *layer;
    json_array_foreach(list, i, layer)
    {
        json_int_t size = json_integer_value(json_object_get(layer, "size"));
        if (size > 0 && (uint64_t)size < UINT64_MAX / 2 - sum)
            sum += (uint64_t)size;
    }
    return sum;
}

static bool is_for_arch(const json_t *child, const char *arch)
{
    const json_t *platform = json_object_get(child, "platform");
    const char *have = json_string_value(json_object_get(platform, "architecture"));
    return have && strcmp(have, arch) == 0;
}

static int layers_of(const struct kp_bundle *bundle, const struct kp_digest *digest,
                     const char *arch, int depth, uint64_t *out, struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    kp_auto_json document = NULL;
    const struct kp_bundle *holder;
    size_t len, entry, i;
    uint64_t size;
    json_t *child;
    if (depth == NEST_MAX || !kp_bundle_locate(bundle, digest, &holder, &entry, &size))
        return 0; // a sparse index: this child was not chosen
    if (kp_bundle_load(bundle, digest, OCI_MANIFEST_MAX, &text, &len, err) < 0 ||
        kp_json_parse(&document, (struct kp_slice){text, len}, OCI_MANIFEST_MAX, "image", err) < 0)
        return -1;
    *out += sum_sizes(json_object_get(document, "layers"));
    json_array_foreach(json_object_get(document, "manifests"), i, child)
    {
        struct kp_digest inner;
        const char *name = json_string_value(json_object_get(child, "digest"));
        if (!name || !is_for_arch(child, arch) || !kp_digest_parse(kp_slice_of(name), &inner))
            continue;
        if (layers_of(bundle, &inner, arch, depth + 1, out, err) < 0)
            return -1;
    }
    return 0;
}

int kp_space_needed(const struct kp_site *site, const struct kp_node *node, const char *arch,
                    struct kp_space *out, struct kp_err *err)
{
    const struct kp_manifest *manifest = site->manifest;
    bool control = (node->roles & KP_ROLE_CONTROL_PLANE) != 0;
    *out = (struct kp_space){.bundle = node->mirror ? kp_bundle_size(site->bundle) : 0};
    for (size_t i = 0; node->mirror && i < manifest->base_count; i++)
        out->bundle += site->bases[i].holder ? 0 : site->bases[i].size;
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct kp_file *file = &manifest->files[i];
        if (strcmp(file->arch, arch) == 0 && (file->roles & node->roles) &&
            kp_runtime_takes(site->inventory, manifest, node, file))
            out->files += file->size;
    }
    for (size_t i = 0; i < manifest->image_count; i++) {
        uint64_t layers = 0;
        if (!(manifest->images[i].roles & node->roles))
            continue;
        if (layers_of(site->bundle, &manifest->images[i].digest, arch, 0, &layers, err) < 0)
            return kp_wrap(err, "%s", manifest->images[i].reference);
        out->images += layers + layers * UNPACKED_FACTOR;
    }
    out->total =
        out->files + out->images + out->bundle + (control ? RESERVE_CONTROL_PLANE : RESERVE_WORKER);
    return 0;
}
