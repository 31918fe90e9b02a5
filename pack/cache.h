/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content-addressed cache, $XDG_CACHE_HOME/kpack unless named:
 *
 *   sha256/8c/8c1e…          blobs, 0444, complete and fsynced before they get their name
 *   partial/<key>            downloads under way, flock'ed by whoever writes, kept when broken off
 *   partial/<key>.info       their validators (ETag, Last-Modified, total size)
 *   memo/<sha256 of the key> "key digest size" notes of what was derived from what
 *
 * Any number of kpack processes use it at once; reading takes no lock. A blob is not hashed again
 * when it is opened: whoever uses its bytes hashes them on the way (the bundle writer, the
 * compressor, the archive reader all do) and calls kp_cache_drop where they differ.
 */
#pragma once

#include "core/hash.h"

struct kp_cache;

/* path NULL: kp_xdg_dir("cache")/kpack. Makes the folders. Abandoned temporaries older than a day
 * go. */
KP_CHECK int kp_cache_open(struct kp_cache **out, const char *path, struct kp_err *err);
void kp_cache_free(struct kp_cache *cache);
KP_DEFINE_AUTO(kp_cache);
const char *kp_cache_path(const struct kp_cache *cache); /* the folder, for messages */

/* True where the blob is there; *size (may be NULL) is its size. */
bool kp_cache_has(const struct kp_cache *cache, const struct kp_digest *digest, uint64_t *size);
/* Opens a blob for reading, at offset 0. KP_MISSING "not_cached" where it is not there. */
KP_CHECK int kp_cache_fd(const struct kp_cache *cache, const struct kp_digest *digest, int *fd,
                         struct kp_err *err);
/* Reads a whole blob of at most max bytes and checks its digest (a damaged one is dropped:
 * KP_DAMAGED). */
KP_CHECK int kp_cache_read(const struct kp_cache *cache, const struct kp_digest *digest, size_t max,
                           char **out, size_t *len, struct kp_err *err);
/* Stores bytes; *digest (may be NULL) is theirs. */
KP_CHECK int kp_cache_put(struct kp_cache *cache, struct kp_slice data, struct kp_digest *digest,
                          struct kp_err *err);
/* Removes a blob whose bytes turned out to differ from its name, so that the next run fetches it
 * again. */
void kp_cache_drop(struct kp_cache *cache, const struct kp_digest *digest);

/*
 * Writing a blob whose digest is known only at its end. kp_cache_begin gives a descriptor to write
 * to in any way; kp_cache_commit takes the digest that the writer computed on the way, fsyncs and
 * names it. Freeing one that was not committed removes it.
 */
struct kp_cache_new;
KP_CHECK int kp_cache_begin(struct kp_cache_new **out, struct kp_cache *cache, struct kp_err *err);
int kp_cache_new_fd(const struct kp_cache_new *blob);
KP_CHECK int kp_cache_commit(struct kp_cache_new *blob, const struct kp_digest *digest,
                             struct kp_err *err); /* then still to be freed */
void kp_cache_new_free(struct kp_cache_new *blob);
KP_DEFINE_AUTO(kp_cache_new);

/*
 * Notes: an exact text (at most KP_MEMO_KEY_MAX, no line ends) -> a blob that was derived, for
 * example "zst 1.5.4 level 9 of <hex>" or "member bin/runc of <hex>". Never used for what a URL
 * holds now.
 */
#define KP_MEMO_KEY_MAX 2048
struct kp_memo {
    struct kp_digest digest;
    uint64_t size;
};
/* True where the note is there and its blob too, with that size. */
bool kp_cache_memo(const struct kp_cache *cache, const char *key, struct kp_memo *out);
KP_CHECK int kp_cache_note(struct kp_cache *cache, const char *key, const struct kp_memo *memo,
                           struct kp_err *err);

/*
 * Partial downloads; for fetch_http. The key is a digest's hex or the hex of the URL's SHA-256.
 * *out is NULL where another process holds it (ask again later; its blob may then be there).
 */
struct kp_partial {
    int fd;
    uint64_t size;     /* bytes that are there */
    uint64_t total;    /* as the server said; 0: not known */
    char etag[256];    /* strong, with its quotes; "" where none */
    char modified[64]; /* Last-Modified as received; "" where none */
    struct kp_cache *cache;
    char key[KP_SHA256_HEX + 1];
};
KP_CHECK int kp_partial_open(struct kp_partial **out, struct kp_cache *cache, const char *key,
                             struct kp_err *err);
KP_CHECK int kp_partial_save_info(const struct kp_partial *partial, struct kp_err *err);
KP_CHECK int kp_partial_reset(struct kp_partial *partial,
                              struct kp_err *err); /* to size 0, without validators */
/* fsync, rename into the cache under digest (computed by the caller over exactly these bytes). */
KP_CHECK int kp_partial_commit(struct kp_partial *partial, const struct kp_digest *digest,
                               struct kp_err *err);
void kp_partial_discard(struct kp_partial *partial); /* removes the files; then still to be freed */
void kp_partial_free(struct kp_partial *partial);    /* keeps what is there */
KP_DEFINE_AUTO(kp_partial);
