/* SPDX-License-Identifier: Apache-2.0 */
/* Phase prepare: names, modules, kernel settings, swap, and where the runtime may pull from. */
#include "install/steps/common.h"

#include "core/text.h"
#include "install/endpoint.h"
#include "install/kernel.h"
#include "install/steps/certs.h"
#include "install/inventory/network.h"
#include "install/steps/network.h"
#include "install/steps/packages.h"
#include "install/steps/prepare.h"
#include "install/steps/proxy.h"

#define KERNEL_FILE_MAX ((size_t)64 << 10)
#define HOSTS_MAX ((size_t)1 << 20)
#define HOSTS_BEGIN "# kpack: begin (written by kinstall, lost when changed)\n"
#define HOSTS_END "# kpack: end\n"

char *kp_hosts_merge(struct kp_slice old, const char *block)
{
    kp_auto_value(kp_buf) out = KP_BUF(2 * HOSTS_MAX);
    struct kp_slice line;
    bool ours = false;
    while (old.len) {
        const char *start = old.ptr;
        if (!kp_slice_line(&old, &line))
            break;
        if (kp_slice_starts(line, "# kpack: begin"))
            ours = true;
        if (!ours)
            kp_buf_add(&out, start, line.len), kp_buf_adds(&out, "\n");
        if (kp_slice_starts(line, "# kpack: end"))
            ours = false;
    }
    if (block && *block) {
        kp_buf_adds(&out, HOSTS_BEGIN);
        kp_buf_adds(&out, block);
        kp_buf_adds(&out, HOSTS_END);
    }
    return kp_buf_steal(&out);
}

char *kp_hosts_address(struct kp_slice hosts, const char *name)
{
    struct kp_slice line;
    size_t len = strlen(name);
    bool ours = false;
    while (kp_slice_line(&hosts, &line)) {
        size_t address = strcspn(line.ptr, " \n");
        ours = (ours || kp_slice_starts(line, "# kpack: begin")) &&
               !kp_slice_starts(line, "# kpack: end");
        if (ours && address < line.len && line.len == address + 1 + len &&
            memcmp(line.ptr + address + 1, name, len) == 0)
            return kp_strndup(line.ptr, address);
    }
    return NULL;
}

static int read_hosts(struct kp_site_node *node, struct kp_buf *out, struct kp_err *err)
{
    bool found;
    if (kp_session_get(node->session, "/etc/hosts", out, &found, err) < 0)
        return kp_wrap(err, "read /etc/hosts");
    if (!found)
        kp_buf_adds(out, "127.0.0.1 localhost\n");
    return 0;
}

int kp_place_hosts(struct kp_site *site, struct kp_site_node *node, const char *address,
                   bool *changed, struct kp_err *err)
{
    kp_auto_value(kp_buf) old = KP_BUF(HOSTS_MAX);
    kp_auto_free char *block = kp_endpoint_hosts(site->inventory, address);
    if (read_hosts(node, &old, err) < 0)
        return -1;
    kp_auto_free char *text = kp_hosts_merge(kp_buf_slice(&old), block);
    return kp_place(site, node, "/etc/hosts", kp_slice_of(text), 0644, changed, err);
}

/* On a node that has joined, the name stays where it is: what it shall point to may not be there
 * yet (steps/endpoint.c moves it). */
static int apply_hosts(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    bool finished;
    const char *live = kp_first(site)->node->address;
    kp_auto_value(kp_buf) old = KP_BUF(HOSTS_MAX);
    kp_auto_free char *name = kp_inventory_endpoint_name(site->inventory), *now = NULL;
    const char *address = kp_endpoint_address(site->inventory, node->node, false, live);
    if (kp_joined(site, node, &finished, err) < 0)
        return -1;
    if (finished && address && read_hosts(node, &old, err) < 0)
        return -1;
    if (finished && address)
        now = kp_hosts_address(kp_buf_slice(&old), name);
    return kp_place_hosts(site, node, now ? now : address, NULL, err);
}

static int apply_modules(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const char *names[2 + KP_PROXY_MODULES_MAX] = {"overlay", "br_netfilter"};
    size_t n = 2 + kp_proxy_modules(site->inventory, names + 2, KP_PROXY_MODULES_MAX);
    kp_auto_value(kp_change) change = {0};
    kp_auto_value(kp_buf) what = KP_BUF(1024);
    if (kp_session_modules(node->session, names, n, site->dry_run ? KP_DRY_RUN : 0, &change, err) <
        0)
        return -1;
    for (size_t i = 0; i < n; i++)
        kp_buf_addf(&what, "%s%s", i ? ", " : "load modules ", names[i]);
    kp_step_changed(site, node, kp_buf_slice(&what).ptr, &change);
    return 0;
}

/* --- kernel parameters ------------------------------------------------------------------------ */

struct kernel { /* of a node */
    json_t *before, *ours;
    const char *chosen[KP_KERNEL_SETTINGS_MAX * 2]; /* to be set; behind them those that go back */
    size_t chosen_count, dropped_count;
    struct kp_arena *arena;
};

static void kernel_release(struct kernel *kernel)
{
    json_decref(kernel->before);
    json_decref(kernel->ours);
    kp_arena_free(kernel->arena);
}
KP_DEFINE_AUTO_VALUE(kernel);

static int read_kernel(struct kernel *kernel, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(kp_buf) before = KP_BUF(KERNEL_FILE_MAX), ours = KP_BUF(KERNEL_FILE_MAX);
    bool found, kept;
    if (kp_session_get(node->session, KP_KERNEL_FILE, &ours, &found, err) < 0 ||
        kp_session_get(node->session, KP_KERNEL_BEFORE, &before, &kept, err) < 0)
        return kp_wrap(err, "read what was set before");
    kernel->arena = kp_arena_new();
    kernel->ours = found ? kp_kernel_parse(kp_buf_slice(&ours)) : json_object();
    if (!kept)
        kernel->before = json_object();
    return kept ? kp_json_parse(&kernel->before, kp_buf_slice(&before), KERNEL_FILE_MAX,
                                KP_KERNEL_BEFORE, err)
                : 0;
}

/* What was set before us: reset puts it back, and so does a parameter's leaving the inventory. */
static int write_before(struct kp_site *site, struct kp_site_node *node,
                        const struct kernel *kernel, struct kp_err *err)
{
    kp_auto_free char *text = kp_json_dump(kernel->before, false);
    return kp_place(site, node, KP_KERNEL_BEFORE, kp_slice_of(text), 0644, NULL, err);
}

/* Is it still what our file says? What somebody else has set since stays. */
static int is_still_ours(struct kp_site *site, struct kp_site_node *node, const char *key,
                         const char *value, bool *out, struct kp_err *err)
{
    kp_auto_free char *path = kp_asprintf("/proc/sys/%s", key), *now = NULL;
    const char *argv[] = {"cat", path, NULL};
    int status;
    for (char *p = path + strlen("/proc/sys/"); *p; p++)
        *p = *p == '.' ? '/' : *p;
    if (kp_ask(site, node, argv, 30, &status, &now, err) < 0)
        return -1;
    for (char *p = now; *p; p++)
        *p = *p == '\t' ? ' ' : *p;
    *out = status == 0 && kp_slice_equal(kp_slice_trim(kp_slice_of(now)), value);
    return 0;
}

/* Those that the inventory names no more go back to what they were. */
static int choose_dropped(struct kp_site *site, struct kp_site_node *node, struct kernel *kernel,
                          struct kp_err *err)
{
    const char *dropped[KP_KERNEL_SETTINGS_MAX];
    kp_auto_value(kp_buf) what = KP_BUF(KERNEL_FILE_MAX);
    struct kp_change change = {.changed = true};
    size_t n = kp_kernel_dropped(site, node, kernel->ours, kernel->before, kernel->arena, dropped,
                                 KP_COUNT(dropped));
    for (size_t i = 0; i < n; i++) {
        kp_auto_free char *key = kp_strndup(dropped[i], strcspn(dropped[i], "="));
        bool ours;
        if (is_still_ours(site, node, key, json_string_value(json_object_get(kernel->ours, key)),
                          &ours, err) < 0)
            return -1;
        json_object_del(kernel->before, key);
        if (!ours || kernel->chosen_count + kernel->dropped_count == KP_KERNEL_SETTINGS_MAX)
            continue;
        kernel->chosen[kernel->chosen_count + kernel->dropped_count++] = dropped[i];
        kp_buf_addf(&what, "%s%s", what.len ? ", " : "put kernel parameters back: ", dropped[i]);
    }
    if (what.len)
        kp_step_changed(site, node, kp_buf_slice(&what).ptr, &change);
    return 0;
}

/* What the kubelet wants and this node cannot have was said by the checks. */
static int apply_sysctl(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_value(kernel) k = {0};
    kp_auto_value(kp_change) change = {0}, ignored = {0};
    struct kp_kernel_setting wanted[KP_KERNEL_SETTINGS_MAX];
    size_t count = kp_kernel_wanted(site, node, wanted);
    if (read_kernel(&k, node, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (!wanted[i].kubelet || kp_kernel_can(node, &wanted[i]))
            k.chosen[k.chosen_count++] =
                kp_arena_printf(k.arena, "%s=%s", wanted[i].key, wanted[i].value);
    // before anything is set
    if (kp_kernel_keep(k.before, k.ours, site, node) && write_before(site, node, &k, err) < 0)
        return -1;
    if (choose_dropped(site, node, &k, err) < 0)
        return -1;
    if (k.dropped_count && !site->dry_run &&
        kp_session_sysctl(node->session, k.chosen, k.chosen_count + k.dropped_count, 0, &ignored,
                          err) < 0)
        return -1;
    if (kp_session_sysctl(node->session, k.chosen, k.chosen_count, site->dry_run ? KP_DRY_RUN : 0,
                          &change, err) < 0) {
        if (!site->dry_run)
            return -1;
        // Keys of a module that is not loaded yet cannot be read: loading it was reported already.
        change.changed = true;
    }
    kp_step_changed(site, node, "set kernel parameters (" KP_KERNEL_FILE ")", &change);
    return k.dropped_count && write_before(site, node, &k, err) < 0 ? -1 : 0;
}

static int apply_swap(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const ask[] = {"cat", "/proc/swaps", NULL};
    static const char *const off[] = {"swapoff", "-a", NULL};
    kp_auto_free char *swaps = NULL;
    struct kp_change change = {.changed = true};
    int status;
    if (site->inventory->kubernetes.keep_swap)
        return 0;
    if (kp_ask(site, node, ask, 30, &status, &swaps, err) < 0)
        return -1;
    const char *second = strchr(swaps, '\n');
    if (status == 0 && second && second[1]) {
        if (!site->dry_run && kp_ask(site, node, off, 300, NULL, NULL, err) < 0)
            return -1;
        kp_step_changed(site, node, "turn swap off", &change);
    }
    return kp_place_unit(site, node, "swap.target", KP_UNIT_MASK, NULL, err);
}

static int apply_resolv(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    for (size_t i = 0; i < site->inventory->kubernetes.resolver_count; i++)
        kp_vars_add(vars, "resolvers", "%s", site->inventory->kubernetes.resolvers[i]);
    return kp_place_template(site, node, "/etc/kpack/resolv.conf", "resolv.conf", vars, NULL, err);
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    snprintf(out, size, "hosts, kernel parameters, swap, mirrors on %zu node%s", kp_members(site),
             kp_members(site) == 1 ? "" : "s");
    return 0;
}

const struct kp_step kp_steps_prepare[] = {
    {.name = "hosts",
     .phase = "prepare",
     .nodes = KP_STEP_ALL,
     .apply = apply_hosts,
     .describe = describe},
    {.name = "packages", .phase = "prepare", .nodes = KP_STEP_ALL, .apply = kp_packages_apply},
    {.name = "modules", .phase = "prepare", .nodes = KP_STEP_ALL, .apply = apply_modules},
    {.name = "sysctl", .phase = "prepare", .nodes = KP_STEP_ALL, .apply = apply_sysctl},
    {.name = "swap", .phase = "prepare", .nodes = KP_STEP_ALL, .apply = apply_swap},
    {.name = "certs-d", .phase = "prepare", .nodes = KP_STEP_ALL, .apply = kp_place_pulls},
    {.name = "resolv-conf", .phase = "prepare", .nodes = KP_STEP_ALL, .apply = apply_resolv},
    {.name = "network-node", .phase = "prepare", .nodes = KP_STEP_ALL, .apply = kp_network_node},
    {.name = NULL},
};
