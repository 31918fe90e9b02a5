/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the conversion of a Kubespray inventory share (kubespray.c: cluster, nodes,
 * SSH; _settings.c: components, etcd, security; _kubelet.c: kubelets, kernel; _pulls.c: registries
 * and proxy). The first failure is kept in *err and ends the conversion at its end.
 */
#pragma once

#include "core/buf.h"
#include "core/json.h"
#include "install/inventory/kubespray_vars.h"

struct kp_converter {
    const struct kp_kubespray *from;
    struct kp_buf *out, *notes;
    struct kp_err *err;
    size_t control_plane; /* the first: what it sees holds for the cluster */
    const char *path;
    bool failed, external_etcd;
    json_t **kubelets, **sysctls;            /* of each host; NULL for those that are no nodes */
    json_t *common_kubelet, *common_sysctls; /* what all of them say alike */
};

void kp_convert_complain(struct kp_converter *c, const struct kp_yaml *at, const char *text);
/* One line about what was not taken over; at may be NULL. Never a value: it may be a password. */
void kp_convert_note(struct kp_converter *c, const struct kp_yaml *at, const char *text);
const struct kp_yaml *kp_convert_find(const struct kp_converter *c, size_t host, const char *name);
/* A value that is one text; NULL where it is not set. */
const char *kp_convert_text_at(struct kp_converter *c, const struct kp_yaml *value);
const char *kp_convert_text(struct kp_converter *c, size_t host, const char *name);
/* By Ansible's words for truth. */
bool kp_convert_truth(struct kp_converter *c, size_t host, const char *name, bool fallback);
void kp_convert_quoted(struct kp_converter *c, const char *text);
void kp_convert_pair(struct kp_converter *c, const char *indent, const char *key, const char *text);
bool kp_convert_dual(struct kp_converter *c);
bool kp_convert_is_control_plane(const struct kp_converter *c, size_t host);
bool kp_convert_is_node(const struct kp_converter *c, size_t host);

/* --- values as JSON (kubespray_values.c) --- */
bool kp_convert_empty(const struct kp_yaml *value); /* not there, or nothing in it */
/* A text as Ansible would put it into a configuration, anything else as it stands; NULL and a
 * complaint where a template is in it. */
json_t *kp_convert_json(struct kp_converter *c, const struct kp_yaml *value);
char *kp_convert_joined(struct kp_converter *c, const struct kp_yaml *value); /* "a,b"; kp_free */
/* The words of a list or of a text, between commas and blanks: ["a", "b"]. */
json_t *kp_convert_words(struct kp_converter *c, const struct kp_yaml *value);
/* {"a": "1"} of ["a=1"] */
json_t *kp_convert_pairs(struct kp_converter *c, const json_t *words, char separator,
                         const struct kp_yaml *at);
/* {"A": true} of ["A=true"], "A=true,B=false" or {A: true} */
json_t *kp_convert_gates(struct kp_converter *c, const struct kp_yaml *value);
/* Sets object's member "a.b"; takes value. */
void kp_convert_set(json_t *object, const char *path, json_t *value);
/* "key: value", or the key and its members beneath it; nothing where the value is empty. */
void kp_convert_write(struct kp_converter *c, const char *indent, const char *key,
                      const json_t *value);
void kp_convert_members(struct kp_converter *c, const char *indent, const char *key,
                        json_t *object);

/* Looks at what each node's kubelet and kernel shall have, before anything is written; _free in any
 * case. */
void kp_convert_kubelets_begin(struct kp_converter *c);
void kp_convert_kubelets_free(struct kp_converter *c);
void kp_convert_node(struct kp_converter *c, size_t host); /* what a node has beside all */
/* Within `kubernetes:`; behind it; `registries:` and `proxy:`. */
void kp_convert_kubernetes(struct kp_converter *c);
void kp_convert_cluster(struct kp_converter *c);
void kp_convert_pulls(struct kp_converter *c);
