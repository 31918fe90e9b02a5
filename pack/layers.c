/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/layers.h"

#include "bundle/checked.h"
#include "bundle/set.h"
#include "pack/archive.h"
#include "pack/oci_document.h"

#define DPKG "var/lib/dpkg/"
#define MANIFEST_SIZE_MAX ((size_t)4 << 20)
#define NESTING_MAX 3
#define PIECE ((size_t)1 << 20) /* a leaf, so that none is hashed twice */
#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"

struct item {
    char *path, *text;
    size_t len;
    unsigned layer;
};

struct kp_layers {
    struct item *items;
    size_t count;
    size_t total;
    unsigned layer;
};

struct kp_layers *kp_layers_new(void)
{
    struct kp_layers *layers = kp_alloc(sizeof(*layers));
    layers->items = kp_alloc_array(KP_LAYERS_FILES_MAX, sizeof(*layers->items));
    return layers;
}

static void drop(struct kp_layers *layers, size_t i)
{
    layers->total -= layers->items[i].len;
    kp_free(layers->items[i].path);
    kp_free(layers->items[i].text);
    layers->items[i] = layers->items[--layers->count];
}

void kp_layers_free(struct kp_layers *layers)
{
    if (!layers)
        return;
    while (layers->count)
        drop(layers, layers->count - 1);
    kp_free(layers->items);
    kp_free(layers);
}

void kp_layers_next(struct kp_layers *layers)
{
    layers->layer++;
}

bool kp_layers_wants(const char *name)
{
    static const char *const names[] = {DPKG "status", "etc/os-release", "usr/lib/os-release"};
    for (size_t i = 0; i < KP_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    const char *inside = name + strlen(DPKG "status.d/");
    return kp_starts_with(name, DPKG "status.d/") && *inside && !strchr(inside, '/') &&
           !kp_ends_with(name, ".md5sums");
}

/* What lower layers have at the path (len bytes; itself: too) and beneath it. */
static void hide(struct kp_layers *layers, const char *path, size_t len, bool itself)
{
    for (size_t i = layers->count; i-- > 0;) {
        const struct item *item = &layers->items[i];
        bool begins = strncmp(item->path, path, len) == 0;
        bool beneath = begins && (!len || item->path[len] == '/');
        if (item->layer < layers->layer && (beneath || (itself && begins && !item->path[len])))
            drop(layers, i);
    }
}

static int keep(struct kp_layers *layers, const char *name, struct kp_slice content,
                struct kp_err *err)
{
    for (size_t i = layers->count; i-- > 0;)
        if (strcmp(layers->items[i].path, name) == 0)
            drop(layers, i);
    if (layers->count == KP_LAYERS_FILES_MAX || content.len > KP_LAYERS_TOTAL_MAX - layers->total)
        return kp_fail_as(err, KP_FAILED, "too_large", "%s: more than %d files or %zu bytes of it",
                          name, KP_LAYERS_FILES_MAX, KP_LAYERS_TOTAL_MAX);
    layers->items[layers->count++] = (struct item){.path = kp_strdup(name),
                                                   .text = kp_strndup(content.ptr, content.len),
                                                   .len = content.len,
                                                   .layer = layers->layer};
    layers->total += content.len;
    return 0;
}

int kp_layers_take(struct kp_layers *layers, const char *name, struct kp_slice content,
                   struct kp_err *err)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    size_t folder = slash ? (size_t)(slash - name) : 0;
    if (strcmp(base, OPAQUE) == 0) {
        hide(layers, name, folder, false);
        return 0;
    }
    if (kp_starts_with(base, WHITEOUT)) {
        kp_auto_free char *hidden =
            kp_asprintf("%.*s%s", (int)(base - name), name, base + strlen(WHITEOUT));
        hide(layers, hidden, strlen(hidden), true);
        return 0;
    }
    hide(layers, name, strlen(name), false); // no folder is there any more
    return kp_layers_wants(name) ? keep(layers, name, content, err) : 0;
}

/* --- out of the bundle ------------------------------------------------------------------------ */

struct source { /* the content of one entry */
    const struct kp_bundle *holder;
    const struct kp_leaves *leaves;
    size_t entry;
    uint64_t at, size;
};

static int read_piece(void *user, char *out, size_t max, size_t *len, struct kp_err *err)
{
    struct source *s = user;
    *len = s->size - s->at < max ? (size_t)(s->size - s->at) : max;
    if (!*len)
        return 0;
    if (kp_leaves_read(s->leaves, s->holder, s->entry, s->at, out, *len, err) < 0)
        return -1;
    s->at += *len;
    return 0;
}

static bool wants(void *user, const char *name)
{
    (void)user;
    return kp_layers_wants(name);
}

static int take(void *user, const char *name, struct kp_slice content, struct kp_err *err)
{
    return kp_layers_take(user, name, content, err);
}

static int read_layer(struct kp_layers *layers, const struct kp_bundle *bundle,
                      const struct kp_oci_descriptor *layer, struct kp_err *err)
{
    struct source source = {.at = 0};
    kp_auto(kp_leaves) leaves = NULL;
    if (!kp_bundle_locate(bundle, &layer->digest, &source.holder, &source.entry, &source.size))
        return kp_bundle_need_bases(bundle, err);
    if (kp_leaves_load(&leaves, source.holder, err) < 0)
        return -1;
    source.leaves = leaves;
    kp_auto_free char *label =
        kp_asprintf("layer sha256:%.12s…", kp_digest_hex(&layer->digest).hex);
    struct kp_archive_part part = {.read = read_piece,
                                   .read_user = &source,
                                   .kind = KP_ARCHIVE_TAR,
                                   .label = label,
                                   .wants = wants,
                                   .text_max = KP_LAYERS_TEXT_MAX};
    kp_layers_next(layers);
    return kp_archive_part(&part, take, layers, err);
}

/* From the image's own document down to the manifest of that arch. */
static int find_manifest(struct kp_oci_document *out, struct kp_arena *arena,
                         const struct kp_bundle *bundle, const struct kp_image *image,
                         const char *arch, struct kp_err *err)
{
    struct kp_digest digest = image->digest;
    for (int depth = 0; depth < NESTING_MAX; depth++) {
        kp_auto_free char *text = NULL;
        size_t len;
        if (kp_bundle_load(bundle, &digest, MANIFEST_SIZE_MAX, &text, &len, err) < 0 ||
            kp_oci_document_parse(out, arena, (struct kp_slice){text, len}, "", image->reference,
                                  err) < 0)
            return -1;
        if (!out->is_index)
            return 0;
        const struct kp_oci_descriptor *child = kp_oci_choose(out, arch);
        if (!child)
            return kp_fail_as(err, KP_MISSING, "missing_arch", "%s: nothing for %s",
                              image->reference, arch);
        digest = child->digest;
    }
    return kp_fail_as(err, KP_DAMAGED, "bad_image", "%s: indexes nested deeper than %d",
                      image->reference, NESTING_MAX);
}

int kp_layers_read(struct kp_layers **out, const struct kp_bundle *bundle,
                   const struct kp_image *image, const char *arch, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto(kp_layers) layers = kp_layers_new();
    struct kp_oci_document manifest;
    if (find_manifest(&manifest, arena, bundle, image, arch, err) < 0)
        return -1;
    for (size_t i = 0; i < manifest.layer_count; i++)
        if (read_layer(layers, bundle, &manifest.layers[i], err) < 0)
            return -1;
    *out = kp_steal(&layers);
    return 0;
}

/* --- what they say -----------------------------------------------------------------------------
 */

bool kp_layers_has_dpkg(const struct kp_layers *layers)
{
    for (size_t i = 0; i < layers->count; i++)
        if (kp_starts_with(layers->items[i].path, DPKG))
            return true;
    return false;
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(((const struct item *)a)->path, ((const struct item *)b)->path);
}

size_t kp_layers_packages(const struct kp_layers *layers, kp_dpkg_each *each, void *user)
{
    size_t odd = 0;
    qsort(layers->items, layers->count, sizeof(*layers->items), compare_items);
    for (size_t i = 0; i < layers->count; i++) {
        const struct item *item = &layers->items[i];
        if (kp_starts_with(item->path, DPKG))
            odd += kp_dpkg_parse((struct kp_slice){item->text, item->len}, each, user);
    }
    return odd;
}

struct kp_slice kp_layers_os(const struct kp_layers *layers, const char *key)
{
    for (size_t i = 0; i < layers->count; i++) {
        const struct item *item = &layers->items[i];
        struct kp_slice value = {"", 0};
        if (kp_ends_with(item->path, "os-release"))
            value = kp_dpkg_field((struct kp_slice){item->text, item->len}, '=', key);
        if (value.len)
            return value;
    }
    return (struct kp_slice){"", 0};
}
