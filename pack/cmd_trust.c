/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/cmd_trust.h"

#include "bundle/names.h"
#include "bundle/revocations.h"
#include "bundle/trust_list.h"
#include "core/file.h"
#include "core/screen.h"
#include "core/text.h"
#include "pack/keys.h"

#include <stdio.h>

struct options {
    const char *key, *not_before, *not_after;
    struct kp_text_list roles;
    uint64_t thresholds[KP_KEY_ROLES];
    bool json;
};
#define FIELD(member) offsetof(struct options, member)
static const struct kp_option option_table[] = {
    {"role", 0, KP_OPT_LIST, FIELD(roles), "ROLE",
     "of the keys that are added: sign, revoke, root (default: all three)", 0},
    {"not-before", 0, KP_OPT_TEXT, FIELD(not_before), "TIME",
     "of the keys that are added: 2027-01-01T00:00:00Z", 0},
    {"not-after", 0, KP_OPT_TEXT, FIELD(not_after), "TIME", "the same", 0},
    {"sign", 0, KP_OPT_NUMBER, FIELD(thresholds[0]), "M", "keys that must sign a bundle",
     KP_TRUST_KEYS_MAX},
    {"revoke", 0, KP_OPT_NUMBER, FIELD(thresholds[1]), "M", "keys that must sign revocations",
     KP_TRUST_KEYS_MAX},
    {"root", 0, KP_OPT_NUMBER, FIELD(thresholds[2]), "M", "keys that must sign the next list",
     KP_TRUST_KEYS_MAX},
    {"hooks", 0, KP_OPT_NUMBER, FIELD(thresholds[3]), "M",
     "keys that must have signed a bundle with hooks", KP_TRUST_KEYS_MAX},
    {"key", 0, KP_OPT_TEXT, FIELD(key), "KEY",
     "sign: the private key, a file or a name in ~/.config/kpack/keys", 0},
    {"json", 0, KP_OPT_FLAG, FIELD(json), NULL, "one JSON document on stdout", 0},
    {.name = NULL},
};

/* A list that is being made; texts and keys live in the arena of its own. */
struct draft {
    struct kp_trust_list list;
    struct kp_trust_key keys[KP_TRUST_KEYS_MAX];
};

static int read_roles(const struct options *o, unsigned *out, struct kp_err *err)
{
    *out = o->roles.count ? 0 : KP_KEY_SIGN | KP_KEY_REVOKE | KP_KEY_ROOT;
    for (size_t i = 0; i < o->roles.count; i++) {
        unsigned role = kp_key_role_parse(o->roles.items[i]);
        if (!role)
            return kp_fail(err, KP_USAGE, "--role %s: sign, revoke, root or hooks is needed",
                           o->roles.items[i]);
        *out |= role;
    }
    return 0;
}

static int add_key(struct draft *draft, struct kp_arena *arena, const char *path,
                   const struct options *o, struct kp_err *err)
{
    kp_auto(kp_trust) read = kp_trust_new();
    struct kp_trust_list *list = &draft->list;
    if (kp_trust_add_file(read, path, err) < 0)
        return -1;
    if (list->key_count == KP_TRUST_KEYS_MAX)
        return kp_fail(err, KP_USAGE, "a list takes at most %d keys", KP_TRUST_KEYS_MAX);
    struct kp_trust_key key = *kp_trust_at(read, 0);
    for (size_t i = 0; i < list->key_count; i++)
        if (kp_digest_equal(&draft->keys[i].id, &key.id))
            return kp_fail(err, KP_USAGE, "%s: the key is in the list already, as %s", path,
                           draft->keys[i].name);
    key.name = kp_arena_strdup(arena, key.name);
    key.not_before = o->not_before;
    key.not_after = o->not_after;
    if (read_roles(o, &key.roles, err) < 0)
        return -1;
    draft->keys[list->key_count++] = key;
    return 0;
}

static int remove_key(struct draft *draft, const char *name, struct kp_err *err)
{
    for (size_t i = 0; i < draft->list.key_count; i++) {
        if (strcmp(draft->keys[i].name, name) != 0)
            continue;
        draft->list.key_count--;
        memmove(&draft->keys[i], &draft->keys[i + 1],
                (draft->list.key_count - i) * sizeof(draft->keys[0]));
        return 0;
    }
    return kp_fail(err, KP_USAGE, "no key %s in the list", name);
}

static void take_list(struct draft *draft, const struct kp_trust_list *from)
{
    draft->list = *from;
    memcpy(draft->keys, from->keys, from->key_count * sizeof(*from->keys));
}

static int load_list(struct kp_trust_list **out, const char *path, struct kp_err *err)
{
    struct kp_document *document = NULL;
    if (kp_document_load(&document, path, err) < 0)
        return -1;
    if (kp_trust_list_parse(out, document, err) < 0)
        return kp_wrap(err, "%s", path);
    return 0;
}

/* A threshold for hooks is there exactly where somebody has that role. */
static void settle_hooks(struct draft *draft)
{
    bool held = false;
    for (size_t i = 0; i < draft->list.key_count; i++)
        held = held || draft->keys[i].roles & KP_KEY_HOOKS;
    unsigned *threshold = &draft->list.thresholds[KP_KEY_ROLES - 1];
    if (!held)
        *threshold = 0;
    else if (!*threshold)
        *threshold = 1;
}

/* Writes the draft without signatures, through the reader's own checks. */
static int save_draft(struct draft *draft, const char *path, const struct options *o,
                      struct kp_err *err)
{
    kp_auto(kp_trust_list) parsed = NULL;
    for (unsigned i = 0; i < KP_KEY_ROLES; i++)
        if (o->thresholds[i])
            draft->list.thresholds[i] = (unsigned)o->thresholds[i];
    draft->list.keys = draft->keys;
    settle_hooks(draft);
    char *text = kp_trust_list_dump(&draft->list);
    if (kp_trust_list_parse(&parsed, kp_document_new(text, strlen(text)), err) < 0) {
        if (err)
            err->code = KP_USAGE;
        return -1;
    }
    return kp_document_save(parsed->document, path, err);
}

static int check_new(const char *path, struct kp_err *err)
{
    if (!kp_ends_with(path, ".json"))
        return kp_fail(err, KP_USAGE, "%s: a name that ends in .json is needed", path);
    return kp_file_exists(path) ? kp_fail(err, KP_USAGE, "%s is there already", path) : 0;
}

static int do_init(const struct options *o, int argc, char **argv, struct kp_err *err)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_text now = kp_text_utc(time(NULL));
    kp_auto_free struct draft *draft = kp_alloc(sizeof(*draft));
    draft->list.version = 1;
    draft->list.created = now.s;
    for (unsigned i = 0; i < KP_KEY_ROLES; i++)
        draft->list.thresholds[i] = 1;
    if (check_new(argv[0], err) < 0)
        return -1;
    for (int i = 1; i < argc; i++)
        if (add_key(draft, arena, argv[i], o, err) < 0)
            return -1;
    return save_draft(draft, argv[0], o, err);
}

static int do_next(const struct options *o, int argc, char **argv, struct kp_err *err)
{
    kp_auto(kp_trust_list) old = NULL;
    struct kp_text now = kp_text_utc(time(NULL));
    kp_auto_free struct draft *draft = kp_alloc(sizeof(*draft));
    (void)argc;
    if (load_list(&old, argv[0], err) < 0 || check_new(argv[1], err) < 0)
        return -1;
    take_list(draft, old);
    draft->list.version = old->version + 1;
    draft->list.created = now.s;
    draft->list.has_previous = true;
    draft->list.previous = old->document->id;
    return save_draft(draft, argv[1], o, err);
}

static int do_edit(const struct options *o, int argc, char **argv, const char *verb,
                   struct kp_err *err)
{
    kp_auto(kp_trust_list) old = NULL;
    kp_auto(kp_arena) arena = kp_arena_new();
    kp_auto_free struct draft *draft = kp_alloc(sizeof(*draft));
    if (load_list(&old, argv[0], err) < 0)
        return -1;
    if (old->document->signatures.count)
        return kp_fail(err, KP_USAGE,
                       "%s is signed already; make the next list from it: kpack trust next OLD NEW",
                       argv[0]);
    take_list(draft, old);
    bool add = strcmp(verb, "add-key") == 0;
    for (int i = 1; i < argc; i++)
        if ((add ? add_key(draft, arena, argv[i], o, err) : remove_key(draft, argv[i], err)) < 0)
            return -1;
    return save_draft(draft, argv[0], o, err);
}

static int sign_document(const char *path, const char *wanted, struct kp_err *err)
{
    kp_auto(kp_document) document = NULL;
    kp_auto_value(kp_signing_key) key = {0};
    if (kp_document_load(&document, path, err) < 0 ||
        kp_signing_key_find(&key, wanted, false, err) < 0 ||
        kp_document_sign(document, key.key, err) < 0 || kp_document_save(document, path, err) < 0)
        return -1;
    struct kp_digest_text id = kp_digest_hex(kp_key_id(key.key));
    fprintf(stderr, "signed    %s   key %.4s…%s (%s)   %zu signature%s\n", path, id.hex,
            id.hex + 60, key.name, document->signatures.count,
            document->signatures.count == 1 ? "" : "s");
    return 0;
}

static int do_sign(const struct options *o, char **argv, struct kp_err *err)
{
    kp_auto(kp_document) document = NULL;
    kp_auto_json value = NULL;
    if (kp_document_load(&document, argv[0], err) < 0)
        return -1;
    // A key must sign nothing but these two kinds here.
    if (kp_document_parse(&value, document, KP_TRUST_LIST_KIND, NULL) < 0 &&
        kp_document_parse(&value, document, KP_REVOCATIONS_KIND, NULL) < 0)
        return kp_fail(err, KP_USAGE, "%s is neither a trust list nor a list of revocations",
                       argv[0]);
    return sign_document(argv[0], o->key, err);
}

static const char *signed_text(const struct kp_trust_list *list, const struct kp_digest *id)
{
    for (size_t i = 0; i < list->document->signatures.count; i++)
        if (kp_digest_equal(&list->document->signatures.items[i].key_id, id))
            return "signed";
    return "";
}

static void print_list(const struct kp_trust_list *list)
{
    static const char *const heads[] = {"NAME", "KEY", "ROLES", "FROM", "UNTIL", "THIS LIST"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    for (size_t i = 0; i < list->key_count; i++) {
        const struct kp_trust_key *key = &list->keys[i];
        kp_table_cell(table, KP_PLAIN, "%s", key->name);
        kp_table_cell(table, KP_PLAIN, "%s", kp_digest_hex(&key->id).hex);
        kp_table_cell(table, KP_PLAIN, "%s%s%s%s", key->roles & KP_KEY_SIGN ? "sign " : "",
                      key->roles & KP_KEY_REVOKE ? "revoke " : "",
                      key->roles & KP_KEY_ROOT ? "root " : "",
                      key->roles & KP_KEY_HOOKS ? "hooks" : "");
        kp_table_cell(table, KP_PLAIN, "%s", key->not_before ? key->not_before : "");
        kp_table_cell(table, KP_PLAIN, "%s", key->not_after ? key->not_after : "");
        kp_table_cell(table, KP_PLAIN, "%s", signed_text(list, &key->id));
    }
    printf("version %llu   made %s   needed: sign %u, revoke %u, root %u\ndigest  %s\n",
           (unsigned long long)list->version, list->created, list->thresholds[0],
           list->thresholds[1], list->thresholds[2], kp_digest_hex(&list->document->id).hex);
    kp_table_print(table, stdout);
}

static int do_show(const struct options *o, char **argv, struct kp_err *err)
{
    kp_auto(kp_trust_list) list = NULL;
    kp_auto_json value = NULL;
    if (load_list(&list, argv[0], err) < 0)
        return -1;
    if (!o->json) {
        print_list(list);
        return 0;
    }
    if (kp_document_parse(&value, list->document, KP_TRUST_LIST_KIND, err) < 0)
        return -1;
    json_t *ids = json_array();
    for (size_t i = 0; i < list->document->signatures.count; i++)
        json_array_append_new(
            ids, json_string(kp_digest_hex(&list->document->signatures.items[i].key_id).hex));
    json_object_set_new(value, "signatures", ids);
    json_object_set_new(value, "digest", json_string(kp_digest_hex(&list->document->id).hex));
    kp_json_print(value);
    return 0;
}

/* The verbs that write a list. */
static int write_list(const struct options *o, const char *verb, int argc, char **argv,
                      struct kp_err *err)
{
    if (strcmp(verb, "init") == 0 && argc >= 2)
        return do_init(o, argc, argv, err);
    if (strcmp(verb, "next") == 0 && argc == 2)
        return do_next(o, argc, argv, err);
    if ((strcmp(verb, "add-key") == 0 || strcmp(verb, "remove-key") == 0) && argc >= 2)
        return do_edit(o, argc, argv, verb, err);
    if (strcmp(verb, "threshold") == 0 && argc == 1)
        return do_edit(o, argc, argv, verb, err);
    if (strcmp(verb, "sign") == 0 && argc == 1)
        return do_sign(o, argv, err);
    return kp_fail(err, KP_USAGE,
                   "needed: init FILE KEY.pub…, next OLD NEW, add-key FILE KEY.pub…, remove-key "
                   "FILE NAME…, threshold FILE, sign FILE or show FILE");
}

static int run_trust(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *o = user;
    const char *verb = argv[0];
    argc--;
    argv++;
    if (strcmp(verb, "show") == 0 && argc == 1)
        return do_show(o, argv, err);
    if (write_list(o, verb, argc, argv, err) < 0)
        return -1;
    if (o->json) {
        kp_auto_json out = json_pack("{s:s}", "file", argv[strcmp(verb, "next") == 0]);
        return kp_json_end(out, 0, err);
    }
    return 0;
}

const struct kp_command kp_cmd_trust_lists = {
    "trust",
    "init|next|add-key|remove-key|threshold|sign|show FILE…",
    2,
    KP_TRUST_KEYS_MAX,
    "make and sign trust lists: keys, roles, thresholds",
    "init FILE KEY.pub…         a first list of these keys\n"
    "next OLD NEW               the list after OLD, to be edited\n"
    "add-key FILE KEY.pub…      remove-key FILE NAME…      threshold FILE --sign M …\n"
    "sign FILE --key KEY        adds a signature to FILE.sig; several people one after the other\n"
    "show FILE\n"
    "A list that is signed is not edited any more. The next one must be signed by the root "
    "threshold of the old list and by its own. A site takes it by kinstall trust import.",
    option_table,
    sizeof(struct options),
    run_trust,
};

struct revoke_options {
    struct kp_text_list keys, bundles;
    const char *why, *key;
};
#define REVOKE(member) offsetof(struct revoke_options, member)
static const struct kp_option revoke_table[] = {
    {"revoke-key", 0, KP_OPT_LIST, REVOKE(keys), "KEY", "a key: its id, or its .pub file", 0},
    {"revoke-bundle", 0, KP_OPT_LIST, REVOKE(bundles), "ID", "a bundle by its id (kpack inspect)",
     0},
    {"why", 0, KP_OPT_TEXT, REVOKE(why), "TEXT", "the reason, for people", 0},
    {"key", 0, KP_OPT_TEXT, REVOKE(key), "KEY",
     "sign it by this private key: a file, or a name in ~/.config/kpack/keys", 0},
    {.name = NULL},
};

static int revoke_key(struct kp_revoked *set, const char *word, const char *why, struct kp_err *err)
{
    struct kp_digest id;
    kp_auto(kp_trust) read = kp_trust_new();
    if (!kp_digest_parse(kp_slice_of(word), &id)) {
        if (kp_trust_add_file(read, word, err) < 0)
            return kp_wrap(err, "--revoke-key");
        id = kp_trust_at(read, 0)->id;
    }
    return kp_revoked_add(set, KP_REVOKED_KEY, &id, why, err);
}

static int revoke_bundle(struct kp_revoked *set, const char *word, const char *why,
                         struct kp_err *err)
{
    struct kp_digest id;
    if (!kp_digest_parse(kp_slice_of(word), &id))
        return kp_fail(err, KP_USAGE,
                       "--revoke-bundle %s: 64 hex digits are needed (kpack inspect)", word);
    return kp_revoked_add(set, KP_REVOKED_BUNDLE, &id, why, err);
}

static int run_revoke(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct revoke_options *o = user;
    kp_auto(kp_revoked) set = kp_revoked_new();
    const char *why = o->why ? o->why : "";
    (void)argc;
    if (!kp_ends_with(argv[0], ".json"))
        return kp_fail(err, KP_USAGE, "%s: a name that ends in .json is needed", argv[0]);
    if (!o->keys.count && !o->bundles.count)
        return kp_fail(err, KP_USAGE, "--revoke-key or --revoke-bundle is needed");
    if (kp_file_exists(argv[0])) { // goes on from what was revoked before
        kp_auto(kp_document) old = NULL;
        if (kp_document_load(&old, argv[0], err) < 0 ||
            kp_revocations_read(set, old, NULL, err) < 0)
            return kp_wrap(err, "%s", argv[0]);
    }
    for (size_t i = 0; i < o->keys.count; i++)
        if (revoke_key(set, o->keys.items[i], why, err) < 0)
            return -1;
    for (size_t i = 0; i < o->bundles.count; i++)
        if (revoke_bundle(set, o->bundles.items[i], why, err) < 0)
            return -1;
    char *text = kp_revocations_dump(set, kp_text_utc(time(NULL)).s);
    kp_auto(kp_document) document = kp_document_new(text, strlen(text));
    if (kp_document_save(document, argv[0], err) < 0)
        return -1;
    printf("revoked   %zu in all   %s\n", kp_revoked_count(set), argv[0]);
    return o->key ? sign_document(argv[0], o->key, err) : 0;
}

const struct kp_command kp_cmd_revoke = {
    "revoke",
    "FILE",
    1,
    1,
    "make or extend a list of revoked keys and bundles",
    "Adds to FILE.json what no longer counts; the signatures in FILE.sig begin anew. Sign it by "
    "--key, or later by kpack trust sign. kpack create --revocations FILE puts it into every "
    "bundle; kinstall trust import FILE takes it at once.",
    revoke_table,
    sizeof(struct revoke_options),
    run_revoke,
};
