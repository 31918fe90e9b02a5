/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trust list (kind kpack.trust/v1, docs/format.md): keys with roles and times, thresholds m of
 * n per role counted over distinct keys, a version, and the digest of the list before it. A new
 * list is taken only where the old list's root threshold and its own have signed it, version by
 * version (as The Update Framework does, spec 1.0 §5.3), and never an older one.
 */
#pragma once

#include "bundle/document.h"

#define KP_TRUST_LIST_KIND "kpack.trust/v1"
#define KP_TRUST_VERSION_MAX 9999
#define KP_TRUST_CHAIN_MAX 64

struct kp_trust_list {
    struct kp_document *document;
    struct kp_arena *arena;
    uint64_t version; /* from 1 on */
    const char *created;
    bool has_previous; /* all but version 1 */
    struct kp_digest previous;
    unsigned thresholds[KP_KEY_ROLES]; /* sign, revoke, root, hooks (0: nobody may) */
    struct kp_trust_key *keys;         /* distinct ids and names, in the file's order */
    size_t key_count;
};
void kp_trust_list_free(struct kp_trust_list *list);
KP_DEFINE_AUTO(kp_trust_list);
/* Takes the document. Every role must have as many keys as its threshold asks for. KP_UNTRUSTED
 * "bad_document". Signatures are not looked at. */
KP_CHECK int kp_trust_list_parse(struct kp_trust_list **out, struct kp_document *document,
                                 struct kp_err *err);
/* The document's text for what is in list; kp_free. */
char *kp_trust_list_dump(const struct kp_trust_list *list);
/* Signed by its own root threshold. revoked may be NULL. */
KP_CHECK int kp_trust_list_check(const struct kp_trust_list *list, const struct kp_revoked *revoked,
                                 struct kp_err *err);
/* That `next` may follow `old`: its version is one more, it names old's digest, both root
 * thresholds signed it. An older or another list of the same version is KP_UNTRUSTED "rollback". */
KP_CHECK int kp_trust_list_follows(const struct kp_trust_list *next,
                                   const struct kp_trust_list *old,
                                   const struct kp_revoked *revoked, struct kp_err *err);
/* Whether a folder has lists (trust.N.json). */
bool kp_trust_folder_has_list(const char *folder);
/* All lists of the folder, oldest first, each checked against the one before. */
struct kp_trust_chain {
    struct kp_trust_list *lists[KP_TRUST_CHAIN_MAX];
    size_t count;
};
void kp_trust_chain_release(struct kp_trust_chain *chain);
KP_DEFINE_AUTO_VALUE(kp_trust_chain);
KP_CHECK int kp_trust_chain_load(struct kp_trust_chain *chain, const char *folder,
                                 struct kp_err *err);
/* The documents of a chain as they travel to a node; and back, sorted by version. */
json_t *kp_trust_chain_json(const struct kp_trust_chain *chain);
KP_CHECK int kp_trust_chain_from_json(struct kp_trust_chain *chain, const json_t *value,
                                      struct kp_err *err);
/* Adds documents (FILE.json, FILE.sig) to a chain, sorted by version. */
KP_CHECK int kp_trust_chain_add(struct kp_trust_chain *chain, const char *path, struct kp_err *err);
/* Which of `given` may be taken where `store` is what is trusted so far: each must follow from the
 * list before it; the first one from the store's list, or, where that has loose keys only, it must
 * be signed by one of them; where the store is empty the newest stands by its own root threshold.
 * *first is the index of the first list to keep, given->count where there is nothing new. */
KP_CHECK int kp_trust_chain_accept(const struct kp_trust *store, const struct kp_trust_chain *given,
                                   size_t *first, struct kp_err *err);
/* Keeps the lists from index `first` on in the folder. */
KP_CHECK int kp_trust_chain_keep(const struct kp_trust_chain *chain, size_t first,
                                 const char *folder, struct kp_err *err);
