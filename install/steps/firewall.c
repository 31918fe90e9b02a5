/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/firewall.h"

#include "install/firewall.h"
#include "install/steps/common.h"

#define LIST_MAX ((size_t)4 << 20)
#define DROP_IN "/etc/systemd/system/nftables.service.d/kpack.conf"
#define DROP_IN_FOLDER "/etc/systemd/system/nftables.service.d"
#define UFW_WORDS_MAX 24
#define UFW_COMMENT " comment 'kpack'"

static bool is_active(const struct kp_site_node *node, const char *name)
{
    const json_t *network = json_object_get(node->facts, "network"), *item;
    size_t i;
    json_array_foreach(json_object_get(network, "firewalls"), i, item)
    {
        const char *text = json_string_value(item);
        if (text && strcmp(text, name) == 0)
            return true;
    }
    return false;
}

/* --- nftables --------------------------------------------------------------------------------- */

/* A chain that lets everything through needs nothing of ours. */
static int drops_anything(struct kp_site *site, struct kp_site_node *node,
                          const struct kp_chain_at *at, bool *drops, struct kp_err *err)
{
    const char *argv[] = {"nft", "list", "chain", at->family, at->table, at->name, NULL};
    static const char *const words[] = {"drop", "reject", "jump", "goto"};
    kp_auto_free char *text = NULL;
    int status;
    *drops = at->drops;
    if (*drops)
        return 0;
    if (kp_ask(site, node, argv, 60, &status, &text, err) < 0)
        return -1;
    for (size_t i = 0; i < KP_COUNT(words); i++)
        *drops = *drops || strstr(text, words[i]);
    return 0;
}

static int find_chains(struct kp_site *site, struct kp_site_node *node, json_t **list,
                       struct kp_chain_at *out, size_t *n, struct kp_err *err)
{
    static const char *const argv[] = {"nft", "-j", "list", "chains", NULL};
    struct kp_chain_at all[KP_FIREWALL_CHAINS_MAX];
    kp_auto_free char *text = NULL;
    int status;
    *n = 0;
    if (kp_ask(site, node, argv, 60, &status, &text, err) < 0)
        return -1;
    if (status != 0)
        return kp_fail(err, KP_FAILED,
                       "nftables.service is active, but `nft -j list chains` fails");
    if (kp_json_parse(list, kp_slice_of(text), LIST_MAX, "the list of nft's chains", err) < 0)
        return -1;
    size_t count = kp_firewall_chains(*list, all);
    for (size_t i = 0; i < count; i++) {
        bool drops;
        if (drops_anything(site, node, &all[i], &drops, err) < 0)
            return -1;
        if (drops)
            out[(*n)++] = all[i];
    }
    return 0;
}

static int run_script(struct kp_site *site, struct kp_site_node *node, const char *mode,
                      int *status, struct kp_err *err)
{
    const char *argv[] = {KP_FIREWALL_SCRIPT, mode, NULL};
    return kp_ask(site, node, argv, 60, status, NULL, err);
}

static int apply_nftables(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_chain_at chains[KP_FIREWALL_CHAINS_MAX];
    struct kp_change change = {.changed = true};
    kp_auto_json list = NULL;
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *script = NULL;
    bool changed = false, unit = false;
    size_t n;
    int status = 1;
    if (find_chains(site, node, &list, chains, &n, err) < 0)
        return -1;
    if (!n)
        return kp_firewall_reset(site, node, err);
    kp_vars_set(vars, "program", KP_FIREWALL_SCRIPT);
    if (kp_firewall_nft(&script, site, node->node, chains, n, err) < 0 ||
        kp_place(site, node, KP_FIREWALL_SCRIPT, kp_slice_of(script), 0755, &changed, err) < 0 ||
        kp_place_template(site, node, DROP_IN, "nftables-kpack.conf", vars, &unit, err) < 0 ||
        (unit && kp_place_unit(site, node, "", KP_UNIT_RELOAD_DAEMON, NULL, err) < 0))
        return -1;
    if (!changed && run_script(site, node, "check", &status, err) < 0)
        return -1;
    if (!changed && status == 0)
        return 0;
    kp_step_changed(site, node, "open the ports of its roles in nftables", &change);
    return site->dry_run ? 0 : run_script(site, node, "add", NULL, err);
}

static int reset_nftables(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const folder[] = {"rmdir", DROP_IN_FOLDER, NULL};
    struct kp_change change = {.changed = true};
    bool there, changed = false;
    int status;
    if (kp_have_file(node, KP_FIREWALL_SCRIPT, &there, err) < 0)
        return -1;
    if (!there)
        return 0;
    kp_step_changed(site, node, "close in nftables what was opened", &change);
    if (!site->dry_run && run_script(site, node, "remove", &status, err) < 0)
        return -1;
    if (kp_place_removed(site, node, DROP_IN, &changed, err) < 0 ||
        kp_place_removed(site, node, KP_FIREWALL_SCRIPT, NULL, err) < 0)
        return -1;
    if (!site->dry_run && kp_ask(site, node, folder, 30, &status, NULL, err) < 0)
        return -1;
    return changed ? kp_place_unit(site, node, "", KP_UNIT_RELOAD_DAEMON, NULL, err) : 0;
}

/* --- firewalld -------------------------------------------------------------------------------- */

static int reload_firewalld(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const check[] = {"firewall-cmd", "--check-config", NULL};
    static const char *const reload[] = {"firewall-cmd", "--reload", NULL};
    if (site->dry_run)
        return 0;
    if (kp_ask(site, node, check, 60, NULL, NULL, err) < 0) {
        kp_wrap(err, "firewalld");
        return kp_hint(err, "policies are needed, which firewalld has from 0.9 on; or "
                            "security.firewall: false, and open the ports of docs/operations.md");
    }
    return kp_ask(site, node, reload, 120, NULL, NULL, err);
}

/* all: place them; else take them away. */
static int put_firewalld(struct kp_site *site, struct kp_site_node *node, bool all,
                         struct kp_err *err)
{
    struct kp_firewalld_file files[KP_FIREWALLD_FILES_MAX];
    size_t n = kp_firewall_firewalld(site, node->node, files);
    bool changed = false;
    int result = 0;
    // Policies go before the sets that they name.
    for (size_t i = 0; i < n && result == 0; i++) {
        const struct kp_firewalld_file *file = &files[all ? i : n - 1 - i];
        result = all && file->text ? kp_place(site, node, file->path, kp_slice_of(file->text), 0644,
                                              &changed, err)
                                   : kp_place_removed(site, node, file->path, &changed, err);
    }
    for (size_t i = 0; i < n; i++) {
        kp_free(files[i].path);
        kp_free(files[i].text);
    }
    if (result < 0 || !changed || !is_active(node, "firewalld"))
        return result;
    return reload_firewalld(site, node, err);
}

/* --- ufw -------------------------------------------------------------------------------------- */

static int ask_ufw(struct kp_site *site, struct kp_site_node *node, bool *active, char **added,
                   struct kp_err *err)
{
    static const char *const status_argv[] = {"ufw", "status", NULL};
    static const char *const added_argv[] = {"ufw", "show", "added", NULL};
    kp_auto_free char *text = NULL;
    int status;
    if (kp_ask(site, node, status_argv, 60, &status, &text, err) < 0 ||
        kp_ask(site, node, added_argv, 60, &status, added, err) < 0)
        return -1;
    *active = strstr(text, "Status: active") != NULL;
    return 0;
}

/* One rule, as kp_firewall_ufw writes it: `ufw [delete] allow …`. */
static int run_ufw(struct kp_site *site, struct kp_site_node *node, struct kp_slice rule, bool drop,
                   struct kp_err *err)
{
    kp_auto_free char *text = kp_strndup(rule.ptr, rule.len);
    const char *argv[UFW_WORDS_MAX] = {"ufw"};
    size_t n = 1;
    bool route = kp_starts_with(text, "route ");
    char *comment = strstr(text, UFW_COMMENT), *save = NULL;
    if (comment)
        *comment = '\0';
    if (route)
        argv[n++] = "route";
    if (drop)
        argv[n++] = "delete";
    for (char *word = strtok_r(text + (route ? 6 : 0), " ", &save); word && n + 3 < UFW_WORDS_MAX;
         word = strtok_r(NULL, " ", &save))
        argv[n++] = word;
    if (!drop) {
        argv[n++] = "comment";
        argv[n++] = "kpack";
    }
    return kp_ask(site, node, argv, 60, NULL, NULL, err);
}

static bool has_line(struct kp_slice text, struct kp_slice wanted)
{
    struct kp_slice line;
    while (kp_slice_line(&text, &line))
        if (line.len == wanted.len && memcmp(line.ptr, wanted.ptr, line.len) == 0)
            return true;
    return false;
}

/* What has our comment and is wanted no more goes, what is missing comes. */
static int put_ufw(struct kp_site *site, struct kp_site_node *node, const char *added,
                   const char *wanted, struct kp_err *err)
{
    struct kp_slice have = kp_slice_of(added), want = kp_slice_of(wanted), line;
    kp_auto_value(kp_buf) diff = KP_BUF(KP_FIREWALL_TEXT_MAX), old = KP_BUF(KP_FIREWALL_TEXT_MAX);
    while (kp_slice_line(&have, &line)) {
        if (!kp_slice_starts(line, "ufw ") ||
            !memmem(line.ptr, line.len, UFW_COMMENT, strlen(UFW_COMMENT)))
            continue;
        struct kp_slice rule = {line.ptr + 4, line.len - 4};
        kp_buf_addf(&old, "%.*s\n", (int)rule.len, rule.ptr);
        if (has_line(kp_slice_of(wanted), rule))
            continue;
        kp_buf_addf(&diff, "-%.*s\n", (int)rule.len, rule.ptr);
        if (!site->dry_run && run_ufw(site, node, rule, true, err) < 0)
            return kp_wrap(err, "ufw");
    }
    while (kp_slice_line(&want, &line)) {
        if (has_line(kp_buf_slice(&old), line))
            continue;
        kp_buf_addf(&diff, "+%.*s\n", (int)line.len, line.ptr);
        if (!site->dry_run && run_ufw(site, node, line, false, err) < 0)
            return kp_wrap(err, "ufw");
    }
    struct kp_change change = {.changed = diff.len > 0, .diff = diff.data};
    if (change.changed)
        kp_step_changed(site, node, "rules of ufw", &change);
    return 0;
}

static int apply_ufw(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free char *wanted = kp_firewall_ufw(site, node->node), *added = NULL;
    bool active;
    if (ask_ufw(site, node, &active, &added, err) < 0)
        return -1;
    return active ? put_ufw(site, node, added, wanted, err) : 0;
}

static int reset_ufw(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free char *added = NULL;
    bool active;
    if (!is_active(node, "ufw"))
        return 0;
    return ask_ufw(site, node, &active, &added, err) < 0 ? -1 : put_ufw(site, node, added, "", err);
}

/* --- all -------------------------------------------------------------------------------------- */

int kp_firewall_apply(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    if (!site->inventory->security.firewall)
        return 0;
    // Those that bring nftables.service along rule it: their own rules are the ones that count.
    if (is_active(node, "firewalld"))
        return put_firewalld(site, node, true, err);
    if (is_active(node, "ufw") && apply_ufw(site, node, err) < 0)
        return -1;
    return is_active(node, "nftables") ? apply_nftables(site, node, err) : 0;
}

int kp_firewall_reset(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    if (reset_nftables(site, node, err) < 0 || reset_ufw(site, node, err) < 0)
        return -1;
    return put_firewalld(site, node, false, err);
}
