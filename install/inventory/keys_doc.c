/* SPDX-License-Identifier: Apache-2.0 */
#include "install/inventory/keys.h"

#include "core/text.h"

#define PATH_DEPTH_MAX 8

static char *amount(const struct kp_key *key, uint64_t number)
{
    if (key->type != KP_KEY_SIZE)
        return kp_asprintf("%llu", (unsigned long long)number);
    if (number % (1ULL << 30) == 0)
        return kp_asprintf("%lluGiB", (unsigned long long)(number >> 30));
    return kp_asprintf("%lluMiB", (unsigned long long)(number >> 20));
}

char *kp_key_kind(const struct kp_key *key)
{
    static const char *const kinds[] = {
        [KP_KEY_TEXT] = "text",
        [KP_KEY_PATH] = "path of a file",
        [KP_KEY_NUMBER] = "whole number",
        [KP_KEY_SIZE] = "size",
        [KP_KEY_BOOL] = "true or false",
        [KP_KEY_WORD] = "one of",
        [KP_KEY_TEXTS] = "list of texts",
        [KP_KEY_PAIRS] = "mapping of texts",
        [KP_KEY_SECTION] = "mapping",
        [KP_KEY_LIST] = "list of mappings",
        [KP_KEY_NAMED] = "mapping of mappings",
        [KP_KEY_OWN] = "see its text",
    };
    kp_auto_value(kp_buf) out = KP_BUF(1024);
    kp_buf_adds(&out, kinds[key->type]);
    if (key->type == KP_KEY_NUMBER || key->type == KP_KEY_SIZE) {
        kp_auto_free char *least = amount(key, key->least), *most = amount(key, key->most);
        kp_buf_addf(&out, " from %s to %s", least, most);
    }
    for (size_t i = 0; key->type == KP_KEY_WORD && key->words[i]; i++)
        kp_buf_addf(&out, "%s%s", i ? ", " : " ", key->words[i]);
    return kp_buf_steal(&out);
}

char *kp_key_default(const struct kp_key *key)
{
    if (key->shown)
        return kp_strdup(key->shown);
    if (key->required)
        return kp_strdup("needed");
    if (!key->fallback)
        return kp_strdup("none");
    return kp_asprintf(key->type == KP_KEY_NUMBER ? "%s" : "`%s`", key->fallback);
}

static void add_rows(const struct kp_section *section, const char *prefix, struct kp_buf *out)
{
    for (const struct kp_key *key = section->keys; key->name; key++) {
        kp_auto_free char *name = kp_asprintf("%s%s", prefix, key->name);
        kp_auto_free char *inner = kp_asprintf("%s.", name);
        if (key->section && !key->section->name && !key->what) {
            add_rows(key->section, inner, out);
            continue;
        }
        kp_auto_free char *fallback = kp_key_default(key);
        kp_buf_addf(out, "| `%s` | %s", name, key->what);
        if (key->type == KP_KEY_NUMBER || key->type == KP_KEY_SIZE) {
            kp_auto_free char *least = amount(key, key->least), *most = amount(key, key->most);
            kp_buf_addf(out, "%s%s–%s", key->what[0] ? "; " : "", least, most);
        }
        kp_buf_addf(out, " |%s%s |\n", fallback[0] ? " " : "", fallback);
        if (key->section && !key->section->name)
            add_rows(key->section, inner, out);
    }
}

void kp_keys_markdown(const struct kp_section *section, struct kp_buf *out)
{
    kp_buf_adds(out, "| key | what | default |\n|---|---|---|\n");
    add_rows(section, "", out);
}

static void visit_section(const struct kp_section *section, const char *prefix, unsigned depth,
                          kp_keys_visit *visit, void *user)
{
    for (const struct kp_key *key = section->keys; depth && key->name; key++) {
        kp_auto_free char *path = kp_asprintf("%s%s", prefix, key->name);
        kp_auto_free char *inner = kp_asprintf("%s%s.", path,
                                               key->type == KP_KEY_LIST    ? "[]"
                                               : key->type == KP_KEY_NAMED ? ".NAME"
                                                                           : "");
        visit(user, path, key);
        if (key->section)
            visit_section(key->section, inner, depth - 1, visit, user);
    }
}

void kp_keys_each(kp_keys_visit *visit, void *user)
{
    visit_section(&kp_keys_root, "", PATH_DEPTH_MAX, visit, user);
}

static const struct kp_section *find_section(const struct kp_section *in, const char *name,
                                             unsigned depth)
{
    if (in->name && strcmp(in->name, name) == 0)
        return in;
    for (const struct kp_key *key = in->keys; depth && key->name; key++) {
        const struct kp_section *found =
            key->section ? find_section(key->section, name, depth - 1) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

const struct kp_section *kp_keys_section(const char *name)
{
    return find_section(&kp_keys_root, name, PATH_DEPTH_MAX);
}
