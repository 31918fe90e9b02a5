/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts, groups and variables of a Kubespray inventory, looked up as Ansible does: `vars:` of the
 * groups by depth and name, `all` first; then the files of group_vars in the same order; then what
 * stands at the host; then host_vars. No value is computed: only "{{ name }}" is followed.
 */
#pragma once

#include "manifests/yaml.h"

#define KP_KUBESPRAY_FILES_MAX 256 /* files of variables */
#define KP_KUBESPRAY_GROUPS_MAX 256

struct kp_kubespray;
/* root is that of the file at path and must outlive *out; reads group_vars and host_vars. */
KP_CHECK int kp_kubespray_load(struct kp_kubespray **out, const char *path,
                               const struct kp_yaml *root, struct kp_err *err);
void kp_kubespray_free(struct kp_kubespray *inventory);
KP_DEFINE_AUTO(kp_kubespray);

size_t kp_kubespray_host_count(const struct kp_kubespray *inventory); /* in the file's order */
const char *kp_kubespray_host(const struct kp_kubespray *inventory, size_t host);
/* Is the host in the group or beneath it? */
bool kp_kubespray_in(const struct kp_kubespray *inventory, size_t host, const char *group);
/* The value that holds for the host; NULL where none or null. A template other than "{{ name }}" is
 * returned as it stands: kp_kubespray_template() tells. */
const struct kp_yaml *kp_kubespray_find(const struct kp_kubespray *inventory, size_t host,
                                        const char *name);
bool kp_kubespray_template(const struct kp_yaml *value);
/* Each variable once, at its first place, in the order of the files. */
typedef void kp_kubespray_visit(void *user, const char *name, const struct kp_yaml *key,
                                const struct kp_yaml *value);
void kp_kubespray_each(const struct kp_kubespray *inventory, kp_kubespray_visit *visit, void *user);
/* The files that were left alone because ansible-vault encrypted them. */
size_t kp_kubespray_vault_count(const struct kp_kubespray *inventory);
const char *kp_kubespray_vault(const struct kp_kubespray *inventory, size_t i);
