/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of the bundle, from the mirrors or over the connection; what both ways share. */
#pragma once

#include "bundle/bundle.h"
#include "install/node/node.h"
#include "net/http_client.h"

#define KP_MIRRORS_MAX 32
#define KP_CA_MAX ((size_t)256 << 10)

struct kp_node_mirrors {
    const char **urls; /* NULL-terminated array, kp_free; NULL: over the connection */
    size_t count;
    struct kp_slice ca;
};
void kp_node_mirrors_release(struct kp_node_mirrors *mirrors);
KP_DEFINE_AUTO_VALUE(kp_node_mirrors);
KP_CHECK int kp_node_read_mirrors(const json_t *args, struct kp_node_mirrors *out,
                                  struct kp_err *err);
/* Gets path ("/blobs/sha256/…") from the first mirror that gives it whole. begin is called before
 * each attempt
 * (*offset: where the sink wants to go on). */
struct kp_node_source {
    const char *path;
    uint64_t max; /* bytes of the whole */
    int (*begin)(void *user, uint64_t *offset, struct kp_err *err);
    kp_http_sink *sink;
    void *user;
};
KP_CHECK int kp_node_from_mirrors(const struct kp_node_mirrors *mirrors,
                                  const struct kp_node_source *source, struct kp_err *err);
/* A whole bundle on its way to path, which is named by its id. */
struct kp_node_arriving {
    struct kp_node_state *state;
    struct kp_node_request *request; /* is told of progress; NULL: nobody is */
    const char *path, *id;           /* as the inventory has it; hex */
    uint64_t size;
    bool pinned;     /* the id alone is gone by: it stands in what was accepted before */
    bool look_first; /* bundle.json and bundle.sig, as soon as they are there, before the rest */
    /* With look_first, may be NULL: -1 stops what comes and drops what came. */
    int (*judge)(void *user, const struct kp_bundle *front, struct kp_err *err);
    void *user;
};
/* It lies there, as it was when it was verified; size 0: whatever that is. */
bool kp_node_bundle_is_there(const struct kp_node_arriving *how);
/* From the mirrors, one after the other (no urls: over the connection); verified, then in place.
 * What is no use for going on is removed. */
KP_CHECK int kp_node_bundle_arrive(const struct kp_node_arriving *how,
                                   const struct kp_node_mirrors *mirrors, struct kp_err *err);
/* The line of it in the node's own log. */
KP_CHECK int kp_node_note_arrived(const struct kp_node_arriving *how, bool changed, json_t *result,
                                  struct kp_err *err);
/* A sink fed from the request's DATA until its END. */
KP_CHECK int kp_node_from_connection(struct kp_node_request *request, kp_http_sink *sink,
                                     void *user, struct kp_err *err);
