/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/spki.h"
#include "bundle/writer.h"
#include "core/file.h"
#include "core/screen.h"
#include "core/secret.h"
#include "pack/commands.h"
#include "pack/keys.h"

#include <stddef.h>
#include <stdio.h>

#define FIELD(member) offsetof(struct kp_signing_options, member)

const struct kp_option kp_sign_options[] = {
    {"key", 0, KP_OPT_TEXT, FIELD(key), "KEY",
     "signing key: a file, a name in ~/.config/kpack/keys, or pkcs11:…", 0},
    {"passphrase-fd", 0, KP_OPT_TEXT, FIELD(passphrase_fd), "FD",
     "read the key's passphrase or the token's PIN there", 0},
    {"detached", 0, KP_OPT_FLAG, FIELD(detached), NULL,
     "sign a bundle.json; the signature goes into a file of one line", 0},
    {"output", 'o', KP_OPT_TEXT, FIELD(output), "FILE",
     "of --detached (default: bundle.json.sig beside it)", 0},
    {"attach", 0, KP_OPT_TEXT, FIELD(attach), "FILE",
     "add the signature of this file, after checking it", 0},
    {"trust", 0, KP_OPT_LIST, FIELD(trusted), "FILE",
     "a public key to trust for --attach and --check in this run", 0},
    {"check", 0, KP_OPT_FLAG, FIELD(check), NULL, "only say who has signed", 0},
    {"json", 0, KP_OPT_FLAG, FIELD(json), NULL, "one JSON document on stdout", 0},
    {0},
};

static int unlock(const struct kp_signing_options *o, struct kp_signing_key *key,
                  struct kp_err *err)
{
    int fd;
    if (kp_secret_fd(o->passphrase_fd, "--passphrase-fd", &fd, err) < 0)
        return -1;
    return kp_signing_key_unlock(key, o->key, fd, false, err);
}

static void report_signed(const struct kp_signing_options *o, const char *key, const char *file,
                          const struct kp_digest *id, const char *name)
{
    struct kp_digest_text text = kp_digest_hex(id);
    if (o->json) {
        kp_auto_json out = json_pack("{s:s, s:s, s:s}", key, file, "key", text.hex, "name", name);
        kp_json_print(out);
        return;
    }
    printf("signed    %s   key %.4s…%s (%s)\n", file, text.hex, text.hex + 60, name);
}

static int sign_bundle(const struct kp_signing_options *o, const char *path, struct kp_err *err)
{
    kp_auto_value(kp_signing_key) key = {0};
    if (unlock(o, &key, err) < 0 || kp_bundle_sign_file(path, key.key, err) < 0)
        return -1;
    report_signed(o, "bundle", path, kp_key_id(key.key), key.name);
    return 0;
}

/* Whoever signs must see what: nothing but a well-formed bundle.json is ever signed. */
static int sign_detached(const struct kp_signing_options *o, const char *path, struct kp_err *err)
{
    kp_auto_value(kp_signing_key) key = {0};
    kp_auto(kp_manifest) m = NULL;
    kp_auto_free char *text = NULL;
    kp_auto_free char *to = o->output ? kp_path_expand(o->output) : kp_asprintf("%s.sig", path);
    struct kp_signature signature;
    char line[KP_SIGNATURE_LINE + 1];
    size_t len;
    if (kp_file_read(path, KP_MANIFEST_MAX, &text, &len, err) < 0)
        return -1;
    if (kp_manifest_parse(&m, (struct kp_slice){text, len}, err) < 0)
        return kp_hint(err, "--detached signs a bundle.json: tar --zstd -xf BUNDLE bundle.json");
    fprintf(stderr, "manifest  %s   serial %llu   %zu files, %zu images   id %s\n", m->name,
            (unsigned long long)m->serial, m->file_count, m->image_count,
            kp_digest_hex(&m->id).hex);
    if (unlock(o, &key, err) < 0 ||
        kp_sign(key.key, (struct kp_slice){text, len}, &signature, err) < 0)
        return -1;
    kp_signature_format_line(&signature, line);
    if (kp_file_write_atomic(to, (struct kp_slice){line, KP_SIGNATURE_LINE}, 0644, err) < 0)
        return -1;
    report_signed(o, "signature", to, kp_key_id(key.key), key.name);
    return 0;
}

static int attach(const struct kp_signing_options *o, const char *path, struct kp_err *err)
{
    kp_auto(kp_trust) trust = NULL;
    kp_auto_free char *line = NULL;
    kp_auto_free char *text = NULL;
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    struct kp_signature signature;
    struct kp_digest id;
    size_t line_len, len;
    if (kp_load_trust(&trust, &o->trusted, err) < 0 ||
        kp_file_read(o->attach, KP_KEY_FILE_MAX, &line, &line_len, err) < 0)
        return -1;
    if (kp_signature_parse_line(&signature, (struct kp_slice){line, line_len}, err) < 0)
        return kp_wrap(err, "%s", o->attach);
    if (kp_bundle_front(path, &text, &len, set, err) < 0)
        return -1;
    const struct kp_trust_key *key = kp_trust_find(trust, &signature.key_id);
    if (!key) {
        kp_fail_as(err, KP_UNTRUSTED, "unknown_key", "%s: by key %s, which is not trusted here",
                   o->attach, kp_digest_hex(&signature.key_id).hex);
        return kp_hint(err, "name the signer's public key: --trust FILE.pub");
    }
    if (!kp_spki_verify(key->public_key, (struct kp_slice){text, len}, signature.bytes)) {
        kp_fail_as(err, KP_UNTRUSTED, "bad_signature", "%s: does not fit the bundle.json of %s",
                   o->attach, path);
        return kp_hint(err, "it was made for another bundle, or altered");
    }
    kp_sha256(text, len, &id);
    if (kp_bundle_attach(path, &signature, &id, err) < 0)
        return -1;
    report_signed(o, "bundle", path, &key->id, key->name);
    return 0;
}

struct checked { /* what the report says of one signature */
    const char *name, *state;
};

static struct checked check_one(const struct kp_trust *trust, const struct kp_signature *signature,
                                struct kp_slice message)
{
    const struct kp_trust_key *key = kp_trust_find(trust, &signature->key_id);
    if (!key)
        return (struct checked){NULL, "unknown_key"};
    bool good = kp_spki_verify(key->public_key, message, signature->bytes);
    return (struct checked){key->name, good ? "valid" : "bad_signature"};
}

/* Returns result. */
static int end_check(const struct kp_signing_options *o, const char *path,
                     const struct kp_trust *trust, const struct kp_signature_set *set,
                     struct kp_slice message, int result, struct kp_err *err)
{
    static const char *const heads[] = {"SIGNER", "STATE", "KEY"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    json_t *list = json_array();
    for (size_t i = 0; i < set->count; i++) {
        struct checked c = check_one(trust, &set->items[i], message);
        struct kp_digest_text id = kp_digest_hex(&set->items[i].key_id);
        bool good = strcmp(c.state, "valid") == 0;
        kp_table_cell(table, KP_PLAIN, "%s", c.name ? c.name : "-");
        kp_table_cell(table, good ? KP_GREEN : KP_YELLOW, "%s", c.state);
        kp_table_cell(table, KP_PLAIN, "%s", id.hex);
        json_array_append_new(
            list, json_pack("{s:s?, s:s, s:s}", "name", c.name, "state", c.state, "key", id.hex));
    }
    kp_auto_json out = json_pack("{s:s, s:i, s:o}", "bundle", path, "needed",
                                 (int)kp_trust_threshold(trust, KP_KEY_SIGN), "signatures", list);
    if (o->json)
        return kp_json_end(out, result, err);
    kp_table_print(table, stdout);
    return result;
}

/* The list first, whatever it shows; then the verdict, as every reader would give it. */
static int check(const struct kp_signing_options *o, const char *path, struct kp_err *err)
{
    kp_auto(kp_trust) trust = NULL;
    kp_auto_free char *text = NULL;
    kp_auto_free struct kp_signature_set *set = kp_alloc(sizeof(*set));
    kp_auto_free struct kp_signers *signers = kp_alloc(sizeof(*signers));
    size_t len;
    if (kp_load_trust(&trust, &o->trusted, err) < 0 ||
        kp_bundle_front(path, &text, &len, set, err) < 0)
        return -1;
    struct kp_slice message = {text, len};
    int result = kp_signatures_verify(set, trust, message, signers, err);
    return end_check(o, path, trust, set, message, result, err);
}

int kp_cmd_sign(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_signing_options *o = options;
    (void)argc;
    if (o->detached + o->check + (o->attach != NULL) > 1)
        return kp_fail(err, KP_USAGE, "one of --detached, --attach and --check is enough");
    if (o->output && !o->detached)
        return kp_fail(err, KP_USAGE, "--output goes with --detached only");
    if (o->check)
        return check(o, argv[0], err);
    if (o->attach)
        return attach(o, argv[0], err);
    return o->detached ? sign_detached(o, argv[0], err) : sign_bundle(o, argv[0], err);
}
