/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/helm.h"

#include "core/file.h"
#include "core/proc.h"
#include "manifests/walk.h"
#include "pack/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGS_MAX 64
#define SAID_MAX ((size_t)64 << 10)
#define BLOCK ((size_t)1 << 20)

struct kp_helm {
    char *folder;  // removed at the end
    char *program; // in it
    char *home;
};

void kp_helm_free(struct kp_helm *helm)
{
    struct kp_err ignored = KP_ERR_INIT;
    if (!helm)
        return;
    // what cannot be removed is in the cache's folder of temporaries, which is cleaned up
    int left = helm->folder ? kp_remove_tree(helm->folder, &ignored) : 0;
    (void)left;
    kp_free(helm->folder);
    kp_free(helm->program);
    kp_free(helm->home);
    kp_free(helm);
}

static int copy_all(int from, int to, struct kp_digest *seen, struct kp_err *err)
{
    kp_auto(kp_hash) hash = kp_hash_new();
    kp_auto_free char *block = kp_alloc(BLOCK);
    ssize_t n;
    while ((n = read(from, block, BLOCK)) > 0) {
        kp_hash_update(hash, block, (size_t)n);
        if (kp_write_full(to, block, (size_t)n, err) < 0)
            return -1;
    }
    kp_hash_finish(hash, seen);
    return n < 0 ? kp_fail_sys(err, errno, "read") : 0;
}

/* A blob as a file of its own; its digest is checked on the way. */
static int place(struct kp_cache *cache, const struct kp_digest *digest, const char *path,
                 mode_t mode, struct kp_err *err)
{
    struct kp_digest seen;
    kp_auto_fd int from = -1;
    if (kp_cache_fd(cache, digest, &from, err) < 0)
        return -1;
    kp_auto_fd int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (to < 0)
        return kp_fail_sys(err, errno, "open %s", path);
    if (copy_all(from, to, &seen, err) < 0)
        return kp_wrap(err, "%s", path);
    if (kp_digest_equal(&seen, digest))
        return 0;
    kp_cache_drop(cache, digest);
    return kp_fail_as(err, KP_DAMAGED, "damaged", "%s in the cache is damaged; run it again",
                      kp_digest_hex(digest).hex);
}

int kp_helm_open(struct kp_helm **out, struct kp_cache *cache, const struct kp_plan_file *file,
                 struct kp_err *err)
{
    kp_auto(kp_helm) helm = kp_alloc(sizeof(*helm));
    struct kp_archive_member member = {.name = file->installs[0].member};
    if (kp_archive_extract(cache, &file->digest, "helm's archive", &member, 1, NULL, err) < 0)
        return -1;
    kp_auto_free char *folder = kp_asprintf("%s/partial/helm.XXXXXX", kp_cache_path(cache));
    if (!mkdtemp(folder))
        return kp_fail_sys(err, errno, "mkdtemp %s", folder);
    helm->folder = kp_steal(&folder);
    helm->program = kp_path_join(helm->folder, "helm");
    helm->home = kp_path_join(helm->folder, "home");
    if (kp_mkdirs(helm->home, 0700, err) < 0 ||
        place(cache, &member.digest, helm->program, 0700, err) < 0)
        return -1;
    *out = kp_steal(&helm);
    return 0;
}

static int write_values(const struct kp_helm *helm, const struct kp_plan_made *made,
                        struct kp_arena *arena, const char **args, size_t *n, struct kp_err *err)
{
    for (size_t i = 0; made->values[i]; i++) {
        const char *path = kp_arena_printf(arena, "%s/values-%zu.yaml", helm->folder, i);
        if (*n + 3 > ARGS_MAX)
            return kp_fail(err, KP_USAGE, "too many files of values");
        if (kp_file_write_atomic(path, kp_slice_of(made->values[i]), 0600, err) < 0)
            return -1;
        args[(*n)++] = "--values";
        args[(*n)++] = path;
    }
    return 0;
}

static int run(const struct kp_helm *helm, const char *const *args, struct kp_buf *out,
               const char *name, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto_value(kp_buf) said = KP_BUF(SAID_MAX);
    int status = 0;
    const char *home = helm->home;
    const char *env[] = {kp_arena_printf(arena, "HOME=%s", home),
                         kp_arena_printf(arena, "TMPDIR=%s", home),
                         kp_arena_printf(arena, "HELM_PLUGINS=%s/none", home),
                         "PATH=/nonexistent",
                         "LC_ALL=C",
                         "TZ=UTC",
                         NULL};
    if (kp_proc_run_confined(args, env, KP_HELM_TIMEOUT_S, KP_WALK_MAX, out, &said, &status, err) <
        0)
        return kp_wrap(err, "helm template %s", name);
    if (status == 0)
        return 0;
    struct kp_slice text = kp_slice_trim(kp_buf_slice(&said));
    return kp_fail_as(err, KP_FAILED, "helm_failed", "helm template %s failed (exit %d): %.*s",
                      name, status, (int)(text.len < 600 ? text.len : 600),
                      text.len ? text.ptr : "");
}

int kp_helm_render(struct kp_helm *helm, struct kp_cache *cache,
                   const struct kp_plan_manifest *chart, const char *kubernetes, char **out,
                   size_t *len, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto_value(kp_buf) text = KP_BUF(KP_WALK_MAX);
    const char *path = kp_arena_printf(arena, "%s/chart.tgz", helm->folder);
    const char *args[ARGS_MAX + 1] = {helm->program,    "template",
                                      chart->name,      path,
                                      "--namespace",    chart->made->namespace_,
                                      "--include-crds", "--skip-tests",
                                      "--kube-version", kubernetes,
                                      "--debug=false",  NULL};
    size_t n = 11;
    unlink(path);
    if (place(cache, &chart->made->digest, path, 0600, err) < 0 ||
        write_values(helm, chart->made, arena, args, &n, err) < 0 ||
        run(helm, args, &text, chart->name, err) < 0)
        return -1;
    *len = text.len;
    *out = kp_buf_steal(&text);
    return 0;
}
