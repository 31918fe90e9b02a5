/* SPDX-License-Identifier: Apache-2.0 */
/* A release and the command line -> a plan. No network; local files are looked at. */
#pragma once

#include "core/cli.h"
#include "manifests/release.h"
#include "pack/plan.h"

#define KP_IMAGES_FILE_MAX ((size_t)1 << 20)
#define KP_DEFAULT_NETWORK "flannel"
#define KP_OWN_NETWORK "custom" /* the default beside --network-manifest */
#define KP_VALUES_MAX ((size_t)1 << 20)

struct kp_request {
    const struct kp_releases *releases;
    const char *kubernetes; /* "v1.30", "1.30.14" */
    const char *arches;     /* "amd64,arm64" */
    const char *network;
    const struct kp_text_list *with; /* names of add-ons, also several with commas between */
    const char *runtimes;            /* "containerd-1.7,crio"; NULL: the release's default */
    const struct kp_text_list *images, *image_files, *manifests, *packages, *waived;
    const struct kp_text_list *hooks;           /* pack/hooks.h */
    const struct kp_text_list *charts, *values; /* [NAMESPACE/NAME=]FILE|URL, [CHART=]FILE */
    const struct kp_text_list *network_manifests;
    const struct kp_text_list *libexec; /* folders with ARCH/kinstall …, searched in order */
    const char *libexec_default;        /* searched last */
    int level;
    uint64_t serial; /* 0: UTC seconds now */
};
/* Errors are KP_USAGE, or KP_MISSING for our own programs of an arch (reason "missing_arch"). */
KP_CHECK int kp_resolve(struct kp_plan **out, const struct kp_request *request, struct kp_err *err);
/* The words of "a,b,c" in their order, in the arena, NULL-terminated; KP_USAGE where there are none
 * or more than max. */
KP_CHECK int kp_words_parse(const char ***out, struct kp_arena *arena, const char *text, size_t max,
                            const char *option, struct kp_err *err);
/* Splits "amd64,arm64" into the arena, sorted, each once; KP_USAGE for unknown names. */
KP_CHECK int kp_arches_parse(const char ***out, struct kp_arena *arena, const char *text,
                             struct kp_err *err);
