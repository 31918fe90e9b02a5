/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/health_probe.h"

#include "install/check/health_network.h"

#include "core/interrupt.h"
#include "core/pool.h"
#include "core/text.h"
#include "install/inventory/network.h"
#include "install/steps/common.h"
#include "install/steps/proxy.h"

#include <time.h>

#define CA_MAX ((size_t)64 << 10)
#define TRIES 10
#define TRY_PAUSE_S 1
#define ROLLOUT_S 180
#define ARGS_MAX 64
#define RULE_S 75.0   /* kube-proxy asks an API server that was away again within a minute */
#define UNSEEN_S 10.0 /* the same where no rule of kube-proxy's is seen at all */
#define RULE_PAUSE_NS 100000000L
#define PARALLEL 8
#define PROBE_PORT 8080

bool kp_health_tries(size_t i, size_t j, size_t n)
{
    size_t distance = (j + n - i) % n;
    if (i == j)
        return false;
    return n <= KP_HEALTH_ALL_PAIRS || distance <= 2 || distance == n / 2;
}

size_t kp_health_pairs(size_t n)
{
    size_t pairs = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            pairs += kp_health_tries(i, j, n);
    return pairs;
}

struct asking_api {
    struct kp_site *site;
    json_t *question;
    json_t **failures; /* per node, NULL: well */
};

static int ask_api(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    struct asking_api *asking = user;
    struct kp_site_node *node = &asking->site->nodes[item];
    (void)worker;
    for (int i = 0; i < TRIES; i++) {
        kp_auto_json answer = NULL;
        if (kp_session_probe(node->session, asking->question, &answer, err) < 0)
            return kp_wrap(err, "%s", node->node->name);
        json_decref(asking->failures[item]);
        asking->failures[item] = NULL;
        if (json_is_true(json_object_get(answer, "ok")))
            return 0;
        const char *why = json_string_value(json_object_get(answer, "message"));
        asking->failures[item] =
            json_sprintf("from %s: %s", node->node->name, why ? why : "no answer");
        struct timespec pause = {.tv_sec = TRY_PAUSE_S};
        nanosleep(&pause, NULL);
    }
    return 0;
}

int kp_health_endpoint(struct kp_health *health, struct kp_site *site, struct kp_err *err)
{
    double start = kp_now();
    kp_auto_value(kp_buf) ca = KP_BUF(CA_MAX);
    kp_auto_free char *endpoint = kp_endpoint(site);
    kp_auto_free char *url = kp_asprintf("https://%s/readyz", endpoint);
    kp_auto_free json_t **per_node = kp_alloc_array(kp_members(site), sizeof(json_t *));
    if (kp_session_get(kp_first(site)->session, "/etc/kubernetes/pki/ca.crt", &ca, NULL, err) < 0)
        return kp_wrap(err, "read the cluster's CA");
    kp_auto_json question = json_pack("{s:s, s:s}", "https", url, "ca", kp_buf_slice(&ca).ptr);
    struct asking_api asking = {site, question, per_node};
    json_t *failures = json_array();
    int result = kp_parallel(PARALLEL, kp_members(site), ask_api, &asking, err);
    for (size_t i = 0; i < kp_members(site); i++)
        if (per_node[i])
            json_array_append_new(failures, per_node[i]);
    kp_auto_free char *detail = kp_asprintf("%s from %zu nodes", url, kp_members(site));
    kp_health_note(health, "api", start, detail, failures);
    return result;
}

struct pod {
    const char *name, *node;
    const char *addresses[KP_FAMILIES_MAX]; /* one of each family that the cluster has */
    size_t count;
};
struct probing {
    struct kp_site *site;
    char *namespace_;
    size_t families;
    struct pod *pods;                      /* in the order of the inventory's nodes */
    json_t *list;                          /* what the pods' texts live in */
    json_t *object;                        /* the Service, likewise */
    const char *services[KP_FAMILIES_MAX]; /* its ClusterIPs */
    size_t service_count;
    char *dns;
    pthread_mutex_t lock; /* guards the lists */
    json_t *dns_failures, *pair_failures, *service_failures;
};

static void release(struct probing *p)
{
    kp_free(p->namespace_);
    kp_free(p->pods);
    kp_free(p->dns);
    json_decref(p->list);
    json_decref(p->object);
    json_decref(p->dns_failures);
    json_decref(p->pair_failures);
    json_decref(p->service_failures);
    pthread_mutex_destroy(&p->lock);
}

static char *namespace_of(const struct kp_site *site)
{
    return kp_asprintf("kpack-prove-%.8s", site->run_id);
}

int kp_health_probe_start(struct kp_site *site, struct kp_err *err)
{
    static const char *const args[] = {"apply", "--server-side", "--field-manager=kpack", "-f", "-",
                                       NULL};
    const struct kp_image *image = kp_manifest_image(site->manifest, "probe");
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *yaml = NULL, *namespace_ = namespace_of(site);
    if (!image)
        return kp_fail_as(err, KP_MISSING, "missing_image", "the bundle has no probe image");
    kp_vars_set(vars, "namespace", namespace_);
    kp_vars_set(vars, "image", image->reference);
    if (kp_render(&yaml, "prove.yaml", vars, err) < 0 ||
        kp_kube(site, args, kp_slice_of(yaml), NULL, err) < 0)
        return -1;
    site->probe_started = true;
    return 0;
}

static int start_pods(struct probing *p, struct kp_err *err)
{
    if (!p->site->probe_started && kp_health_probe_start(p->site, err) < 0)
        return -1;
    return kp_kube_wait(p->site, "daemonset", p->namespace_, "probe", ROLLOUT_S, err);
}

static const char *text_at(const json_t *object, const char *part, const char *key)
{
    return json_string_value(json_object_get(json_object_get(object, part), key));
}

/* The texts of a list, or those that its objects have as key. */
static size_t texts_of(const json_t *list, const char *key, const char *out[KP_FAMILIES_MAX])
{
    size_t n = 0, i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *text = json_string_value(key ? json_object_get(item, key) : item);
        if (text && n < KP_FAMILIES_MAX)
            out[n++] = text;
    }
    return n;
}

static int find_service(struct probing *p, struct kp_err *err)
{
    const char *argv[] = {"get", "service", "probe", "-n", p->namespace_, "-o", "json", NULL};
    if (kp_kube_json(p->site, &p->object, NULL, argv, err) < 0)
        return -1;
    const json_t *spec = json_object_get(p->object, "spec");
    p->service_count = texts_of(json_object_get(spec, "clusterIPs"), NULL, p->services);
    return p->service_count == p->families
               ? 0
               : kp_fail_as(err, KP_FAILED, "not_ready",
                            "the probe Service has %zu addresses, and the cluster %zu families",
                            p->service_count, p->families);
}

/* One pod per node of the inventory. */
static int find_pods(struct probing *p, struct kp_err *err)
{
    const char *pods[] = {"get",       "pods", "-n",   p->namespace_, "-l",
                          "app=probe", "-o",   "json", NULL};
    if (kp_kube_json(p->site, &p->list, NULL, pods, err) < 0 || find_service(p, err) < 0)
        return -1;
    p->pods = kp_alloc_array(kp_members(p->site), sizeof(*p->pods));
    for (size_t i = 0; i < kp_members(p->site); i++) {
        const char *name = p->site->nodes[i].node->name;
        size_t j;
        const json_t *item;
        json_array_foreach(json_object_get(p->list, "items"), j, item)
        {
            const char *node = text_at(item, "spec", "nodeName");
            struct pod *pod = &p->pods[i];
            if (!node || strcmp(node, name) != 0)
                continue;
            *pod = (struct pod){.name = text_at(item, "metadata", "name"), .node = name};
            const json_t *status = json_object_get(item, "status");
            pod->count = texts_of(json_object_get(status, "podIPs"), "ip", pod->addresses);
        }
        if (!p->pods[i].name || p->pods[i].count != p->families)
            return kp_fail_as(err, KP_FAILED, "not_ready",
                              p->pods[i].count
                                  ? "the probe pod on %s has not an address of each family"
                                  : "no probe pod came up on %s",
                              name);
    }
    return 0;
}

static char *url_of(const char *address, unsigned port)
{
    kp_auto_free char *host = kp_network_url_host(address);
    return kp_asprintf("http://%s:%u/", host, port);
}

static void add_get(struct kp_arena *arena, const char **args, size_t *n, const char *address,
                    unsigned port)
{
    kp_auto_free char *url = url_of(address, port);
    if (*n + 2 >= ARGS_MAX)
        return;
    args[(*n)++] = "--get";
    args[(*n)++] = kp_arena_strdup(arena, url);
}

/* The questions of node i's pod in one command: DNS, each partner, the Service at the end; by every
 * family. */
static int ask_pod(struct probing *p, size_t i, json_t **answer, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    const char *args[ARGS_MAX] = {"exec",   "-n",           p->namespace_, p->pods[i].name, "--",
                                  "/knode", "probe-client", "--dns",       p->dns};
    kp_auto_free char *text = NULL;
    size_t n = 9;
    for (size_t j = 0; j < kp_members(p->site); j++)
        for (size_t k = 0; kp_health_tries(i, j, kp_members(p->site)) && k < p->families; k++)
            add_get(arena, args, &n, p->pods[j].addresses[k], PROBE_PORT);
    for (size_t k = 0; k < p->families; k++)
        add_get(arena, args, &n, p->services[k], 80);
    struct kp_slice none = {0};
    // It fails where one of them could not be reached, and says which.
    if (kp_kube_partly(p->site, args, none, &text, err) < 0)
        return -1;
    return kp_json_parse(answer, kp_slice_of(text), KP_KUBECTL_OUTPUT_MAX, "the probe's answer",
                         err);
}

static json_t *failure_of(const json_t *one, const char *expected)
{
    const char *message = json_string_value(json_object_get(one, "message"));
    const char *body = json_string_value(json_object_get(one, "body"));
    if (!json_is_true(json_object_get(one, "ok")))
        return json_string(message ? message : "no answer");
    if (expected && (!body || strcmp(body, expected) != 0))
        return json_sprintf("answered by %s instead of %s", body ? body : "nobody", expected);
    return NULL;
}

static bool add_failure(json_t *list, json_t *failure, const char *from, const char *to)
{
    if (!failure)
        return false;
    json_array_append_new(list, json_sprintf("%s -> %s: %s", from, to, json_string_value(failure)));
    json_decref(failure);
    return true;
}

/* *well, and with note: what is not goes into the lists. */
static bool judge(struct probing *p, size_t i, const json_t *answer, bool note)
{
    const json_t *get = json_object_get(answer, "get");
    kp_auto_json dns = json_array();
    kp_auto_json pairs = json_array();
    kp_auto_json service = json_array();
    size_t at = 0;
    add_failure(dns, failure_of(json_array_get(json_object_get(answer, "dns"), 0), NULL),
                p->pods[i].node, p->dns);
    for (size_t j = 0; j < kp_members(p->site); j++)
        for (size_t k = 0; kp_health_tries(i, j, kp_members(p->site)) && k < p->families; k++)
            add_failure(pairs, failure_of(json_array_get(get, at++), p->pods[j].name),
                        p->pods[i].node,
                        p->families > 1 ? p->pods[j].addresses[k] : p->pods[j].node);
    for (size_t k = 0; k < p->families; k++)
        add_failure(service, failure_of(json_array_get(get, at++), NULL), p->pods[i].node,
                    p->services[k]);
    bool well = json_array_size(dns) + json_array_size(pairs) + json_array_size(service) == 0;
    if (note && !well) {
        pthread_mutex_lock(&p->lock);
        json_array_extend(p->dns_failures, dns);
        json_array_extend(p->pair_failures, pairs);
        json_array_extend(p->service_failures, service);
        pthread_mutex_unlock(&p->lock);
    }
    return well;
}

/* A rule or route may take a moment to reach every node: a way that works at last works. */
static int try_node(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    struct probing *p = user;
    struct kp_err failure = KP_ERR_INIT;
    (void)worker;
    for (int i = 1; i <= TRIES; i++) {
        kp_auto_json answer = NULL;
        int result = ask_pod(p, item, &answer, &failure);
        if (result < 0 && i == TRIES) {
            *err = failure;
            return kp_wrap(err, "probe on %s", p->pods[item].node);
        }
        if (result == 0 && judge(p, item, answer, i == TRIES))
            return 0;
        struct timespec pause = {.tv_sec = TRY_PAUSE_S};
        nanosleep(&pause, NULL);
    }
    return 0;
}

static void note_all(struct probing *p, struct kp_health *health, double start)
{
    size_t n = kp_members(p->site);
    kp_auto_free char *dns = kp_asprintf("%s from %zu nodes", p->dns, n);
    bool both = p->families > 1;
    kp_auto_free char *pairs =
        kp_asprintf("%zu pod pairs%s", kp_health_pairs(n), both ? ", by IPv4 and IPv6" : "");
    kp_auto_free char *service =
        kp_asprintf("ClusterIP %s%s%s from %zu nodes", p->service_count ? p->services[0] : "",
                    both ? " and " : "", both && p->service_count > 1 ? p->services[1] : "", n);
    kp_health_note(health, "dns", start, dns, json_incref(p->dns_failures));
    kp_health_note(health, "pod to pod", start, pairs, json_incref(p->pair_failures));
    kp_health_note(health, "service", start, service, json_incref(p->service_failures));
}

/* Asked before kube-proxy has a rule for it, a Service address takes the default route and leaves
 * the site. Where no rule is seen in this time (another mode, another backend) the question itself
 * decides. */
static int await_rule(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    struct probing *p = user;
    double start = kp_now();
    kp_auto_free char *rule = NULL;
    const char *argv[KP_PROXY_TRACE_MAX], *alive = NULL;
    bool proxied = false;
    struct kp_err ignored;
    (void)worker;
    // The Service's last address is the one whose rule comes last.
    if (!kp_proxy_trace(p->site->inventory, p->services[p->service_count - 1], argv, &rule, &alive))
        return 0;
    while (kp_now() - start < (proxied ? RULE_S : UNSEEN_S)) {
        kp_auto_free char *rules = NULL;
        int status;
        if (kp_interrupt_check(err) < 0)
            return -1;
        if (kp_ask(p->site, &p->site->nodes[item], argv, 30, &status, &rules, &ignored) < 0 ||
            strstr(rules, rule))
            return 0;
        proxied = proxied || strstr(rules, alive);
        struct timespec pause = {.tv_nsec = RULE_PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int run_probe(struct probing *p, struct kp_health *health, struct kp_err *err)
{
    double start = kp_now();
    struct kp_err why = KP_ERR_INIT;
    json_t *failures = json_array();
    if (start_pods(p, &why) < 0 || find_pods(p, &why) < 0) {
        json_array_append_new(failures, json_string(why.message));
        kp_health_note(health, "pull and start", start, "a probe pod per node", failures);
        return 0;
    }
    kp_auto_free char *detail =
        kp_asprintf("%s by tag on %zu nodes",
                    kp_manifest_image(p->site->manifest, "probe")->reference, kp_members(p->site));
    kp_health_note(health, "pull and start", start, detail, failures);
    start = kp_now();
    kp_step_note(p->site, NULL, "DNS, pod to pod, Service");
    if (kp_parallel(PARALLEL, kp_members(p->site), await_rule, p, &why) < 0 ||
        kp_parallel(PARALLEL, kp_members(p->site), try_node, p, &why) < 0)
        json_array_append_new(p->pair_failures, json_string(why.message));
    note_all(p, health, start);
    kp_auto_free char *url = url_of(p->pods[0].addresses[0], PROBE_PORT);
    if (kp_health_policy(health, p->site, p->namespace_, url, err) < 0 ||
        kp_health_attachment(health, p->site, p->namespace_, err) < 0)
        return -1;
    return kp_interrupt_check(err);
}

int kp_health_probe(struct kp_health *health, struct kp_site *site, struct kp_err *err)
{
    // Also what a run that was cut off left behind.
    static const char *const clean[] = {
        "delete",       "namespace",          "-l", "kpack.internal/prove=true",
        "--wait=false", "--ignore-not-found", NULL};
    struct probing p = {.site = site,
                        .families = kp_inventory_dual(site->inventory) ? 2 : 1,
                        .dns_failures = json_array(),
                        .pair_failures = json_array(),
                        .service_failures = json_array()};
    struct kp_slice none = {0};
    struct kp_err ignored;
    pthread_mutex_init(&p.lock, NULL);
    p.namespace_ = namespace_of(site);
    p.dns = kp_asprintf("kubernetes.default.svc.%s", site->inventory->kubernetes.domain);
    int result = run_probe(&p, health, err);
    site->probe_started = false;
    if (kp_kube(site, clean, none, NULL, result < 0 ? &ignored : err) < 0)
        result = -1;
    release(&p);
    return result;
}
