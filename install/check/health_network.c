/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/health_network.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "install/security.h"
#include "install/steps/common.h"

#include <time.h>

#define READY_LIMIT "--timeout=120s"
#define SETTLE_S 30.0  /* until every node knows the policy */
#define UNKNOWN_S 10.0 /* the same where nobody says that it will be enforced */
#define MULTUS "network multus"
#define BRIDGE "kpack-prove0"
#define STATUS_KEY "k8s.v1.cni.cncf.io/network-status"
#define STATUS_MAX ((size_t)64 << 10)

static int apply(struct kp_site *site, const char *template_name, const struct kp_vars *vars,
                 struct kp_err *err)
{
    static const char *const args[] = {"apply", "--server-side", "--field-manager=kpack", "-f", "-",
                                       NULL};
    kp_auto_free char *yaml = NULL;
    if (kp_render(&yaml, template_name, vars, err) < 0)
        return -1;
    return kp_kube(site, args, kp_slice_of(yaml), NULL, err);
}

/* Two pods of the probe image, Ready. */
static int start_pods(struct kp_site *site, const char *namespace_, const char *const names[2],
                      const char *node, const char *attachment, struct kp_err *err)
{
    const struct kp_image *image = kp_manifest_image(site->manifest, "probe");
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *first = kp_asprintf("pod/%s", names[0]);
    kp_auto_free char *second = kp_asprintf("pod/%s", names[1]);
    const char *wait[] = {"wait", "-n",   namespace_,  "--for=condition=Ready",
                          first,  second, READY_LIMIT, NULL};
    struct kp_slice none = {0};
    if (!image)
        return kp_fail_as(err, KP_MISSING, "missing_image", "the bundle has no probe image");
    kp_vars_set(vars, "namespace", namespace_);
    kp_vars_set(vars, "image", image->reference);
    kp_vars_set(vars, "node", node);
    kp_vars_set(vars, "attachment", attachment);
    for (size_t i = 0; i < 2; i++)
        kp_vars_add(vars, "pods", "%s", names[i]);
    if (apply(site, "prove-pods.yaml", vars, err) < 0)
        return -1;
    return kp_kube(site, wait, none, NULL, err);
}

/* *reached: whether the pod gets the page. -1: the pod could not be asked. */
static int get_page(struct kp_site *site, const char *namespace_, const char *pod, const char *url,
                    bool *reached, struct kp_err *err)
{
    const char *args[] = {"exec",   "-n",           namespace_, pod, "--",
                          "/knode", "probe-client", "--get",    url, NULL};
    struct kp_slice none = {0};
    struct kp_err why = KP_ERR_INIT;
    *reached = kp_kube(site, args, none, NULL, &why) == 0;
    if (*reached || strstr(why.message, "could be reached"))
        return 0;
    *err = why;
    return -1;
}

/* Both as wanted at once, within some seconds. */
static int await_ways(struct kp_site *site, const char *namespace_, const char *url,
                      bool denied_wanted, double limit, bool *seen, struct kp_err *err)
{
    double until = kp_now() + limit;
    *seen = false;
    do {
        bool allowed, other;
        if (kp_interrupt_check(err) < 0 ||
            get_page(site, namespace_, "allowed", url, &allowed, err) < 0 ||
            get_page(site, namespace_, "denied", url, &other, err) < 0)
            return -1;
        *seen = allowed && other != denied_wanted;
    } while (!*seen && kp_now() < until);
    return 0;
}

static void say_policy(struct kp_site *site, struct kp_health *health, double start,
                       const char *detail, bool enforced, json_t *failures)
{
    kp_health_note(health, "network policy", start, detail, failures);
    json_t *last = json_array_get(health->checks, json_array_size(health->checks) - 1);
    json_object_set_new(last, "enforced", json_boolean(enforced));
    snprintf(site->policy, sizeof(site->policy), "%s",
             enforced ? "NetworkPolicy denies and allows"
                      : "NetworkPolicy is not enforced by this network");
}

static int try_policy(struct kp_site *site, const char *namespace_, const char *url,
                      enum kp_enforces enforces, bool *open, bool *enforced, struct kp_err *err)
{
    static const char *const names[] = {"allowed", "denied"};
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_vars_set(vars, "namespace", namespace_);
    if (start_pods(site, namespace_, names, NULL, NULL, err) < 0 ||
        await_ways(site, namespace_, url, false, UNKNOWN_S, open, err) < 0)
        return -1;
    if (!*open)
        return 0;
    if (apply(site, "prove-policy.yaml", vars, err) < 0)
        return -1;
    double limit = enforces == KP_ENFORCES ? SETTLE_S : UNKNOWN_S;
    return await_ways(site, namespace_, url, true, limit, enforced, err);
}

int kp_health_policy(struct kp_health *health, struct kp_site *site, const char *namespace_,
                     const char *url, struct kp_err *err)
{
    enum kp_enforces enforces = kp_network_enforces(site->manifest->network);
    double start = kp_now();
    bool open = false, enforced = false;
    struct kp_err why = KP_ERR_INIT;
    if (enforces == KP_ENFORCES_NOT) {
        kp_auto_free char *detail =
            kp_asprintf("%s does not enforce NetworkPolicy: every pod reaches every pod",
                        site->manifest->network);
        say_policy(site, health, start, detail, false, json_array());
        return 0;
    }
    kp_step_note(site, NULL, "NetworkPolicy: a denied and an allowed connection");
    int result = try_policy(site, namespace_, url, enforces, &open, &enforced, &why);
    if (kp_interrupt_check(err) < 0)
        return -1;
    json_t *failures = json_array();
    if (result < 0)
        json_array_append_new(failures, json_string(why.message));
    else if (!open)
        json_array_append_new(failures,
                              json_sprintf("%s is not reached even without a policy", url));
    else if (!enforced && enforces == KP_ENFORCES)
        json_array_append_new(
            failures,
            json_sprintf("a policy that lets one pod of two through to %s does not do so", url));
    kp_auto_free char *detail =
        enforced ? kp_strdup("of two pods that reached a third, a policy let one through")
                 : kp_asprintf("the network %s does not enforce NetworkPolicy: a connection that a "
                               "policy denies went through",
                               site->manifest->network);
    say_policy(site, health, start, detail, enforced, failures);
    return 0;
}

/* --- Multus ----------------------------------------------------------------------------------- */

static bool has_multus(const struct kp_manifest *manifest)
{
    for (size_t i = 0; i < manifest->manifest_count; i++)
        if (strcmp(manifest->manifests[i].why, MULTUS) == 0)
            return true;
    return false;
}

/* The address on the second interface, by what Multus wrote to the pod; kp_free, NULL: there is
 * none. */
static int second_address(struct kp_site *site, const char *namespace_, const char *pod, char **out,
                          struct kp_err *err)
{
    const char *args[] = {"get", "pod", pod, "-n", namespace_, "-o", "json", NULL};
    kp_auto_json object = NULL;
    kp_auto_json status = NULL;
    struct kp_err ignored = KP_ERR_INIT;
    size_t i;
    const json_t *item;
    if (kp_kube_json(site, &object, NULL, args, err) < 0)
        return -1;
    const char *text = json_string_value(json_object_get(
        json_object_get(json_object_get(object, "metadata"), "annotations"), STATUS_KEY));
    if (!text || kp_json_parse(&status, kp_slice_of(text), STATUS_MAX, STATUS_KEY, &ignored) < 0)
        return 0;
    json_array_foreach(status, i, item)
    {
        const char *interface = json_string_value(json_object_get(item, "interface"));
        const char *address = json_string_value(json_array_get(json_object_get(item, "ips"), 0));
        if (interface && strcmp(interface, "net1") == 0 && address && !*out)
            *out = kp_strdup(address);
    }
    return 0;
}

static int try_attachment(struct kp_site *site, const char *namespace_, const char *node,
                          char **address, bool *reached, struct kp_err *err)
{
    static const char *const names[] = {"attached-1", "attached-2"};
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_vars_set(vars, "namespace", namespace_);
    kp_vars_set(vars, "bridge", BRIDGE);
    if (apply(site, "prove-attachment.yaml", vars, err) < 0 ||
        start_pods(site, namespace_, names, node, "probe", err) < 0 ||
        second_address(site, namespace_, names[0], address, err) < 0)
        return -1;
    if (!*address)
        return 0;
    kp_auto_free char *url = kp_asprintf("http://%s:8080/", *address);
    return get_page(site, namespace_, names[1], url, reached, err);
}

/* The pods first, so that their ends of the bridge go by themselves. */
static int clean_attachment(struct kp_site *site, struct kp_site_node *node, const char *namespace_,
                            struct kp_err *err)
{
    const char *pods[] = {"delete",   "pod",         "attached-1",    "attached-2",         "-n",
                          namespace_, "--wait=true", "--timeout=60s", "--ignore-not-found", NULL};
    static const char *const bridge[] = {"ip", "link", "delete", BRIDGE, NULL};
    struct kp_slice none = {0};
    int status;
    if (kp_kube(site, pods, none, NULL, err) < 0)
        return -1;
    return kp_ask(site, node, bridge, 30, &status, NULL, err);
}

int kp_health_attachment(struct kp_health *health, struct kp_site *site, const char *namespace_,
                         struct kp_err *err)
{
    struct kp_site_node *node = &site->nodes[kp_members(site) - 1];
    double start = kp_now();
    kp_auto_free char *address = NULL;
    bool reached = false;
    struct kp_err why = KP_ERR_INIT;
    if (!has_multus(site->manifest))
        return 0;
    kp_step_note(site, NULL, "Multus: a second interface");
    int result = try_attachment(site, namespace_, node->node->name, &address, &reached, &why);
    json_t *failures = json_array();
    if (result < 0)
        json_array_append_new(failures, json_string(why.message));
    else if (!address)
        json_array_append_new(failures, json_string("a pod that asks for one has no net1"));
    else if (!reached)
        json_array_append_new(failures, json_sprintf("%s on net1 does not answer", address));
    kp_auto_free char *detail =
        kp_asprintf("a NetworkAttachmentDefinition: net1 on %s, a page over it", node->node->name);
    kp_health_note(health, "second interface", start, detail, failures);
    if (kp_interrupt_check(err) < 0)
        return -1;
    return clean_attachment(site, node, namespace_, err);
}
