/* SPDX-License-Identifier: Apache-2.0 */
#include "install/hand.h"

#include "core/text.h"
#include "install/journal.h"
#include "install/steps/common.h"

#define ASK_S 20

static bool is_candidate(const struct kp_site_node *node)
{
    const json_t *finished = json_object_get(node->record, "finished");
    return !node->failed && (node->node->roles & KP_ROLE_CONTROL_PLANE) != 0 &&
           (json_object_get(finished, "kubeadm-init") || json_object_get(finished, "kubeadm-join"));
}

/* A kubelet that comes back writes its node's object anew, but may not give itself this label. */
bool kp_hand_ask_node(struct kp_site_node *node, char **names)
{
    static const char *const env[] = {KP_PATH_ENV, "KUBECONFIG=" KP_ADMIN_CONF,
                                      "HOME=/var/lib/kpack", NULL};
    static const char *const argv[] = {KP_KUBECTL, "--request-timeout=5s",
                                       "get",      "nodes",
                                       "-l",       "node-role.kubernetes.io/control-plane",
                                       "-o",       "name",
                                       NULL};
    const struct kp_run run = {.argv = argv, .env = env, .timeout = ASK_S};
    kp_auto_value(kp_run_result) result = {0};
    struct kp_err ignored;
    if (kp_session_run(node->session, &run, &result, &ignored) < 0 || result.status != 0 ||
        result.out.len == 0)
        return false;
    *names = kp_buf_steal(&result.out);
    return true;
}

static bool lists(const char *names, const char *name)
{
    struct kp_slice rest = kp_slice_of(names), line;
    kp_auto_free char *wanted = kp_asprintf("node/%s", name);
    while (kp_slice_line(&rest, &line))
        if (kp_slice_equal(line, wanted))
            return true;
    return false;
}

void kp_hand_look(struct kp_site *site, kp_hand_ask *ask)
{
    kp_auto_free char *names = NULL;
    size_t candidates = 0;
    for (size_t i = 0; i < site->node_count; i++)
        candidates += is_candidate(&site->nodes[i]);
    if (candidates < 2)
        return;
    for (size_t i = 0; i < site->node_count && !names; i++)
        if (is_candidate(&site->nodes[i]) && !ask(&site->nodes[i], &names))
            names = NULL;
    for (size_t i = 0; i < site->node_count && names; i++)
        site->nodes[i].removed =
            is_candidate(&site->nodes[i]) && !lists(names, site->nodes[i].node->name);
}

size_t kp_hand_find(const struct kp_site *site, const char *except)
{
    size_t i = 0;
    while (i < site->node_count && (!is_candidate(&site->nodes[i]) || site->nodes[i].removed ||
                                    (except && strcmp(site->nodes[i].node->name, except) == 0)))
        i++;
    return i;
}

void kp_hand_refuse_removed(struct kp_site *site)
{
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        const char *name = node->node->name;
        if (!node->removed || node->failed)
            continue;
        node->failed = true;
        node->failed_step = kp_strdup("connect");
        kp_fail_as(&node->failure, KP_FAILED, "removed",
                   "the cluster does not know it as a control plane: it was removed as dead, and "
                   "still has on its disk what it had then");
        kp_hint(&node->failure,
                "kinstall remove %s -i %s cleans it; kinstall apply then adds it anew, unless the "
                "inventory leaves it out",
                name, site->inventory->path);
        kp_journal_note(site->journal, "failed", name, "connect", node->failure.message);
    }
}
