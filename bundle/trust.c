/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/revocations.h"
#include "bundle/spki.h"
#include "bundle/trust_list.h"
#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

struct kp_trust {
    struct kp_trust_key keys[KP_TRUST_KEYS_MAX]; /* distinct ids, in the order they were added */
    size_t count;
    struct kp_arena *arena;
    struct kp_trust_list *list; /* or NULL: loose keys only */
    const char *list_folder;
    struct kp_revoked *revoked;
};

static const char *const role_texts[KP_KEY_ROLES] = {"sign", "revoke", "root", "hooks"};

unsigned kp_key_role_parse(const char *text)
{
    for (unsigned i = 0; i < KP_KEY_ROLES; i++)
        if (strcmp(text, role_texts[i]) == 0)
            return 1U << i;
    return 0;
}

const char *kp_key_role_text(unsigned role)
{
    for (unsigned i = 0; i < KP_KEY_ROLES; i++)
        if (role == 1U << i)
            return role_texts[i];
    return NULL;
}

struct kp_trust *kp_trust_new(void)
{
    struct kp_trust *trust = kp_alloc(sizeof(*trust));
    trust->arena = kp_arena_new();
    trust->revoked = kp_revoked_new();
    return trust;
}

void kp_trust_free(struct kp_trust *trust)
{
    if (!trust)
        return;
    kp_trust_list_free(trust->list);
    kp_revoked_free(trust->revoked);
    kp_arena_free(trust->arena);
    kp_free(trust);
}

int kp_trust_add_pem(struct kp_trust *trust, const char *name, struct kp_slice pem,
                     struct kp_err *err)
{
    struct kp_trust_key key = {.roles = KP_KEY_SIGN};
    if (kp_spki_parse(pem, key.public_key, err) < 0)
        return kp_wrap(err, "key %s", name);
    kp_spki_id(key.public_key, &key.id);
    if (kp_trust_find(trust, &key.id))
        return 0; // the same key twice must not count twice
    if (trust->count == KP_TRUST_KEYS_MAX)
        return kp_fail(err, KP_USAGE, "key %s: more than %d trusted keys", name, KP_TRUST_KEYS_MAX);
    key.name = kp_arena_strdup(trust->arena, name);
    trust->keys[trust->count++] = key;
    return 0;
}

static char *name_of(const char *path)
{
    char *name = kp_strdup(kp_path_base(path));
    if (kp_ends_with(name, ".pub") || kp_ends_with(name, ".pem"))
        name[strlen(name) - 4] = '\0';
    return name;
}

int kp_trust_add_file(struct kp_trust *trust, const char *path, struct kp_err *err)
{
    kp_auto_free char *pem = NULL;
    kp_auto_free char *name = name_of(path);
    size_t len;
    if (kp_file_read(path, KP_KEY_FILE_MAX, &pem, &len, err) < 0) {
        if (err)
            err->code = KP_USAGE;
        return -1;
    }
    if (kp_trust_add_pem(trust, name, (struct kp_slice){pem, len}, err) < 0)
        return kp_wrap(err, "%s", path);
    return 0;
}

static int is_key_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.' &&
           (kp_ends_with(entry->d_name, ".pub") || kp_ends_with(entry->d_name, ".pem"));
}

static int add_loose_keys(struct kp_trust *trust, const char *path, struct kp_err *err)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, is_key_file, alphasort), result = 0;
    if (n < 0)
        return errno == ENOENT ? 0 : kp_fail_sys(err, errno, "trust folder %s", path);
    for (int i = 0; i < n; i++) {
        kp_auto_free char *file = kp_path_join(path, entries[i]->d_name);
        if (result == 0)
            result = kp_trust_add_file(trust, file, err);
        free(entries[i]);
    }
    free(entries);
    return result;
}

static struct kp_trust_key *place_of(struct kp_trust *trust, const struct kp_digest *id)
{
    for (size_t i = 0; i < trust->count; i++)
        if (kp_digest_equal(&trust->keys[i].id, id))
            return &trust->keys[i];
    return trust->count < KP_TRUST_KEYS_MAX ? &trust->keys[trust->count++] : NULL;
}

int kp_trust_use_list(struct kp_trust *trust, struct kp_trust_list *list, struct kp_err *err)
{
    kp_trust_list_free(trust->list);
    trust->list = list;
    for (size_t i = 0; i < list->key_count; i++) {
        struct kp_trust_key *key = place_of(trust, &list->keys[i].id);
        if (!key)
            return kp_fail(err, KP_USAGE, "more than %d trusted keys", KP_TRUST_KEYS_MAX);
        *key = list->keys[i];
    }
    return 0;
}

static int add_list(struct kp_trust *trust, const char *path, struct kp_err *err)
{
    kp_auto_value(kp_trust_chain) chain = {.count = 0};
    if (kp_trust_chain_load(&chain, path, err) < 0)
        return kp_wrap(err, "trust folder %s", path);
    trust->list_folder = kp_arena_strdup(trust->arena, path);
    return kp_trust_use_list(trust, kp_steal(&chain.lists[chain.count - 1]), err);
}

int kp_trust_add_folder(struct kp_trust *trust, const char *path, struct kp_err *err)
{
    if (kp_revoked_load(trust->revoked, path, err) < 0)
        return -1;
    return kp_trust_folder_has_list(path) ? add_list(trust, path, err)
                                          : add_loose_keys(trust, path, err);
}

char *kp_trust_own_folder(void)
{
    kp_auto_free char *config = kp_xdg_dir("config");
    return kp_path_join(config, "kpack/trusted.d");
}

int kp_trust_add_default(struct kp_trust *trust, struct kp_err *err)
{
    kp_auto_free char *own = kp_trust_own_folder();
    bool system_list = kp_trust_folder_has_list(KP_TRUST_SYSTEM);
    // With a list its thresholds count, and loose keys of the other folder must not add to them.
    if (system_list || kp_trust_folder_has_list(own)) {
        if (kp_revoked_load(trust->revoked, system_list ? own : KP_TRUST_SYSTEM, err) < 0)
            return -1;
        return kp_trust_add_folder(trust, system_list ? KP_TRUST_SYSTEM : own, err);
    }
    if (kp_trust_add_folder(trust, own, err) < 0)
        return -1;
    return kp_trust_add_folder(trust, KP_TRUST_SYSTEM, err);
}

unsigned kp_trust_threshold(const struct kp_trust *trust, unsigned role)
{
    for (unsigned i = 0; trust->list && i < KP_KEY_ROLES; i++)
        if (role == 1U << i)
            return trust->list->thresholds[i];
    return 1;
}

const struct kp_trust_list *kp_trust_list_of(const struct kp_trust *trust)
{
    return trust->list;
}

const char *kp_trust_list_folder(const struct kp_trust *trust)
{
    return trust->list_folder;
}

struct kp_revoked *kp_trust_revoked(const struct kp_trust *trust)
{
    return trust->revoked;
}

size_t kp_trust_count(const struct kp_trust *trust)
{
    return trust->count;
}

const struct kp_trust_key *kp_trust_at(const struct kp_trust *trust, size_t i)
{
    return i < trust->count ? &trust->keys[i] : NULL;
}

const struct kp_trust_key *kp_trust_find(const struct kp_trust *trust, const struct kp_digest *id)
{
    for (size_t i = 0; i < trust->count; i++)
        if (kp_digest_equal(&trust->keys[i].id, id))
            return &trust->keys[i];
    return NULL;
}

char *kp_trust_pem(const struct kp_trust *trust, size_t i)
{
    return i < trust->count ? kp_spki_pem(trust->keys[i].public_key) : NULL;
}
