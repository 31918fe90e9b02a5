/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Release files (kind kpack.release/v1, docs/releases.md): which files, images and cluster
 * manifests belong to a Kubernetes version. Data only; errors are FILE:LINE:COLUMN (KP_USAGE).
 * Everything lives as long as the kp_releases.
 */
#pragma once

#include "bundle/manifest.h"

#define KP_RELEASE_KIND "kpack.release/v1"
#define KP_RELEASES_MAX 256
#define KP_RELEASE_FILES_MAX 256
#define KP_RELEASE_INSTALLS_MAX 128
#define KP_RELEASE_IMAGES_MAX 256
#define KP_RELEASE_NETWORKS_MAX 32
#define KP_RELEASE_ARCHES_MAX 8
#define KP_RELEASE_RUNTIMES_MAX 32

struct kp_release_sum {
    const char *arch;
    struct kp_digest sha256;
};
struct kp_release_install {
    const char *member; /* of the archive, with {version} and {arch}; NULL: the download itself */
    const char *path;   /* on the node */
    unsigned mode;
};
struct kp_release_file {
    const char *name, *version;
    const char *url; /* with {version} and {arch} */
    struct kp_release_sum *sums;
    size_t sum_count;
    const char *license;
    unsigned roles;
    struct kp_release_install *installs;
    size_t install_count;
    unsigned line;
};
enum kp_release_pin {
    KP_PIN_NONE,
    KP_PIN_DIGEST /* confirmed */,
    KP_PIN_EXPECTED /* one source */
};
struct kp_release_image {
    const char *name, *reference; /* the full form, with tag */
    enum kp_release_pin pin;
    struct kp_digest digest; /* unless KP_PIN_NONE */
    unsigned roles;
    bool pinned; /* survives image garbage collection on nodes */
    const char *license;
    unsigned line;
};
struct kp_edit { /* at pack time: literal text, which must be there */
    const char *find, *put;
};
struct kp_release_manifest {
    const char *name, *url; /* with {version} */
    bool has_sha256;
    struct kp_digest sha256;
    bool is_chart;          /* url is a packaged chart; rendered at pack time */
    bool take_images;       /* whatever it names is carried; always so of charts */
    const char *namespace_; /* of a chart: where its objects go */
    const char *values;     /* of a chart: JSON, "" where none */
    struct kp_edit *edits;
    size_t edit_count;
    struct kp_replace *replace;
    size_t replace_count;
    struct kp_wait *wait;
    size_t wait_count;
    struct kp_addon_check *checks;
    size_t check_count;
};
struct kp_release_part { /* a network or an add-on; or the release's own files and images */
    const char *name, *version;
    bool network; /* an add-on whose manifests belong to phase network */
    struct kp_release_file *files;
    size_t file_count;
    struct kp_release_image *images;
    size_t image_count;
    struct kp_release_manifest *manifests; /* and charts, after them */
    size_t manifest_count;
};
struct kp_release_runtime {
    struct kp_runtime is;
    struct kp_release_file *files;
    size_t file_count;
};
struct kp_release {
    const char *version; /* "1.30.14" */
    const char *kubeadm_api;
    unsigned containerd_config; /* where there are no runtimes: of the containerd in core's files */
    const char *runtime;        /* the default of `runtimes`; NULL where there are none */
    struct kp_release_runtime *runtimes;
    size_t runtime_count;
    const char **programs; /* that nodes must have; NULL-terminated */
    struct kp_release_part core;
    struct kp_release_file *helm; /* renders charts at pack time; installs[0] is the program's
                                     member; NULL where the release has none */
    struct kp_release_part *networks, *addons;
    size_t network_count, addon_count;
};
struct kp_releases {
    struct kp_yaml_document *document;
    const char *path;
    const char *minor;           /* "1.30" */
    const char *default_version; /* "1.30.14" */
    struct kp_release *items;
    size_t count;
};

KP_CHECK int kp_releases_load(struct kp_releases **out, const char *path, struct kp_err *err);
/* The same from text; `name` stands in errors. */
KP_CHECK int kp_releases_parse(struct kp_releases **out, struct kp_slice text, const char *name,
                               struct kp_err *err);
void kp_releases_free(struct kp_releases *releases);
KP_DEFINE_AUTO(kp_releases);

/* "v1.30.14", "1.30.14", "v1.30", "1.30" -> major.minor[.patch] without the v; patch empty where it
 * was not given. False for anything else. */
struct kp_kubernetes_version {
    char minor[16]; /* "1.30" */
    char full[24];  /* "1.30.14", or "" */
};
bool kp_kubernetes_version_parse(const char *text, struct kp_kubernetes_version *out);
/* Of known[] the one whose last number is nearest to wanted's ("1.30.9" or "v1.30"); borrowed; NULL
 * where count is 0. The numbers before the last are not looked at. */
const char *kp_kubernetes_nearest(const char *wanted, const char *const *known, size_t count);
/* The release of that version, or the default one where no patch was named. KP_USAGE: unknown, with
 * what the file knows and what is nearest. */
KP_CHECK int kp_releases_find(const struct kp_releases *releases, const char *kubernetes,
                              const struct kp_release **out, struct kp_err *err);
/* KP_USAGE where it is not there, with what there is. */
KP_CHECK int kp_release_network(const struct kp_release *release, const char *name,
                                const struct kp_release_part **out, struct kp_err *err);
KP_CHECK int kp_release_addon(const struct kp_release *release, const char *name,
                              const struct kp_release_part **out, struct kp_err *err);
KP_CHECK int kp_release_runtime(const struct kp_release *release, const char *name,
                                const struct kp_release_runtime **out, struct kp_err *err);
/* Replaces {version} and {arch}; arch may be NULL. In the arena. */
const char *kp_release_expand(struct kp_arena *arena, const char *text, const char *version,
                              const char *arch);
/* The pinned SHA-256 for that arch, or NULL. */
const struct kp_digest *kp_release_file_sum(const struct kp_release_file *file, const char *arch);
