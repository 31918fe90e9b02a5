/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this node believes. The first bundle brings the keys, kept in /etc/kpack/trusted.d; from
 * then on a bundle must be signed by a key that is kept there, and new keys come only beside such a
 * bundle. /var/lib/kpack/bundles.json keeps the highest serial per bundle name.
 */
#include "install/node/node.h"

#include "core/file.h"

#include <errno.h>
#include <unistd.h>

#define TRUST_FOLDER "/etc/kpack/trusted.d"
#define BUNDLES_FILE "/var/lib/kpack/bundles.json"
#define BUNDLES_MAX ((size_t)1 << 20)

void kp_node_state_release(struct kp_node_state *state)
{
    kp_manifest_free(state->manifest);
    kp_trust_free(state->given);
    kp_trust_free(state->trust);
    kp_node_log_free(state->log);
    if (state->lock_fd >= 0)
        close(state->lock_fd);
    *state = KP_NODE_STATE(state->root);
}

int kp_node_need_bundle(struct kp_node_state *state, struct kp_err *err)
{
    pthread_mutex_lock(&state->lock);
    bool there = state->manifest != NULL;
    pthread_mutex_unlock(&state->lock);
    return there ? 0 : kp_fail_as(err, KP_USAGE, "no_bundle", "no bundle was accepted yet");
}

// The keys to go by: those kept here, or the given ones where none are kept.
static int choose_trust(struct kp_node_state *state, struct kp_trust *given,
                        struct kp_trust **trust, bool *first, struct kp_err *err)
{
    kp_auto_free char *folder = kp_node_own(state, TRUST_FOLDER);
    kp_auto(kp_trust) kept = kp_trust_new();
    if (kp_trust_add_folder(kept, folder, err) < 0)
        return kp_wrap(err, "keys kept on the node");
    *first = kp_trust_count(kept) == 0;
    for (size_t i = 0; *first && i < kp_trust_count(given); i++) {
        kp_auto_free char *pem = kp_trust_pem(given, i);
        if (kp_trust_add_pem(kept, kp_trust_at(given, i)->name, kp_slice_of(pem), err) < 0)
            return -1;
    }
    *trust = kp_steal(&kept);
    return 0;
}

int kp_node_accept(struct kp_node_state *state, struct kp_slice manifest,
                   struct kp_slice signatures, struct kp_trust *given, struct kp_err *err)
{
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_manifest) parsed = NULL;
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    kp_auto_free struct kp_signers *signers = kp_alloc(sizeof(*signers));
    bool first;
    if (signatures.len != KP_SIG_SIZE)
        return kp_fail_as(err, KP_UNTRUSTED, "bad_signature_block", "signature block of %zu bytes",
                          signatures.len);
    if (choose_trust(state, given, &trust, &first, err) < 0 ||
        kp_signatures_parse(set, signatures.ptr, err) < 0)
        return -1;
    if (kp_signatures_verify(set, trust, manifest, signers, err) < 0) {
        kp_wrap(err, "the bundle is not signed by a key that this node trusts");
        err->hint[0] = '\0';
        return first ? -1
                     : kp_hint(err,
                               "the node's keys are in %s; where the change of keys is meant, "
                               "add the new key there by hand",
                               TRUST_FOLDER);
    }
    if (kp_manifest_parse(&parsed, manifest, err) < 0)
        return -1;
    pthread_mutex_lock(&state->lock);
    kp_manifest_free(state->manifest);
    kp_trust_free(state->trust);
    state->manifest = kp_steal(&parsed);
    state->trust = kp_steal(&trust);
    state->first_contact = first;
    state->committed = false;
    pthread_mutex_unlock(&state->lock);
    return 0;
}

static int read_trust(const json_t *args, struct kp_trust *trust, struct kp_err *err)
{
    const json_t *list = json_object_get(args, "trust");
    if (!json_is_array(list) || json_array_size(list) > KP_TRUST_KEYS_MAX)
        return kp_fail_as(err, KP_USAGE, "bad_request", "request field \"trust\" is not a list");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name, *pem;
        const json_t *key = json_array_get(list, i);
        if (kp_node_text(key, "name", KP_NAME_MAX, &name, err) < 0 ||
            kp_node_text(key, "pem", KP_KEY_FILE_MAX, &pem, err) < 0 ||
            kp_trust_add_pem(trust, name, kp_slice_of(pem), err) < 0)
            return -1;
    }
    return 0;
}

int kp_node_op_bundle(struct kp_node_request *request, const json_t *args, json_t **result,
                      struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    kp_auto_value(kp_buf) data = KP_BUF(KP_MANIFEST_MAX + KP_SIG_SIZE);
    kp_auto(kp_trust) given = kp_trust_new();
    uint64_t size;
    if (kp_node_number(args, "manifest", KP_MANIFEST_MAX, &size, err) < 0 ||
        read_trust(args, given, err) < 0 ||
        kp_node_read_all(request, &data, size + KP_SIG_SIZE, err) < 0 ||
        kp_node_accept(state, (struct kp_slice){data.data, size},
                       (struct kp_slice){data.data + size, KP_SIG_SIZE}, given, err) < 0)
        return -1;
    pthread_mutex_lock(&state->lock);
    kp_trust_free(state->given);
    state->given = kp_steal(&given);
    struct kp_digest_text id = kp_digest_hex(&state->manifest->id);
    *result =
        json_pack("{s:s, s:I, s:b}", "id", id.hex, "serial", (json_int_t)state->manifest->serial,
                  "first_contact", (int)state->first_contact);
    pthread_mutex_unlock(&state->lock);
    return 0;
}

static int keep_keys(struct kp_node_state *state, struct kp_err *err)
{
    kp_auto_free char *folder = kp_node_own(state, TRUST_FOLDER);
    if (kp_mkdirs(folder, 0755, err) < 0)
        return -1;
    for (size_t i = 0; i < kp_trust_count(state->given); i++) {
        const struct kp_trust_key *key = kp_trust_at(state->given, i);
        if (!state->first_contact && kp_trust_find(state->trust, &key->id))
            continue;
        struct kp_digest_text id = kp_digest_hex(&key->id);
        kp_auto_free char *pem = kp_trust_pem(state->given, i);
        // Named by id: a name that was chosen elsewhere never becomes a path.
        kp_auto_free char *path = kp_asprintf("%s/%s.pub", folder, id.hex);
        if (kp_file_write_atomic(path, kp_slice_of(pem), 0644, err) < 0)
            return -1;
    }
    return 0;
}

static int keep_serial(struct kp_node_state *state, struct kp_err *err)
{
    kp_auto_free char *path = kp_node_own(state, BUNDLES_FILE);
    kp_auto_free char *folder = kp_path_dir(path);
    kp_auto_json all = NULL;
    const struct kp_manifest *m = state->manifest;
    if (kp_file_exists(path)) {
        kp_auto_free char *text = NULL;
        size_t len;
        if (kp_file_read(path, BUNDLES_MAX, &text, &len, err) < 0 ||
            kp_json_parse(&all, (struct kp_slice){text, len}, BUNDLES_MAX, path, err) < 0)
            return -1;
    }
    if (!json_is_object(all)) {
        json_decref(all);
        all = json_object();
    }
    json_int_t highest = json_integer_value(json_object_get(all, m->name));
    if ((uint64_t)highest > m->serial) {
        kp_fail_as(err, KP_UNTRUSTED, "rollback",
                   "bundle %s has serial %llu, this node has seen %llu", m->name,
                   (unsigned long long)m->serial, (unsigned long long)highest);
        return kp_hint(err, "use the newest bundle of that name");
    }
    if ((uint64_t)highest == m->serial)
        return 0;
    json_object_set_new(all, m->name, json_integer((json_int_t)m->serial));
    kp_auto_free char *text = kp_json_dump(all, false);
    if (kp_mkdirs(folder, 0700, err) < 0)
        return -1;
    return kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
}

int kp_node_commit(struct kp_node_state *state, bool dry_run, struct kp_err *err)
{
    if (dry_run)
        return 0;
    pthread_mutex_lock(&state->lock);
    int failed = 0;
    if (!state->committed) {
        failed = keep_serial(state, err) < 0 || keep_keys(state, err) < 0 ? -1 : 0;
        state->committed = failed == 0;
    }
    pthread_mutex_unlock(&state->lock);
    return failed;
}
