/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bundle.json, the signed manifest (kind kpack.bundle/v1): the only authority over what a bundle
 * is. Parsed only after its signature has been checked; everything lives in one arena.
 * docs/format.md describes each key.
 */
#pragma once

#include "core/hash.h"
#include "core/json.h"

#define KP_MANIFEST_MAX ((size_t)64 << 20)
#define KP_ENTRIES_MAX 200000
#define KP_FILES_MAX 10000
#define KP_IMAGES_MAX 10000
#define KP_BASES_MAX 16
#define KP_ARCHES_MAX 8
#define KP_PROGRAMS_MAX 64
#define KP_REPLACES_MAX 64
#define KP_CHECK_TEXT_MAX 8192
#define KP_RUNTIMES_MAX 16
#define KP_NAME_MAX 128
#define KP_TEXT_MAX 2048 /* origins, licences, reasons */
#define KP_PATH_MAX 1024
#define KP_REF_MAX 512
#define KP_ENTRY_SIZE_MAX (((uint64_t)8 << 30) - 1) /* ustar size field */
#define KP_MANIFEST_KIND "kpack.bundle/v1"

/* Bits of a node's roles. */
enum { KP_ROLE_CONTROL_PLANE = 1, KP_ROLE_WORKER = 2, KP_ROLE_ETCD = 4 };

struct kp_entry { /* one tar entry of this file, in order */
    const char *path;
    uint64_t size;
    struct kp_digest sha256;
};

struct kp_blob { /* all that the bundle needs; in a delta some lie in a base */
    struct kp_digest sha256;
    uint64_t size;
    const char *media_type;       /* what kregistry answers; "application/octet-stream" for files */
    const struct kp_digest *base; /* id of the base bundle that holds it; NULL: in this file */
};

/* What runs containers on a node: "containerd" and "crio" are asked by the kubelet; "oci" is what
 * they make containers with, beside runc. */
enum kp_runtime_kind { KP_RUNTIME_CONTAINERD, KP_RUNTIME_CRIO, KP_RUNTIME_OCI };
struct kp_runtime {
    const char *name; /* "containerd-2.1", "crio", "crun": what the inventory names */
    enum kp_runtime_kind kind;
    const char *version; /* "2.1.5" */
    unsigned config;     /* of containerd: the version of its configuration (2, 3, 4); else 0 */
};

struct kp_file {           /* a file that is placed on nodes */
    const char *name;      /* "kubelet", "containerd-shim-runc-v2" */
    const char *component; /* the release's file entry it came from: "containerd" */
    const char *version;
    const char *arch;   /* "amd64" */
    const char *target; /* absolute path on the node */
    unsigned mode;      /* 0755 */
    unsigned roles;
    struct kp_digest blob; /* zstd blob as stored */
    uint64_t blob_size;
    struct kp_digest sha256; /* as installed */
    uint64_t size;           /* as installed */
    const char *origin;      /* the original URL, or "kpack" for our own programs */
    const char *license;     /* SPDX id, or "" */
    const char **programs;   /* of a package: those of the bundle's `programs` that it brings;
                                NULL-terminated, or NULL */
    const char *runtime;     /* only for nodes with that runtime of the bundle; NULL: for all */
};

struct kp_image {
    const char *reference;   /* "registry.k8s.io/pause:3.9", fully qualified, with tag */
    const char *name;        /* the release's short name: "kube-apiserver", or "" */
    struct kp_digest digest; /* of the index or manifest as its registry served it */
    const char *media_type;
    const char **arches; /* NULL-terminated */
    unsigned roles;
    bool pinned;     /* must survive image garbage collection */
    const char *why; /* "release", "network flannel", "--image", … */
    const char *license;
};

struct kp_cluster_manifest { /* YAML that is applied to the cluster */
    const char *name;
    const char *why;       /* "network flannel", "--manifest" */
    struct kp_digest blob; /* stored as it is, not compressed */
    uint64_t size;
    const char *origin;
    const struct kp_replace {
        const char *find,
            *with; /* literal text; "pods" "services" "cluster": a value of the inventory */
    } * replace;
    size_t replace_count;
    const struct kp_wait {
        const char *kind, *namespace_, *name; /* "daemonset" "kube-flannel" "kube-flannel-ds" */
    } * wait;
    size_t wait_count;
    const char *addon;   /* what `kinstall remove-addon` takes; NULL: the network's */
    const char *version; /* of the add-on; NULL: it has none */
    const struct kp_addon_check {
        const char *kind;    /* of kp_addon_check_kinds */
        const char *subject; /* docs/releases.md says what stands there for each kind */
        const char *what;    /* for people: "metrics of every node" */
    } * checks;
    size_t check_count;
};
/* "condition", "items", "admit", "volume"; NULL-terminated. */
extern const char *const kp_addon_check_kinds[];

struct kp_hook {       /* a script that kinstall runs beside a phase */
    const char *phase; /* of kp_hook_phases */
    bool after;        /* or before it */
    const char *where; /* of kp_hook_places, or a node's name */
    const char *file;  /* name of its file, one for every arch */
    uint64_t timeout;  /* seconds */
};
#define KP_HOOKS_MAX 64
#define KP_HOOK_TIMEOUT 300 /* where none is given */
#define KP_HOOK_TIMEOUT_MAX 86400
extern const char *const kp_hook_phases[]; /* "mirror" …; NULL-terminated */
extern const char *const kp_hook_places[]; /* "admin", "first", "control-plane" … */

struct kp_base {
    struct kp_digest id;
    const char *name;
    uint64_t serial;
};

struct kp_manifest {
    struct kp_arena *arena;
    const char *name; /* "k8s-v1.30.14-flannel-amd64" */
    uint64_t serial;
    const char *created;         /* UTC, RFC 3339 */
    const char *expires;         /* or NULL */
    const char *kubernetes;      /* "v1.30.14" */
    const char *kubeadm_api;     /* "v1beta3" */
    unsigned containerd_config;  /* of the first containerd: 2, 3, 4; 0 where there is none */
    struct kp_runtime *runtimes; /* the first that is not "oci" is the default of nodes; none: one
                                    containerd, whose files are for all nodes */
    size_t runtime_count;
    const char *network; /* "flannel", "none" */
    const char *minimum_kinstall;
    const char **arches;   /* NULL-terminated */
    const char **programs; /* that nodes must already have; NULL-terminated */
    struct kp_entry *entries;
    size_t entry_count;
    struct kp_blob *blobs; /* sorted by digest */
    size_t blob_count;
    struct kp_file *files;
    size_t file_count;
    struct kp_image *images;
    size_t image_count;
    struct kp_cluster_manifest *manifests;
    size_t manifest_count;
    struct kp_hook *hooks; /* in the order in which they are run */
    size_t hook_count;
    struct kp_base *bases;
    size_t base_count;
    const json_t
        *provenance; /* as written by kpack: sources, digests, how each was checked; may be NULL */
    const json_t *revocations; /* [{"document", "signatures"}] (bundle/revocations.h), or NULL */
    json_t *document;          /* owned: the whole document */
    uint64_t tail_length;      /* bytes after bundle.sig's padding to the end of the file */
    struct kp_digest id;       /* SHA-256 of the exact bytes of bundle.json */
};

/* An empty one with its arena, to be filled in. */
struct kp_manifest *kp_manifest_new(void);
/* Checks kind first, then every key, bound and cross-reference (each file and image names a blob
 * that is in `blobs`, paths are strict, sizes below the limits). Errors KP_DAMAGED "bad_manifest".
 * `text` need not outlive the call. *out: kp_manifest_free. */
KP_CHECK int kp_manifest_parse(struct kp_manifest **out, struct kp_slice text, struct kp_err *err);
void kp_manifest_free(struct kp_manifest *manifest);
KP_DEFINE_AUTO(kp_manifest);
/* The exact bytes that are stored and signed; the inverse of parse (tail_length included). kp_free.
 * Only members of this struct are written, id and document are not read. */
char *kp_manifest_dump(const struct kp_manifest *manifest, size_t *len);

const struct kp_blob *kp_manifest_blob(const struct kp_manifest *manifest,
                                       const struct kp_digest *digest);
/* The file by name and arch, or NULL. */
const struct kp_file *kp_manifest_file(const struct kp_manifest *manifest, const char *name,
                                       const char *arch);
/* The image by the release's short name, or NULL. */
const struct kp_image *kp_manifest_image(const struct kp_manifest *manifest, const char *name);
/* The runtime by name, or NULL. */
const struct kp_runtime *kp_manifest_runtime(const struct kp_manifest *manifest, const char *name);
/* "containerd", "crio", "oci"; ended by NULL. */
extern const char *const kp_runtime_kinds[];
/* "control-plane" -> bit; 0 where unknown. */
unsigned kp_role_parse(const char *text);
const char *kp_role_text(unsigned role); /* of one bit */
