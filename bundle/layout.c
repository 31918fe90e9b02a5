/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/layout.h"

#include <stdio.h>

enum { /* ustar, POSIX.1-1988 */
       TAR_NAME = 0,
       TAR_MODE = 100,
       TAR_UID = 108,
       TAR_GID = 116,
       TAR_SIZE = 124,
       TAR_MTIME = 136,
       TAR_CHECKSUM = 148,
       TAR_TYPE = 156,
       TAR_MAGIC = 257,
};
static const uint8_t tar_magic[] = {'u', 's', 't', 'a', 'r', '\0', '0', '0'}; // and version
#define TAR_NAME_MAX 100
#define TAR_SIZE_DIGITS 11

uint64_t kp_layout_padded(uint64_t size)
{
    return (size + KP_TAR_BLOCK - 1) / KP_TAR_BLOCK * KP_TAR_BLOCK;
}

uint64_t kp_layout_blocks(uint64_t size)
{
    return (size + KP_BLOCK_MAX - 1) / KP_BLOCK_MAX;
}

uint64_t kp_layout_leaves(uint64_t size)
{
    return (size + KP_LEAF_SIZE - 1) / KP_LEAF_SIZE;
}

uint64_t kp_layout_entry_size(uint64_t size)
{
    if (!size)
        return KP_HEADER_FRAME;
    return KP_HEADER_FRAME + KP_FRAME_HEADER + kp_layout_padded(size) +
           KP_BLOCK_HEADER * kp_layout_blocks(size);
}

uint64_t kp_layout_block_offset(uint64_t index)
{
    return KP_HEADER_FRAME + KP_FRAME_HEADER + index * (KP_BLOCK_MAX + KP_BLOCK_HEADER);
}

static void put_block_header(uint8_t out[KP_BLOCK_HEADER], size_t len, bool last)
{
    uint32_t value = (uint32_t)len << 3 | (last ? 1U : 0U); // bits 1 and 2: type 0, raw
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)(value >> 16);
}

static void put_frame_header(uint8_t out[KP_FRAME_HEADER], uint64_t content)
{
    static const uint8_t fixed[] = {0x28, 0xB5, 0x2F, 0xFD, 0xC0, 0x38};
    memcpy(out, fixed, sizeof(fixed));
    for (size_t i = 0; i < 8; i++)
        out[sizeof(fixed) + i] = (uint8_t)(content >> 8 * i);
}

struct kp_block kp_layout_block(uint64_t size, uint64_t index)
{
    uint64_t start = index * KP_BLOCK_MAX;
    uint64_t left = size - start, stored = kp_layout_padded(size) - start;
    struct kp_block block = {
        .content = left < KP_BLOCK_MAX ? (size_t)left : KP_BLOCK_MAX,
    };
    size_t len = stored < KP_BLOCK_MAX ? (size_t)stored : KP_BLOCK_MAX;
    block.padding = len - block.content;
    put_block_header(block.header, len, index + 1 == kp_layout_blocks(size));
    return block;
}

size_t kp_layout_block_stored(const struct kp_block *block)
{
    return KP_BLOCK_HEADER + block->content + block->padding;
}

static void put_octal(uint8_t *field, int digits, uint64_t value)
{
    field[digits] = '\0';
    for (int i = digits; i-- > 0; value >>= 3)
        field[i] = (uint8_t)('0' + (value & 7));
}

static void put_tar_header(uint8_t out[KP_TAR_BLOCK], const char *path, uint64_t size)
{
    unsigned sum = 0;
    memset(out, 0, KP_TAR_BLOCK);
    memccpy(out + TAR_NAME, path, '\0', TAR_NAME_MAX - 1);
    put_octal(out + TAR_MODE, 7, 0644);
    put_octal(out + TAR_UID, 7, 0);
    put_octal(out + TAR_GID, 7, 0);
    put_octal(out + TAR_SIZE, TAR_SIZE_DIGITS, size);
    put_octal(out + TAR_MTIME, 11, 0);
    memset(out + TAR_CHECKSUM, ' ', 8);
    out[TAR_TYPE] = '0';
    memcpy(out + TAR_MAGIC, tar_magic, sizeof(tar_magic));
    for (size_t i = 0; i < KP_TAR_BLOCK; i++)
        sum += out[i];
    put_octal(out + TAR_CHECKSUM, 6, sum); // six digits, NUL, and the blank that is there
}

size_t kp_layout_entry_head(uint8_t out[KP_ENTRY_HEAD_MAX], const char *path, uint64_t size)
{
    put_frame_header(out, KP_TAR_BLOCK);
    put_block_header(out + KP_FRAME_HEADER, KP_TAR_BLOCK, true);
    put_tar_header(out + KP_FRAME_HEADER + KP_BLOCK_HEADER, path, size);
    if (!size)
        return KP_HEADER_FRAME;
    put_frame_header(out + KP_HEADER_FRAME, kp_layout_padded(size));
    return KP_ENTRY_HEAD_MAX;
}

void kp_layout_end(uint8_t out[KP_END_FRAME])
{
    memset(out, 0, KP_END_FRAME);
    put_frame_header(out, 2 * KP_TAR_BLOCK);
    put_block_header(out + KP_FRAME_HEADER, 2 * KP_TAR_BLOCK, true);
}

bool kp_layout_claimed_size(const uint8_t head[KP_HEADER_FRAME], uint64_t *size)
{
    const char *field = (const char *)head + KP_FRAME_HEADER + KP_BLOCK_HEADER + TAR_SIZE;
    return kp_parse_octal((struct kp_slice){field, TAR_SIZE_DIGITS}, KP_ENTRY_SIZE_MAX, size);
}

void kp_layout_entry_write(uint8_t *out, const char *path, const void *content, size_t len)
{
    const uint8_t *in = content;
    out += kp_layout_entry_head(out, path, len);
    for (uint64_t i = 0; i < kp_layout_blocks(len); i++) {
        struct kp_block block = kp_layout_block(len, i);
        memcpy(out, block.header, KP_BLOCK_HEADER);
        memcpy(out + KP_BLOCK_HEADER, in, block.content);
        memset(out + KP_BLOCK_HEADER + block.content, 0, block.padding);
        out += kp_layout_block_stored(&block);
        in += block.content;
    }
}

static bool is_zero(const uint8_t *data, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= data[i];
    return any == 0;
}

bool kp_layout_blocks_read(const uint8_t *stored, uint64_t size, uint64_t first, uint64_t count,
                           kp_layout_take *take, void *user)
{
    bool good = true;
    for (uint64_t i = first; i < first + count; i++) {
        struct kp_block block = kp_layout_block(size, i);
        good = good && memcmp(stored, block.header, KP_BLOCK_HEADER) == 0;
        take(user, stored + KP_BLOCK_HEADER, block.content);
        good = good && is_zero(stored + KP_BLOCK_HEADER + block.content, block.padding);
        stored += kp_layout_block_stored(&block);
    }
    return good;
}

struct kp_blob_path kp_layout_blob_path(const struct kp_digest *digest)
{
    struct kp_blob_path path;
    snprintf(path.s, sizeof(path.s), "%s%s", KP_PATH_BLOBS, kp_digest_hex(digest).hex);
    return path;
}
