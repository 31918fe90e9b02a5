/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One engine for all transfers of a run, over libcurl multi, in the caller's thread: N at a time,
 * resumed by Range, retried with backoff and Retry-After, every byte hashed as it passes, into the
 * cache or (small documents) into memory. Redirects are followed here, not by curl: credentials go
 * only to the scheme, host and port they are for. https only, http only where a mirror says so.
 *
 *   fetch = kp_fetch_new(&options);
 *   kp_fetch_add(fetch, &job);  …   kp_fetch_run(fetch, err);
 *
 * A job is the caller's, and must stay where it is until done is called (or kp_fetch_free). done
 * may add further jobs. The first failure stops the run (partial downloads stay and are resumed by
 * the next run), as does Ctrl-C ("interrupted"). Errors name the URL, what happened and what to do;
 * reasons: not_found, unauthorized, rate_limited, server_error, truncated, checksum, certificate,
 * unresolved_host, unreachable, timeout, too_large, wrong_size, redirect, disk_full, interrupted.
 */
#pragma once

#include "core/buf.h"
#include "pack/cache.h"
#include "pack/mirrors.h"

#define KP_FETCH_JOBS 8
#define KP_FETCH_JOBS_MAX 64
#define KP_FETCH_REDIRECTS_MAX 10
#define KP_FETCH_MEMORY_MAX ((size_t)16 << 20)
#define KP_FETCH_SIZE_MAX ((uint64_t)8 << 30)

struct kp_fetch;
struct kp_fetch_job;

struct kp_fetch_auth {               /* sent to the job's own host only */
    const char *bearer;              /* or NULL */
    const char *username, *password; /* Basic; or NULL */
};

/*
 * Who a job's credentials come from (fetch_oci has one). ask is called before each attempt
 * (challenge NULL) and after a 401 with the WWW-Authenticate lines, joined by '\n'. It sets
 * job->auth (strings live until the next call) and *ready; or leaves *ready false, and calls
 * kp_fetch_wake(job) when it can be asked again; or fails, which fails the job. A 401 with *ready
 * set is tried again.
 */
struct kp_fetch_authority {
    int (*ask)(void *user, struct kp_fetch_job *job, const char *challenge, bool *ready,
               struct kp_err *err);
    void *user;
};

struct kp_fetch_job {
    /* what is wanted; set by the caller, borrowed */
    const char *name;                 /* for people: "kubelet v1.30.14 amd64" */
    const char *url;                  /* the original; rewritten by the mirrors unless site_given */
    bool site_given;                  /* url is final and reached as `site` says */
    const struct kp_site *site;       /* or NULL */
    const struct kp_digest *expected; /* NULL: whatever comes (its digest is in `digest`) */
    uint64_t size;                    /* exact size where known, else 0 */
    uint64_t max;       /* more is too_large; 0: KP_FETCH_SIZE_MAX (memory: KP_FETCH_MEMORY_MAX) */
    bool to_memory;     /* into `body`, not into the cache */
    const char *accept; /* Accept; NULL: any */
    const char *post;   /* a form body (application/x-www-form-urlencoded); NULL: GET */
    bool head;       /* only asks for the size, into total_bytes (0 where nobody says); to_memory */
    bool any_status; /* a 4xx answer is no failure: see status, body (to_memory only) */
    struct kp_fetch_auth auth;
    const struct kp_fetch_authority *authority; /* or NULL */
    bool quiet;                                 /* not shown by watch (token requests, manifests) */
    /* Called once when the bytes are there, complete and checked. May be NULL. -1 fails the run. */
    int (*done)(void *user, struct kp_fetch_job *job, struct kp_err *err);
    /* Called when the job failed, before the run ends; may replace or complete *err. May be NULL.
     * Returns 0 where the failure has been dealt with (the run goes on), else -1. */
    int (*failed)(void *user, struct kp_fetch_job *job, struct kp_err *err);
    void *user;
    /* results */
    struct kp_digest digest;
    uint64_t got;         /* size of the whole */
    bool cached;          /* was there already; nothing was fetched */
    uint64_t done_bytes;  /* so far, with what was there before */
    uint64_t total_bytes; /* 0: not known yet */
    uint64_t resumed_from;
    unsigned status;
    struct kp_buf body;
    char content_type[128];   /* lower case, without parameters */
    char content_digest[160]; /* Docker-Content-Digest as sent; "" where none */
    struct kp_queued *queued; /* the engine's; NULL before kp_fetch_add and once it has ended */
};

/* What a screen needs. All may be NULL; all are called in the thread of kp_fetch_run. */
struct kp_fetch_watch {
    void (*started)(void *user, const struct kp_fetch_job *job);
    void (*moved)(void *user,
                  const struct kp_fetch_job *job); /* at most ten times a second for each */
    void (*note)(void *user, const struct kp_fetch_job *job,
                 const char *text); /* "retry in 3 s: HTTP 429" */
    void (*finished)(void *user, const struct kp_fetch_job *job, bool ok);
    void *user;
};

struct kp_fetch_options {             /* 0 is the default of each */
    struct kp_cache *cache;           /* must be given */
    const struct kp_mirrors *mirrors; /* or NULL */
    struct kp_fetch_watch watch;
    unsigned jobs;              /* transfers at once: KP_FETCH_JOBS */
    unsigned attempts;          /* without progress: 6 */
    double backoff;             /* first wait in seconds, doubled each time, at most 30 s: 0.5 */
    double retry_after_max;     /* a longer Retry-After is an error: 120 */
    unsigned low_speed_bytes;   /* slower than this … : 1024 bytes/s */
    unsigned low_speed_seconds; /* … for so long is a timeout: 30 */
    unsigned connect_seconds;   /* 20 */
};

struct kp_fetch *kp_fetch_new(const struct kp_fetch_options *options);
void kp_fetch_free(struct kp_fetch *fetch); /* breaks off what runs; partial downloads stay */
KP_DEFINE_AUTO(kp_fetch);
const struct kp_fetch_options *kp_fetch_options(const struct kp_fetch *fetch);

/* Queues a job; jobs start in the order of their adding. Zero it first, then set what is wanted.
 * A job whose `expected` is in the cache is done without a request. */
void kp_fetch_add(struct kp_fetch *fetch, struct kp_fetch_job *job);
void kp_fetch_wake(struct kp_fetch *fetch, struct kp_fetch_job *job); /* see kp_fetch_authority */
/* Runs until every job is done. Then more can be added and run again. */
KP_CHECK int kp_fetch_run(struct kp_fetch *fetch, struct kp_err *err);

struct kp_fetch_totals {
    uint64_t fetched; /* bytes that came over the network, of jobs that are not quiet */
    uint64_t requests, retries;
};
struct kp_fetch_totals kp_fetch_totals(const struct kp_fetch *fetch);
