/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of a folder, trust.<version>.json, and what may be added to them. */
#include "bundle/trust_list.h"

#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

static bool version_of(const char *name, uint64_t *version)
{
    size_t len = strlen(name);
    return len > 11 && kp_starts_with(name, "trust.") && kp_ends_with(name, ".json") &&
           kp_parse_u64((struct kp_slice){name + 6, len - 11}, KP_TRUST_VERSION_MAX, version);
}

bool kp_trust_folder_has_list(const char *folder)
{
    uint64_t version;
    bool found = false;
    DIR *dir = opendir(folder);
    for (const struct dirent *e; dir && !found && (e = readdir(dir));)
        found = version_of(e->d_name, &version);
    if (dir)
        closedir(dir);
    return found;
}

void kp_trust_chain_release(struct kp_trust_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        kp_trust_list_free(chain->lists[i]);
    chain->count = 0;
}

static int insert(struct kp_trust_chain *chain, struct kp_trust_list *list, struct kp_err *err)
{
    size_t at = chain->count;
    if (at == KP_TRUST_CHAIN_MAX) {
        kp_trust_list_free(list);
        return kp_fail(err, KP_USAGE, "more than %d trust lists", KP_TRUST_CHAIN_MAX);
    }
    for (; at && chain->lists[at - 1]->version > list->version; at--)
        chain->lists[at] = chain->lists[at - 1];
    chain->lists[at] = list;
    chain->count++;
    return 0;
}

int kp_trust_chain_add(struct kp_trust_chain *chain, const char *path, struct kp_err *err)
{
    struct kp_document *document = NULL;
    struct kp_trust_list *list = NULL;
    if (kp_document_load(&document, path, err) < 0)
        return -1;
    if (kp_trust_list_parse(&list, document, err) < 0)
        return kp_wrap(err, "%s", path);
    return insert(chain, list, err);
}

static int load_all(struct kp_trust_chain *chain, const char *folder, struct kp_err *err)
{
    int result = 0;
    uint64_t version;
    DIR *dir = opendir(folder);
    if (!dir)
        return kp_fail_sys(err, errno, "open %s", folder);
    for (const struct dirent *e; result == 0 && (e = readdir(dir));) {
        if (!version_of(e->d_name, &version))
            continue;
        kp_auto_free char *path = kp_path_join(folder, e->d_name);
        result = kp_trust_chain_add(chain, path, err);
    }
    closedir(dir);
    return result;
}

int kp_trust_chain_load(struct kp_trust_chain *chain, const char *folder, struct kp_err *err)
{
    if (load_all(chain, folder, err) < 0)
        return -1;
    // What was taken once stays taken: a key that was revoked later does not undo the chain.
    if (kp_trust_list_check(chain->lists[0], NULL, err) < 0)
        return -1;
    for (size_t i = 1; i < chain->count; i++)
        if (kp_trust_list_follows(chain->lists[i], chain->lists[i - 1], NULL, err) < 0)
            return -1;
    return 0;
}

json_t *kp_trust_chain_json(const struct kp_trust_chain *chain)
{
    json_t *out = json_array();
    for (size_t i = 0; i < chain->count; i++)
        json_array_append_new(out, kp_document_json(chain->lists[i]->document));
    return out;
}

int kp_trust_chain_from_json(struct kp_trust_chain *chain, const json_t *value, struct kp_err *err)
{
    if (!json_is_array(value) || json_array_size(value) > KP_TRUST_CHAIN_MAX)
        return kp_fail_as(err, KP_UNTRUSTED, "bad_document", "no list of trust lists");
    for (size_t i = 0; i < json_array_size(value); i++) {
        struct kp_document *document = NULL;
        struct kp_trust_list *list = NULL;
        if (kp_document_from_json(&document, json_array_get(value, i), err) < 0 ||
            kp_trust_list_parse(&list, document, err) < 0 || insert(chain, list, err) < 0)
            return -1;
    }
    return 0;
}

/* Loose keys have the threshold 1: one of them must have signed the first list. */
static int follows_loose_keys(const struct kp_trust *store, const struct kp_trust_list *list,
                              struct kp_err *err)
{
    const struct kp_judging how = {.role = KP_KEY_SIGN,
                                   .created = list->created,
                                   .revoked = kp_trust_revoked(store),
                                   .keys = kp_trust_at(store, 0),
                                   .key_count = kp_trust_count(store),
                                   .threshold = 1,
                                   .what = "the trust list"};
    if (kp_signatures_judge(&list->document->signatures, &how, kp_document_slice(list->document),
                            NULL, err) < 0) {
        kp_wrap(err, "the first trust list must be signed by a key that is trusted already");
        return kp_hint(err, "sign it with such a key: kpack trust sign FILE --key KEY; or remove "
                            "the loose keys first");
    }
    return kp_trust_list_check(list, kp_trust_revoked(store), err);
}

static int check_rest(const struct kp_trust *store, const struct kp_trust_chain *given, size_t from,
                      struct kp_err *err)
{
    for (size_t i = from; i < given->count; i++)
        if (kp_trust_list_follows(given->lists[i], given->lists[i - 1], kp_trust_revoked(store),
                                  err) < 0)
            return -1;
    return 0;
}

/* Nothing is trusted yet: whoever gives the lists gives what is to be trusted. */
static int accept_first(const struct kp_trust *store, const struct kp_trust_chain *given,
                        size_t *first, struct kp_err *err)
{
    *first = 0;
    if (!given->count)
        return 0;
    if ((kp_trust_count(store) ? follows_loose_keys(store, given->lists[0], err)
                               : kp_trust_list_check(given->lists[0], NULL, err)) < 0)
        return -1;
    return check_rest(store, given, 1, err);
}

int kp_trust_chain_accept(const struct kp_trust *store, const struct kp_trust_chain *given,
                          size_t *first, struct kp_err *err)
{
    const struct kp_trust_list *have = kp_trust_list_of(store);
    if (!have)
        return accept_first(store, given, first, err);
    size_t at = 0;
    while (at < given->count && given->lists[at]->version < have->version)
        at++;
    if (at == given->count)
        return given->count ? kp_trust_list_follows(given->lists[given->count - 1], have, NULL, err)
                            : (*first = 0, 0);
    if (given->lists[at]->version == have->version) {
        if (!kp_digest_equal(&given->lists[at]->document->id, &have->document->id))
            return kp_fail_as(err, KP_UNTRUSTED, "rollback",
                              "another trust list of version %llu is in use",
                              (unsigned long long)have->version);
        at++;
    }
    *first = at;
    if (at == given->count)
        return 0;
    if (kp_trust_list_follows(given->lists[at], have, kp_trust_revoked(store), err) < 0)
        return -1;
    return check_rest(store, given, at + 1, err);
}

int kp_trust_chain_keep(const struct kp_trust_chain *chain, size_t first, const char *folder,
                        struct kp_err *err)
{
    if (first < chain->count && kp_mkdirs(folder, 0755, err) < 0)
        return -1;
    for (size_t i = first; i < chain->count; i++) {
        kp_auto_free char *path =
            kp_asprintf("%s/trust.%llu.json", folder, (unsigned long long)chain->lists[i]->version);
        if (kp_document_save(chain->lists[i]->document, path, err) < 0)
            return -1;
    }
    return 0;
}
