/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/runtime_change.h"

#include "core/text.h"
#include "install/steps/certs.h"
#include "install/steps/common.h"
#include "install/steps/images.h"
#include "install/steps/reset.h"
#include "install/steps/runtime.h"
#include "install/steps/upgrade.h"

#include <stdio.h>

#define OURS "# written by kinstall"
#define FILE_MAX ((size_t)1 << 20)
#define STOP_TIMEOUT_S 300
#define FLAGS_FILE "/var/lib/kubelet/kubeadm-flags.env"

static const enum kp_runtime_kind kinds[] = {KP_RUNTIME_CONTAINERD, KP_RUNTIME_CRIO};

static int has_unit(struct kp_site_node *node, enum kp_runtime_kind kind, bool *found,
                    struct kp_err *err)
{
    kp_auto_free char *path = kp_asprintf("/etc/systemd/system/%s", kp_runtime_place(kind)->unit);
    kp_auto_value(kp_buf) text = KP_BUF(FILE_MAX);
    if (kp_session_get(node->session, path, &text, found, err) < 0)
        return kp_wrap(err, "read %s", path);
    *found = *found && kp_slice_starts(kp_buf_slice(&text), OURS);
    return 0;
}

int kp_runtime_ask_program(struct kp_site *site, struct kp_site_node *node, const char *program,
                           char out[KP_RUNTIME_TEXT_MAX], struct kp_err *err)
{
    const char *argv[] = {program, "--version", NULL};
    kp_auto_free char *said = NULL;
    int status;
    bool there;
    *out = '\0';
    if (kp_have_file(node, program, &there, err) < 0)
        return -1;
    if (!there)
        return 0;
    if (kp_ask(site, node, argv, 30, &status, &said, err) < 0)
        return -1;
    if (status == 0)
        kp_runtime_version(out, KP_RUNTIME_TEXT_MAX, said);
    return 0;
}

int kp_runtime_ask(struct kp_site *site, struct kp_site_node *node, struct kp_runtime_now *out,
                   struct kp_err *err)
{
    const json_t *finished = json_object_get(node->record, "finished");
    *out = (struct kp_runtime_now){0};
    out->member =
        json_object_get(finished, "kubeadm-init") || json_object_get(finished, "kubeadm-join");
    out->begun = kp_was_begun(node, KP_RUNTIME_STEP) && !json_object_get(finished, KP_RUNTIME_STEP);
    for (size_t i = 0; i < KP_COUNT(kinds) && !out->found; i++) {
        if (has_unit(node, kinds[i], &out->found, err) < 0)
            return -1;
        out->kind = kinds[i];
    }
    return out->found ? kp_runtime_ask_program(site, node, kp_runtime_place(out->kind)->program,
                                               out->version, err)
                      : 0;
}

/* "2.1.9" as numbers; what is no number counts as 0. */
static void numbers_of(const char *version, uint64_t out[3])
{
    struct kp_slice rest = kp_slice_of(version), part;
    for (size_t i = 0; i < 3; i++) {
        if (!kp_slice_cut(&rest, '.', &part)) {
            part = rest;
            rest.len = 0;
        }
        size_t digits = 0;
        while (digits < part.len && part.ptr[digits] >= '0' && part.ptr[digits] <= '9')
            digits++;
        out[i] = 0;
        if (!kp_parse_u64((struct kp_slice){part.ptr, digits}, UINT32_MAX, &out[i]))
            out[i] = 0;
    }
}

enum kp_runtime_difference kp_runtime_compare(const struct kp_runtime_now *now,
                                              const struct kp_runtime *wanted)
{
    uint64_t have[3], want[3];
    if (!now->found)
        return KP_RUNTIME_SAME; // nothing that could be changed
    if (now->kind != wanted->kind)
        return KP_RUNTIME_REPLACE;
    if (strcmp(now->version, wanted->version) == 0)
        return KP_RUNTIME_SAME;
    numbers_of(now->version, have);
    numbers_of(wanted->version, want);
    for (size_t i = 0; i < 3; i++)
        if (have[i] != want[i])
            return have[i] < want[i] ? KP_RUNTIME_UPDATE : KP_RUNTIME_REPLACE;
    return KP_RUNTIME_UPDATE;
}

char *kp_runtime_change_text(const struct kp_runtime_now *now, const struct kp_runtime *wanted)
{
    return kp_asprintf("%s %s -> %s %s", kp_runtime_kinds[now->kind],
                       now->version[0] ? now->version : "?", kp_runtime_kinds[wanted->kind],
                       wanted->version);
}

static bool is_to_do(const struct kp_runtime_now *now, const struct kp_runtime *wanted)
{
    return now->member && (now->begun || kp_runtime_compare(now, wanted) != KP_RUNTIME_SAME);
}

int kp_runtime_refuse_others(struct kp_site *site, struct kp_err *err)
{
    for (size_t i = 0; i < kp_members(site); i++) {
        struct kp_site_node *node = &site->nodes[i];
        struct kp_runtime wanted = kp_node_runtime(site, node);
        struct kp_runtime_now now;
        if (node->failed)
            continue;
        if (kp_runtime_ask(site, node, &now, err) < 0)
            return kp_wrap(err, "%s", node->node->name);
        if (!is_to_do(&now, &wanted))
            continue;
        kp_auto_free char *text = kp_runtime_change_text(&now, &wanted);
        if (site->dry_run) {
            kp_screen_line(site->screen, "  %-12s %s, by kinstall runtime only", node->node->name,
                           text);
            continue;
        }
        kp_fail_as(err, KP_FAILED, "other_runtime", "%s: another runtime: %s", node->node->name,
                   text);
        return kp_hint(err,
                       "node by node, each emptied first: kinstall runtime --bundle … -i %s "
                       "(--plan shows what it would do)",
                       site->inventory->path);
    }
    return 0;
}

int kp_runtime_refuse_kinds(struct kp_site *site, struct kp_err *err)
{
    for (size_t i = 0; i < kp_members(site); i++) {
        struct kp_site_node *node = &site->nodes[i];
        struct kp_runtime wanted = kp_node_runtime(site, node);
        struct kp_runtime_now now;
        if (kp_runtime_ask(site, node, &now, err) < 0)
            return kp_wrap(err, "%s", node->node->name);
        if (!now.member || !now.found || now.kind == wanted.kind)
            continue;
        kp_auto_free char *text = kp_runtime_change_text(&now, &wanted);
        kp_fail_as(err, KP_FAILED, "other_runtime", "%s: another runtime: %s", node->node->name,
                   text);
        return kp_hint(err,
                       "an upgrade does not change the kind: say the present one in the inventory, "
                       "and afterwards: kinstall runtime");
    }
    return 0;
}

static int stop_kubelet(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const argv[] = {"systemctl", "stop", "kubelet.service", NULL};
    return kp_ask(site, node, argv, STOP_TIMEOUT_S, NULL, NULL, err);
}

int kp_runtime_end_pods(struct kp_site *site, struct kp_site_node *node, enum kp_runtime_kind kind,
                        struct kp_err *err)
{
    const struct kp_runtime_place *old = kp_runtime_place(kind);
    static const char script[] = "for pod in $(" KP_CRICTL " -r \"$1\" -i \"$1\" pods -q); do"
                                 " " KP_CRICTL " -r \"$1\" -i \"$1\" stopp \"$pod\" &&"
                                 " " KP_CRICTL " -r \"$1\" -i \"$1\" rmp \"$pod\" || exit 1; done";
    const char *argv[] = {"/bin/sh", "-c", script, "sh", old->endpoint, NULL};
    const char *active[] = {"systemctl", "is-active", "--quiet", old->unit, NULL};
    int status;
    if (kp_ask(site, node, active, 30, &status, NULL, err) < 0)
        return -1;
    if (status != 0)
        return 0; // taken away by an earlier run
    kp_step_note(site, node, "ending its pods");
    return kp_ask(site, node, argv, STOP_TIMEOUT_S, NULL, NULL, err);
}

/* kubeadm wrote the old socket into the kubelet's flags and into the node's object. */
static int point_kubelet(struct kp_site *site, struct kp_site_node *node,
                         const struct kp_runtime_place *old, const struct kp_runtime_place *fresh,
                         struct kp_err *err)
{
    static const char script[] =
        "for f in " FLAGS_FILE
        " /var/lib/kubelet/config.yaml /var/lib/kubelet/instance-config.yaml; do"
        " [ ! -f \"$f\" ] || sed -i \"s,$1,$2,g\" \"$f\"; done";
    const char *argv[] = {"/bin/sh", "-c", script, "sh", old->endpoint, fresh->endpoint, NULL};
    kp_auto_free char *word =
        kp_asprintf("kubeadm.alpha.kubernetes.io/cri-socket=%s", fresh->endpoint);
    const char *annotate[] = {"annotate", "node", node->node->name, "--overwrite", word, NULL};
    if (kp_kube(site, annotate, (struct kp_slice){"", 0}, NULL, err) < 0)
        return -1;
    return kp_ask(site, node, argv, 60, NULL, NULL, err);
}

static int take_old_away(struct kp_site *site, struct kp_site_node *node,
                         const struct kp_runtime_now *now, const struct kp_runtime *wanted,
                         struct kp_err *err)
{
    if (stop_kubelet(site, node, err) < 0 || kp_runtime_end_pods(site, node, now->kind, err) < 0)
        return -1;
    return now->kind == wanted->kind ? 0 : kp_reset_runtime(site, node, now->kind, err);
}

static int place_new(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_step *const lists[] = {kp_steps_runtime, kp_steps_tools};
    kp_step_note(site, node, "placing the new runtime");
    if (kp_place_pulls(site, node, err) < 0)
        return -1;
    for (size_t k = 0; k < KP_COUNT(lists); k++)
        for (const struct kp_step *step = lists[k]; step->name; step++)
            if (step->apply(site, node, err) < 0)
                return kp_wrap(err, "%s", step->name);
    kp_step_note(site, node, "waiting for its images");
    return kp_images_finish(site, node, err);
}

/* An earlier run got as far as to stop the kubelet: what is asked of the cluster before that was
 * done, and with a single control plane there is nobody to ask any more. */
static int was_emptied(struct kp_site *site, struct kp_site_node *node,
                       const struct kp_runtime_now *now, bool *emptied, struct kp_err *err)
{
    static const char *const argv[] = {"systemctl", "is-active", "--quiet", "kubelet.service",
                                       NULL};
    int status = 0;
    if (now->begun && kp_ask(site, node, argv, 30, &status, NULL, err) < 0)
        return -1;
    *emptied = status != 0;
    return 0;
}

static int change_node(struct kp_site *site, struct kp_site_node *node,
                       const struct kp_runtime_now *now, const struct kp_runtime *wanted,
                       struct kp_err *err)
{
    enum kp_runtime_difference difference = kp_runtime_compare(now, wanted);
    const struct kp_runtime_place *old = kp_runtime_place(now->kind),
                                  *fresh = kp_runtime_place(wanted->kind);
    bool emptied;
    if (was_emptied(site, node, now, &emptied, err) < 0 ||
        (!emptied && kp_upgrade_drain(site, node, err) < 0))
        return -1;
    // Before the API server of this very node may go.
    if (!emptied && now->kind != wanted->kind && point_kubelet(site, node, old, fresh, err) < 0)
        return kp_wrap(err, "point the kubelet to the new runtime");
    if (difference == KP_RUNTIME_REPLACE && take_old_away(site, node, now, wanted, err) < 0)
        return kp_wrap(err, "take the old runtime away");
    if (place_new(site, node, err) < 0 ||
        kp_place_unit(site, node, fresh->unit, KP_UNIT_RESTART, NULL, err) < 0 ||
        kp_restart_kubelet(site, node, err) < 0 ||
        kp_upgrade_gate(site, node, site->manifest->kubernetes, err) < 0)
        return -1;
    return kp_upgrade_uncordon(site, node, err);
}

static int check_change(struct kp_site *site, struct kp_site_node *node, bool *done,
                        struct kp_err *err)
{
    struct kp_runtime wanted = kp_node_runtime(site, node);
    struct kp_runtime_now now;
    bool ignored;
    if (kp_recorded(site, node, KP_RUNTIME_STEP, &ignored, &ignored, err) < 0 ||
        kp_runtime_ask(site, node, &now, err) < 0)
        return -1;
    *done = !is_to_do(&now, &wanted);
    return 0;
}

static int apply_change(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_runtime wanted = kp_node_runtime(site, node);
    struct kp_runtime_now now;
    struct kp_change change = {.changed = true};
    const char *cluster = site->inventory->cluster;
    if (kp_runtime_ask(site, node, &now, err) < 0)
        return -1;
    kp_auto_free char *text = kp_runtime_change_text(&now, &wanted);
    kp_step_changed(site, node, text, &change);
    if (kp_session_mark(node->session, cluster, KP_RUNTIME_STEP, false, NULL, err) < 0)
        return -1;
    if (change_node(site, node, &now, &wanted, err) < 0)
        return kp_hint(err, "mend it and run the same command again, which goes on from here");
    return kp_session_mark(node->session, cluster, KP_RUNTIME_STEP, true, wanted.name, err);
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    (void)site;
    snprintf(out, size, "node by node");
    return 0;
}

static const struct kp_step change[] = {
    {.name = KP_RUNTIME_STEP,
     .phase = "change",
     .nodes = KP_STEP_ALL,
     .serial = true,
     .check = check_change,
     .apply = apply_change,
     .describe = describe,
     .halting = true},
    {.name = NULL},
};

const struct kp_step *const *kp_runtime_phases(size_t *count)
{
    static const struct kp_step *const phases[] = {kp_steps_mirror, change, kp_steps_custom,
                                                   kp_steps_prove};
    *count = KP_COUNT(phases);
    return phases;
}
