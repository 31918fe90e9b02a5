/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#define THREADS_MAX 256U

struct pool {
    int (*work)(void *user, size_t item, unsigned worker, struct kp_err *err);
    void *user;
    size_t next, n;
    bool stop;
    struct kp_err *err;
    pthread_mutex_t lock;
};

struct worker {
    struct pool *pool;
    unsigned index;
    pthread_t thread;
};

unsigned kp_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

static bool take_item(struct pool *pool, size_t *item)
{
    pthread_mutex_lock(&pool->lock);
    bool got = !pool->stop && pool->next < pool->n;
    if (got)
        *item = pool->next++;
    pthread_mutex_unlock(&pool->lock);
    return got;
}

static void note_error(struct pool *pool, const struct kp_err *err)
{
    pthread_mutex_lock(&pool->lock);
    if (!pool->stop && pool->err)
        *pool->err = *err;
    pool->stop = true;
    pthread_mutex_unlock(&pool->lock);
}

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    struct pool *pool = worker->pool;
    size_t item;
    while (take_item(pool, &item)) {
        struct kp_err err = KP_ERR_INIT;
        if (pool->work(pool->user, item, worker->index, &err) < 0)
            note_error(pool, &err);
    }
    return NULL;
}

int kp_parallel(unsigned threads, size_t n,
                int (*work)(void *user, size_t item, unsigned worker, struct kp_err *err),
                void *user, struct kp_err *err)
{
    struct pool pool = {.work = work, .user = user, .n = n, .err = err};
    unsigned count = threads ? threads : kp_cores();
    count = count > THREADS_MAX ? THREADS_MAX : count;
    if (count > n)
        count = n ? (unsigned)n : 1;
    pthread_mutex_init(&pool.lock, NULL);
    kp_auto_free struct worker *workers = kp_alloc_array(count, sizeof(*workers));
    unsigned started = 1; // worker 0 is the caller
    for (unsigned i = 0; i < count; i++)
        workers[i] = (struct worker){.pool = &pool, .index = i};
    while (started < count &&
           pthread_create(&workers[started].thread, NULL, run_worker, &workers[started]) == 0)
        started++;
    run_worker(&workers[0]);
    for (unsigned i = 1; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_mutex_destroy(&pool.lock);
    return pool.stop ? -1 : 0;
}
