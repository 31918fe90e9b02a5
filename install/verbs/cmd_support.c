/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"
#include "install/site.h"
#include "install/support/gather.h"
#include "install/verbs/cmd.h"

#include <stdio.h>
#include <time.h>

struct options {
    struct kp_site_options site;
    const char *output;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"output", 'o', KP_OPT_TEXT, offsetof(struct options, output), "FILE",
     "where it goes (<cluster>-support-<time>.tar.zst)", 0},
    {.name = NULL},
};

static char *default_name(const struct kp_site *site)
{
    struct kp_text when = kp_text_utc(time(NULL)); // 2026-11-23T21:00:00Z
    for (char *c = when.s; *c; c++)
        if (*c == ':')
            *c = '-';
    return kp_asprintf("%s-support-%s.tar.zst", site->inventory->cluster, when.s);
}

static int describe(struct kp_archive *archive, const struct kp_site *site,
                    const struct kp_gathered *got, struct kp_err *err)
{
    kp_auto_free char *text = kp_asprintf(
        "Cluster %s, %s.\n\n"
        "nodes/NAME/   what each node says of itself; unreachable.txt where it does not answer\n"
        "cluster/      what the API server says (asked on %s)\n"
        "admin/        kinstall's journal, logs and inventory\n\n"
        "%zu secrets were taken out (%s). Keys, kubeconfigs and Secrets were never read into this\n"
        "archive; %s. Look it through before it leaves the site.\n",
        site->inventory->cluster, kp_text_utc(time(NULL)).s,
        got->cluster_of ? got->cluster_of : "none: it is down", got->removed, KP_REDACTED,
        got->secrets_known
            ? "values of the cluster's Secrets are taken out wherever they stood"
            : "the cluster's Secrets could NOT all be read, so that a value of theirs "
              "that a program wrote into its log may still stand there");
    return kp_archive_add(archive, "README.txt", kp_slice_of(text), err);
}

static void print_end(const struct options *options, const char *path, uint64_t size,
                      const struct kp_gathered *got, size_t nodes)
{
    if (options->site.json) {
        kp_auto_json out =
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:b, s:b}", "file", path, "size", (json_int_t)size,
                      "files", (json_int_t)got->files, "removed", (json_int_t)got->removed,
                      "silent", (json_int_t)got->silent, "cluster", got->cluster_of != NULL,
                      "secrets_known", (int)got->secrets_known);
        kp_json_end(out, 0, NULL);
        return;
    }
    printf("wrote     %s   %s, %zu files, %zu secrets taken out\n", path, kp_text_bytes(size).s,
           got->files, got->removed);
    if (got->silent)
        printf("          %zu of %zu nodes could not be asked\n", got->silent, nodes);
    if (!got->cluster_of)
        printf("          no API server answers: the cluster itself is not in it\n");
    else if (!got->secrets_known)
        printf("          not all Secrets could be read to be looked for: see README.txt in it\n");
}

static int run_support(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    (void)argv;
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    kp_auto(kp_redactor) redactor = kp_redactor_new();
    kp_auto(kp_archive) archive = NULL;
    struct kp_gathered got = {0};
    uint64_t size;
    if (kp_site_open(&open, &options->site,
                     KP_SITE_READ_ONLY | KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT, err) < 0 ||
        kp_site_connect(open, err) < 0)
        return -1;
    struct kp_site *site = kp_site_of(open);
    kp_auto_free char *path = options->output ? kp_strdup(options->output) : default_name(site);
    if (kp_archive_new(&archive, path, err) < 0 ||
        kp_gather(site, redactor, archive, &got, err) < 0 ||
        describe(archive, site, &got, err) < 0 || kp_archive_finish(archive, &size, err) < 0)
        return -1;
    print_end(options, path, size, &got, site->node_count);
    return 0;
}

const struct kp_command kp_cmd_support = {
    "support",
    "",
    0,
    0,
    "collects logs and states of all nodes into one file, secrets taken out",
    "Journals, static pods, settings, containers and their logs, etcd, disk, time, what the API "
    "server says, and kinstall's own journal. Works also where nodes are dead or the API is down: "
    "what does not answer is named. Changes nothing.",
    option_table,
    sizeof(struct options),
    run_support,
};
