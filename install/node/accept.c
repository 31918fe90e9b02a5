/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this node believes. The first bundle brings the keys, kept in /etc/kpack/trusted.d; from
 * then on a bundle must be signed by what is kept there. A trust list only moves on by its chain;
 * loose keys come only beside a bundle that a kept key signed. What is revoked is merged into
 * /etc/kpack/trusted.d/revoked.json and never forgotten, /var/lib/kpack/bundles.json keeps the
 * highest serial per bundle name. A run that was told not to verify leaves a line in
 * /var/lib/kpack/insecure.jsonl, and neither keys nor serial.
 */
#include "install/node/node.h"

#include "bundle/policy.h"
#include "bundle/trust_list.h"
#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#define TRUST_FOLDER "/etc/kpack/trusted.d"
#define BUNDLES_FILE "/var/lib/kpack/bundles.json"
#define INSECURE_FILE "/var/lib/kpack/insecure.jsonl"
#define REASON_MAX ((size_t)1024)

/* What kinstall says beside the bundle. */
struct kp_node_terms {
    struct kp_trust *given;      /* loose keys */
    struct kp_trust_chain lists; /* the site's trust lists */
    size_t first_new;            /* of lists: from here on they are to be kept */
    struct kp_revoked *revoked;  /* what the site knows, then all that this node knows */
    bool downgrade;
    uint64_t serial; /* that may be lower than the highest seen */
    char *insecure;  /* why the site goes on without trust; NULL: it does not */
};

static struct kp_node_terms *terms_new(void)
{
    struct kp_node_terms *terms = kp_alloc(sizeof(*terms));
    terms->given = kp_trust_new();
    terms->revoked = kp_revoked_new();
    return terms;
}

void kp_node_terms_free(struct kp_node_terms *terms)
{
    if (!terms)
        return;
    kp_trust_free(terms->given);
    kp_trust_chain_release(&terms->lists);
    kp_revoked_free(terms->revoked);
    kp_free(terms->insecure);
    kp_free(terms);
}

void kp_node_state_release(struct kp_node_state *state)
{
    kp_manifest_free(state->manifest);
    kp_node_terms_free(state->terms);
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

static int copy_list(struct kp_trust *trust, const struct kp_trust_list *list, struct kp_err *err)
{
    kp_auto_json value = kp_document_json(list->document);
    struct kp_document *document = NULL;
    struct kp_trust_list *copy = NULL;
    if (kp_document_from_json(&document, value, err) < 0 ||
        kp_trust_list_parse(&copy, document, err) < 0)
        return -1;
    return kp_trust_use_list(trust, copy, err);
}

/* The keys to go by: those kept here, or the given ones where none are kept; the newest trust list
 * that follows from them. */
static int choose_trust(struct kp_node_state *state, struct kp_node_terms *terms,
                        struct kp_trust **trust, bool *first, struct kp_err *err)
{
    kp_auto_free char *folder = kp_node_own(state, TRUST_FOLDER);
    kp_auto(kp_trust) kept = kp_trust_new();
    const struct kp_trust_chain *lists = &terms->lists;
    if (kp_trust_add_folder(kept, folder, err) < 0 ||
        kp_revoked_merge(kp_trust_revoked(kept), terms->revoked, err) < 0)
        return kp_wrap(err, "keys kept on the node");
    *first = kp_trust_count(kept) == 0;
    if (kp_trust_chain_accept(kept, lists, &terms->first_new, err) < 0)
        return kp_wrap(err, "trust list for the node");
    if (terms->first_new < lists->count) { // only the list's keys from here on
        struct kp_trust *listed = kp_trust_new();
        int failed = kp_revoked_merge(kp_trust_revoked(listed), kp_trust_revoked(kept), err) < 0 ||
                     copy_list(listed, lists->lists[lists->count - 1], err) < 0;
        kp_trust_free(kept);
        kept = listed;
        if (failed)
            return -1;
    }
    for (size_t i = 0; *first && i < kp_trust_count(terms->given); i++) {
        kp_auto_free char *pem = kp_trust_pem(terms->given, i);
        if (kp_trust_add_pem(kept, kp_trust_at(terms->given, i)->name, kp_slice_of(pem), err) < 0)
            return -1;
    }
    *trust = kp_steal(&kept);
    return 0;
}

static int check_trust(const struct kp_trust *trust, bool first, struct kp_slice manifest,
                       const struct kp_signature_set *set, struct kp_err *err)
{
    if (kp_signatures_verify(set, trust, manifest, NULL, err) == 0)
        return 0;
    kp_wrap(err, "the bundle is not signed as this node asks for");
    err->hint[0] = '\0';
    return first ? -1
                 : kp_hint(err,
                           "the node's keys are in %s; where a change of keys is meant, give the "
                           "site the trust lists between, or add a loose key there by hand",
                           TRUST_FOLDER);
}

/* Revoked, or too old: nobody is asked to type more than a serial for these. */
static int check_policy(const struct kp_manifest *manifest, const struct kp_signature_set *set,
                        struct kp_slice text, const struct kp_trust *trust,
                        struct kp_node_terms *terms, struct kp_err *err)
{
    if (!terms->insecure && kp_policy_judge(manifest, set, text, trust, NULL, err) < 0)
        return -1;
    if (kp_revoked_merge(terms->revoked, kp_trust_revoked(trust), err) < 0)
        return -1;
    // What a bundle of nobody known carries must neither revoke nor stop anything.
    if (!terms->insecure && kp_policy_carried(manifest, trust, terms->revoked, NULL, NULL, err) < 0)
        return -1;
    return kp_policy_bundle(manifest, terms->revoked, err);
}

static int accept_bundle(struct kp_node_state *state, struct kp_slice manifest,
                         struct kp_slice signatures, struct kp_node_terms **terms,
                         struct kp_err *err)
{
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_manifest) parsed = NULL;
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    bool first = false;
    if (signatures.len != KP_SIG_SIZE)
        return kp_fail_as(err, KP_UNTRUSTED, "bad_signature_block", "signature block of %zu bytes",
                          signatures.len);
    if (choose_trust(state, *terms, &trust, &first, err) < 0 ||
        kp_signatures_parse(set, signatures.ptr, err) < 0 ||
        (!(*terms)->insecure && check_trust(trust, first, manifest, set, err) < 0) ||
        kp_manifest_parse(&parsed, manifest, err) < 0 ||
        check_policy(parsed, set, manifest, trust, *terms, err) < 0)
        return -1;
    pthread_mutex_lock(&state->lock);
    kp_manifest_free(state->manifest);
    kp_trust_free(state->trust);
    kp_node_terms_free(state->terms);
    state->manifest = kp_steal(&parsed);
    state->trust = kp_steal(&trust);
    state->terms = kp_steal(terms);
    state->insecure = state->terms->insecure != NULL;
    state->first_contact = first;
    state->committed = false;
    pthread_mutex_unlock(&state->lock);
    return 0;
}

int kp_node_accept_kept(struct kp_node_state *state, struct kp_slice manifest,
                        struct kp_slice signatures, struct kp_err *err)
{
    kp_auto(kp_node_terms) terms = terms_new();
    return accept_bundle(state, manifest, signatures, &terms, err);
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

static int read_terms(const json_t *args, struct kp_node_terms *terms, struct kp_err *err)
{
    const json_t *lists = json_object_get(args, "lists");
    const json_t *revoked = json_object_get(args, "revoked");
    const char *why;
    if (read_trust(args, terms->given, err) < 0 ||
        (lists && kp_trust_chain_from_json(&terms->lists, lists, err) < 0) ||
        (revoked && kp_revoked_from_json(terms->revoked, revoked, err) < 0))
        return -1;
    terms->downgrade = json_object_get(args, "allow_downgrade") != NULL;
    if (terms->downgrade &&
        kp_node_number(args, "allow_downgrade", INT64_MAX, &terms->serial, err) < 0)
        return -1;
    if (!json_object_get(args, "insecure"))
        return 0;
    if (kp_node_text(args, "insecure", REASON_MAX, &why, err) < 0)
        return -1;
    terms->insecure = kp_strdup(why);
    return 0;
}

int kp_node_op_bundle(struct kp_node_request *request, const json_t *args, json_t **result,
                      struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    kp_auto_value(kp_buf) data = KP_BUF(KP_MANIFEST_MAX + KP_SIG_SIZE);
    kp_auto(kp_node_terms) terms = terms_new();
    uint64_t size;
    if (kp_node_number(args, "manifest", KP_MANIFEST_MAX, &size, err) < 0 ||
        read_terms(args, terms, err) < 0 ||
        kp_node_read_all(request, &data, size + KP_SIG_SIZE, err) < 0 ||
        accept_bundle(state, (struct kp_slice){data.data, size},
                      (struct kp_slice){data.data + size, KP_SIG_SIZE}, &terms, err) < 0)
        return -1;
    pthread_mutex_lock(&state->lock);
    struct kp_digest_text id = kp_digest_hex(&state->manifest->id);
    *result =
        json_pack("{s:s, s:I, s:b}", "id", id.hex, "serial", (json_int_t)state->manifest->serial,
                  "first_contact", (int)state->first_contact);
    pthread_mutex_unlock(&state->lock);
    return 0;
}

static int keep_loose_keys(struct kp_node_state *state, const char *folder, struct kp_err *err)
{
    const struct kp_trust *given = state->terms->given;
    for (size_t i = 0; i < kp_trust_count(given); i++) {
        const struct kp_trust_key *key = kp_trust_at(given, i);
        if (!state->first_contact && kp_trust_find(state->trust, &key->id))
            continue;
        struct kp_digest_text id = kp_digest_hex(&key->id);
        kp_auto_free char *pem = kp_trust_pem(given, i);
        // Named by id: a name that was chosen elsewhere never becomes a path.
        kp_auto_free char *path = kp_asprintf("%s/%s.pub", folder, id.hex);
        if (kp_file_write_atomic(path, kp_slice_of(pem), 0644, err) < 0)
            return -1;
    }
    return 0;
}

static int keep_trust(struct kp_node_state *state, struct kp_err *err)
{
    kp_auto_free char *folder = kp_node_own(state, TRUST_FOLDER);
    const struct kp_node_terms *terms = state->terms;
    if (terms->insecure)
        return 0;
    if (kp_mkdirs(folder, 0755, err) < 0 ||
        kp_trust_chain_keep(&terms->lists, terms->first_new, folder, err) < 0 ||
        kp_revoked_keep(terms->revoked, folder, NULL, err) < 0)
        return -1;
    return kp_trust_list_of(state->trust) ? 0 : keep_loose_keys(state, folder, err);
}

static int note_insecure(struct kp_node_state *state, struct kp_err *err)
{
    kp_auto_free char *path = kp_node_own(state, INSECURE_FILE);
    kp_auto_free char *folder = kp_path_dir(path);
    const struct kp_manifest *m = state->manifest;
    kp_auto_json line = json_pack("{s:s, s:s, s:s, s:I, s:s}", "time", kp_text_utc(time(NULL)).s,
                                  "bundle", kp_digest_hex(&m->id).hex, "name", m->name, "serial",
                                  (json_int_t)m->serial, "reason", state->terms->insecure);
    kp_auto_free char *text = kp_json_dump(line, true);
    if (kp_mkdirs(folder, 0700, err) < 0)
        return -1;
    kp_auto_fd int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return kp_fail_sys(err, errno, "open %s", path);
    if (kp_write_full(fd, text, strlen(text), err) < 0)
        return -1;
    return fsync(fd) < 0 ? kp_fail_sys(err, errno, "write %s", path) : 0;
}

int kp_node_check_serial(const struct kp_node_state *state, struct kp_err *err)
{
    kp_auto_free char *path = kp_node_own(state, BUNDLES_FILE);
    const struct kp_policy_allow allow = {
        .downgrade = state->terms->downgrade ? &state->terms->serial : NULL};
    uint64_t highest;
    if (kp_serials_highest(path, state->manifest->name, &highest, err) < 0)
        return -1;
    return kp_policy_serial(state->manifest, highest, &allow, NULL, err);
}

static int keep_serial(struct kp_node_state *state, struct kp_err *err)
{
    kp_auto_free char *path = kp_node_own(state, BUNDLES_FILE);
    const struct kp_manifest *m = state->manifest;
    if (kp_node_check_serial(state, err) < 0)
        return kp_wrap(err, "this node");
    // A bundle of nobody known must not shut out the signed ones by a high number.
    return state->terms->insecure ? note_insecure(state, err)
                                  : kp_serials_raise(path, m->name, m->serial, err);
}

int kp_node_commit(struct kp_node_state *state, bool dry_run, struct kp_err *err)
{
    if (dry_run)
        return 0;
    pthread_mutex_lock(&state->lock);
    int failed = 0;
    if (!state->committed) {
        failed = keep_serial(state, err) < 0 || keep_trust(state, err) < 0 ? -1 : 0;
        state->committed = failed == 0;
    }
    pthread_mutex_unlock(&state->lock);
    return failed;
}
