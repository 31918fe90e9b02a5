/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/encryption.h"

#include "core/base64.h"
#include "core/file.h"
#include "core/text.h"
#include "install/etcd/etcd.h"
#include "install/resumable.h"
#include "install/steps/endpoint.h"
#include "install/steps/secure.h"
#include "install/steps/static_pods.h"
#include "manifests/yaml.h"

#include <openssl/rand.h>
#include <time.h>

#define STATE_FILE "encryption-rotate.json"
#define RETIRED_FILE "encryption-retired.yaml"
#define RETIRED_MAX ((size_t)1 << 20)
#define KEY_SIZE 32 /* of secretbox */
#define READ_STEP "encryption-read"
#define WRITE_STEP "encryption-write"
#define DROP_STEP "encryption-drop"
#define REWRITE_S 1800
#define ETCD_S 30.0
#define TRIES 3

/* --- the file --------------------------------------------------------------------------------- */

static void free_key(struct kp_encryption_key *key)
{
    if (key->secret)
        kp_free_secret(key->secret, strlen(key->secret));
    kp_free(key->name);
    *key = (struct kp_encryption_key){0};
}

void kp_encryption_keys_release(struct kp_encryption_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        free_key(&keys->items[i]);
    keys->count = 0;
}

static int read_key(struct kp_encryption_keys *out, const struct kp_yaml *map, struct kp_err *err)
{
    struct kp_yaml_reader r = kp_yaml_read(map, err);
    const char *name = kp_yaml_text_required(&r, "name");
    const char *secret = kp_yaml_text_required(&r, "secret");
    if (kp_yaml_finish(&r) < 0)
        return -1;
    if (out->count == KP_ENCRYPTION_KEYS_MAX)
        return kp_yaml_fail(map, err, "more than %d keys", KP_ENCRYPTION_KEYS_MAX);
    out->items[out->count++] =
        (struct kp_encryption_key){.name = kp_strdup(name), .secret = kp_strdup(secret)};
    return 0;
}

static const struct kp_yaml *first_of(const struct kp_yaml *list)
{
    return list && list->type == KP_YAML_LIST && list->count ? list->items[0] : NULL;
}

int kp_encryption_parse(struct kp_encryption_keys *out, struct kp_slice text, const char *name,
                        struct kp_err *err)
{
    kp_auto(kp_yaml_document) document = NULL;
    if (kp_yaml_parse(&document, text, name, err) < 0)
        return -1;
    const struct kp_yaml *root = kp_yaml_root(document);
    const struct kp_yaml *resource = first_of(kp_yaml_get(root, "resources"));
    const struct kp_yaml *provider = first_of(kp_yaml_get(resource, "providers"));
    const struct kp_yaml *keys = kp_yaml_get(kp_yaml_get(provider, "secretbox"), "keys");
    if (!first_of(keys))
        return kp_fail_as(err, KP_FAILED, "foreign_encryption",
                          "%s is not as kinstall writes it: no keys of secretbox come first", name);
    for (size_t i = 0; i < keys->count; i++)
        if (read_key(out, keys->items[i], err) < 0)
            return -1;
    return 0;
}

int kp_encryption_render(char **out, const struct kp_encryption_keys *keys, struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_vars_flag(vars, "secretbox", true);
    for (size_t i = 0; i < keys->count; i++)
        kp_vars_add_pair(vars, "keys", keys->items[i].name, keys->items[i].secret);
    return kp_render(out, "encryption.yaml", vars, err);
}

int kp_encryption_add_key(struct kp_encryption_keys *keys, struct kp_err *err)
{
    uint8_t key[KEY_SIZE];
    uint64_t most = 0, number;
    if (keys->count == KP_ENCRYPTION_KEYS_MAX)
        return kp_fail(err, KP_FAILED, "more than %d keys of Secrets", KP_ENCRYPTION_KEYS_MAX);
    for (size_t i = 0; i < keys->count; i++) {
        const char *name = keys->items[i].name;
        if (kp_starts_with(name, "key") &&
            kp_parse_u64(kp_slice_of(name + 3), UINT32_MAX - 1, &number) && number > most)
            most = number;
    }
    if (RAND_bytes(key, sizeof(key)) != 1)
        return kp_fail(err, KP_FAILED, "no randomness");
    keys->items[keys->count++] =
        (struct kp_encryption_key){.name = kp_asprintf("key%llu", (unsigned long long)most + 1),
                                   .secret = kp_base64(key, sizeof(key))};
    explicit_bzero(key, sizeof(key));
    return 0;
}

static size_t index_of(const struct kp_encryption_keys *keys, const char *name)
{
    size_t i = 0;
    while (i < keys->count && strcmp(keys->items[i].name, name) != 0)
        i++;
    return i;
}

void kp_encryption_put_first(struct kp_encryption_keys *keys, const char *name)
{
    size_t at = index_of(keys, name);
    if (at == keys->count)
        return;
    struct kp_encryption_key key = keys->items[at];
    for (; at > 0; at--)
        keys->items[at] = keys->items[at - 1];
    keys->items[0] = key;
}

void kp_encryption_keep_only(struct kp_encryption_keys *keys, const char *name)
{
    kp_encryption_put_first(keys, name);
    for (size_t i = 1; i < keys->count; i++)
        free_key(&keys->items[i]);
    keys->count = keys->count ? 1 : 0;
}

/* --- what is kept here ------------------------------------------------------------------------ */

int kp_encryption_load(struct kp_site *site, struct kp_encryption_keys *out, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(site->state_folder, KP_ENCRYPTION_KEPT);
    char *text = NULL;
    size_t len = 0;
    if (!kp_file_exists(path))
        return kp_fail_as(err, KP_MISSING, "no_keys", "%s is not there", path);
    if (kp_file_read(path, KP_ENCRYPTION_MAX, &text, &len, err) < 0)
        return -1;
    int result = kp_encryption_parse(out, (struct kp_slice){text, len}, path, err);
    kp_free_secret(text, len);
    return result;
}

static int keep(struct kp_site *site, const struct kp_encryption_keys *keys, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(site->state_folder, KP_ENCRYPTION_KEPT);
    char *text = NULL;
    if (kp_encryption_render(&text, keys, err) < 0)
        return -1;
    int result = kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
    kp_free_secret(text, strlen(text));
    return result;
}

static int take_up(struct kp_site *site, bool *again, struct kp_err *err)
{
    kp_auto_json state = NULL;
    if (kp_resumable_read(&state, site, STATE_FILE, err) < 0)
        return -1;
    *again = state != NULL;
    if (state &&
        (!kp_resumable_text(state, "id", site->encryption.id, sizeof(site->encryption.id)) ||
         !kp_resumable_text(state, "key", site->encryption.key, sizeof(site->encryption.key))))
        return kp_fail_as(err, KP_DAMAGED, "bad_document", "%s/" STATE_FILE " names no rotation",
                          site->state_folder);
    return 0;
}

int kp_encryption_begin(struct kp_site *site, bool *again, struct kp_err *err)
{
    kp_auto_value(kp_encryption_keys) keys = {0};
    if (kp_secure_keep_keys(site, NULL, err) < 0 || kp_encryption_load(site, &keys, err) < 0 ||
        take_up(site, again, err) < 0)
        return -1;
    if (*again && index_of(&keys, site->encryption.key) < keys.count)
        return 0;
    if (kp_encryption_add_key(&keys, err) < 0)
        return -1;
    if (!*again)
        snprintf(site->encryption.id, sizeof(site->encryption.id), "%s", site->run_id);
    snprintf(site->encryption.key, sizeof(site->encryption.key), "%s",
             keys.items[keys.count - 1].name);
    if (site->dry_run)
        return 0;
    kp_auto_json state =
        json_pack("{s:s, s:s}", "id", site->encryption.id, "key", site->encryption.key);
    if (kp_resumable_keep(site, STATE_FILE, state, err) < 0)
        return -1;
    return keep(site, &keys, err);
}

int kp_encryption_end(struct kp_site *site, struct kp_err *err)
{
    return kp_resumable_end(site, STATE_FILE, err);
}

/* --- the nodes -------------------------------------------------------------------------------- */

/* The engine asks: is it so already? */
#define CHECK(name, step)                                                                          \
    static int name(struct kp_site *site, struct kp_site_node *node, bool *done,                   \
                    struct kp_err *err)                                                            \
    {                                                                                              \
        return kp_resumable_done(site, node, step, site->encryption.id, done, err);                \
    }
CHECK(check_read, READ_STEP)
CHECK(check_write, WRITE_STEP)
CHECK(check_drop, DROP_STEP)

static int place_keys(struct kp_site *site, struct kp_site_node *node,
                      const struct kp_encryption_keys *keys, struct kp_err *err)
{
    char *text = NULL;
    if (kp_encryption_render(&text, keys, err) < 0)
        return -1;
    int result = kp_place_secret(site, node, KP_ENCRYPTION_FILE, text, NULL, err);
    kp_free_secret(text, strlen(text));
    return result;
}

/* The keys of the state folder on one control plane, and its API server reads them. */
static int give_keys(struct kp_site *site, struct kp_site_node *node, const char *step,
                     const char *what, struct kp_err *err)
{
    kp_auto_value(kp_encryption_keys) keys = {0};
    kp_auto_free char *name = kp_inventory_endpoint_name(site->inventory);
    kp_auto_free char *word = kp_asprintf("%s-%s", step, site->encryption.id);
    struct kp_change change = {.changed = true};
    kp_step_changed(site, node, what, &change);
    if (site->dry_run)
        return 0;
    // Begun: a run that dies between the file and the API server's start begins here again.
    if (kp_encryption_load(site, &keys, err) < 0 ||
        kp_resumable_mark(site, node, step, site->encryption.id, false, err) < 0 ||
        place_keys(site, node, &keys, err) < 0 ||
        kp_static_pod_anew(site, node, "kube-apiserver", word, err) < 0 ||
        kp_endpoint_await(site, node, name, err) < 0)
        return -1;
    return kp_resumable_mark(site, node, step, site->encryption.id, true, err);
}

static int apply_read(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    return give_keys(site, node, READ_STEP, "the API server learns to read the new key", err);
}

static int keep_first(struct kp_site *site, struct kp_site_node *none, struct kp_err *err)
{
    kp_auto_value(kp_encryption_keys) keys = {0};
    (void)none;
    if (site->dry_run)
        return 0;
    if (kp_encryption_load(site, &keys, err) < 0)
        return -1;
    kp_encryption_put_first(&keys, site->encryption.key);
    return keep(site, &keys, err);
}

static int apply_write(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    return give_keys(site, node, WRITE_STEP, "the API server writes with the new key", err);
}

int kp_encryption_counts(struct kp_site *site, const char *key, uint64_t *all, uint64_t *with_key,
                         struct kp_err *err)
{
    static const char *const keys[] = {"get", "/registry/secrets/", "--prefix", "--keys-only",
                                       NULL};
    static const char *const values[] = {"get", "/registry/secrets/", "--prefix",
                                         "--print-value-only", NULL};
    kp_auto_free char *pattern = kp_asprintf("^k8s:enc:secretbox:v1:%s:", key);
    struct kp_site_node *hand;
    if (kp_etcd_need_hand(site, NULL, ETCD_S, &hand, err) < 0)
        return -1;
    if (kp_etcd_count_lines(site, hand, keys, "^/registry/secrets/", all, err) < 0)
        return -1;
    return kp_etcd_count_lines(site, hand, values, pattern, with_key, err);
}

/* What the API server writes meanwhile is written with the new key anyway: a conflict is none. */
static int rewrite(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    static const char script[] = "\"$1\" --kubeconfig \"$2\" get secrets -A -o json |"
                                 " \"$1\" --kubeconfig \"$2\" replace -f - >/dev/null 2>&1; exit 0";
    static const char *const argv[] = {"/bin/sh",  "-c",          script, "sh",
                                       KP_KUBECTL, KP_ADMIN_CONF, NULL};
    return kp_ask(site, node, argv, REWRITE_S, NULL, NULL, err);
}

static int apply_rewrite(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    uint64_t all = 0, rewritten = 0;
    kp_step_changed(site, node, "write every Secret again, and count them in etcd", &change);
    if (site->dry_run)
        return 0;
    for (int i = 0; i < TRIES; i++) {
        kp_step_note(site, node, "writing every Secret again");
        if (rewrite(site, node, err) < 0 ||
            kp_encryption_counts(site, site->encryption.key, &all, &rewritten, err) < 0)
            return -1;
        if (all == rewritten)
            return 0;
    }
    kp_fail_as(err, KP_FAILED, "not_rewritten",
               "%llu of %llu Secrets are not encrypted with %s yet; the old key stays",
               (unsigned long long)(all - rewritten), (unsigned long long)all,
               site->encryption.key);
    return kp_hint(err, "run the same command again; a Secret that an admission webhook refuses "
                        "cannot be written");
}

/* Before the old keys go from anywhere: snapshots of etcd made so far need them. */
static int keep_retired(struct kp_site *site, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(site->state_folder, RETIRED_FILE);
    kp_auto_free char *kept = kp_path_join(site->state_folder, KP_ENCRYPTION_KEPT);
    kp_auto_value(kp_buf) out = KP_BUF_SECRET(RETIRED_MAX);
    char *old = NULL, *now = NULL;
    size_t old_len = 0, now_len = 0;
    int result = kp_file_exists(path) ? kp_file_read(path, RETIRED_MAX, &old, &old_len, err) : 0;
    if (result == 0)
        result = kp_file_read(kept, KP_ENCRYPTION_MAX, &now, &now_len, err);
    if (result == 0) {
        kp_buf_add(&out, old ? old : "", old_len);
        kp_buf_addf(&out, "---\n# until %s\n", kp_text_utc(time(NULL)).s);
        kp_buf_add(&out, now, now_len);
        result = out.overflow ? kp_fail(err, KP_FAILED, "%s is too large; move it away", path)
                              : kp_file_write_atomic(path, kp_buf_slice(&out), 0600, err);
    }
    if (old)
        kp_free_secret(old, old_len);
    if (now)
        kp_free_secret(now, now_len);
    return result;
}

static int keep_last(struct kp_site *site, struct kp_site_node *none, struct kp_err *err)
{
    kp_auto_value(kp_encryption_keys) keys = {0};
    (void)none;
    if (site->dry_run)
        return 0;
    if (kp_encryption_load(site, &keys, err) < 0)
        return -1;
    if (keys.count < 2)
        return 0;
    if (keep_retired(site, err) < 0)
        return -1;
    kp_encryption_keep_only(&keys, site->encryption.key);
    return keep(site, &keys, err);
}

static int apply_drop(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    return give_keys(site, node, DROP_STEP, "the API server forgets the old key", err);
}

static int describe(const struct kp_site *site, char *out, size_t size)
{
    size_t n = kp_control_planes(site);
    snprintf(out, size, "to %s: %zu control plane%s, one by one", site->encryption.key, n,
             n == 1 ? "" : "s");
    return 0;
}

static const struct kp_step read_steps[] = {
    {.name = READ_STEP,
     .phase = "read",
     .nodes = KP_STEP_CONTROL_PLANES,
     .check = check_read,
     .apply = apply_read,
     .describe = describe,
     .halting = true},
    {.name = NULL},
};
static const struct kp_step write_steps[] = {
    {.name = "encryption-first",
     .phase = "write",
     .nodes = KP_STEP_ADMIN,
     .apply = keep_first,
     .halting = true},
    {.name = WRITE_STEP,
     .phase = "write",
     .nodes = KP_STEP_CONTROL_PLANES,
     .check = check_write,
     .apply = apply_write,
     .halting = true},
    {.name = "encryption-rewrite",
     .phase = "write",
     .nodes = KP_STEP_FIRST,
     .apply = apply_rewrite,
     .halting = true},
    {.name = NULL},
};
static const struct kp_step drop_steps[] = {
    {.name = "encryption-last",
     .phase = "drop",
     .nodes = KP_STEP_ADMIN,
     .apply = keep_last,
     .halting = true},
    {.name = DROP_STEP,
     .phase = "drop",
     .nodes = KP_STEP_CONTROL_PLANES,
     .check = check_drop,
     .apply = apply_drop,
     .halting = true},
    {.name = NULL},
};

const struct kp_step *const *kp_encryption_phases(size_t *count)
{
    static const struct kp_step *const phases[] = {read_steps, write_steps, drop_steps};
    *count = KP_COUNT(phases);
    return phases;
}
