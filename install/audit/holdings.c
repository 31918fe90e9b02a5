/* SPDX-License-Identifier: Apache-2.0 */
#include "install/audit/holdings.h"

#include "bundle/set.h"
#include "core/text.h"

#include <time.h>

static int ask(const struct kp_site *site, const struct kp_site_node *node, json_t **out,
               struct kp_err *err)
{
    return kp_session_bundles(node->session, site->inventory->mirror.folder, out, err);
}

/* The size of the bundle's file in a node's list; false where it is not there. */
static bool find_size(const json_t *list, const struct kp_digest *id, uint64_t *size)
{
    struct kp_digest_text hex = kp_digest_hex(id);
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *text = json_string_value(json_object_get(item, "id"));
        json_int_t bytes = json_integer_value(json_object_get(item, "size"));
        if (!text || strcmp(text, hex.hex) != 0 || bytes <= 0)
            continue;
        *size = (uint64_t)bytes;
        return true;
    }
    return false;
}

static void note_holder(struct kp_site *site, struct kp_site_node *node, const json_t *list)
{
    for (size_t i = 0; i < site->manifest->base_count; i++) {
        struct kp_site_base *base = &site->bases[i];
        uint64_t size;
        if (base->holder || !find_size(list, &site->manifest->bases[i].id, &size))
            continue;
        base->holder = node;
        base->size = base->file ? base->size : size;
    }
}

int kp_holdings_find(struct kp_site *site, struct kp_err *err)
{
    const struct kp_manifest *m = site->manifest;
    const struct kp_base *missing[KP_BASES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < m->base_count; i++) {
        struct kp_site_base *base = &site->bases[i];
        *base = (struct kp_site_base){.file = kp_bundle_base(site->bundle, i)};
        base->size = base->file ? kp_bundle_size(base->file) : 0;
    }
    for (size_t i = 0; m->base_count && i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        kp_auto_json list = NULL;
        if (!node->node->mirror)
            continue;
        if (node->failed)
            return 0; // that it cannot be reached is the finding
        if (ask(site, node, &list, err) < 0)
            return kp_wrap(err, "%s", node->node->name);
        note_holder(site, node, list);
    }
    for (size_t i = 0; i < m->base_count; i++)
        if (!site->bases[i].file && !site->bases[i].holder)
            missing[count++] = &m->bases[i];
    if (!count)
        return 0;
    kp_missing_bases(kp_bundle_path(site->bundle), missing, count, err);
    return kp_hint(err, "no mirror of the site holds it; give its file by --base FILE");
}

static int add_bundle(const struct kp_site *site, const struct kp_site_node *node,
                      const json_t *item, struct kp_receipt *receipt, struct kp_err *err)
{
    const char *id = json_string_value(json_object_get(item, "id"));
    json_int_t size = json_integer_value(json_object_get(item, "size"));
    kp_auto_value(kp_buf) text = KP_BUF(KP_MANIFEST_MAX);
    kp_auto(kp_manifest) manifest = NULL;
    struct kp_digest wanted, seen;
    if (!id || !kp_digest_parse(kp_slice_of(id), &wanted) || size <= 0)
        return kp_fail_as(err, KP_FAILED, "bad_answer", "its list of bundles makes no sense");
    if (kp_session_manifest(node->session, site->inventory->mirror.folder, id, &text, err) < 0)
        return -1;
    kp_sha256(text.data, text.len, &seen);
    if (!kp_digest_equal(&seen, &wanted))
        return kp_fail_as(err, KP_DAMAGED, "damaged", "bundle %s: its bundle.json is another's",
                          id);
    if (kp_manifest_parse(&manifest, kp_buf_slice(&text), err) < 0)
        return -1;
    return kp_receipt_add(receipt, manifest, (uint64_t)size, node->node->name, err);
}

static int add_mirror(const struct kp_site *site, const struct kp_site_node *node,
                      struct kp_receipt *receipt, struct kp_err *err)
{
    kp_auto_json list = NULL;
    size_t i;
    json_t *item;
    if (ask(site, node, &list, err) < 0)
        return -1;
    json_array_foreach(list, i, item) if (add_bundle(site, node, item, receipt, err) < 0) return -1;
    return 0;
}

int kp_holdings_receipt(struct kp_site *site, struct kp_receipt **out, struct kp_err *err)
{
    kp_auto(kp_receipt) receipt = kp_receipt_new();
    receipt->cluster = kp_arena_strdup(receipt->arena, site->inventory->cluster);
    receipt->created = kp_arena_strdup(receipt->arena, kp_text_utc(time(NULL)).s);
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        if (!node->node->mirror)
            continue;
        if (node->failed) {
            *err = node->failure;
            return -1;
        }
        if (add_mirror(site, node, receipt, err) < 0)
            return kp_wrap(err, "%s", node->node->name);
    }
    *out = kp_steal(&receipt);
    return 0;
}
