/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The corpus: one archive per flaw, made from a good bundle, so that it stays right when the format
 * moves. tests/data/hostile/README.md says which line of the acceptance list each stands for.
 */
#include "hostile_archive.h"

#include "bundle/layout.h"

#include <stdio.h>

struct making {
    struct kp_slice good;
    const struct kp_key *key;
    hostile_visit *visit;
    void *user;
};

enum { MANIFEST = 0, SIGNATURES = 1, LEAVES = 2, LAYOUT = 3, INDEX = 4, FIRST_BLOB = 5 };

static const struct place {
    const char *name;
    int piece;
} places[] = {
    {"front", MANIFEST}, {"signatures", SIGNATURES}, {"leaves", LEAVES}, {"blob", FIRST_BLOB}};

/* Bytes of a tar header that are not as the format has them; the checksum is made right again. */
static const struct header_flaw {
    const char *name;
    size_t offset;
    const char *bytes;
    size_t len;
} header_flaws[] = {
#define FLAW(name, offset, bytes)                                                                  \
    {                                                                                              \
        name, offset, bytes, sizeof(bytes) - 1                                                     \
    }
    FLAW("tar-hardlink", 156, "1etc/shadow"),
    FLAW("tar-symlink", 156, "2/etc/shadow"),
    FLAW("tar-character-device", 156, "3"),
    FLAW("tar-block-device", 156, "4"),
    FLAW("tar-directory", 156, "5"),
    FLAW("tar-fifo", 156, "6"),
    FLAW("tar-contiguous", 156, "7"),
    FLAW("tar-old-type", 156, "\0"),
    FLAW("tar-pax-header", 156, "x"),
    FLAW("tar-pax-global", 156, "g"),
    FLAW("tar-gnu-longname", 156, "L"),
    FLAW("tar-gnu-longlink", 156, "K"),
    FLAW("tar-gnu-sparse", 156, "S"),
    FLAW("tar-gnu-dumpdir", 156, "D"),
    FLAW("tar-gnu-multivolume", 156, "M"),
    FLAW("tar-solaris-acl", 156, "A"),
    FLAW("tar-unknown-type", 156, "Z"),
    FLAW("tar-setuid", 100, "0004755"),
    FLAW("tar-setgid", 100, "0002644"),
    FLAW("tar-sticky", 100, "0001644"),
    FLAW("tar-world-writable", 100, "0000666"),
    FLAW("tar-uid", 108, "0001750"),
    FLAW("tar-uid-base-256", 108, "\x80\0\0\0\0\0\0\1"),
    FLAW("tar-gid", 116, "0001750"),
    FLAW("tar-mtime", 136, "00000000001"),
    FLAW("tar-mtime-negative", 136, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    FLAW("tar-owner-name", 265, "root"),
    FLAW("tar-group-name", 297, "root"),
    FLAW("tar-device-number", 329, "0000001"),
    FLAW("tar-prefix", 345, "../../etc"),
    FLAW("tar-padding-used", 500, "evil"),
    FLAW("tar-path-dot-dot", 0, "../../../etc/cron.d/x"),
    FLAW("tar-path-absolute", 0, "/etc/cron.d/x"),
    FLAW("tar-path-dot", 0, "./"),
    FLAW("tar-path-slash-twice", 0, "//"),
    FLAW("tar-path-nul-inside", 4, "\0"),
    FLAW("tar-path-bytes-after-nul", 90, "evil"),
    FLAW("tar-path-line-feed", 1, "\n"),
    FLAW("tar-path-escape", 1, "\x1b[2J"),
    FLAW("tar-path-not-nfc", 0, "e\xcc\x81"),
    FLAW("tar-path-not-utf-8", 0, "\xff\xfe"),
    FLAW("tar-path-backslash", 1, "\\"),
    FLAW("tar-path-upper-case", 0, "B"),
    FLAW("tar-size-8-gib", 124, "\x80\0\0\0\0\0\0\2\0\0\0\0"),
    FLAW("tar-size-2-63", 124, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),
    FLAW("tar-size-negative", 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    FLAW("tar-size-most", 124, "77777777777"),
    FLAW("tar-size-zero", 124, "00000000000"),
    FLAW("tar-size-blank", 124, "           "),
    FLAW("tar-size-leading-blank", 124, " "),
    FLAW("tar-size-sign", 124, "-"),
    FLAW("tar-size-decimal", 124, "00000000009"),
    FLAW("tar-size-unterminated", 135, "7"),
    FLAW("tar-magic-gnu", 257, "ustar  \0"),
    FLAW("tar-magic-none", 257, "\0\0\0\0\0\0\0\0"),
    FLAW("tar-version", 263, "01"),
#undef FLAW
};

static const char *const framing_names[FRAMINGS] = {
    [FRAME_CHECKSUM] = "zstd-checksum",
    [FRAME_DICTIONARY] = "zstd-dictionary",
    [FRAME_WINDOW_HUGE] = "zstd-window-huge",
    [FRAME_WINDOW_SMALL] = "zstd-window-small",
    [FRAME_SINGLE_SEGMENT] = "zstd-single-segment",
    [FRAME_NO_SIZE] = "zstd-no-content-size",
    [FRAME_SIZE_ONE_MORE] = "zstd-size-one-more",
    [FRAME_SIZE_ZERO] = "zstd-size-zero",
    [FRAME_SIZE_2_63] = "zstd-size-2-63",
    [FRAME_SIZE_MAX] = "zstd-size-unknown",
    [FRAME_RESERVED_BIT] = "zstd-reserved-bit",
    [FRAME_LEGACY_MAGIC] = "zstd-legacy-magic",
    [FRAME_SKIPPABLE] = "zstd-skippable",
    [FRAME_BLOCK_RLE] = "zstd-block-rle",
    [FRAME_BLOCK_COMPRESSED] = "zstd-block-compressed",
    [FRAME_BLOCK_RESERVED] = "zstd-block-reserved",
    [FRAME_BLOCK_LAST_MISSING] = "zstd-last-bit-missing",
    [FRAME_BLOCK_LAST_EARLY] = "zstd-last-bit-early",
    [FRAME_BLOCK_SIZE_ONE_LESS] = "zstd-block-size-one-less",
    [FRAME_BLOCK_EMPTY_LAST] = "zstd-empty-block-last",
    [FRAME_BLOCK_SHORT] = "zstd-short-blocks",
    [FRAME_TWO] = "zstd-two-frames",
    [FRAME_ZSTD] = "zstd-compressed",
    [FRAME_NONE] = "zstd-none",
    [FRAME_SKIPPABLE_BEFORE] = "zstd-skippable-before",
    [FRAME_EMPTY_BEFORE] = "zstd-empty-frame-before",
};

static void begin(const struct making *m, struct archive *a)
{
    archive_open(a, m->good, m->key);
}

/* The reader may meet it as damage at a place, or by the length of the file before that. */
#define DAMAGED "damaged|truncated|trailing_data"

static void show(const struct making *m, struct archive *a, int code, const char *reason,
                 const char *name, const char *where)
{
    struct hostile_case one = {.code = code, .reason = reason};
    snprintf(one.name, sizeof(one.name), "%s%s%s", name, where ? " at " : "", where ? where : "");
    m->visit(m->user, &one, a);
    archive_close(a);
}

static bool header_differs(const struct piece *p, const struct header_flaw *flaw)
{
    return memcmp(p->header + flaw->offset, flaw->bytes, flaw->len) != 0;
}

static void each_header(const struct making *m)
{
    for (size_t i = 0; i < KP_COUNT(header_flaws); i++)
        for (size_t k = 0; k < KP_COUNT(places); k++) {
            const struct header_flaw *flaw = &header_flaws[i];
            struct archive a;
            begin(m, &a);
            struct piece *p = &a.pieces[places[k].piece];
            if (!header_differs(p, flaw)) {
                archive_close(&a);
                continue;
            }
            memcpy(p->header + flaw->offset, flaw->bytes, flaw->len);
            piece_seal(p);
            show(m, &a, KP_DAMAGED, DAMAGED, flaw->name, places[k].name);
        }
}

/* What is one block is as it should be, whatever is done to the others. */
static bool only_for_many_blocks(enum framing how)
{
    return how == FRAME_BLOCK_LAST_EARLY || how == FRAME_BLOCK_SHORT;
}

static void each_framing(const struct making *m)
{
    static const char *const content_where[] = {"front content", "signatures content",
                                                "leaves content", "blob content"};
    static const char *const header_where[] = {"front header", "signatures header", "leaves header",
                                               "blob header"};
    for (enum framing how = FRAME_OURS + 1; how < FRAMINGS; how++) {
        struct archive a;
        for (size_t k = 0; k < KP_COUNT(places); k++) {
            struct piece *p = &a.pieces[places[k].piece];
            begin(m, &a);
            if (!only_for_many_blocks(how)) {
                p->header_frame = how;
                show(m, &a, KP_DAMAGED, DAMAGED, framing_names[how], header_where[k]);
                begin(m, &a);
            }
            p->content_frame = how;
            if (only_for_many_blocks(how))
                for (size_t i = 0; i < a.count; i++)
                    a.pieces[i].content_frame = how; // some have several blocks
            show(m, &a, KP_DAMAGED, DAMAGED, framing_names[how], content_where[k]);
        }
        begin(m, &a);
        a.end_frame = how;
        if (only_for_many_blocks(how))
            archive_close(&a);
        else
            show(m, &a, KP_DAMAGED, DAMAGED, framing_names[how], "end");
    }
}

/* --- entries that should not be there, or not so ------------------------------------------------
 */

static void insert_pax(struct archive *a)
{
    static const char text[] = "30 path=../../../etc/cron.d/x\n";
    archive_insert(a, FIRST_BLOB, "PaxHeaders/x", 'x', text, sizeof(text) - 1);
}

/* CVE-2025-62518: one parser goes by the PAX size, another by ustar's. */
static void insert_pax_size(struct archive *a)
{
    static const char text[] = "16 size=1048576\n";
    archive_insert(a, FIRST_BLOB, "PaxHeaders/x", 'x', text, sizeof(text) - 1);
}

static void insert_pax_sparse(struct archive *a)
{
    static const char text[] = "22 GNU.sparse.major=1\n30 SUN.holesdata= 0 1 1048576\n";
    archive_insert(a, FIRST_BLOB, "PaxHeaders/x", 'x', text, sizeof(text) - 1);
}

static void insert_pax_xattr(struct archive *a)
{
    static const char text[] = "38 SCHILY.xattr.security.capability=x\n";
    archive_insert(a, FIRST_BLOB, "PaxHeaders/x", 'x', text, sizeof(text) - 1);
}

static void insert_pax_global_first(struct archive *a)
{
    static const char text[] = "18 comment=abcdef\n";
    archive_insert(a, MANIFEST, "pax_global_header", 'g', text, sizeof(text) - 1);
}

static void insert_longname(struct archive *a, size_t len)
{
    char name[1100];
    memset(name, 'a', sizeof(name));
    archive_insert(a, FIRST_BLOB, "././@LongLink", 'L', name, len);
}

static void insert_part_of_256(struct archive *a)
{
    insert_longname(a, 256);
}

static void insert_path_of_1025(struct archive *a)
{
    insert_longname(a, 1025);
}

static void insert_link_and_file_through_it(struct archive *a)
{
    struct piece *link = archive_insert(a, FIRST_BLOB, "blobs/sha256/out", '2', "", 0);
    memcpy(link->header + 157, "/etc/cron.d", 11);
    piece_seal(link);
    archive_insert(a, FIRST_BLOB + 1, "blobs/sha256/out/x", '0', "* * * * * root id\n", 18);
}

static void insert_hardlink(struct archive *a)
{
    struct piece *link = archive_insert(a, FIRST_BLOB, "blobs/sha256/out", '1', "", 0);
    memcpy(link->header + 157, "../../../etc/shadow", 19);
    piece_seal(link);
}

static void insert_extra_last(struct archive *a)
{
    archive_insert(a, a->count, "evil", '0', "evil", 4);
}

static void insert_extra_first(struct archive *a)
{
    archive_insert(a, MANIFEST, "evil", '0', "evil", 4);
}

static void insert_empty(struct archive *a)
{
    archive_insert(a, a->count, "evil", '0', "", 0);
}

static void insert_second_manifest(struct archive *a)
{
    archive_insert(a, SIGNATURES + 1, "bundle.json", '0', "{}", 2);
}

static void copy_at(struct archive *a, size_t from, size_t to)
{
    char path[101] = "";
    memcpy(path, a->pieces[from].header, 100);
    kp_auto_free char *content = kp_alloc(a->pieces[from].len + 1);
    size_t len = a->pieces[from].len;
    memcpy(content, a->pieces[from].content, len);
    archive_insert(a, to, path, '0', content, len);
}

static void duplicate_manifest_last(struct archive *a)
{
    copy_at(a, MANIFEST, a->count);
}

static void duplicate_signatures(struct archive *a)
{
    copy_at(a, SIGNATURES, LEAVES);
}

static void duplicate_blob(struct archive *a)
{
    copy_at(a, FIRST_BLOB, FIRST_BLOB + 1);
}

static void swap_blobs(struct archive *a)
{
    archive_swap(a, FIRST_BLOB, FIRST_BLOB + 1);
}

static void swap_fixed(struct archive *a)
{
    archive_swap(a, LAYOUT, INDEX);
}

static void swap_front(struct archive *a)
{
    archive_swap(a, MANIFEST, SIGNATURES);
}

static void swap_signatures_and_leaves(struct archive *a)
{
    archive_swap(a, SIGNATURES, LEAVES);
}

static void no_signatures(struct archive *a)
{
    archive_remove(a, SIGNATURES);
}

static void no_leaves(struct archive *a)
{
    archive_remove(a, LEAVES);
}

static void no_blob(struct archive *a)
{
    archive_remove(a, FIRST_BLOB);
}

static void no_last_blob(struct archive *a)
{
    archive_remove(a, a->count - 1);
}

static void no_manifest(struct archive *a)
{
    archive_remove(a, MANIFEST);
}

static void nothing(struct archive *a)
{
    while (a->count)
        archive_remove(a, a->count - 1);
    kp_buf_clear(&a->end);
}

static void only_end(struct archive *a)
{
    while (a->count)
        archive_remove(a, a->count - 1);
}

/* --- after the end ------------------------------------------------------------------------------
 */

static void no_end(struct archive *a)
{
    kp_buf_clear(&a->end);
}

static void one_zero_block(struct archive *a)
{
    a->end.len = 512;
}

static void third_zero_block(struct archive *a)
{
    static const char zeros[512];
    kp_buf_add(&a->end, zeros, sizeof(zeros));
}

static void end_not_zero(struct archive *a)
{
    a->end.data[1000] = 'x';
}

static void trail(struct archive *a, const void *bytes, size_t len)
{
    kp_buf_add(&a->trailing, bytes, len);
}

static void trailing_byte(struct archive *a)
{
    trail(a, "\n", 1);
}

static void trailing_zeros(struct archive *a)
{
    static const char zeros[10240];
    trail(a, zeros, sizeof(zeros));
}

static void trailing_skippable(struct archive *a)
{
    trail(a, "\x50\x2A\x4D\x18\4\0\0\0evil", 12);
}

static void trailing_empty_frame(struct archive *a)
{
    trail(a, "\x28\xB5\x2F\xFD\x20\0\1\0\0", 9);
}

static void trailing_gzip(struct archive *a)
{
    trail(a, "\x1f\x8b\x08\0\0\0\0\0\0\3\3\0\0\0\0\0\0\0\0\0", 20);
}

static void trailing_bundle(struct archive *a)
{
    kp_auto_value(kp_buf) again = KP_BUF(ARCHIVE_FILE_MAX);
    archive_write(a, &again);
    trail(a, again.data, again.len);
}

/* --- content ------------------------------------------------------------------------------------
 */

static size_t largest(const struct archive *a)
{
    size_t best = FIRST_BLOB;
    for (size_t i = FIRST_BLOB; i < a->count; i++)
        if (a->pieces[i].len > a->pieces[best].len)
            best = i;
    return best;
}

static void padding_used(struct archive *a, size_t piece)
{
    a->pieces[piece].content[a->pieces[piece].len] = 'x';
}

static void padding_of_blob(struct archive *a)
{
    padding_used(a, largest(a));
}

static void padding_of_manifest(struct archive *a)
{
    while (a->pieces[MANIFEST].len % 512 == 0) // no padding: make one
        archive_edit(a, "{\n", "{ \n");
    padding_used(a, MANIFEST);
}

static void padding_of_leaves(struct archive *a)
{
    padding_used(a, LEAVES);
}

static void bit_of_blob(struct archive *a)
{
    a->pieces[largest(a)].content[1234567] ^= 1;
}

static void bit_of_leaves(struct archive *a)
{
    a->pieces[LEAVES].content[5] ^= 1;
}

static void bit_of_index(struct archive *a)
{
    a->pieces[INDEX].content[20] ^= 1;
}

static void leaves_of_a_blob_swapped(struct archive *a)
{
    char *content = a->pieces[largest(a)].content;
    kp_auto_free char *held = kp_alloc(KP_LEAF_SIZE);
    memcpy(held, content, KP_LEAF_SIZE);
    memcpy(content, content + KP_LEAF_SIZE, KP_LEAF_SIZE);
    memcpy(content + KP_LEAF_SIZE, held, KP_LEAF_SIZE);
}

/* Signed content whose leaves are right and whose digest is not: only an entry of one leaf can show
 * it to the reader. */
static void resign_leaves(struct archive *a, const struct kp_digest *before)
{
    struct kp_digest now;
    kp_sha256(a->pieces[LEAVES].content, a->pieces[LEAVES].len, &now);
    archive_edit(a, kp_digest_hex(before).hex, kp_digest_hex(&now).hex);
}

static void digest_other_than_leaf(struct archive *a)
{
    struct kp_digest before;
    struct piece *leaves = &a->pieces[LEAVES], *layout = &a->pieces[LAYOUT];
    kp_sha256(leaves->content, leaves->len, &before);
    layout->content[3] ^= 1; // the first leaf is that of oci-layout
    kp_sha256(layout->content, layout->len, (struct kp_digest *)(void *)leaves->content);
    resign_leaves(a, &before);
}

static void leaf_other_than_content(struct archive *a)
{
    struct kp_digest before;
    kp_sha256(a->pieces[LEAVES].content, a->pieces[LEAVES].len, &before);
    a->pieces[LEAVES].content[a->pieces[LEAVES].len - 1] ^= 1;
    resign_leaves(a, &before);
}

static void tar_checksum(struct archive *a)
{
    a->pieces[FIRST_BLOB].header[150] ^= 1;
}

static void tar_checksum_form(struct archive *a)
{
    char *field = a->pieces[FIRST_BLOB].header + 148;
    memmove(field + 1, field, 6);
    field[0] = ' ';
    field[7] = '\0';
}

static void tar_checksum_front(struct archive *a)
{
    a->pieces[MANIFEST].header[150] ^= 1;
}

static void manifest_of_no_bytes(struct archive *a)
{
    piece_fill(&a->pieces[MANIFEST], "", 0);
}

static void manifest_too_large(struct archive *a)
{
    memcpy(a->pieces[MANIFEST].header + 124, "00400000001", 11); // 64 MiB and a byte
    piece_seal(&a->pieces[MANIFEST]);
}

/* Well framed and well signed: only the bound itself refuses it before memory is taken. */
static void manifest_really_too_large(struct archive *a)
{
    size_t len = KP_MANIFEST_MAX + 1;
    kp_auto_free char *text = kp_alloc(len);
    memset(text, ' ', len);
    memcpy(text, a->pieces[MANIFEST].content, a->pieces[MANIFEST].len);
    piece_fill(&a->pieces[MANIFEST], text, len);
}

static const struct move {
    const char *name;
    void (*make)(struct archive *a);
    int code;
    const char *reason;
    bool sign;
} moves[] = {
    {"pax-path", insert_pax, KP_DAMAGED, DAMAGED, false},
    {"pax-size-desync", insert_pax_size, KP_DAMAGED, DAMAGED, false},
    {"pax-sparse-holes", insert_pax_sparse, KP_DAMAGED, DAMAGED, false},
    {"pax-xattr-capability", insert_pax_xattr, KP_DAMAGED, DAMAGED, false},
    {"pax-global-first", insert_pax_global_first, KP_DAMAGED, DAMAGED, false},
    {"longname-part-of-256", insert_part_of_256, KP_DAMAGED, DAMAGED, false},
    {"longname-path-of-1025", insert_path_of_1025, KP_DAMAGED, DAMAGED, false},
    {"symlink-and-file-through-it", insert_link_and_file_through_it, KP_DAMAGED, DAMAGED, false},
    {"hardlink-out", insert_hardlink, KP_DAMAGED, DAMAGED, false},
    {"extra-entry-last", insert_extra_last, KP_DAMAGED, "trailing_data", false},
    {"extra-entry-first", insert_extra_first, KP_DAMAGED, DAMAGED, false},
    {"extra-entry-empty", insert_empty, KP_DAMAGED, "trailing_data", false},
    {"second-manifest", insert_second_manifest, KP_DAMAGED, DAMAGED, false},
    {"manifest-twice", duplicate_manifest_last, KP_DAMAGED, "trailing_data", false},
    {"signatures-twice", duplicate_signatures, KP_DAMAGED, DAMAGED, false},
    {"blob-twice", duplicate_blob, KP_DAMAGED, "trailing_data", false},
    {"blobs-reordered", swap_blobs, KP_DAMAGED, "damaged", false},
    {"fixed-entries-reordered", swap_fixed, KP_DAMAGED, "damaged", false},
    {"front-reordered", swap_front, KP_DAMAGED, "damaged", false},
    {"signatures-after-leaves", swap_signatures_and_leaves, KP_DAMAGED, "damaged", false},
    {"signatures-missing", no_signatures, KP_DAMAGED, DAMAGED, false},
    {"leaves-missing", no_leaves, KP_DAMAGED, "truncated", false},
    {"blob-missing", no_blob, KP_DAMAGED, "truncated", false},
    {"last-blob-missing", no_last_blob, KP_DAMAGED, "truncated", false},
    {"manifest-missing", no_manifest, KP_DAMAGED, DAMAGED, false},
    {"empty-file", nothing, KP_DAMAGED, "truncated", false},
    {"empty-archive", only_end, KP_DAMAGED, DAMAGED, false},
    {"end-missing", no_end, KP_DAMAGED, "truncated", false},
    {"end-of-one-zero-block", one_zero_block, KP_DAMAGED, "truncated", false},
    {"end-of-three-zero-blocks", third_zero_block, KP_DAMAGED, "trailing_data", false},
    {"end-not-zero", end_not_zero, KP_DAMAGED, "damaged", false},
    {"trailing-byte", trailing_byte, KP_DAMAGED, "trailing_data", false},
    {"trailing-zeros", trailing_zeros, KP_DAMAGED, "trailing_data", false},
    {"trailing-skippable-frame", trailing_skippable, KP_DAMAGED, "trailing_data", false},
    {"trailing-empty-frame", trailing_empty_frame, KP_DAMAGED, "trailing_data", false},
    {"trailing-gzip", trailing_gzip, KP_DAMAGED, "trailing_data", false},
    {"trailing-bundle", trailing_bundle, KP_DAMAGED, "trailing_data", false},
    {"padding-of-blob-not-zero", padding_of_blob, KP_DAMAGED, "damaged", false},
    {"padding-of-manifest-not-zero", padding_of_manifest, KP_DAMAGED, "damaged", false},
    {"padding-of-leaves-not-zero", padding_of_leaves, KP_DAMAGED, "damaged", false},
    {"bit-of-blob", bit_of_blob, KP_DAMAGED, "damaged", false},
    {"bit-of-leaves", bit_of_leaves, KP_DAMAGED, "damaged", false},
    {"bit-of-index", bit_of_index, KP_DAMAGED, "damaged", false},
    {"leaves-of-a-blob-swapped", leaves_of_a_blob_swapped, KP_DAMAGED, "damaged", false},
    {"signed-digest-other-than-leaf", digest_other_than_leaf, KP_DAMAGED, "damaged", true},
    {"signed-leaf-other-than-content", leaf_other_than_content, KP_DAMAGED, "damaged", true},
    {"tar-checksum-off", tar_checksum, KP_DAMAGED, "damaged", false},
    {"tar-checksum-off-front", tar_checksum_front, KP_DAMAGED, "damaged", false},
    {"tar-checksum-other-form", tar_checksum_form, KP_DAMAGED, "damaged", false},
    {"manifest-of-no-bytes", manifest_of_no_bytes, KP_DAMAGED, DAMAGED, true},
    {"manifest-over-64-mib", manifest_too_large, KP_DAMAGED, "damaged", false},
    {"signed-manifest-over-64-mib", manifest_really_too_large, KP_DAMAGED, "damaged", true},
};

static void each_move(const struct making *m)
{
    for (size_t i = 0; i < KP_COUNT(moves); i++) {
        struct archive a;
        begin(m, &a);
        moves[i].make(&a);
        if (moves[i].sign)
            archive_sign(&a);
        show(m, &a, moves[i].code, moves[i].reason, moves[i].name, NULL);
    }
}

void hostile_each(struct kp_slice good, const struct kp_key *key, hostile_visit *visit, void *user)
{
    struct making m = {good, key, visit, user};
    each_header(&m);
    each_framing(&m);
    each_move(&m);
    hostile_each_document(good, key, visit, user);
}
