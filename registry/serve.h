/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry as a running server: the catalog's answers, checked bytes out of the bundle files,
 * counters and the access log.
 */
#pragma once

#include "bundle/bundle.h"
#include "net/http_server.h"
#include "registry/catalog.h"

struct kp_registry_settings {
    struct kp_bundle *const *bundles; /* opened; borrowed */
    size_t bundle_count;
    struct kp_http_server_settings http; /* handle, finished and user are filled in */
    int access_log;                      /* descriptor, -1: none; one JSON object per line */
    int error_log;                       /* for damaged entries; one line each */
    unsigned checkers;                   /* verifying threads; 0: one per core */
    bool no_background;                  /* check only what is asked for */
    uint64_t accepted;                   /* for /bundles, see bundle/served.h */
};
struct kp_registry;
KP_CHECK int kp_registry_new(struct kp_registry **out, const struct kp_registry_settings *settings,
                             struct kp_err *err);
void kp_registry_free(struct kp_registry *registry);
KP_DEFINE_AUTO(kp_registry);
struct kp_http_server *kp_registry_server(struct kp_registry *registry);
/* Until SIGTERM; drains. */
KP_CHECK int kp_registry_run(struct kp_registry *registry, struct kp_err *err);
