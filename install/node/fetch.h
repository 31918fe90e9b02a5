/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of the bundle, from the mirrors or over the connection; what both ways share. */
#pragma once

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
/* A sink fed from the request's DATA until its END. */
KP_CHECK int kp_node_from_connection(struct kp_node_request *request, kp_http_sink *sink,
                                     void *user, struct kp_err *err);
