/* SPDX-License-Identifier: Apache-2.0 */
/* A CertificateSigningRequest as an API server might give it: whatever is approved is for w1 alone,
 * by w1; the same bytes as the list of nodes end in a list or an error. */
#include "install/node/approve_rules.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *addresses[] = {"10.77.0.12"};
    static struct kp_approve_node node = {"w1", addresses, 1};
    const struct kp_approve_list known = {&node, 1};
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_slice text = {(const char *)data, size};
    struct kp_approve_list list;
    char why[KP_APPROVE_WHY_MAX];
    kp_auto_json csr = NULL;
    struct kp_err err = KP_ERR_INIT;
    if (kp_approve_list_read(&list, text, arena, &err) == 0 && list.count > KP_APPROVE_NODES_MAX)
        abort();
    if (kp_json_parse(&csr, text, (size_t)1 << 20, "csr", &err) < 0)
        return 0;
    enum kp_approve_verdict verdict = kp_approve_judge(&known, csr, why);
    const char *user = json_string_value(json_object_get(json_object_get(csr, "spec"), "username"));
    if (verdict == KP_APPROVE_GOOD && (!user || strcmp(user, "system:node:w1") != 0))
        abort();
    if (verdict == KP_APPROVE_REFUSED && !why[0])
        abort();
    for (const char *p = why; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            abort();
    return 0;
}
