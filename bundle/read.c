/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/reader.h"

#include "core/file.h"

#include <stdlib.h>
#include <sys/uio.h>

#define SEGMENTS_MAX 32 /* blocks read by one call: 4 MiB */

static int compare_entry(const void *key, const void *item)
{
    return memcmp(((const struct kp_digest *)key)->bytes,
                  ((const struct kp_entry *)item)->sha256.bytes, KP_SHA256_LEN);
}

bool kp_bundle_find(const struct kp_bundle *bundle, const struct kp_digest *blob, size_t *entry,
                    uint64_t *size)
{
    const struct kp_manifest *m = bundle->manifest;
    const struct kp_entry *blobs = m->entries + KP_FIXED_ENTRIES;
    size_t n = m->entry_count - KP_FIXED_ENTRIES; // the parser has seen to it that these are there
    const struct kp_entry *found =
        n ? bsearch(blob, blobs, n, sizeof(*blobs), compare_entry) : NULL;
    if (!found)
        return false;
    if (entry)
        *entry = (size_t)(found - m->entries);
    if (size)
        *size = found->size;
    return true;
}

bool kp_bundle_locate(const struct kp_bundle *bundle, const struct kp_digest *blob,
                      const struct kp_bundle **holder, size_t *entry, uint64_t *size)
{
    const struct kp_manifest *m = bundle->manifest;
    *holder = bundle;
    if (kp_bundle_find(bundle, blob, entry, size))
        return true;
    const struct kp_blob *listed = kp_manifest_blob(m, blob);
    for (size_t i = 0; listed && listed->base && i < m->base_count; i++) {
        *holder = bundle->bases[i];
        if (listed->base == &m->bases[i].id && *holder)
            return kp_bundle_find(*holder, blob, entry, size);
    }
    return false;
}

/* One call for all blocks, the headers between them into a waste. */
static int read_run(const struct kp_bundle *b, uint64_t base, uint64_t offset, char *out,
                    size_t len, struct kp_err *err)
{
    uint8_t waste[KP_BLOCK_HEADER];
    struct iovec parts[2 * SEGMENTS_MAX];
    uint64_t start = base + kp_layout_block_offset(offset / KP_BLOCK_MAX) + KP_BLOCK_HEADER +
                     offset % KP_BLOCK_MAX;
    int count = 0;
    for (size_t done = 0; done < len;) {
        size_t room = KP_BLOCK_MAX - (size_t)((offset + done) % KP_BLOCK_MAX);
        size_t n = len - done < room ? len - done : room;
        if (done) {
            parts[count++] = (struct iovec){waste, sizeof(waste)};
        }
        parts[count++] = (struct iovec){out + done, n};
        done += n;
    }
    return kp_medium_readv(b->medium, parts, count, start, err);
}

int kp_bundle_read_entry(const struct kp_bundle *bundle, size_t entry, uint64_t offset, void *out,
                         size_t len, struct kp_err *err)
{
    if (entry >= bundle->manifest->entry_count)
        return kp_fail(err, KP_FAILED, "entry %zu is not in the bundle", entry);
    const struct kp_entry *e = &bundle->manifest->entries[entry];
    if (offset > e->size || len > e->size - offset)
        return kp_fail(err, KP_FAILED, "%s: read beyond its end", e->path);
    for (size_t done = 0, n; done < len; done += n) {
        size_t most = (SEGMENTS_MAX - 1) * KP_BLOCK_MAX;
        n = len - done < most ? len - done : most;
        if (read_run(bundle, bundle->offsets[entry], offset + done, (char *)out + done, n, err) < 0)
            return kp_wrap(err, "%s", e->path);
    }
    return 0;
}

static int not_there(const struct kp_bundle *bundle, const struct kp_digest *blob,
                     struct kp_err *err)
{
    const struct kp_blob *listed = kp_manifest_blob(bundle->manifest, blob);
    if (listed && listed->base)
        return kp_fail_as(err, KP_MISSING, "missing_base", "blob %s lies in the base bundle %s",
                          kp_digest_hex(blob).hex, kp_digest_hex(listed->base).hex);
    return kp_fail_as(err, KP_MISSING, "missing_blob", "blob %s is not in the bundle",
                      kp_digest_hex(blob).hex);
}

int kp_bundle_read(const struct kp_bundle *bundle, const struct kp_digest *blob, uint64_t offset,
                   void *out, size_t len, struct kp_err *err)
{
    const struct kp_bundle *holder;
    size_t entry;
    if (!kp_bundle_locate(bundle, blob, &holder, &entry, NULL))
        return not_there(bundle, blob, err);
    return kp_bundle_read_entry(holder, entry, offset, out, len, err);
}

int kp_bundle_load(const struct kp_bundle *bundle, const struct kp_digest *blob, size_t max,
                   char **out, size_t *len, struct kp_err *err)
{
    const struct kp_bundle *holder;
    size_t entry;
    uint64_t size;
    struct kp_digest seen;
    if (!kp_bundle_locate(bundle, blob, &holder, &entry, &size))
        return not_there(bundle, blob, err);
    if (size > max)
        return kp_fail_as(err, KP_FAILED, "too_large",
                          "blob %s has %llu bytes; at most %zu are read", kp_digest_hex(blob).hex,
                          (unsigned long long)size, max);
    kp_auto_free char *data = kp_alloc(size + 1);
    if (kp_bundle_read_entry(holder, entry, 0, data, size, err) < 0)
        return -1;
    kp_sha256(data, size, &seen);
    if (!kp_digest_equal(&seen, blob))
        return kp_fail_as(err, KP_DAMAGED, "damaged", "%s: its content is damaged",
                          holder->manifest->entries[entry].path);
    *out = kp_steal(&data);
    if (len)
        *len = size;
    return 0;
}
