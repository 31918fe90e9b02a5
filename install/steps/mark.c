/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/mark.h"

#include "install/steps/common.h"

int kp_mark_insecure(struct kp_site *site, struct kp_err *err)
{
    bool made = false;
    if (kp_cluster_made(site, &made, err) < 0)
        return -1;
    if (!made || site->dry_run)
        return 0;
    kp_auto_free char *word =
        kp_asprintf(KP_INSECURE_ANNOTATION "=%s", kp_digest_hex(&site->manifest->id).hex);
    const char *argv[] = {"annotate", "namespace", "kube-system", "--overwrite", word, NULL};
    if (kp_kube(site, argv, (struct kp_slice){"", 0}, NULL, err) < 0)
        return kp_wrap(err, "mark the cluster");
    return 0;
}
