/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A good bundle taken apart into what an attacker can change: the tar header, the content and the
 * zstd framing of each entry, and what stands behind the last one. Put together again unchanged it
 * is the same file. Shared by the corpus of hostile archives and the mutator.
 */
#pragma once

#include "bundle_fixture.h"

#include "core/buf.h"

#define ARCHIVE_PIECES_MAX 64
#define ARCHIVE_FILE_MAX ((size_t)80 << 20)

enum framing {
    FRAME_OURS,
    FRAME_CHECKSUM,       /* with the four bytes at its end */
    FRAME_DICTIONARY,     /* a one-byte dictionary id */
    FRAME_WINDOW_HUGE,    /* 3.75 TiB: the largest there is */
    FRAME_WINDOW_SMALL,   /* 1 KiB */
    FRAME_SINGLE_SEGMENT, /* no window byte */
    FRAME_NO_SIZE,        /* no content size */
    FRAME_SIZE_ONE_MORE,  /* content size */
    FRAME_SIZE_ZERO,
    FRAME_SIZE_2_63,
    FRAME_SIZE_MAX,
    FRAME_RESERVED_BIT,
    FRAME_LEGACY_MAGIC,
    FRAME_SKIPPABLE, /* the magic of a skippable frame on the same bytes */
    FRAME_BLOCK_RLE,
    FRAME_BLOCK_COMPRESSED,
    FRAME_BLOCK_RESERVED,
    FRAME_BLOCK_LAST_MISSING,
    FRAME_BLOCK_LAST_EARLY,
    FRAME_BLOCK_SIZE_ONE_LESS,
    FRAME_BLOCK_EMPTY_LAST, /* one more block, of no bytes */
    FRAME_BLOCK_SHORT,      /* the content in blocks of 64 KiB */
    FRAME_TWO,              /* the content in two frames */
    FRAME_ZSTD,             /* as zstd -3 would */
    FRAME_NONE,             /* no frame: the plain bytes */
    FRAME_SKIPPABLE_BEFORE, /* a skippable frame stands before ours */
    FRAME_EMPTY_BEFORE,     /* a frame of no content stands before ours */
    FRAMINGS
};

struct piece {
    char header[512];
    char *content; /* padded to 512; kp_free */
    size_t len;    /* without padding */
    enum framing header_frame, content_frame;
};

struct archive {
    struct piece pieces[ARCHIVE_PIECES_MAX];
    size_t count;
    struct kp_buf end;      /* plain bytes of the last frame: two zero blocks */
    struct kp_buf trailing; /* stored bytes after it */
    enum framing end_frame;
    const struct kp_key *key; /* of archive_sign */
};

/* Takes a whole good bundle apart; entry sizes come from its tar headers. */
void archive_open(struct archive *a, struct kp_slice bundle, const struct kp_key *key);
void archive_close(struct archive *a);
void archive_write(const struct archive *a, struct kp_buf *out);

/* Computes the checksum of a tar header again. */
void piece_seal(struct piece *p);
/* A new piece at `at`: a plain ustar header as the format has it, of any type. */
struct piece *archive_insert(struct archive *a, size_t at, const char *path, char type,
                             const void *content, size_t len);
void archive_remove(struct archive *a, size_t at);
void archive_swap(struct archive *a, size_t x, size_t y);
/* Another content, its length in the header. */
void piece_fill(struct piece *p, const void *content, size_t len);
/* bundle.json with `find` replaced, where it first stands; aborts where it is not there. */
void archive_edit(struct archive *a, const char *find, const char *replace);
void archive_sign(struct archive *a); /* bundle.sig: one signature, by key */

/* A small good bundle (2.2 MB: a file of three leaves, an image, a manifest) as bytes; kp_free. */
char *hostile_good(struct fixture *f, size_t *len);

/* One flaw of the corpus. */
struct hostile_case {
    char name[128];     /* "tar-symlink at blob" */
    int code;           /* exit code; 0: the reader takes it, and it is there to show that */
    const char *reason; /* of --json; "a|b": either */
};
typedef void hostile_visit(void *user, const struct hostile_case *one, struct archive *archive);
/* Makes every case from the good bundle, in turn. The archive is the visitor's until it returns. */
void hostile_each(struct kp_slice good, const struct kp_key *key, hostile_visit *visit, void *user);
/* Its second half, which hostile_each calls: documents rather than framing. */
void hostile_each_document(struct kp_slice good, const struct kp_key *key, hostile_visit *visit,
                           void *user);
