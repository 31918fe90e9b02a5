/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/revocations.h"
#include "bundle/trust_list.h"
#include "core/file.h"
#include "core/json.h"
#include "core/screen.h"
#include "install/verbs/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct options {
    bool system, json;
};

static const struct kp_option option_table[] = {
    {"system", 0, KP_OPT_FLAG, offsetof(struct options, system), NULL,
     "for everybody on this host (/etc/kpack/trusted.d)", 0},
    {"json", 0, KP_OPT_FLAG, offsetof(struct options, json), NULL, "one JSON document", 0},
    {.name = NULL},
};

static char *trust_folder(const struct options *options)
{
    kp_auto_free char *config = kp_xdg_dir("config");
    return options->system ? kp_strdup("/etc/kpack/trusted.d")
                           : kp_path_join(config, "kpack/trusted.d");
}

static int no_loose_keys(const char *folder, struct kp_err *err)
{
    if (!kp_trust_folder_has_list(folder))
        return 0;
    kp_fail(err, KP_USAGE, "%s has a trust list: its keys change by a new list only", folder);
    return kp_hint(err, "where the keys are: kpack trust next, kpack trust sign; here: kinstall "
                        "trust import FILE.json");
}

static int add_key(const struct options *options, const char *path, struct kp_err *err)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    if (kp_trust_add_file(trust, path, err) < 0)
        return -1;
    const struct kp_trust_key *key = kp_trust_at(trust, 0);
    kp_auto_free char *folder = trust_folder(options);
    kp_auto_free char *name = kp_asprintf("%s.pub", key->name);
    kp_auto_free char *target = kp_path_join(folder, name);
    kp_auto_free char *pem = kp_trust_pem(trust, 0);
    if (no_loose_keys(folder, err) < 0)
        return -1;
    if (kp_file_exists(target)) {
        kp_auto(kp_trust) there = kp_trust_new();
        if (kp_trust_add_file(there, target, err) < 0)
            return -1;
        if (!kp_digest_equal(&kp_trust_at(there, 0)->id, &key->id))
            return kp_fail(err, KP_USAGE, "%s is there already and is another key", target);
    }
    if (kp_mkdirs(folder, options->system ? 0755 : 0700, err) < 0 ||
        kp_file_write_atomic(target, kp_slice_of(pem), 0644, err) < 0)
        return -1;
    if (options->json) {
        kp_auto_json out =
            json_pack("{s:s, s:s}", "name", key->name, "id", kp_digest_hex(&key->id).hex);
        return kp_json_end(out, 0, err);
    }
    printf("trusted   %s  %s\n          compare the fingerprint by another way than the bundle "
           "came\n",
           key->name, kp_digest_hex(&key->id).hex);
    return 0;
}

static json_t *roles_json(unsigned roles)
{
    json_t *out = json_array();
    for (unsigned i = 0; i < KP_KEY_ROLES; i++)
        if (roles & 1U << i)
            json_array_append_new(out, json_string(kp_key_role_text(1U << i)));
    return out;
}

static json_t *trust_json(const struct kp_trust *trust)
{
    const struct kp_trust_list *list = kp_trust_list_of(trust);
    json_t *keys = json_array(), *thresholds = json_object();
    for (size_t i = 0; i < kp_trust_count(trust); i++) {
        const struct kp_trust_key *key = kp_trust_at(trust, i);
        const char *why = kp_revoked_why(kp_trust_revoked(trust), KP_REVOKED_KEY, &key->id);
        json_array_append_new(keys, json_pack("{s:s, s:s, s:o, s:s*, s:s*, s:s*}", "name",
                                              key->name, "id", kp_digest_hex(&key->id).hex, "roles",
                                              roles_json(key->roles), "not_before", key->not_before,
                                              "not_after", key->not_after, "revoked", why));
    }
    for (unsigned i = 0; i < KP_KEY_ROLES; i++)
        json_object_set_new(thresholds, kp_key_role_text(1U << i),
                            json_integer(kp_trust_threshold(trust, 1U << i)));
    return json_pack("{s:I, s:o, s:o, s:o}", "version", (json_int_t)(list ? list->version : 0),
                     "thresholds", thresholds, "keys", keys, "revoked",
                     kp_revoked_json(kp_trust_revoked(trust)));
}

static void print_keys(const struct kp_trust *trust)
{
    static const char *const heads[] = {"NAME", "KEY", "ROLES", "FROM", "UNTIL", "STATE"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    for (size_t i = 0; i < kp_trust_count(trust); i++) {
        const struct kp_trust_key *key = kp_trust_at(trust, i);
        const char *why = kp_revoked_why(kp_trust_revoked(trust), KP_REVOKED_KEY, &key->id);
        kp_table_cell(table, KP_PLAIN, "%s", key->name);
        kp_table_cell(table, KP_PLAIN, "%s", kp_digest_hex(&key->id).hex);
        kp_table_cell(table, KP_PLAIN, "%s%s%s%s", key->roles & KP_KEY_SIGN ? "sign " : "",
                      key->roles & KP_KEY_REVOKE ? "revoke " : "",
                      key->roles & KP_KEY_ROOT ? "root " : "",
                      key->roles & KP_KEY_HOOKS ? "hooks" : "");
        kp_table_cell(table, KP_PLAIN, "%s", key->not_before ? key->not_before : "");
        kp_table_cell(table, KP_PLAIN, "%s", key->not_after ? key->not_after : "");
        kp_table_cell(table, why ? KP_RED : KP_GREEN, "%s%s", why ? "revoked: " : "trusted",
                      why ? why : "");
    }
    kp_table_print(table, stdout);
}

static void print_trust(const struct kp_trust *trust)
{
    const struct kp_trust_list *list = kp_trust_list_of(trust);
    if (!kp_trust_count(trust)) {
        printf("no trusted keys; add one: kinstall trust add FILE.pub\n");
        return;
    }
    print_keys(trust);
    if (list)
        printf("trust list version %llu of %s: %u key%s must sign a bundle, %u the next list\n",
               (unsigned long long)list->version, list->created, list->thresholds[0],
               list->thresholds[0] == 1 ? "" : "s", list->thresholds[2]);
    if (kp_revoked_count(kp_trust_revoked(trust)))
        printf("%zu keys and bundles are revoked (--json names them)\n",
               kp_revoked_count(kp_trust_revoked(trust)));
}

static int list_keys(const struct options *options, struct kp_err *err)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    if (kp_trust_add_default(trust, err) < 0)
        return -1;
    if (!options->json) {
        print_trust(trust);
        return 0;
    }
    kp_auto_json out = trust_json(trust);
    kp_json_print(out);
    return 0;
}

static int remove_key(const struct options *options, const char *name, struct kp_err *err)
{
    kp_auto_free char *folder = trust_folder(options);
    kp_auto_free char *file = kp_asprintf("%s.pub", name);
    kp_auto_free char *path = kp_path_join(folder, file);
    if (no_loose_keys(folder, err) < 0)
        return -1;
    if (strchr(name, '/') || !kp_file_exists(path))
        return kp_fail(err, KP_USAGE, "no trusted key %s in %s", name, folder);
    if (unlink(path) < 0)
        return kp_fail_sys(err, errno, "remove %s", path);
    if (options->json) {
        kp_auto_json out = json_pack("{s:s}", "removed", path);
        return kp_json_end(out, 0, err);
    }
    printf("removed   %s\n", path);
    return 0;
}

static bool is_revocations(const char *path)
{
    kp_auto(kp_document) document = NULL;
    kp_auto_json value = NULL;
    return kp_document_load(&document, path, NULL) == 0 &&
           kp_document_parse(&value, document, KP_REVOCATIONS_KIND, NULL) == 0;
}

/* What is taken goes into `took` where that is not NULL, else it is printed. */
static int import_revocations(const struct kp_trust *trust, const char *folder, const char *path,
                              json_t *took, struct kp_err *err)
{
    kp_auto(kp_document) document = NULL;
    kp_auto(kp_revoked) set = kp_revoked_new();
    bool counted = false, changed = false;
    if (kp_document_load(&document, path, err) < 0 ||
        kp_revocations_take(set, document, trust, &counted, err) < 0)
        return kp_wrap(err, "%s", path);
    if (!counted)
        return kp_fail_as(err, KP_UNTRUSTED, "threshold",
                          "%s: not signed by the %u keys of role revoke that this site asks for",
                          path, kp_trust_threshold(trust, KP_KEY_REVOKE));
    if (kp_revoked_keep(set, folder, &changed, err) < 0)
        return -1;
    if (took)
        return json_array_append_new(took, json_pack("{s:s, s:I, s:b}", "revocations", path,
                                                     "count", (json_int_t)kp_revoked_count(set),
                                                     "new", (int)changed));
    printf("revoked   %zu keys and bundles of %s%s\n", kp_revoked_count(set), path,
           changed ? "" : "; all were known");
    return 0;
}

static int import_lists(const struct kp_trust *trust, const char *folder,
                        const struct kp_trust_chain *lists, json_t *took, struct kp_err *err)
{
    size_t first = 0;
    if (!lists->count)
        return 0;
    if (kp_trust_chain_accept(trust, lists, &first, err) < 0 ||
        kp_trust_chain_keep(lists, first, folder, err) < 0)
        return -1;
    const struct kp_trust_list *newest = lists->lists[lists->count - 1];
    if (took)
        return json_array_append_new(took, json_pack("{s:I, s:s, s:b}", "version",
                                                     (json_int_t)newest->version, "digest",
                                                     kp_digest_hex(&newest->document->id).hex,
                                                     "new", (int)(first < lists->count)));
    printf("%s  version %llu   %zu keys   %u must sign a bundle\n          digest %s\n",
           first < lists->count ? "trusted " : "in use  ", (unsigned long long)newest->version,
           newest->key_count, newest->thresholds[0], kp_digest_hex(&newest->document->id).hex);
    if (!kp_trust_count(trust))
        printf("          nothing was trusted before: compare the digest by another way than the "
               "file came\n");
    return 0;
}

static int import_files(const struct options *options, int count, char **paths, json_t *took,
                        struct kp_err *err)
{
    kp_auto_free char *folder = trust_folder(options);
    kp_auto(kp_trust) before = kp_trust_new();
    kp_auto(kp_trust) after = kp_trust_new();
    kp_auto_value(kp_trust_chain) lists = {.count = 0};
    for (int i = 0; i < count; i++)
        if (!is_revocations(paths[i]) && kp_trust_chain_add(&lists, paths[i], err) < 0)
            return -1;
    if (kp_trust_add_folder(before, folder, err) < 0 ||
        import_lists(before, folder, &lists, took, err) < 0 ||
        kp_trust_add_folder(after, folder, err) < 0)
        return -1;
    for (int i = 0; i < count; i++)
        if (is_revocations(paths[i]) && import_revocations(after, folder, paths[i], took, err) < 0)
            return -1;
    return 0;
}

static int import(const struct options *options, int count, char **paths, struct kp_err *err)
{
    kp_auto_json took = options->json ? json_array() : NULL;
    int result = import_files(options, count, paths, took, err);
    if (!took)
        return result;
    kp_auto_json out = json_pack("{s:O}", "imported", took);
    return kp_json_end(out, result, err);
}

static int run_trust(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *options = user;
    bool one = argc == 2;
    if (strcmp(argv[0], "list") == 0 && argc == 1)
        return list_keys(options, err);
    if (strcmp(argv[0], "add") == 0 && one)
        return add_key(options, argv[1], err);
    if (strcmp(argv[0], "remove") == 0 && one)
        return remove_key(options, argv[1], err);
    if (strcmp(argv[0], "import") == 0 && argc >= 2)
        return import(options, argc - 1, argv + 1, err);
    return kp_fail(err, KP_USAGE, "add FILE.pub, remove NAME, import FILE… or list is needed");
}

const struct kp_command kp_cmd_trust = {
    "trust",
    "add FILE.pub | remove NAME | import FILE… | list",
    1,
    KP_TRUST_CHAIN_MAX,
    "the keys whose signatures are accepted here",
    "import takes trust lists and revocations (FILE.json with FILE.sig beside it, made by kpack "
    "trust and kpack revoke). A list is taken only where the one before it has signed it; several "
    "steps are taken at once.",
    option_table,
    sizeof(struct options),
    run_trust,
};
