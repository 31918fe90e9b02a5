/* SPDX-License-Identifier: Apache-2.0 */
/* Which versions the nodes have, and whether the bundle's may follow. */
#include "install/etcd/etcd.h"
#include "install/steps/common.h"
#include "install/steps/upgrade.h"

#include "core/text.h"

#define KUBELET "/usr/local/bin/kubelet"
#define APISERVER "/etc/kubernetes/manifests/kube-apiserver.yaml"
#define KEPT_ETCD KP_KEPT_FOLDER "/root/etc/kubernetes/manifests/etcd.yaml"
#define MANIFEST_MAX ((size_t)1 << 20)

struct version {
    uint64_t minor, patch;
};

/* "v1.30.14"; what stands behind the patch is not looked at. */
static bool parse(const char *text, struct version *out)
{
    struct kp_slice rest = kp_slice_of(*text == 'v' ? text + 1 : text), major, minor;
    uint64_t one;
    if (!kp_slice_cut(&rest, '.', &major) || !kp_parse_u64(major, 9, &one) || one != 1 ||
        !kp_slice_cut(&rest, '.', &minor) || !kp_parse_u64(minor, 999, &out->minor))
        return false;
    size_t digits = 0;
    while (digits < rest.len && rest.ptr[digits] >= '0' && rest.ptr[digits] <= '9')
        digits++;
    return kp_parse_u64((struct kp_slice){rest.ptr, digits}, 9999, &out->patch);
}

static int order(const struct version *a, const struct version *b)
{
    if (a->minor != b->minor)
        return a->minor < b->minor ? -1 : 1;
    return a->patch == b->patch ? 0 : a->patch < b->patch ? -1 : 1;
}

static bool finished(const json_t *record, const char *step)
{
    return json_object_get(json_object_get(record, "finished"), step) != NULL;
}

/* "Kubernetes v1.30.14" */
static int ask_kubelet(struct kp_site *site, struct kp_site_node *node, char *out,
                       struct kp_err *err)
{
    static const char *const argv[] = {KUBELET, "--version", NULL};
    kp_auto_free char *said = NULL;
    int status;
    bool there;
    out[0] = '\0';
    if (kp_have_file(node, KUBELET, &there, err) < 0)
        return -1;
    if (!there)
        return 0;
    if (kp_ask(site, node, argv, 30, &status, &said, err) < 0)
        return -1;
    struct kp_slice word = kp_slice_trim(kp_slice_of(said));
    if (status != 0 || !kp_slice_starts(word, "Kubernetes v"))
        return kp_fail_as(err, KP_FAILED, "command_failed",
                          "%s: " KUBELET " --version says \"%.*s\" (exit %d)", node->node->name,
                          (int)(word.len > 80 ? 80 : word.len), word.ptr, status);
    snprintf(out, KP_VERSION_MAX, "%.*s", (int)(word.len - 11), word.ptr + 11);
    return 0;
}

/* The tag of the image in the manifest of a static pod; "" where there is none. */
static int ask_tag(struct kp_site_node *node, const char *path, char *out, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF(MANIFEST_MAX);
    struct kp_slice rest, line;
    bool found;
    out[0] = '\0';
    if (kp_session_get(node->session, path, &text, &found, err) < 0)
        return kp_wrap(err, "read %s", path);
    rest = found ? kp_buf_slice(&text) : (struct kp_slice){"", 0};
    while (kp_slice_line(&rest, &line)) {
        line = kp_slice_trim(line);
        if (!kp_slice_starts(line, "image: "))
            continue;
        const char *colon = memrchr(line.ptr, ':', line.len);
        snprintf(out, KP_VERSION_MAX, "%.*s", (int)(line.ptr + line.len - colon - 1), colon + 1);
    }
    return 0;
}

static void read_record(struct kp_node_versions *out, const struct kp_site *site,
                        const struct kp_site_node *node)
{
    const json_t *done =
        json_object_get(json_object_get(node->record, "finished"), KP_UPGRADE_STEP);
    const char *to = json_string_value(done);
    out->member = finished(node->record, "kubeadm-init") || finished(node->record, "kubeadm-join");
    out->done = to && strcmp(to, site->manifest->kubernetes) == 0;
    out->begun = !done && kp_was_begun(node, KP_UPGRADE_STEP);
}

int kp_upgrade_versions(struct kp_node_versions *out, struct kp_site *site, struct kp_err *err)
{
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        out[i] = (struct kp_node_versions){0};
        if (node->failed) {
            *err = node->failure;
            return kp_wrap(err, "%s", node->node->name);
        }
        read_record(&out[i], site, node);
        if (out[i].member && ask_kubelet(site, node, out[i].kubelet, err) < 0)
            return -1;
        if (out[i].member && kp_is_control_plane(node) &&
            ask_tag(node, APISERVER, out[i].control, err) < 0)
            return -1;
    }
    return 0;
}

static int judge_one(const char *name, const char *have, const char *target, struct kp_err *err)
{
    struct version now, next;
    if (!parse(have, &now) || !parse(target, &next))
        return kp_fail_as(err, KP_FAILED, "bad_version", "%s: '%s' is no version of Kubernetes",
                          name, have);
    if (order(&now, &next) > 0) {
        kp_fail_as(err, KP_FAILED, "downgrade", "%s has %s, which is newer than the bundle's %s",
                   name, have, target);
        return kp_hint(err, "a cluster is not taken back; a single node whose upgrade failed is: "
                            "kinstall rollback NODE");
    }
    if (next.minor - now.minor > 1) {
        kp_fail_as(err, KP_FAILED, "skew", "%s has %s: from there to %s are %llu minor versions",
                   name, have, target, (unsigned long long)(next.minor - now.minor));
        return kp_hint(err, "one minor version at a time: first a bundle of v1.%llu",
                       (unsigned long long)now.minor + 1);
    }
    return 0;
}

/* All that is not at the target yet is at one version. */
static int note_from(char *from, const char *have, const char *name, const char *target,
                     struct kp_err *err)
{
    if (strcmp(have, target) == 0 || strcmp(have, from) == 0)
        return 0;
    if (strcmp(from, target) != 0) {
        kp_fail_as(err, KP_FAILED, "mixed", "%s has %s, other nodes have %s", name, have, from);
        return kp_hint(err, "end the upgrade that was begun, with its bundle, before another");
    }
    snprintf(from, KP_VERSION_MAX, "%s", have);
    return 0;
}

int kp_upgrade_judge(char *from, const struct kp_node_versions *versions, const char *const *names,
                     size_t count, const char *target, struct kp_err *err)
{
    snprintf(from, KP_VERSION_MAX, "%s", target);
    for (size_t i = 0; i < count; i++) {
        if (!versions[i].member) {
            kp_fail_as(err, KP_FAILED, "not_member", "%s is not in the cluster", names[i]);
            return kp_hint(err, "add it first, with the bundle that the cluster has (kinstall "
                                "apply), or take it out of the inventory");
        }
        const char *have[] = {versions[i].control[0] ? versions[i].control : versions[i].kubelet,
                              versions[i].kubelet};
        for (size_t k = 0; k < KP_COUNT(have); k++)
            if (judge_one(names[i], have[k], target, err) < 0 ||
                note_from(from, have[k], names[i], target, err) < 0)
                return -1;
    }
    return 0;
}

int kp_upgrade_refuse_others(struct kp_site *site, struct kp_err *err)
{
    kp_auto_free struct kp_node_versions *versions =
        kp_alloc_array(site->node_count + 1, sizeof(*versions));
    struct version wanted, have;
    if (!parse(site->manifest->kubernetes, &wanted))
        return kp_fail_as(err, KP_FAILED, "bad_version", "the bundle: '%s' is no version",
                          site->manifest->kubernetes);
    if (kp_upgrade_versions(versions, site, err) < 0)
        return -1;
    for (size_t i = 0; i < site->node_count; i++) {
        const char *both[] = {versions[i].kubelet, versions[i].control};
        for (size_t k = 0; versions[i].member && k < KP_COUNT(both); k++) {
            if (!both[k][0] || !parse(both[k], &have) || order(&have, &wanted) == 0)
                continue;
            kp_fail_as(err, KP_FAILED, "other_version", "%s has Kubernetes %s, the bundle is of %s",
                       site->nodes[i].node->name, both[k], site->manifest->kubernetes);
            return kp_hint(err,
                           "another version comes by: kinstall upgrade --bundle … -i %s "
                           "(--plan shows what it would do)",
                           site->inventory->path);
        }
    }
    return 0;
}

/* "3.5.24-0" -> 3005; 0 where it is no version. */
static uint64_t major_minor(const char *text)
{
    struct kp_slice rest = kp_slice_of(text), part;
    uint64_t major, minor;
    if (!kp_slice_cut(&rest, '.', &part) || !kp_parse_u64(part, 999, &major) ||
        !kp_slice_cut(&rest, '.', &part) || !kp_parse_u64(part, 999, &minor))
        return 0;
    return major * 1000 + minor;
}

bool kp_upgrade_etcd_reads(const char *tag, const char *storage)
{
    uint64_t program = major_minor(tag), data = major_minor(storage);
    return !program || !data || data <= program;
}

int kp_upgrade_refuse_etcd(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_etcd_status status;
    struct kp_err ignored = KP_ERR_INIT;
    char tag[KP_VERSION_MAX];
    if (site->inventory->etcd.external || !kp_is_control_plane(node))
        return 0;
    if (ask_tag(node, KEPT_ETCD, tag, err) < 0)
        return -1;
    if (kp_etcd_ask_status(site, node, &status, &ignored) < 0 ||
        kp_upgrade_etcd_reads(tag, status.storage))
        return 0;
    kp_fail_as(err, KP_FAILED, "etcd_newer",
               "the data of its etcd are of %s by now, which %s cannot read", status.storage, tag);
    return kp_hint(err, "mend %s and run the upgrade again: it cannot go back any more",
                   node->node->name);
}
