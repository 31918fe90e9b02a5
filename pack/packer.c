/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/packer.h"

#include "core/pool.h"
#include "pack/archive.h"

#include <pthread.h>

#define THREADS_MAX 64U

struct task {
    struct task *next;
    struct kp_plan_file *file;
    struct kp_plan_install *install; // NULL: unpack the file, then pack what came out
};

struct kp_packer {
    struct kp_cache *cache;
    const struct kp_compression *how;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct task *first, **last;
    size_t pending; // queued and running
    bool stop;
    bool failed;
    struct kp_err err;
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
};

static void push(struct kp_packer *p, struct kp_plan_file *file, struct kp_plan_install *install)
{
    struct task *task = kp_alloc(sizeof(*task));
    *task = (struct task){.file = file, .install = install};
    pthread_mutex_lock(&p->lock);
    *p->last = task;
    p->last = &task->next;
    p->pending++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static int unpack_members(struct kp_packer *p, struct kp_plan_file *file, size_t count,
                          struct kp_err *err)
{
    kp_auto_free struct kp_archive_member *members = kp_alloc_array(count, sizeof(*members));
    size_t n = 0;
    for (size_t i = 0; i < file->install_count; i++)
        if (file->installs[i].member)
            members[n++].name = file->installs[i].member;
    kp_auto_free char *label = kp_asprintf("%s %s, %s", file->component, file->version, file->arch);
    if (kp_archive_extract(p->cache, &file->digest, label, members, n, NULL, err) < 0)
        return -1;
    for (size_t i = 0, k = 0; i < file->install_count; i++)
        if (file->installs[i].member) {
            file->installs[i].plain = members[k].digest;
            file->installs[i].plain_size = members[k++].size;
        }
    return 0;
}

static int unpack(struct kp_packer *p, struct kp_plan_file *file, struct kp_err *err)
{
    size_t members = 0;
    for (size_t i = 0; i < file->install_count; i++) {
        struct kp_plan_install *install = &file->installs[i];
        members += install->member != NULL;
        if (install->member)
            continue;
        install->plain = file->digest;
        kp_cache_has(p->cache, &file->digest, &install->plain_size);
    }
    if (members && unpack_members(p, file, members, err) < 0)
        return -1;
    for (size_t i = 0; i < file->install_count; i++)
        push(p, file, &file->installs[i]);
    return 0;
}

static int pack(struct kp_packer *p, const struct kp_plan_file *file,
                struct kp_plan_install *install, struct kp_err *err)
{
    struct kp_memo packed;
    if (kp_compress_blob(p->cache, p->how, &install->plain, &packed, err) < 0)
        return kp_wrap(err, "%s %s, %s", install->name, file->version, file->arch);
    install->blob = packed.digest;
    install->blob_size = packed.size;
    return 0;
}

static struct task *take(struct kp_packer *p)
{
    pthread_mutex_lock(&p->lock);
    while (!p->first && !p->stop)
        pthread_cond_wait(&p->changed, &p->lock);
    struct task *task = p->stop ? NULL : p->first;
    if (task) {
        p->first = task->next;
        if (!p->first)
            p->last = &p->first;
    }
    pthread_mutex_unlock(&p->lock);
    return task;
}

static void settle(struct kp_packer *p, int result, const struct kp_err *err)
{
    pthread_mutex_lock(&p->lock);
    p->pending--;
    if (result < 0 && !p->failed) {
        p->failed = true;
        p->stop = true;
        p->err = *err;
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void *work(void *user)
{
    struct kp_packer *p = user;
    for (struct task *task; (task = take(p));) {
        struct kp_err err = KP_ERR_INIT;
        int result =
            task->install ? pack(p, task->file, task->install, &err) : unpack(p, task->file, &err);
        settle(p, result, &err);
        kp_free(task);
    }
    return NULL;
}

struct kp_packer *kp_packer_new(struct kp_cache *cache, const struct kp_compression *how,
                                unsigned threads)
{
    struct kp_packer *p = kp_alloc(sizeof(*p));
    unsigned count = threads ? threads : kp_cores();
    p->cache = cache;
    p->how = how;
    p->last = &p->first;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    for (unsigned i = 0; i < count && i < THREADS_MAX; i++)
        if (pthread_create(&p->threads[p->thread_count], NULL, work, p) == 0)
            p->thread_count++;
    return p;
}

static void end_threads(struct kp_packer *p)
{
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    p->thread_count = 0;
}

void kp_packer_free(struct kp_packer *p)
{
    if (!p)
        return;
    end_threads(p);
    while (p->first) {
        struct task *task = p->first;
        p->first = task->next;
        kp_free(task);
    }
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    kp_free(p);
}

void kp_packer_add(struct kp_packer *packer, struct kp_plan_file *file)
{
    push(packer, file, NULL);
}

bool kp_packer_failed(struct kp_packer *p)
{
    pthread_mutex_lock(&p->lock);
    bool failed = p->failed;
    pthread_mutex_unlock(&p->lock);
    return failed;
}

int kp_packer_finish(struct kp_packer *p, struct kp_err *err)
{
    if (!p->thread_count)
        return kp_fail(err, KP_FAILED, "no thread could be started");
    pthread_mutex_lock(&p->lock);
    while (p->pending && !p->failed)
        pthread_cond_wait(&p->changed, &p->lock);
    bool failed = p->failed;
    if (failed && err)
        *err = p->err;
    pthread_mutex_unlock(&p->lock);
    return failed ? -1 : 0;
}
