/* SPDX-License-Identifier: Apache-2.0 */
#include "core/zst.h"

#include "core/file.h"

#include <errno.h>
#include <unistd.h>
#include <zstd.h>

// Part of the format of compressed blobs: another size gives other bytes. A quarter of what zstd
// would take itself costs 0.2 % and saves 26 MB of buffers for each file under way.
#define JOB_SIZE (2 << 20)

struct packer {
    ZSTD_CCtx *ctx;
    int fd_out;
    struct kp_hash *plain, *packed;
    uint64_t size_in, size_out;
    char *in, *out;
};

static int set_parameters(ZSTD_CCtx *ctx, uint64_t size, int level, unsigned workers,
                          struct kp_err *err)
{
    bool here = workers == KP_ZST_THIS_THREAD;
    size_t bad[] = {
        ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, level),
        here ? 0 : ZSTD_CCtx_setParameter(ctx, ZSTD_c_nbWorkers, workers ? (int)workers : 1),
        here ? 0 : ZSTD_CCtx_setParameter(ctx, ZSTD_c_jobSize, JOB_SIZE),
        ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 0),
        ZSTD_CCtx_setPledgedSrcSize(ctx, size),
    };
    for (size_t i = 0; i < KP_COUNT(bad); i++)
        if (ZSTD_isError(bad[i]))
            return kp_fail(err, KP_FAILED, "zstd: %s", ZSTD_getErrorName(bad[i]));
    return 0;
}

static int pack_block(struct packer *p, size_t len, bool last, struct kp_err *err)
{
    ZSTD_inBuffer in = {p->in, len, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {p->out, ZSTD_CStreamOutSize(), 0};
        left = ZSTD_compressStream2(p->ctx, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return kp_fail(err, KP_FAILED, "zstd: %s", ZSTD_getErrorName(left));
        kp_hash_update(p->packed, p->out, out.pos);
        p->size_out += out.pos;
        if (kp_write_full(p->fd_out, p->out, out.pos, err) < 0)
            return -1;
    } while (last ? left != 0 : in.pos < in.size);
    return 0;
}

static int pack_all(struct packer *p, int fd_in, struct kp_err *err)
{
    for (;;) {
        ssize_t n = read(fd_in, p->in, ZSTD_CStreamInSize());
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kp_fail_sys(err, errno, "read");
        kp_hash_update(p->plain, p->in, (size_t)n);
        p->size_in += (uint64_t)n;
        if (pack_block(p, (size_t)n, n == 0, err) < 0)
            return -1;
        if (n == 0)
            return 0;
    }
}

int kp_zst_compress_fd(int fd_in, uint64_t size, int fd_out, int level, unsigned workers,
                       struct kp_digest *plain, struct kp_digest *packed, uint64_t *packed_size,
                       struct kp_err *err)
{
    kp_auto(kp_hash) plain_hash = kp_hash_new();
    kp_auto(kp_hash) packed_hash = kp_hash_new();
    kp_auto_free char *in = kp_alloc(ZSTD_CStreamInSize());
    kp_auto_free char *out = kp_alloc(ZSTD_CStreamOutSize());
    struct packer p = {.ctx = ZSTD_createCCtx(),
                       .fd_out = fd_out,
                       .plain = plain_hash,
                       .packed = packed_hash,
                       .in = in,
                       .out = out};
    if (!p.ctx)
        return kp_fail(err, KP_FAILED, "zstd: out of memory");
    int result = set_parameters(p.ctx, size, level, workers, err);
    if (result == 0)
        result = pack_all(&p, fd_in, err);
    ZSTD_freeCCtx(p.ctx);
    if (result < 0)
        return -1;
    if (p.size_in != size)
        return kp_fail(err, KP_FAILED, "file changed while it was read");
    kp_hash_finish(plain_hash, plain);
    kp_hash_finish(packed_hash, packed);
    *packed_size = p.size_out;
    return 0;
}

struct kp_unzst {
    ZSTD_DCtx *ctx;
    uint64_t left;
    kp_unzst_sink *sink;
    void *user;
    char *out;
    bool open; // inside a frame
};

struct kp_unzst *kp_unzst_new(uint64_t plain_max, int window_log_max, kp_unzst_sink *sink,
                              void *user)
{
    struct kp_unzst *s = kp_alloc(sizeof(*s));
    s->ctx = ZSTD_createDCtx();
    if (s->ctx)
        ZSTD_DCtx_setParameter(s->ctx, ZSTD_d_windowLogMax, window_log_max);
    s->left = plain_max;
    s->sink = sink;
    s->user = user;
    s->out = kp_alloc(ZSTD_DStreamOutSize());
    s->open = true;
    return s;
}

void kp_unzst_free(struct kp_unzst *s)
{
    if (!s)
        return;
    ZSTD_freeDCtx(s->ctx);
    kp_free(s->out);
    kp_free(s);
}

int kp_unzst_feed(struct kp_unzst *s, const void *data, size_t len, struct kp_err *err)
{
    ZSTD_inBuffer in = {data, len, 0};
    ZSTD_outBuffer out;
    if (!s->ctx)
        return kp_fail(err, KP_FAILED, "zstd: out of memory");
    do {
        out = (ZSTD_outBuffer){s->out, ZSTD_DStreamOutSize(), 0};
        size_t left = ZSTD_decompressStream(s->ctx, &out, &in);
        if (ZSTD_isError(left))
            return kp_fail_as(err, KP_DAMAGED, "bad_zstd", "zstd: %s", ZSTD_getErrorName(left));
        s->open = left != 0;
        if (out.pos > s->left)
            return kp_fail_as(err, KP_DAMAGED, "too_large", "more plain bytes than declared");
        s->left -= out.pos;
        if (out.pos && s->sink(s->user, s->out, out.pos, err) < 0)
            return -1;
    } while (in.pos < in.size || out.pos == out.size);
    return 0;
}

int kp_unzst_finish(struct kp_unzst *s, struct kp_err *err)
{
    return s->open ? kp_fail_as(err, KP_DAMAGED, "truncated", "zstd data end too early") : 0;
}

const char *kp_zst_version(void)
{
    return ZSTD_versionString();
}
