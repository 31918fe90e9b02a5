/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Phase custom: labels, annotations and taints as the inventory has them. What was set here is
 * noted on the node's object in three annotations, so that what the inventory names no more is
 * taken away, and nothing that somebody else has set.
 */
#include "install/steps/common.h"

#define ARGS_MAX (4 * KP_LABELS_MAX + 8)
#define NOTED_LABELS "kpack.internal/labels"
#define NOTED_ANNOTATIONS "kpack.internal/annotations"
#define NOTED_TAINTS "kpack.internal/taints"
#define NO_TAINTS "-" /* the inventory said: none */
#define NOTE_MAX ((size_t)64 << 10)

static bool same(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* Taints that Kubernetes and network plugins set and take away by themselves. */
static bool is_of_the_system(const char *key)
{
    return kp_starts_with(key, "node.kubernetes.io/") || kp_starts_with(key, "node.cilium.io/") ||
           kp_starts_with(key, "node.cloudprovider.kubernetes.io/") ||
           kp_starts_with(key, "ToBeDeletedByClusterAutoscaler");
}

static const json_t *has_taint(const json_t *taints, const struct kp_taint *wanted)
{
    size_t i;
    const json_t *taint;
    json_array_foreach(taints, i, taint)
    {
        if (same(kp_json_string(taint, "key"), wanted->key) &&
            same(kp_json_string(taint, "effect"), wanted->effect))
            return taint;
    }
    return NULL;
}

static bool is_wanted(const struct kp_node *node, const json_t *taint)
{
    for (size_t i = 0; i < node->taint_count; i++)
        if (same(node->taints[i].key, kp_json_string(taint, "key")) &&
            same(node->taints[i].effect, kp_json_string(taint, "effect")))
            return true;
    return false;
}

static void add(struct kp_arena *arena, const char **args, size_t *n, const char *text)
{
    if (*n + 1 < ARGS_MAX)
        args[(*n)++] = kp_arena_strdup(arena, text);
}

static int change_node(struct kp_site *site, struct kp_site_node *node, const char **args, size_t n,
                       size_t fixed, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    struct kp_slice none = {0};
    if (n == fixed)
        return 0;
    kp_auto_value(kp_buf) what = KP_BUF(65536);
    kp_buf_adds(&what, args[0]);
    for (size_t i = fixed; i < n; i++)
        kp_buf_addf(&what, " %s", args[i]);
    if (!site->dry_run && kp_kube(site, args, none, NULL, err) < 0)
        return kp_wrap(err, "%s", node->node->name);
    kp_step_changed(site, node, kp_buf_slice(&what).ptr, &change);
    return 0;
}

struct marks {               /* labels or annotations of a node */
    const char *verb, *note; /* kubectl's; the annotation that says which are ours */
    const struct kp_pair *pairs;
    size_t count;
};

static bool wants_mark(const struct marks *marks, struct kp_slice key)
{
    for (size_t i = 0; i < marks->count; i++)
        if (kp_slice_equal(key, marks->pairs[i].key))
            return true;
    return false;
}

/* "key:effect" */
static bool wants_taint(const struct kp_node *node, struct kp_slice word)
{
    for (size_t i = 0; i < node->taint_count; i++) {
        kp_auto_free char *one = kp_asprintf("%s:%s", node->taints[i].key, node->taints[i].effect);
        if (kp_slice_equal(word, one))
            return true;
    }
    return false;
}

static bool has_word(const json_t *taints, struct kp_slice word)
{
    size_t i;
    const json_t *taint;
    json_array_foreach(taints, i, taint)
    {
        kp_auto_free char *one =
            kp_asprintf("%s:%s", kp_json_string(taint, "key"), kp_json_string(taint, "effect"));
        if (kp_slice_equal(word, one))
            return true;
    }
    return false;
}

static bool next_noted(struct kp_slice *rest, struct kp_slice *word)
{
    if (!rest->len)
        return false;
    if (!kp_slice_cut(rest, ',', word)) {
        *word = *rest;
        *rest = (struct kp_slice){"", 0};
    }
    return true;
}

/* The annotation as it should be; nothing of ours: it goes, or is not made. */
static int note_own(struct kp_site *site, struct kp_site_node *node, const json_t *annotations,
                    const char *key, struct kp_slice words, struct kp_err *err)
{
    const char *now = json_string_value(json_object_get(annotations, key));
    if (words.len ? now && kp_slice_equal(words, now) : !now)
        return 0;
    kp_auto_free char *set = words.len ? kp_asprintf("%s=%.*s", key, (int)words.len, words.ptr)
                                       : kp_asprintf("%s-", key);
    const char *args[] = {"annotate", "--overwrite", "node", node->node->name, set, NULL};
    return change_node(site, node, args, 5, 4, err);
}

static int set_marks(struct kp_site *site, struct kp_site_node *node, const struct marks *marks,
                     const json_t *have, const json_t *annotations, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    const char *args[ARGS_MAX] = {marks->verb, "--overwrite", "node", node->node->name};
    size_t n = 4;
    kp_auto_value(kp_buf) own = KP_BUF(NOTE_MAX);
    for (size_t i = 0; i < marks->count; i++) {
        const struct kp_pair *mark = &marks->pairs[i];
        const json_t *now = json_object_get(have, mark->key);
        kp_buf_addf(&own, "%s%s", i ? "," : "", mark->key);
        if (!now || !same(json_string_value(now), mark->value))
            add(arena, args, &n, kp_arena_printf(arena, "%s=%s", mark->key, mark->value));
    }
    struct kp_slice rest = kp_slice_of(kp_json_string(annotations, marks->note)), word;
    while (next_noted(&rest, &word)) {
        kp_auto_free char *key = kp_asprintf("%.*s", (int)word.len, word.ptr);
        if (!wants_mark(marks, word) && json_object_get(have, key))
            add(arena, args, &n, kp_arena_printf(arena, "%s-", key));
    }
    if (change_node(site, node, args, n, 4, err) < 0)
        return -1;
    return note_own(site, node, annotations, marks->note, kp_buf_slice(&own), err);
}

/* The role's own taint, which kubeadm sets: put back once the inventory says no more what taints
 * there shall be. Where it never did, somebody else took it away. */
static void add_role_taint(struct kp_arena *arena, const struct kp_node *node, const json_t *have,
                           const json_t *annotations, const char **args, size_t *n)
{
    static const struct kp_taint own = {"node-role.kubernetes.io/control-plane", NULL,
                                        "NoSchedule"};
    if (!node->taints_set && node->roles == KP_ROLE_CONTROL_PLANE &&
        json_object_get(annotations, NOTED_TAINTS) && !has_taint(have, &own))
        add(arena, args, n, kp_arena_printf(arena, "%s=:%s", own.key, own.effect));
}

static int set_taints(struct kp_site *site, struct kp_site_node *node, const json_t *have,
                      const json_t *annotations, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    const char *args[ARGS_MAX] = {"taint", "--overwrite", "node", node->node->name};
    size_t n = 4, i;
    const json_t *taint;
    kp_auto_value(kp_buf) own = KP_BUF(NOTE_MAX);
    for (size_t j = 0; j < node->node->taint_count; j++) {
        const struct kp_taint *wanted = &node->node->taints[j];
        const json_t *now = has_taint(have, wanted);
        kp_buf_addf(&own, "%s%s:%s", j ? "," : "", wanted->key, wanted->effect);
        if (!now || !same(kp_json_string(now, "value"), wanted->value))
            add(arena, args, &n,
                kp_arena_printf(arena, "%s=%s:%s", wanted->key, wanted->value ? wanted->value : "",
                                wanted->effect));
    }
    json_array_foreach(have, i, taint)
    {
        if (node->node->taints_set && !is_wanted(node->node, taint) &&
            !is_of_the_system(kp_json_string(taint, "key")))
            add(arena, args, &n,
                kp_arena_printf(arena, "%s:%s-", kp_json_string(taint, "key"),
                                kp_json_string(taint, "effect")));
    }
    // Said nothing of taints any more: those that were set here go, those of others stay.
    struct kp_slice rest = kp_slice_of(kp_json_string(annotations, NOTED_TAINTS)), word;
    while (!node->node->taints_set && next_noted(&rest, &word))
        if (!wants_taint(node->node, word) && has_word(have, word))
            add(arena, args, &n, kp_arena_printf(arena, "%.*s-", (int)word.len, word.ptr));
    add_role_taint(arena, node->node, have, annotations, args, &n);
    if (node->node->taints_set && own.len == 0)
        kp_buf_adds(&own, NO_TAINTS);
    if (change_node(site, node, args, n, 4, err) < 0)
        return -1;
    return note_own(site, node, annotations, NOTED_TAINTS, kp_buf_slice(&own), err);
}

static const json_t *find_node(const json_t *list, const char *name)
{
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(list, "items"), i, item)
    {
        if (same(kp_json_string_in(item, "metadata", "name"), name))
            return item;
    }
    return NULL;
}

static int apply_custom(struct kp_site *site, struct kp_site_node *first, struct kp_err *err)
{
    static const char *const argv[] = {"get", "nodes", "-o", "json", NULL};
    kp_auto_json list = NULL;
    bool made;
    (void)first;
    if (kp_cluster_made(site, &made, err) < 0 ||
        (made && kp_kube_json(site, &list, NULL, argv, err) < 0))
        return -1;
    for (size_t i = 0; i < kp_members(site); i++) {
        struct kp_site_node *node = &site->nodes[i];
        const json_t *item = find_node(list, node->node->name);
        if (node->failed || (!item && !site->dry_run))
            continue; // reported where it failed, or by prove
        const json_t *labels = json_object_get(json_object_get(item, "metadata"), "labels");
        const json_t *taints = json_object_get(json_object_get(item, "spec"), "taints");
        const json_t *notes = json_object_get(json_object_get(item, "metadata"), "annotations");
        const struct kp_node *n = node->node;
        const struct marks named = {"label", NOTED_LABELS, n->labels, n->label_count};
        const struct marks noted = {"annotate", NOTED_ANNOTATIONS, n->annotations,
                                    n->annotation_count};
        if (set_marks(site, node, &named, labels, notes, err) < 0 ||
            set_marks(site, node, &noted, notes, notes, err) < 0 ||
            set_taints(site, node, taints, notes, err) < 0)
            return -1;
    }
    return 0;
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    size_t labels = 0, taints = 0, notes = 0;
    for (size_t i = 0; i < kp_members(site); i++) {
        labels += site->nodes[i].node->label_count;
        taints += site->nodes[i].node->taint_count;
        notes += site->nodes[i].node->annotation_count;
    }
    snprintf(out, size, "%zu label%s, %zu annotation%s, %zu taint%s", labels,
             labels == 1 ? "" : "s", notes, notes == 1 ? "" : "s", taints, taints == 1 ? "" : "s");
    return 0;
}

const struct kp_step kp_steps_custom[] = {
    {.name = "labels-taints",
     .phase = "custom",
     .nodes = KP_STEP_FIRST,
     .apply = apply_custom,
     .describe = describe},
    {.name = NULL},
};
