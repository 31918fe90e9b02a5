/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/base.h"

#include "bundle/set.h"
#include "pack/own.h"

struct kp_held {
    struct kp_receipt *receipt;          /* all of them as one; newest serial first */
    bool unused[KP_RECEIPT_BUNDLES_MAX]; /* a lock does not name it */
};

void kp_held_free(struct kp_held *held)
{
    if (!held)
        return;
    kp_receipt_free(held->receipt);
    kp_free(held);
}

int kp_held_load(struct kp_held **out, const struct kp_text_list *files, const char *receipt,
                 const struct kp_trust *trust, struct kp_err *err)
{
    kp_auto(kp_held) held = kp_alloc(sizeof(*held));
    *out = NULL;
    if (!files->count && !receipt)
        return 0;
    if (receipt && kp_receipt_load(&held->receipt, receipt, err) < 0)
        return kp_wrap(err, "--have");
    if (!receipt)
        held->receipt = kp_receipt_new();
    for (size_t i = 0; i < files->count; i++) {
        kp_auto(kp_bundle) bundle = NULL;
        if (kp_bundle_open(&bundle, files->items[i], trust, NULL, err) < 0 ||
            kp_receipt_add(held->receipt, kp_bundle_manifest(bundle), kp_bundle_size(bundle), NULL,
                           err) < 0)
            return kp_wrap(err, "--base");
    }
    if (!held->receipt->bundle_count)
        return kp_fail(err, KP_USAGE, "--have %s: the site holds no bundle", receipt);
    *out = kp_steal(&held);
    return 0;
}

static bool is_named(const struct kp_plan *plan, const struct kp_digest *id)
{
    for (size_t i = 0; i < plan->base_count; i++)
        if (kp_digest_equal(&plan->bases[i].id, id))
            return true;
    return false;
}

static bool is_held(const struct kp_held *held, const struct kp_digest *id)
{
    for (size_t i = 0; held && i < held->receipt->bundle_count; i++)
        if (kp_digest_equal(&held->receipt->bundles[i].id, id))
            return true;
    return false;
}

static int settle_locked(struct kp_held *held, const struct kp_plan *plan, struct kp_err *err)
{
    for (size_t i = 0; held && i < held->receipt->bundle_count; i++)
        held->unused[i] = !is_named(plan, &held->receipt->bundles[i].id);
    for (size_t i = 0; i < plan->base_count; i++) {
        const struct kp_base *base = &plan->bases[i];
        if (is_held(held, &base->id))
            continue;
        kp_missing_bases("what the lock makes", &base, 1, err);
        return kp_hint(err, "give its file by --base, or the site's receipt by --have");
    }
    return 0;
}

int kp_held_settle(struct kp_held *held, const struct kp_plan *plan, bool locked,
                   struct kp_err *err)
{
    if (locked)
        return settle_locked(held, plan, err);
    for (size_t i = 0; held && i < held->receipt->bundle_count; i++) {
        const struct kp_receipt_bundle *bundle = &held->receipt->bundles[i];
        if (strcmp(bundle->name, plan->name) != 0 || bundle->serial < plan->serial)
            continue;
        return kp_fail(
            err, KP_USAGE,
            "the site has %s serial %llu; this one would have %llu, and be refused there",
            bundle->name, (unsigned long long)bundle->serial, (unsigned long long)plan->serial);
    }
    return 0;
}

static const struct kp_receipt_bundle *holder_of(const struct kp_held *held,
                                                 const struct kp_digest *blob)
{
    for (size_t i = 0; held && i < held->receipt->bundle_count; i++)
        if (!held->unused[i] && kp_receipt_blob(&held->receipt->bundles[i], blob))
            return &held->receipt->bundles[i];
    return NULL;
}

/* An image's index or manifest: kinstall and auditors read it out of the delta itself. */
static bool is_document(const char *media_type)
{
    return strstr(media_type, ".manifest.") || strstr(media_type, ".index.");
}

bool kp_held_leaves_out(const struct kp_held *held, const struct kp_digest *blob,
                        const char *media_type)
{
    return !is_document(media_type) && holder_of(held, blob);
}

const struct kp_receipt_blob *kp_held_file(const struct kp_held *held,
                                           const struct kp_digest *content)
{
    for (size_t i = 0; held && i < held->receipt->bundle_count; i++) {
        const struct kp_receipt_bundle *bundle = &held->receipt->bundles[i];
        for (size_t k = 0; !held->unused[i] && k < bundle->file_count; k++)
            if (kp_digest_equal(&bundle->files[k].sha256, content))
                return kp_receipt_blob(bundle, &bundle->files[k].blob);
    }
    return NULL;
}

uint64_t kp_held_from(const struct kp_held *held, const char *url, const char *arch)
{
    for (size_t i = 0; held && i < held->receipt->bundle_count; i++) {
        const struct kp_receipt_bundle *bundle = &held->receipt->bundles[i];
        uint64_t size = 0;
        for (size_t k = 0; !held->unused[i] && k < bundle->file_count; k++)
            if (strcmp(bundle->files[k].origin, url) == 0 &&
                strcmp(bundle->files[k].arch, arch) == 0)
                size += kp_receipt_blob(bundle, &bundle->files[k].blob)->size;
        if (size)
            return size;
    }
    return 0;
}

bool kp_delta_must_carry(const struct kp_manifest *m, const struct kp_blob *blob)
{
    if (is_document(blob->media_type))
        return true;
    for (size_t i = 0; i < m->file_count; i++)
        if (strcmp(m->files[i].origin, KP_OWN_URL) == 0 &&
            kp_digest_equal(&m->files[i].blob, &blob->sha256))
            return true;
    for (size_t i = 0; i < m->manifest_count; i++)
        if (kp_digest_equal(&m->manifests[i].blob, &blob->sha256))
            return true;
    return false;
}

static int use_base(struct kp_manifest *m, const struct kp_receipt_bundle *bundle,
                    const struct kp_digest **out, struct kp_err *err)
{
    size_t i = 0;
    while (i < m->base_count && !kp_digest_equal(&m->bases[i].id, &bundle->id))
        i++;
    if (i == KP_BASES_MAX)
        return kp_fail(err, KP_USAGE, "more than %d bases are needed; make a whole bundle again",
                       KP_BASES_MAX);
    if (i == m->base_count)
        m->bases[m->base_count++] =
            (struct kp_base){bundle->id, kp_arena_strdup(m->arena, bundle->name), bundle->serial};
    *out = &m->bases[i].id;
    return 0;
}

/* The order of bases in the manifest is that of the receipt, whatever blob came first. */
static void order_bases(const struct kp_held *held, struct kp_manifest *m)
{
    struct kp_base *sorted = kp_arena_array(m->arena, KP_BASES_MAX, sizeof(*sorted));
    size_t n = 0;
    for (size_t i = 0; i < held->receipt->bundle_count; i++)
        for (size_t k = 0; k < m->base_count; k++) {
            if (!kp_digest_equal(&m->bases[k].id, &held->receipt->bundles[i].id))
                continue;
            sorted[n] = m->bases[k];
            for (size_t b = 0; b < m->blob_count; b++)
                if (m->blobs[b].base == &m->bases[k].id)
                    m->blobs[b].base = &sorted[n].id;
            n++;
        }
    m->bases = sorted;
}

static void note_in_plan(struct kp_plan *plan, const struct kp_manifest *m)
{
    plan->bases = kp_arena_array(plan->arena, m->base_count, sizeof(*plan->bases));
    plan->base_count = m->base_count;
    for (size_t i = 0; i < m->base_count; i++) {
        plan->bases[i] = m->bases[i];
        plan->bases[i].name = kp_arena_strdup(plan->arena, m->bases[i].name);
    }
}

int kp_held_apply(const struct kp_held *held, struct kp_plan *plan, struct kp_manifest *m,
                  struct kp_err *err)
{
    if (!held)
        return 0;
    m->bases = kp_arena_array(m->arena, KP_BASES_MAX, sizeof(*m->bases));
    for (size_t i = 0; i < m->blob_count; i++) {
        struct kp_blob *blob = &m->blobs[i];
        const struct kp_receipt_bundle *holder = holder_of(held, &blob->sha256);
        if (!holder || kp_delta_must_carry(m, blob))
            continue;
        if (kp_receipt_blob(holder, &blob->sha256)->size != blob->size)
            return kp_fail(err, KP_USAGE, "%s serial %llu: blob %s has another size there",
                           holder->name, (unsigned long long)holder->serial,
                           kp_digest_hex(&blob->sha256).hex);
        if (use_base(m, holder, &blob->base, err) < 0)
            return -1;
    }
    order_bases(held, m);
    note_in_plan(plan, m);
    return 0;
}
