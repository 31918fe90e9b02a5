/* SPDX-License-Identifier: Apache-2.0 */
#include "hostile_archive.h"

#include "bundle/layout.h"
#include "core/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#define SMALL_BLOBS 5 /* of the fixture: a file, an image's three, a manifest */

static void require(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "hostile_archive: %s\n", what);
    abort();
}

/* The fixture's file as the format has it: a zstd blob of what is installed. */
static void compress_file(struct fixture *f)
{
    struct kp_file *file = &f->manifest->files[0];
    kp_auto_free char *plain = fixture_bytes(file->size, 7);
    size_t most = ZSTD_compressBound(file->size);
    kp_auto_free char *blob = kp_alloc(most);
    size_t len = ZSTD_compress(blob, most, plain, file->size, 1);
    require(!ZSTD_isError(len), "compress the file");
    file->blob = fixture_blob(f, blob, len, "application/octet-stream");
    file->blob_size = len;
    f->manifest->blobs[0] = f->manifest->blobs[--f->manifest->blob_count];
}

char *hostile_good(struct fixture *f, size_t *len)
{
    char *out = NULL;
    fixture_open(f);
    f->manifest->blob_count = SMALL_BLOBS;
    compress_file(f);
    fixture_write(f);
    require(kp_file_read(f->bundle, ARCHIVE_FILE_MAX, &out, len, NULL) == 0, "read the bundle");
    return out;
}

/* The plain bytes of a file in our framing: what is between block headers. */
static void decode(struct kp_slice bundle, struct kp_buf *plain)
{
    char *room = kp_buf_reserve(plain, bundle.len);
    size_t at = 0;
    while (at < bundle.len) {
        size_t frame = ZSTD_findFrameCompressedSize(bundle.ptr + at, bundle.len - at);
        require(!ZSTD_isError(frame), "a frame");
        size_t n =
            ZSTD_decompress(room + plain->len, bundle.len - plain->len, bundle.ptr + at, frame);
        require(!ZSTD_isError(n), "a frame's content");
        plain->len += n;
        at += frame;
    }
}

void archive_open(struct archive *a, struct kp_slice bundle, const struct kp_key *key)
{
    kp_auto_value(kp_buf) plain = KP_BUF(ARCHIVE_FILE_MAX);
    *a = (struct archive){
        .end = KP_BUF(ARCHIVE_FILE_MAX), .trailing = KP_BUF(ARCHIVE_FILE_MAX), .key = key};
    decode(bundle, &plain);
    size_t at = 0;
    while (at + 512 <= plain.len && plain.data[at]) {
        struct piece *p = &a->pieces[a->count++];
        uint64_t size = 0;
        require(a->count < ARCHIVE_PIECES_MAX, "room for entries");
        memcpy(p->header, plain.data + at, 512);
        require(kp_parse_octal((struct kp_slice){p->header + 124, 11}, plain.len, &size), "size");
        p->len = size;
        p->content = kp_alloc(kp_layout_padded(size) + 1);
        memcpy(p->content, plain.data + at + 512, size);
        at += 512 + kp_layout_padded(size);
    }
    kp_buf_add(&a->end, plain.data + at, plain.len - at);
}

void archive_close(struct archive *a)
{
    for (size_t i = 0; i < a->count; i++)
        kp_free(a->pieces[i].content);
    kp_buf_release(&a->end);
    kp_buf_release(&a->trailing);
    a->count = 0;
}

static void put_little(struct kp_buf *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        kp_buf_add(out, &(char){(char)(value >> 8 * i)}, 1);
}

static void put_frame_head(struct kp_buf *out, enum framing how, uint64_t size)
{
    static const uint8_t ours = 0xC0;
    uint8_t descriptor = ours;
    uint64_t magic = 0xFD2FB528;
    magic = how == FRAME_LEGACY_MAGIC ? 0xFD2FB527 : how == FRAME_SKIPPABLE ? 0x184D2A50 : magic;
    descriptor |= how == FRAME_CHECKSUM ? 4 : how == FRAME_DICTIONARY ? 1 : 0;
    descriptor |= how == FRAME_SINGLE_SEGMENT ? 0x20 : how == FRAME_RESERVED_BIT ? 8 : 0;
    descriptor &= how == FRAME_NO_SIZE ? 0x3F : 0xFF;
    size = how == FRAME_SIZE_ZERO       ? 0
           : how == FRAME_SIZE_2_63     ? (uint64_t)1 << 63
           : how == FRAME_SIZE_MAX      ? UINT64_MAX
           : how == FRAME_SIZE_ONE_MORE ? size + 1
                                        : size;
    put_little(out, magic, 4);
    put_little(out, descriptor, 1);
    if (how != FRAME_SINGLE_SEGMENT)
        put_little(out, how == FRAME_WINDOW_HUGE ? 0xFF : how == FRAME_WINDOW_SMALL ? 0 : 0x38, 1);
    if (how == FRAME_DICTIONARY)
        put_little(out, 1, 1);
    if (how != FRAME_NO_SIZE)
        put_little(out, size, 8);
}

static uint64_t block_head(enum framing how, size_t len, bool first, bool last)
{
    uint64_t type = how == FRAME_BLOCK_RLE          ? 1
                    : how == FRAME_BLOCK_COMPRESSED ? 2
                    : how == FRAME_BLOCK_RESERVED   ? 3
                                                    : 0;
    if (how == FRAME_BLOCK_LAST_MISSING || how == FRAME_BLOCK_EMPTY_LAST)
        last = false;
    if (how == FRAME_BLOCK_LAST_EARLY)
        last = first;
    return (uint64_t)(len - (how == FRAME_BLOCK_SIZE_ONE_LESS)) << 3 | type << 1 | (last ? 1U : 0U);
}

static void put_raw(struct kp_buf *out, enum framing how, const char *data, size_t len)
{
    size_t most = how == FRAME_BLOCK_SHORT ? KP_BLOCK_MAX / 2 : KP_BLOCK_MAX;
    put_frame_head(out, how, len);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < most ? len - at : most;
        put_little(out, block_head(how, n, at == 0, at + n == len), 3);
        kp_buf_add(out, data + at, n);
        at += n;
    }
    if (how == FRAME_BLOCK_EMPTY_LAST)
        put_little(out, 1, 3);
    if (how == FRAME_CHECKSUM)
        put_little(out, 0x12345678, 4);
}

static void put_zstd(struct kp_buf *out, const char *data, size_t len)
{
    char *room = kp_buf_reserve(out, ZSTD_compressBound(len));
    size_t n = ZSTD_compress(room, ZSTD_compressBound(len), data, len, 3);
    require(!ZSTD_isError(n), "compress");
    out->len += n;
}

static void put_frame(struct kp_buf *out, enum framing how, const char *data, size_t len)
{
    static const char skippable[] = {0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 'e', 'v', 'i', 'l'};
    if (how == FRAME_NONE) {
        kp_buf_add(out, data, len);
    } else if (how == FRAME_ZSTD) {
        put_zstd(out, data, len);
    } else if (how == FRAME_TWO) {
        put_raw(out, FRAME_OURS, data, len / 2);
        put_raw(out, FRAME_OURS, data + len / 2, len - len / 2);
    } else {
        if (how == FRAME_SKIPPABLE_BEFORE)
            kp_buf_add(out, skippable, sizeof(skippable));
        if (how == FRAME_EMPTY_BEFORE) {
            put_frame_head(out, FRAME_OURS, 0);
            put_little(out, 1, 3);
        }
        put_raw(out, how, data, len);
    }
}

void archive_write(const struct archive *a, struct kp_buf *out)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct piece *p = &a->pieces[i];
        put_frame(out, p->header_frame, p->header, sizeof(p->header));
        if (p->len)
            put_frame(out, p->content_frame, p->content, kp_layout_padded(p->len));
    }
    if (a->end.len)
        put_frame(out, a->end_frame, a->end.data, a->end.len);
    kp_buf_add(out, kp_buf_slice(&a->trailing).ptr, a->trailing.len);
    require(!out->overflow, "room for the file");
}

static void put_octal(char *field, int digits, uint64_t value)
{
    field[digits] = '\0';
    for (int i = digits; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (value & 7));
}

void piece_seal(struct piece *p)
{
    unsigned sum = 0;
    memset(p->header + 148, ' ', 8);
    for (size_t i = 0; i < sizeof(p->header); i++)
        sum += (unsigned char)p->header[i];
    put_octal(p->header + 148, 6, sum);
}

void piece_fill(struct piece *p, const void *content, size_t len)
{
    kp_free(p->content);
    p->content = kp_alloc(kp_layout_padded(len) + 1);
    memcpy(p->content, content, len);
    p->len = len;
    put_octal(p->header + 124, 11, len);
    piece_seal(p);
}

struct piece *archive_insert(struct archive *a, size_t at, const char *path, char type,
                             const void *content, size_t len)
{
    struct piece *p = &a->pieces[at];
    require(a->count < ARCHIVE_PIECES_MAX && at <= a->count, "room for an entry");
    memmove(p + 1, p, (a->count - at) * sizeof(*p));
    a->count++;
    *p = (struct piece){.content = NULL};
    memcpy(p->header, a->pieces[at ? at - 1 : 1].header, sizeof(p->header));
    memset(p->header, 0, 100);
    snprintf(p->header, 100, "%s", path);
    p->header[156] = type;
    piece_fill(p, content, len);
    return p;
}

void archive_remove(struct archive *a, size_t at)
{
    struct piece *p = &a->pieces[at];
    kp_free(p->content);
    a->count--;
    memmove(p, p + 1, (a->count - at) * sizeof(*p));
}

void archive_swap(struct archive *a, size_t x, size_t y)
{
    struct piece held = a->pieces[x];
    a->pieces[x] = a->pieces[y];
    a->pieces[y] = held;
}

void archive_edit(struct archive *a, const char *find, const char *replace)
{
    struct piece *p = &a->pieces[0];
    kp_auto_value(kp_buf) text = KP_BUF(ARCHIVE_FILE_MAX);
    const char *at = memmem(p->content, p->len, find, strlen(find));
    if (!at)
        fprintf(stderr, "the case is stale: %s is not in bundle.json\n", find);
    require(at != NULL, "edit");
    kp_buf_add(&text, p->content, (size_t)(at - p->content));
    kp_buf_adds(&text, replace);
    at += strlen(find);
    kp_buf_add(&text, at, p->len - (size_t)(at - p->content));
    piece_fill(p, text.data, text.len);
}

void archive_sign(struct archive *a)
{
    struct kp_signature_set set = {.count = 0};
    struct kp_signature signature;
    kp_auto_free char *block = kp_alloc(KP_SIG_SIZE);
    struct kp_slice text = {a->pieces[0].content, a->pieces[0].len};
    require(kp_sign(a->key, text, &signature, NULL) == 0 &&
                kp_signature_add(&set, &signature, NULL) == 0,
            "sign");
    kp_signatures_format(&set, block);
    piece_fill(&a->pieces[1], block, KP_SIG_SIZE);
}
