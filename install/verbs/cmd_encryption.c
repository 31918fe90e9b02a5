/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"
#include "install/journal.h"
#include "install/report.h"
#include "install/site.h"
#include "install/steps/common.h"
#include "install/steps/encryption.h"
#include "install/verbs/cmd.h"

#include <stdio.h>

#define AGAIN "run the same command again to continue"

struct options {
    struct kp_site_options site;
    bool plan;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"plan", 0, KP_OPT_FLAG, offsetof(struct options, plan), NULL,
     "rotate: show what would be done; changes nothing", 0},
    {.name = NULL},
};

static int check_reached(const struct kp_site *site, struct kp_err *err)
{
    if (!site->inventory->security.encryption)
        return kp_fail(err, KP_USAGE, "%s: security.encryption is false: there are no keys",
                       site->inventory->path);
    for (size_t i = 0; i < site->node_count; i++) {
        if (!site->nodes[i].failed)
            continue;
        kp_fail_as(err, KP_FAILED, "node_failed", "%s cannot be reached: %s; nothing was changed",
                   site->nodes[i].node->name, site->nodes[i].failure.message);
        return kp_hint(err, "a node that is dead for good: kinstall remove %s --force-dead",
                       site->nodes[i].node->name);
    }
    return 0;
}

static int open_site(struct kp_open_site **open, const struct options *options, int flags,
                     struct kp_err *err)
{
    flags |= KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT;
    if (kp_site_open(open, &options->site, flags, err) < 0 || kp_site_connect(*open, err) < 0)
        return -1;
    return check_reached(kp_site_of(*open), err);
}

static int run_status(const struct options *options, struct kp_err *err)
{
    kp_auto(kp_open_site) open = NULL;
    kp_auto_value(kp_encryption_keys) keys = {0};
    kp_auto_json list = json_array();
    uint64_t all = 0, with_key = 0;
    if (open_site(&open, options, KP_SITE_READ_ONLY, err) < 0 ||
        kp_encryption_load(kp_site_of(open), &keys, err) < 0)
        return -1;
    for (size_t i = 0; i < keys.count; i++) {
        if (kp_encryption_counts(kp_site_of(open), keys.items[i].name, &all, &with_key, err) < 0)
            return -1;
        json_array_append_new(list,
                              json_pack("{s:s, s:b, s:I}", "key", keys.items[i].name, "writes",
                                        (int)(i == 0), "secrets", (json_int_t)with_key));
        if (!options->site.json)
            printf("%-8s %s  %llu of %llu Secrets\n", keys.items[i].name,
                   i == 0 ? "writes" : "reads ", (unsigned long long)with_key,
                   (unsigned long long)all);
    }
    if (!options->site.json)
        return 0;
    kp_auto_json out = json_pack("{s:I, s:O}", "secrets", (json_int_t)all, "keys", list);
    return kp_json_end(out, 0, err);
}

/* Returns result. */
static int end_rotation(const struct kp_site *site, const struct options *options, int result,
                        struct kp_err *err)
{
    if (options->site.json) {
        kp_auto_json nodes = kp_report_nodes(site);
        kp_auto_json out =
            json_pack("{s:s, s:s, s:b, s:O}", "cluster", site->inventory->cluster, "key",
                      site->encryption.key, "plan", (int)options->plan, "nodes", nodes);
        return kp_json_end(out, result, err);
    }
    if (result == 0 && options->plan)
        printf("this is what encryption rotate would do; nothing was changed\n");
    else if (result == 0)
        printf("every Secret of %s is encrypted with %s; the old key is kept in "
               "encryption-retired.yaml of the state folder, for snapshots made before\n",
               site->inventory->cluster, site->encryption.key);
    return result;
}

static int run_rotate(const struct options *options, struct kp_err *err)
{
    kp_auto(kp_open_site) open = NULL;
    bool again = false;
    size_t count;
    const struct kp_step *const *phases = kp_encryption_phases(&count);
    if (open_site(&open, options, options->plan ? KP_SITE_READ_ONLY | KP_SITE_DRY_RUN : 0, err) < 0)
        return -1;
    struct kp_site *site = kp_site_of(open);
    if ((!options->plan && kp_site_lock_nodes(open, err) < 0) ||
        kp_encryption_begin(site, &again, err) < 0)
        return -1;
    if (again)
        kp_screen_line(site->screen, "going on with the rotation to %s", site->encryption.key);
    kp_journal_note(site->journal, "encryption rotate", NULL, NULL, site->encryption.id);
    int result = kp_steps_run(site, phases, count, err);
    if (result < 0) {
        kp_report_failures(site, AGAIN, stderr);
        kp_hint(err, AGAIN);
    } else if (!options->plan) {
        result = kp_encryption_end(site, err);
    }
    return end_rotation(site, options, result, err);
}

static int run_encryption(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *options = user;
    (void)argc;
    if (strcmp(argv[0], "rotate") == 0)
        return run_rotate(options, err);
    if (strcmp(argv[0], "status") != 0)
        return kp_fail(err, KP_USAGE, "status or rotate is needed, not %s", argv[0]);
    if (options->plan)
        return kp_fail(err, KP_USAGE, "--plan is of encryption rotate");
    return run_status(options, err);
}

const struct kp_command kp_cmd_encryption = {
    "encryption",
    "status|rotate",
    1,
    1,
    "the keys that encrypt Secrets in etcd; rotate: a new one, and every Secret written again",
    "status: how many Secrets which key has encrypted, counted in etcd. rotate: every API server "
    "reads the new key, then every one writes with it, all Secrets are written again and counted, "
    "and only then the old key goes; control planes one by one. Cut off, the same command goes on.",
    option_table,
    sizeof(struct options),
    run_encryption,
};
