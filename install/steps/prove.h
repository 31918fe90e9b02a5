/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "core/buf.h"

/* kubeadm's admin.conf with another server; a secret: kp_free_secret. */
char *kp_kubeconfig_for(struct kp_slice admin_conf, const char *server);
