/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pull side of the OCI distribution specification (1.1) as a pure function: request and catalog
 * in, answer out. No I/O: where the answer is a blob or a bundle file, it says which bytes of
 * which.
 *
 *   GET|HEAD /v2/                                     200 {}
 *            /v2/<name>/manifests/<tag or digest>     stored bytes, stored media type
 *            /v2/<name>/blobs/<digest>                Range, If-None-Match
 *            /v2/<name>/tags/list?n=&last=            sorted, Link
 *            /v2/<name>/referrers/<digest>            an empty index
 *            /v2/_catalog?n=&last=                    at most 1000
 *            /blobs/sha256/<hex>                      any blob of any bundle (knode's fetches)
 *            /bundle/<id>                             the bundle file itself (other mirrors)
 *            /bundles                                 which those are, as they were given
 *            /healthz  /metrics
 * <name> is looked up under ?ns=<registry host>; without ns over all hosts, where an ambiguous name
 * is refused; or <name> begins with the host. Anything but GET and HEAD is 405 with Allow.
 */
#pragma once

#include "net/http.h"
#include "registry/catalog.h"

#define KP_CATALOG_PAGE_MAX 1000
#define KP_OCI_FIELDS_MAX 4096
#define KP_OCI_TEXT_MAX ((size_t)8 << 20)

enum kp_route {
    KP_ROUTE_NONE,
    KP_ROUTE_BASE,
    KP_ROUTE_MANIFEST,
    KP_ROUTE_BLOB,
    KP_ROUTE_TAGS,
    KP_ROUTE_REFERRERS,
    KP_ROUTE_CATALOG,
    KP_ROUTE_UPLOAD,
    KP_ROUTE_FILE,
    KP_ROUTE_BUNDLE,
    KP_ROUTE_BUNDLES,
    KP_ROUTE_HEALTH,
    KP_ROUTE_METRICS,
    KP_ROUTE_COUNT,
};
const char *kp_route_name(enum kp_route route); /* "manifest", for metrics */

enum kp_body { KP_BODY_TEXT, KP_BODY_BLOB, KP_BODY_BUNDLE };
struct kp_answer {
    enum kp_route route;
    unsigned status;
    struct kp_buf fields; /* "Name: value\r\n" */
    struct kp_buf text;   /* KP_BODY_TEXT */
    enum kp_body body;
    struct kp_holding holding; /* KP_BODY_BLOB */
    size_t bundle;             /* KP_BODY_BUNDLE */
    uint64_t offset, length;   /* of the blob or file, the range applied */
};
void kp_answer_release(struct kp_answer *answer);
KP_DEFINE_AUTO_VALUE(kp_answer);

/* /healthz and /metrics come back as 200 with an empty text: the server fills it. */
void kp_oci_answer(const struct kp_catalog *catalog, const struct kp_http_head *request,
                   struct kp_answer *out);
/* Turns the answer into "no such blob here": its bytes are damaged, another mirror shall be asked.
 */
void kp_oci_damaged(struct kp_answer *answer);

/* Turns the answer into "not at the moment": the medium was pulled out or fails. */
void kp_oci_unreadable(struct kp_answer *answer);

/* What a path means; pure, for the fuzzer and the metrics. name and reference lie in `path`, which
 * is changed. */
struct kp_target {
    enum kp_route route;
    char *name;
    char *reference;
};
struct kp_target kp_oci_route(char *path);
bool kp_oci_name_ok(const char *name); /* the specification's grammar, at most 255 */
bool kp_oci_tag_ok(const char *tag);
bool kp_oci_digest_ok(const char *digest); /* sha256 or sha512 */
