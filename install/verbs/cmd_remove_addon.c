/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"
#include "install/addons/addons.h"
#include "install/audit/audit_log.h"
#include "install/confirm.h"
#include "install/journal.h"
#include "install/site.h"
#include "install/steps/common.h"
#include "install/verbs/cmd.h"

#include <stdio.h>

struct options {
    struct kp_site_options site;
    bool undo, whole, plan, yes;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"plan", 0, KP_OPT_FLAG, offsetof(struct options, plan), NULL,
     "show what it has put into the cluster; touches nothing", 0},
    {"whole", 0, KP_OPT_FLAG, offsetof(struct options, whole), NULL,
     "also namespaces and kinds that hold what is not of the add-on", 0},
    {"undo", 0, KP_OPT_FLAG, offsetof(struct options, undo), NULL,
     "it may come back: the next kinstall apply puts it in again", 0},
    {"yes", 'y', KP_OPT_FLAG, offsetof(struct options, yes), NULL, "do not ask", 0},
    {.name = NULL},
};

static const char *state_of(const struct kp_record *record)
{
    return record->removed ? "removed" : "there";
}

static void print_table(const struct kp_records *records)
{
    static const char *const heads[] = {"ADD-ON", "VERSION", "STATE", "OBJECTS"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    kp_table_right(table, 3);
    for (size_t i = 0; i < records->count; i++) {
        const struct kp_record *record = &records->items[i];
        kp_table_cell(table, KP_PLAIN, "%s", record->name);
        kp_table_cell(table, KP_PLAIN, "%s", *record->version ? record->version : "-");
        kp_table_cell(table, record->removed ? KP_DIM : KP_PLAIN, "%s", state_of(record));
        kp_table_cell(table, KP_PLAIN, "%zu", record->count);
    }
    kp_table_print(table, stdout);
}

static void print_json(const struct kp_records *records)
{
    kp_auto_json out = json_array();
    for (size_t i = 0; i < records->count; i++) {
        const struct kp_record *record = &records->items[i];
        json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:I}", "name", record->name,
                                             "version", record->version, "state", state_of(record),
                                             "objects", (json_int_t)record->count));
    }
    kp_json_print(out);
}

static int find(struct kp_records *records, const char *name, struct kp_record **out,
                struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    const char *known = "";
    *out = kp_records_find(records, name);
    if (*out)
        return 0;
    for (size_t i = 0; i < records->count; i++)
        known = kp_arena_printf(arena, "%s%s%s", known, i ? ", " : "", records->items[i].name);
    kp_fail_as(err, KP_USAGE, "unknown_addon", "the cluster has no add-on %s", name);
    return kp_hint(err, "it has %s", *known ? known : "none");
}

static void print_objects(const struct kp_record *record)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    for (size_t i = record->count; i > 0; i--)
        printf("  %s%s\n", kp_record_text(arena, &record->objects[i - 1]),
               record->objects[i - 1].foreign ? "  (was there before: stays)" : "");
    printf("%s has %zu object%s; nothing was changed\n", record->name, record->count,
           record->count == 1 ? "" : "s");
}

static int bring_back(struct kp_open_site *open, struct kp_records *records,
                      struct kp_record *record, struct kp_err *err)
{
    struct kp_site *site = kp_site_of(open);
    record->removed = NULL;
    if (kp_site_lock_nodes(open, err) < 0)
        return -1;
    kp_journal_note(site->journal, "remove-addon", NULL, NULL, "undo");
    if (kp_records_store(records, site, err) < 0 || kp_audit_log_end(site->audit, NULL, err) < 0)
        return -1;
    printf("%s may come back; now: kinstall apply with its bundle\n", record->name);
    return 0;
}

static void print_removed(const struct kp_record *record, size_t count, const json_t *stays)
{
    size_t i;
    const json_t *text;
    json_array_foreach(stays, i, text) printf("  stays     %s\n", json_string_value(text));
    printf("%s is out of the cluster: %zu of %zu objects deleted; it stays away until: kinstall "
           "remove-addon --undo %s\n",
           record->name, count - json_array_size(stays), count, record->name);
}

static int take_away(struct kp_open_site *open, struct kp_records *records,
                     struct kp_record *record, const struct options *options, struct kp_err *err)
{
    struct kp_site *site = kp_site_of(open);
    size_t count = record->count;
    kp_auto_json stays = json_array();
    kp_auto_free char *what = kp_asprintf("This deletes the %zu objects of %s from the cluster %s",
                                          count, record->name, site->inventory->cluster);
    if (kp_confirm(options->yes, what, "the add-on's name", record->name, err) < 0 ||
        kp_site_lock_nodes(open, err) < 0)
        return -1;
    kp_journal_note(site->journal, "remove-addon", NULL, NULL, record->name);
    int result = kp_addon_remove(site, records, record, options->whole, stays, err);
    struct kp_err ignored = KP_ERR_INIT;
    if (kp_audit_log_end(site->audit, result < 0 ? err->message : NULL,
                         result < 0 ? &ignored : err) < 0)
        return -1;
    if (result < 0)
        return kp_hint(err, "run the same command again to continue");
    if (options->site.json) {
        kp_auto_json out = json_pack("{s:s, s:I, s:O}", "removed", record->name, "objects",
                                     (json_int_t)count, "stays", stays);
        kp_json_print(out);
    } else {
        print_removed(record, count, stays);
    }
    return 0;
}

static int run_remove_addon(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    kp_auto(kp_records) records = NULL;
    struct kp_record *record;
    bool reads = argc == 0 || options->plan;
    if (kp_site_open(&open, &options->site,
                     KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT | (reads ? KP_SITE_READ_ONLY : 0),
                     err) < 0 ||
        kp_site_connect(open, err) < 0)
        return -1;
    struct kp_site *site = kp_site_of(open);
    if (kp_first(site)->failed)
        return kp_fail_as(err, KP_FAILED, "no_control_plane", "%s cannot be reached: %s",
                          kp_first(site)->node->name, kp_first(site)->failure.message);
    if (kp_records_load(&records, site, err) < 0)
        return -1;
    if (argc == 0) {
        (options->site.json ? print_json : print_table)(records);
        return 0;
    }
    if (find(records, argv[0], &record, err) < 0)
        return -1;
    if (options->plan) {
        print_objects(record);
        return 0;
    }
    if (options->undo)
        return bring_back(open, records, record, err);
    if (record->removed && !record->count) {
        printf("%s was removed %s; nothing had to be changed\n", record->name, record->removed);
        return 0;
    }
    return take_away(open, records, record, options, err);
}

const struct kp_command kp_cmd_remove_addon = {
    "remove-addon",
    "[NAME]",
    0,
    1,
    "takes an add-on, a manifest or a chart out of the cluster; without NAME lists them",
    "Deletes exactly what was applied for it and is still so: not what was there before, what "
    "another add-on has too, or a namespace or kind that holds something else (it says so). It "
    "stays away until --undo.",
    option_table,
    sizeof(struct options),
    run_remove_addon,
};
