/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into a bundle: every source with its original URL, and, once known, its digest. The
 * resolver makes a plan out of a release and the command line; fetching fills in what was seen; a
 * lock file is a plan with nothing unknown. Everything lives in the plan's arena.
 */
#pragma once

#include "bundle/manifest.h"
#include "manifests/release.h"

#define KP_LOCK_KIND "kpack.lock/v1"
#define KP_LEVEL_DEFAULT 3
#define KP_LEVEL_MAX 19
#define KP_OWN_PROGRAMS 3 /* knode, kregistry, kinstall: for each arch */

enum kp_checked { /* how a source's digest was checked; the text stands in lock and provenance */
                  KP_CHECKED_SEEN,   /* nothing to compare with: the lock pins what was seen */
                  KP_CHECKED_PINNED, /* the release file or the command line named it */
                  KP_CHECKED_EXPECTED_MATCH,    /* known from one source, and so it was */
                  KP_CHECKED_EXPECTED_MISMATCH, /* known from one source, and different: a warning
                                                 */
                  KP_CHECKED_LOCAL, /* given as a file on the command line, or our own */
                  KP_CHECKED_COUNT,
};
const char *kp_checked_text(enum kp_checked checked);

struct kp_plan_install { /* one file on the node */
    const char *member;  /* of the archive; NULL: the download itself */
    const char *name, *target;
    unsigned mode;
    /* results of packing */
    struct kp_digest plain, blob;
    uint64_t plain_size, blob_size;
};
struct kp_plan_file { /* one download, for one arch */
    const char *component, *version, *arch, *url, *license;
    unsigned roles;
    bool known; /* digest is the wanted one */
    struct kp_digest digest;
    uint64_t size;      /* 0: not known yet */
    uint64_t announced; /* what its server says of the size, for plan and progress; 0: nothing */
    enum kp_checked checked;
    const char *local; /* where it lies on this machine; NULL: fetched from url */
    struct kp_plan_install *installs;
    size_t install_count;
    const char **programs; /* of a package: what of the plan's programs it brings; or NULL */
    const char *runtime;   /* for nodes with that runtime only; or NULL */
};
struct kp_plan_image {
    const char *reference, *name, *why, *license;
    const char **arches; /* NULL-terminated */
    unsigned roles;
    bool pinned;
    bool known; /* root is the wanted one */
    struct kp_digest root;
    bool has_expected;
    struct kp_digest expected;
    enum kp_checked checked;
};
struct kp_plan_made { /* a manifest that is made at pack time, of what its url has */
    bool known;       /* digest is the wanted one of the url's bytes */
    struct kp_digest digest;
    uint64_t size;
    const char *namespace_; /* of a chart, which is rendered; NULL: only edited */
    const char **values;    /* texts for helm, in order; NULL-terminated */
    const struct kp_edit *edits;
    size_t edit_count;
};
struct kp_plan_manifest {
    const char *name, *why, *url;
    const char *local; /* path on this machine, or NULL */
    bool known; /* digest is the wanted one: of the url's bytes, or of what was made of them */
    struct kp_digest digest;
    uint64_t size;
    enum kp_checked checked;   /* the url's bytes */
    bool take_images;          /* found in the text; in a lock they are images like any other */
    struct kp_plan_made *made; /* or NULL */
    const struct kp_replace *replace;
    size_t replace_count;
    const struct kp_wait *wait;
    size_t wait_count;
    const char *addon, *version; /* as in the bundle's manifest; or NULL */
    const struct kp_addon_check *checks;
    size_t check_count;
};
struct kp_plan {
    struct kp_arena *arena;
    const char *name;         /* "k8s-v1.30.14-flannel-amd64" */
    const char *release_path; /* for people; NULL with a lock */
    const char *kpack;        /* version of the kpack that resolved it */
    const char *kubernetes;   /* "v1.30.14" */
    const char *kubeadm_api;
    unsigned containerd_config;
    struct kp_runtime *runtimes; /* in the order of the command line */
    size_t runtime_count;
    const char *network;
    const char **arches, **programs, **waived; /* NULL-terminated */
    uint64_t serial;
    const char *created;
    const char *expires; /* or NULL */
    json_t *revocations; /* signed documents to carry (bundle/revocations.h); owned, or NULL */
    const char *zstd;    /* version of libzstd */
    int level;
    struct kp_plan_file *files; /* downloads, packages and our own programs */
    size_t file_count;
    struct kp_plan_file *helm; /* renders charts; one for each arch that kpack may run on */
    size_t helm_count;
    struct kp_plan_image *images;
    size_t image_count, image_room;
    struct kp_plan_manifest *manifests;
    size_t manifest_count, manifest_room;
    struct kp_hook *hooks;
    size_t hook_count;
    struct kp_base *bases; /* bundles that hold what this one leaves out; known at the end */
    size_t base_count;
};
struct kp_plan *kp_plan_new(void);
void kp_plan_free(struct kp_plan *plan);
KP_DEFINE_AUTO(kp_plan);
/* Appends one, zeroed; earlier ones may move. */
struct kp_plan_manifest *kp_plan_add_manifest(struct kp_plan *plan);
/* The manifest's url is `source`, or it is that file of this machine, whose digest is known at
 * once; `option` stands in errors. */
KP_CHECK int kp_plan_set_source(struct kp_plan *plan, struct kp_plan_manifest *manifest,
                                const char *option, const char *source, struct kp_err *err);
struct kp_plan_image *kp_plan_find_image(struct kp_plan *plan, const char *reference);
struct kp_plan_image *kp_plan_add_image(struct kp_plan *plan, const char *reference,
                                        const char *why);
/* Text as somebody wrote it, put into the full form; a digest beside a tag pins and is not part of
 * the name. One that is there already stays; with another digest it is KP_USAGE. */
KP_CHECK int kp_plan_want_image(struct kp_plan *plan, const char *text, const char *why,
                                struct kp_err *err);
