/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there is to see of a site that may be broken: each question to a node has a time-out and an
 * end to its answer, and what does not answer says so in its place. Keys and kubeconfigs are never
 * read; what else has secrets in it goes through the redactor.
 */
#pragma once

#include "install/step.h"
#include "install/support/archive.h"
#include "install/support/redact.h"

#define KP_GATHER_PART_MAX 900000 /* bytes of one answer, its end */

struct kp_gathered {
    size_t files, removed;  /* secrets that were taken out */
    size_t silent;          /* nodes that could not be asked */
    const char *cluster_of; /* node whose API server answered; NULL: none did */
    bool secrets_known;     /* the cluster's Secrets were read, to be found wherever they stand */
};
/* All nodes side by side, the cluster by the first API server that answers, this host's journal. */
KP_CHECK int kp_gather(struct kp_site *site, struct kp_redactor *redactor,
                       struct kp_archive *archive, struct kp_gathered *out, struct kp_err *err);
