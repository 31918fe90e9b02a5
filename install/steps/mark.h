/* SPDX-License-Identifier: Apache-2.0 */
/* What a run leaves in the cluster for those who come later. */
#pragma once

#include "install/step.h"

#define KP_INSECURE_ANNOTATION "kpack.io/insecure-bundle"
/* The namespace kube-system gets the annotation kpack.io/insecure-bundle: <id> of the bundle that
 * was applied without trust (--insecure-no-verify). Does nothing where there is no cluster yet. It
 * is never taken off again by a run. */
KP_CHECK int kp_mark_insecure(struct kp_site *site, struct kp_err *err);
