/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of a bundle file (docs/format.md): every byte that is not content is a function of
 * an entry's path and size. Frames are zstd frames of raw blocks (RFC 8878, 3.1.1), headers are
 * POSIX ustar. Pure; no I/O.
 */
#pragma once

#include "bundle/bundle.h"

#define KP_TAR_BLOCK ((size_t)512)
#define KP_BLOCK_MAX ((size_t)128 << 10) /* content bytes of a full zstd block */
#define KP_BLOCK_HEADER ((size_t)3)
#define KP_FRAME_HEADER ((size_t)14)
#define KP_HEADER_FRAME (KP_FRAME_HEADER + KP_BLOCK_HEADER + KP_TAR_BLOCK)
#define KP_END_FRAME (KP_FRAME_HEADER + KP_BLOCK_HEADER + 2 * KP_TAR_BLOCK)
#define KP_LEAF_BLOCKS (KP_LEAF_SIZE / KP_BLOCK_MAX)
/* A whole leaf as it lies in the file: its blocks, their headers, padding. */
#define KP_LEAF_STORED_MAX                                                                         \
    ((size_t)KP_LEAF_SIZE + (size_t)KP_LEAF_BLOCKS * KP_BLOCK_HEADER + KP_TAR_BLOCK)
#define KP_LEAVES_MAX ((uint64_t)64 << 20) /* bundle.leaves: enough for 2 TiB */

#define KP_PATH_MANIFEST "bundle.json"
#define KP_PATH_SIGNATURES "bundle.sig"
#define KP_PATH_LEAVES "bundle.leaves"
#define KP_PATH_OCI_LAYOUT "oci-layout"
#define KP_PATH_INDEX "index.json"
#define KP_PATH_BLOBS "blobs/sha256/"
#define KP_FIXED_ENTRIES 3 /* bundle.leaves, oci-layout, index.json stand before the blobs */
#define KP_BLOB_PATH_LEN (sizeof(KP_PATH_BLOBS) - 1 + KP_SHA256_HEX)

uint64_t kp_layout_padded(uint64_t size);     /* rounded up to 512 */
uint64_t kp_layout_entry_size(uint64_t size); /* bytes of the file: both frames */
uint64_t kp_layout_blocks(uint64_t size);     /* zstd blocks of the content frame */
uint64_t kp_layout_leaves(uint64_t size);     /* leaves of the content */
/* Where block `index` begins, counted from the start of the entry. */
uint64_t kp_layout_block_offset(uint64_t index);

/* Block `index` of the content frame of an entry of `size` bytes, as it must be. */
struct kp_block {
    uint8_t header[KP_BLOCK_HEADER];
    size_t content, padding; /* zero bytes after the content; only in the last block */
};
struct kp_block kp_layout_block(uint64_t size, uint64_t index);
size_t kp_layout_block_stored(const struct kp_block *block);

/* Writes the entry's header frame and, unless empty, the header of its content frame; the length.
 */
#define KP_ENTRY_HEAD_MAX (KP_HEADER_FRAME + KP_FRAME_HEADER)
size_t kp_layout_entry_head(uint8_t out[KP_ENTRY_HEAD_MAX], const char *path, uint64_t size);
void kp_layout_end(uint8_t out[KP_END_FRAME]); /* the two zero blocks */
/* The size that a header frame claims; false where that field is not an octal number. The caller
 * regenerates the header from it and compares. */
bool kp_layout_claimed_size(const uint8_t head[KP_HEADER_FRAME], uint64_t *size);

/* Writes a whole small entry (bundle.json, bundle.sig, bundle.leaves …) into out, which has
 * kp_layout_entry_size(len) bytes. */
void kp_layout_entry_write(uint8_t *out, const char *path, const void *content, size_t len);
/* Compares stored blocks [first, first+count) with what they must be around their content, and
 * hands each block's content to take. False where a header or padding differs. */
typedef void kp_layout_take(void *user, const uint8_t *content, size_t len);
bool kp_layout_blocks_read(const uint8_t *stored, uint64_t size, uint64_t first, uint64_t count,
                           kp_layout_take *take, void *user);
/* "blobs/sha256/<hex>" */
struct kp_blob_path {
    char s[KP_BLOB_PATH_LEN + 1];
};
struct kp_blob_path kp_layout_blob_path(const struct kp_digest *digest);
