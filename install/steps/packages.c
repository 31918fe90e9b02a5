/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/packages.h"

#include "bundle/names.h"
#include "install/steps/common.h"

#define RECORD_MAX ((size_t)1 << 20)
#define INSTALL_TIMEOUT 900
#define ASK_TIMEOUT 60
#define PACKAGES_MAX 200

struct packages { /* of one node */
    struct kp_arena *arena;
    enum kp_family family;
    const struct kp_file *files[PACKAGES_MAX]; /* that are to be installed */
    size_t count;
    json_t *purge, *remove; /* names that reset takes away, with or without their configuration */
};

static void packages_release(struct packages *p)
{
    kp_arena_free(p->arena);
    json_decref(p->purge);
    json_decref(p->remove);
}
KP_DEFINE_AUTO_VALUE(packages);

static enum kp_family family_of(const struct kp_site_node *node)
{
    const json_t *os = json_object_get(json_object_get(node->facts, "system"), "os");
    return kp_family_of(json_string_value(json_object_get(os, "id")),
                        json_string_value(json_object_get(os, "id_like")));
}

/* dpkg's words: wanted, state, error (dpkg-query(1), Status-Abbrev). */
static enum kp_package_state dpkg_state(struct kp_slice words)
{
    if (words.len < 2 || words.ptr[1] == 'n')
        return KP_PACKAGE_ABSENT;
    if (words.ptr[1] == 'c')
        return KP_PACKAGE_TRACES;
    return words.ptr[1] == 'i' && (words.len < 3 || words.ptr[2] == ' ') ? KP_PACKAGE_THERE
                                                                         : KP_PACKAGE_BROKEN;
}

static bool is_same_arch(struct kp_slice theirs, const char *arch)
{
    static const char *const always[] = {"all", "noarch"};
    const char *rpm = strcmp(arch, "amd64") == 0 ? "x86_64" : "aarch64";
    return kp_slice_equal(theirs, arch) || kp_slice_equal(theirs, rpm) ||
           kp_slice_equal(theirs, always[0]) || kp_slice_equal(theirs, always[1]);
}

enum kp_package_state kp_package_state_of(struct kp_slice answer, enum kp_family family,
                                          const char *name, const char *arch, char **version)
{
    struct kp_slice line, package, their_arch, words;
    enum kp_package_state best = KP_PACKAGE_ABSENT;
    *version = NULL;
    // NAME, ARCH, STATE, VERSION; other lines are the tool's talk.
    while (kp_slice_line(&answer, &line)) {
        if (!kp_slice_cut(&line, '\t', &package) || !kp_slice_equal(package, name) ||
            !kp_slice_cut(&line, '\t', &their_arch) || !is_same_arch(their_arch, arch) ||
            !kp_slice_cut(&line, '\t', &words))
            continue;
        enum kp_package_state state =
            family == KP_FAMILY_DEBIAN ? dpkg_state(words) : KP_PACKAGE_THERE;
        if (state < best)
            continue;
        best = state;
        kp_free(*version);
        *version = state == KP_PACKAGE_THERE ? kp_strndup(line.ptr, line.len) : NULL;
    }
    return best;
}

/* Is what is installed at least what is carried? The distribution's own order decides. */
static int is_current(struct kp_site *site, struct kp_site_node *node, struct packages *p,
                      const struct kp_file *file, const char *have, bool *current,
                      struct kp_err *err)
{
    const char *lua =
        kp_arena_printf(p->arena, "%%{lua:print(rpm.vercmp(\"%s\",\"%s\"))}", have, file->version);
    const char *dpkg[] = {"dpkg", "--compare-versions", have, "ge", file->version, NULL};
    const char *rpm[] = {"rpm", "--eval", lua, NULL};
    bool debian = p->family == KP_FAMILY_DEBIAN;
    kp_auto_free char *said = NULL;
    int status;
    *current = strcmp(have, file->version) == 0;
    if (*current || !kp_version_ok(have))
        return 0;
    if (kp_ask(site, node, debian ? dpkg : rpm, ASK_TIMEOUT, &status, &said, err) < 0)
        return -1;
    *current = status == 0 && (debian || (said && said[0] != '-'));
    return 0;
}

static int ask_states(struct kp_site *site, struct kp_site_node *node, const struct packages *p,
                      const struct kp_file *const *carried, size_t n, char **out,
                      struct kp_err *err)
{
    static const char format[] =
        "${Package}\\t${Architecture}\\t${db:Status-Abbrev}\\t${Version}\\n";
    const char *argv[PACKAGES_MAX + 8] = {"dpkg-query", "-W", "-f", format};
    size_t at = 4;
    int status; // another than 0: some are not there
    if (p->family != KP_FAMILY_DEBIAN) {
        argv[0] = "rpm";
        argv[1] = "-q";
        argv[2] = "--qf";
        argv[3] = "%{NAME}\\t%{ARCH}\\t-\\t%{VERSION}-%{RELEASE}\\n";
    }
    for (size_t i = 0; i < n; i++) {
        kp_auto_free char *name = kp_package_name(carried[i]);
        argv[at++] = kp_arena_strdup(p->arena, name);
    }
    return kp_ask(site, node, argv, ASK_TIMEOUT, &status, out, err);
}

static void add_name(json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), name) == 0)
            return;
    json_array_append_new(list, json_string(name));
}

/* What has to be installed, and what of it was not there before. */
static int choose(struct kp_site *site, struct kp_site_node *node, struct packages *p,
                  struct kp_err *err)
{
    const struct kp_file *carried[PACKAGES_MAX];
    kp_auto_free char *answer = NULL;
    size_t n = 0;
    for (size_t i = 0; i < site->manifest->file_count; i++) {
        if (!kp_package_fits(&site->manifest->files[i], p->family, node->arch, node->node->roles))
            continue;
        if (n == PACKAGES_MAX)
            return kp_fail(err, KP_FAILED, "more than %d packages for one node", PACKAGES_MAX);
        carried[n++] = &site->manifest->files[i];
    }
    if (n == 0)
        return 0;
    if (ask_states(site, node, p, carried, n, &answer, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        kp_auto_free char *name = kp_package_name(carried[i]), *have = NULL;
        bool current = false;
        enum kp_package_state state =
            kp_package_state_of(kp_slice_of(answer), p->family, name, node->arch, &have);
        if (have && is_current(site, node, p, carried[i], have, &current, err) < 0)
            return -1;
        if (current)
            continue;
        p->files[p->count++] = carried[i];
        if (state == KP_PACKAGE_ABSENT || state == KP_PACKAGE_TRACES)
            add_name(state == KP_PACKAGE_ABSENT ? p->purge : p->remove, name);
    }
    return 0;
}

/* A list of the record; names that are none are left out: they would become arguments. */
static void read_names(const json_t *record, const char *key, json_t *out)
{
    const json_t *list = json_object_get(record, key);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name && kp_name_ok(name))
            add_name(out, name);
    }
}

static int read_record(struct kp_site_node *node, struct packages *p, bool *found,
                       struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF(RECORD_MAX);
    kp_auto_json record = NULL;
    p->arena = kp_arena_new();
    p->purge = json_array();
    p->remove = json_array();
    if (kp_session_get(node->session, KP_PACKAGES_RECORD, &text, found, err) < 0)
        return -1;
    if (!*found)
        return 0;
    if (kp_json_parse(&record, kp_buf_slice(&text), RECORD_MAX, KP_PACKAGES_RECORD, err) < 0)
        return -1;
    read_names(record, "purge", p->purge);
    read_names(record, "remove", p->remove);
    return 0;
}

/* Before anything is installed: a run that is cut off must leave reset with the truth. */
static int write_record(struct kp_site *site, struct kp_site_node *node, const struct packages *p,
                        struct kp_err *err)
{
    kp_auto_json record = json_pack("{s:O, s:O}", "purge", p->purge, "remove", p->remove);
    kp_auto_free char *text = kp_json_dump(record, false);
    if (json_array_size(p->purge) + json_array_size(p->remove) == 0)
        return 0;
    return kp_place(site, node, KP_PACKAGES_RECORD, kp_slice_of(text), 0600, NULL, err);
}

static const char *const install_env[] = {KP_PATH_ENV, "DEBIAN_FRONTEND=noninteractive",
                                          "DEBIAN_PRIORITY=critical", "LC_ALL=C", NULL};

static int install(struct kp_site *site, struct kp_site_node *node, const struct packages *p,
                   struct kp_err *err)
{
    const char *argv[PACKAGES_MAX + 8] = {"rpm", "-U"};
    size_t at = 2;
    kp_auto_value(kp_run_result) result = {0};
    if (p->family == KP_FAMILY_DEBIAN) {
        static const char *const dpkg[] = {"dpkg", "--install", "--force-confdef",
                                           "--force-confold", "--refuse-downgrade"};
        memcpy(argv, dpkg, sizeof(dpkg));
        at = KP_COUNT(dpkg);
    }
    for (size_t i = 0; i < p->count; i++)
        argv[at++] = p->files[i]->target;
    const struct kp_run run = {
        .argv = argv, .env = install_env, .timeout = INSTALL_TIMEOUT, .unit = "kpack-packages"};
    kp_step_note(site, node, "installing %zu package%s", p->count, p->count == 1 ? "" : "s");
    if (kp_step_run(site, node, &run, &result, err) == 0)
        return 0;
    return kp_hint(err, "where it says that something else is needed: kpack create --package with "
                        "that as well");
}

int kp_packages_apply(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    kp_auto_value(packages) p = {.family = family_of(node)};
    bool found;
    if (p.family == KP_FAMILIES)
        return 0;
    if (read_record(node, &p, &found, err) < 0 || choose(site, node, &p, err) < 0)
        return -1;
    if (p.count == 0)
        return 0;
    if (write_record(site, node, &p, err) < 0)
        return -1;
    for (size_t i = 0; i < p.count; i++)
        if (kp_place_file(site, node, p.files[i]->name, false, NULL, err) < 0)
            return -1;
    if (!site->dry_run && install(site, node, &p, err) < 0)
        return -1;
    for (size_t i = 0; i < p.count; i++) {
        kp_auto_free char *what =
            kp_asprintf("install the package %s", kp_package_file(p.files[i]));
        kp_step_changed(site, node, what, &change);
    }
    return 0;
}

static int take_away(struct kp_site *site, struct kp_site_node *node, const json_t *names,
                     const char *const *command, struct kp_err *err)
{
    const char *argv[2 * PACKAGES_MAX] = {NULL};
    struct kp_change change = {.changed = true};
    kp_auto_value(kp_run_result) result = {0};
    size_t at = 0, n = json_array_size(names);
    if (n == 0)
        return 0;
    while (command[at]) {
        argv[at] = command[at];
        at++;
    }
    for (size_t i = 0; i < n && at + 1 < KP_COUNT(argv); i++)
        argv[at++] = json_string_value(json_array_get(names, i));
    const struct kp_run run = {
        .argv = argv, .env = install_env, .timeout = INSTALL_TIMEOUT, .unit = "kpack-packages"};
    if (kp_session_run(node->session, &run, &result, err) < 0)
        return kp_wrap(err, "%s", argv[0]);
    if (result.status != 0)
        kp_screen_line(site->screen, "  %-12s not every package went (%s): %.200s",
                       node->node->name, argv[0], kp_buf_slice(&result.err_out).ptr);
    kp_auto_free char *what = kp_asprintf("take away %zu package%s", n, n == 1 ? "" : "s");
    kp_step_changed(site, node, what, &change);
    return 0;
}

int kp_packages_reset(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char *const purge[] = {"dpkg", "--purge", NULL};
    static const char *const remove_only[] = {"dpkg", "--remove", NULL};
    static const char *const erase[] = {"rpm", "-e", NULL};
    kp_auto_value(packages) p = {.family = family_of(node)};
    bool found, debian = p.family == KP_FAMILY_DEBIAN;
    if (read_record(node, &p, &found, err) < 0)
        return -1;
    if (!found || p.family == KP_FAMILIES)
        return 0;
    if (take_away(site, node, p.remove, debian ? remove_only : erase, err) < 0 ||
        take_away(site, node, p.purge, debian ? purge : erase, err) < 0)
        return -1;
    return kp_place_removed(site, node, KP_PACKAGES_RECORD, NULL, err);
}
