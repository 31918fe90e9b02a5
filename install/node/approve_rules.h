/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which requests of kubelets for a serving certificate are approved. A request is good only where
 * all of this holds; anything else is left alone, with the first reason:
 *
 *   - it is for the signer kubernetes.io/kubelet-serving and nobody has decided it yet;
 *   - the API server says it came from system:node:NAME of the group system:nodes, and NAME is a
 *     node of the inventory;
 *   - usages: digital signature and server auth, key encipherment may be beside them, nothing else;
 *   - one PKCS#10 request signed by its own key: EC on P-256, P-384 or P-521, or RSA of 2048 to
 * 8192 bits;
 *   - subject: O=system:nodes, CN as the requester, nothing else;
 *   - no attribute but one list of extensions, in it nothing but the alternative names: at least
 * one, DNS names are NAME, addresses are those that the inventory gives that node.
 *
 * What the node's object says of itself is not asked: its kubelet writes it.
 */
#pragma once

#include "core/json.h"
#include "core/mem.h"

#define KP_APPROVE_NODES_MAX 10000
#define KP_APPROVE_ADDRESSES_MAX 16
#define KP_APPROVE_LIST_MAX ((size_t)4 << 20) /* bytes of the document of nodes */
#define KP_APPROVE_REQUEST_MAX ((size_t)16 << 10)
#define KP_APPROVE_WHY_MAX 320
#define KP_APPROVE_KIND "kpack.nodes/v1"
#define KP_APPROVE_SIGNER "kubernetes.io/kubelet-serving"

struct kp_approve_node {
    const char *name;
    const char **addresses; /* IP literals */
    size_t address_count;
};
struct kp_approve_list {
    struct kp_approve_node *nodes;
    size_t count;
};
/* {"kind": "kpack.nodes/v1", "nodes": [{"name", "addresses": [ … ]}]}; texts live in the arena. */
KP_CHECK int kp_approve_list_read(struct kp_approve_list *out, struct kp_slice text,
                                  struct kp_arena *arena, struct kp_err *err);

enum kp_approve_verdict {
    KP_APPROVE_SETTLED, /* another signer's, or decided already */
    KP_APPROVE_REFUSED,
    KP_APPROVE_GOOD
};
/* csr: a CertificateSigningRequest as the API server gives it. why: printable, set where refused.
 */
enum kp_approve_verdict kp_approve_judge(const struct kp_approve_list *list, const json_t *csr,
                                         char why[KP_APPROVE_WHY_MAX]);
/* A text of somebody else's for a log or a screen: cut to size, '?' for what is not printable. */
void kp_approve_plain(char *out, size_t size, const char *text, size_t len);
