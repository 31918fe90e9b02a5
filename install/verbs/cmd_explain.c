/* SPDX-License-Identifier: Apache-2.0 */
#include "core/json.h"
#include "core/text.h"
#include "install/inventory/keys.h"
#include "install/inventory/kubespray.h"
#include "install/verbs/cmd.h"

#include <stdio.h>

#define KEYS_MAX 1024
#define MARKDOWN_MAX ((size_t)256 << 10)

struct options {
    const char *markdown;
    bool json;
};

static const struct kp_option option_table[] = {
    {"markdown", 0, KP_OPT_TEXT, offsetof(struct options, markdown), "SECTION",
     "the table of one section, as docs/inventory.md has it", 0},
    {"json", 0, KP_OPT_FLAG, offsetof(struct options, json), NULL,
     "one JSON document on standard output", 0},
    {.name = NULL}};

/* What has been found of the keys that were asked for: the one itself, and those beneath it. */
struct search {
    const char *wanted; /* NULL: all */
    const char *paths[KEYS_MAX];
    const struct kp_key *keys[KEYS_MAX];
    size_t count, shown;
    json_t *list;
    struct kp_arena *arena;
};

static void collect(void *user, const char *path, const struct kp_key *key)
{
    struct search *search = user;
    if (search->count == KEYS_MAX)
        return;
    search->paths[search->count] = kp_arena_strdup(search->arena, path);
    search->keys[search->count++] = key;
}

/* "nodes.labels" finds nodes[].labels, too. */
static bool is_beneath(const char *path, const char *wanted)
{
    for (; *wanted; path++, wanted++) {
        if (path[0] == '[' && wanted[0] != '[')
            path += 2;
        if (*path != *wanted)
            return false;
    }
    return !*path || *path == '.' || *path == '[';
}

static void add_json(struct search *search, size_t i)
{
    const struct kp_key *key = search->keys[i];
    kp_auto_free char *kind = kp_key_kind(key), *fallback = kp_key_default(key);
    json_t *item =
        json_pack("{s:s, s:s, s:s, s:s, s:b}", "key", search->paths[i], "kind", kind, "default",
                  fallback, "what", key->what ? key->what : "", "needed", key->required);
    json_array_append_new(search->list, item);
}

static void print_key(struct search *search, size_t i, bool alone)
{
    const struct kp_key *key = search->keys[i];
    kp_auto_free char *kind = kp_key_kind(key), *fallback = kp_key_default(key);
    if (!alone) {
        printf("%-34s %s\n", search->paths[i], key->what ? key->what : "");
        return;
    }
    printf("%s\n  kind:    %s\n  default: %s\n  %s\n", search->paths[i], kind,
           fallback[0] ? fallback : "none", key->what ? key->what : "");
}

static int show(struct search *search, struct kp_err *err)
{
    size_t hits = 0;
    for (size_t i = 0; i < search->count; i++)
        hits += !search->wanted || is_beneath(search->paths[i], search->wanted);
    for (size_t i = 0; i < search->count; i++) {
        if (search->wanted && !is_beneath(search->paths[i], search->wanted))
            continue;
        if (search->list)
            add_json(search, i);
        else
            print_key(search, i, search->wanted && search->shown == 0);
        search->shown++;
    }
    if (hits)
        return 0;
    const char *near = kp_nearest(search->wanted, search->paths, search->count);
    kp_fail(err, KP_USAGE, "the inventory has no key %s", search->wanted);
    return near ? kp_hint(err, "did you mean %s?", near) : -1;
}

static int print_markdown(const char *name, struct kp_err *err)
{
    const struct kp_section *section = kp_keys_section(name);
    kp_auto_value(kp_buf) out = KP_BUF(MARKDOWN_MAX);
    if (strcmp(name, "kubespray") == 0) {
        kp_kubespray_markdown(&out);
        fwrite(out.data, 1, out.len, stdout);
        return 0;
    }
    if (!section)
        return kp_fail(err, KP_USAGE, "%s: no section of the inventory has a table by this name",
                       name);
    kp_keys_markdown(section, &out);
    fwrite(out.data, 1, out.len, stdout);
    return 0;
}

static int run_explain(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *options = user;
    kp_auto(kp_arena) arena = kp_arena_new();
    struct search *search = kp_arena_alloc(arena, sizeof(*search));
    kp_auto_json list = options->json ? json_array() : NULL;
    if (options->markdown)
        return print_markdown(options->markdown, err);
    *search = (struct search){.wanted = argc ? argv[0] : NULL, .list = list, .arena = arena};
    kp_keys_each(collect, search);
    if (show(search, err) < 0)
        return -1;
    if (!list)
        return 0;
    kp_auto_json out = json_pack("{s:O}", "keys", list);
    return kp_json_end(out, 0, err);
}

const struct kp_command kp_cmd_explain = {
    "explain",
    "[KEY]",
    0,
    1,
    "what a key of the inventory is, may hold, and what holds without it",
    "Without KEY: all of them. `kinstall explain kubernetes.pods`, `kinstall explain nodes`. "
    "docs/inventory.md has the same.",
    option_table,
    sizeof(struct options),
    run_explain,
};
