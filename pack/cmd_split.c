/* SPDX-License-Identifier: Apache-2.0 */
/* split, join, repair, and the check of one slice alone. */
#include "bundle/slices.h"
#include "bundle/split.h"
#include "core/file.h"
#include "core/screen.h"
#include "core/text.h"
#include "pack/commands.h"
#include "pack/keys.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>

#define FIELD(member) offsetof(struct kp_media_options, member)
#define TRUST_OPTION                                                                               \
    {                                                                                              \
        "key", 0, KP_OPT_LIST, FIELD(keys), "FILE", "a public key to trust for this run", 0        \
    }
#define JSON_OPTIONS                                                                               \
    {"json", 0, KP_OPT_FLAG, FIELD(json), NULL, "one JSON document on stdout", 0},                 \
    {                                                                                              \
        "quiet", 'q', KP_OPT_FLAG, FIELD(quiet), NULL, "no progress", 0                            \
    }

const struct kp_option kp_split_options[] = {
    {"size", 0, KP_OPT_TEXT, FIELD(size), "SIZE",
     "most bytes of a slice, like 4G or 700MiB (default fat32: 4 GiB - 1)", 0},
    {"output", 'o', KP_OPT_TEXT, FIELD(output), "FILE",
     "FILE.001 … are written (default: beside the bundle)", 0},
    {"sign-key", 0, KP_OPT_TEXT, FIELD(sign_key), "KEY",
     "signs the slice list: a file, or a name in ~/.config/kpack/keys", 0},
    {"unsigned", 0, KP_OPT_FLAG, FIELD(unsigned_), NULL,
     "leave the slice list unsigned: slices can then be checked together only", 0},
    TRUST_OPTION,
    JSON_OPTIONS,
    {0},
};
const struct kp_option kp_join_options[] = {
    {"output", 'o', KP_OPT_TEXT, FIELD(output), "FILE", "the whole bundle (default: its name)", 0},
    TRUST_OPTION,
    JSON_OPTIONS,
    {0},
};
const struct kp_option kp_repair_options[] = {
    {"from", 0, KP_OPT_LIST, FIELD(from), "COPY",
     "another copy, whole or sliced, which may be damaged elsewhere; several times", 0},
    TRUST_OPTION,
    JSON_OPTIONS,
    {0},
};

int kp_parse_split(const char *text, uint64_t *out, struct kp_err *err)
{
    if (!text || !text[0] || strcmp(text, "fat32") == 0) {
        *out = KP_SLICE_FAT32;
        return 0;
    }
    if (!kp_parse_size(kp_slice_of(text), out) || *out < KP_SLICE_SIZE_MIN)
        return kp_fail(err, KP_USAGE, "%s: a size of slices like 4G, 700MiB or fat32 is needed",
                       text);
    return 0;
}

static void show_progress(void *user, uint64_t done, uint64_t total)
{
    (void)total;
    kp_row_set(user, done);
}

static int copy_shown(const struct kp_media_options *o, const struct kp_bundle *bundle,
                      const char *path, struct kp_splitting *how, struct kp_bundle_written *out,
                      struct kp_err *err)
{
    kp_auto(kp_screen) screen =
        kp_screen_new(o->quiet || o->json ? KP_SCREEN_QUIET : KP_SCREEN_AUTO);
    bool live = kp_screen_live(screen);
    struct kp_row *row = live ? kp_screen_row(screen, "write", kp_bundle_size(bundle)) : NULL;
    how->progress = row ? show_progress : NULL;
    how->user = row;
    int result = kp_bundle_copy(bundle, path, how, out, err);
    if (row)
        kp_row_done(row, NULL);
    return result;
}

static void print_written(const struct kp_media_options *o, const char *path,
                          const struct kp_bundle_written *written, const struct kp_key *key)
{
    unsigned digits = kp_slice_digits(written->slices);
    if (o->json) {
        kp_auto_json out = json_pack(
            "{s:s, s:s, s:I, s:s, s:i, s:b}", "bundle", path, "id", kp_digest_hex(&written->id).hex,
            "size", (json_int_t)written->size, "sha256", kp_digest_hex(&written->sha256).hex,
            "slices", (int)written->slices, "list_signed", key != NULL);
        kp_json_print(out);
    } else if (!written->slices) {
        printf("wrote     %s   %s   sha256 %s\n", path, kp_text_bytes(written->size).s,
               kp_digest_hex(&written->sha256).hex);
    } else {
        printf("wrote     %s.%0*d – %s.%zu   %s   list %s" KP_SLICES_SUFFIX "%s\n", path,
               (int)digits, 1, path, written->slices, kp_text_bytes(written->size).s, path,
               key ? "" : " (unsigned)");
    }
}

/* x.tar.zst for x.tar.zst.001; kp_free. */
static char *stem_of(const char *path)
{
    size_t stem;
    unsigned number;
    return kp_slice_name(path, &stem, &number) ? kp_strndup(path, stem) : kp_strdup(path);
}

int kp_cmd_split(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_media_options *o = options;
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto_value(kp_signing_key) key = {0};
    kp_auto_free struct kp_signers *signers = kp_alloc(sizeof(*signers));
    struct kp_splitting how = {0};
    struct kp_bundle_written written;
    const char *path = o->output ? o->output : argv[0];
    (void)argc;
    if (kp_parse_split(o->size, &how.size, err) < 0)
        return kp_wrap(err, "--size");
    if (!o->unsigned_ && kp_signing_key_find(&key, o->sign_key, false, err) < 0)
        return kp_hint(err, "the slice list is signed, so that one slice alone can be checked; "
                            "--unsigned goes without");
    if (kp_open_trusted(&bundle, argv[0], &o->keys, &trust, signers, err) < 0)
        return -1;
    const struct kp_key *const keys[] = {key.key};
    how.keys = keys;
    how.key_count = key.key != NULL;
    if (copy_shown(o, bundle, path, &how, &written, err) < 0)
        return -1;
    print_written(o, path, &written, key.key);
    return 0;
}

int kp_cmd_join(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_media_options *o = options;
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto_free struct kp_signers *signers = kp_alloc(sizeof(*signers));
    kp_auto_free char *stem = stem_of(argv[0]);
    const char *path = o->output ? o->output : stem;
    struct kp_splitting how = {0};
    struct kp_bundle_written written;
    (void)argc;
    if (kp_file_exists(path))
        return kp_fail(err, KP_USAGE, "%s is there already", path);
    if (kp_open_trusted(&bundle, argv[0], &o->keys, &trust, signers, err) < 0 ||
        copy_shown(o, bundle, path, &how, &written, err) < 0)
        return -1;
    print_written(o, path, &written, NULL);
    return 0;
}

static int verify_after(const struct kp_media_options *o, const char *path, struct kp_err *err)
{
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto_free struct kp_signers *signers = kp_alloc(sizeof(*signers));
    if (kp_open_trusted(&bundle, path, &o->keys, &trust, signers, err) < 0)
        return -1;
    return kp_bundle_verify(bundle, NULL, NULL, err);
}

int kp_cmd_repair(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_media_options *o = options;
    kp_auto(kp_trust) trust = NULL;
    struct kp_repaired done;
    (void)argc;
    if (!o->from.count)
        return kp_fail(err, KP_USAGE, "--from COPY is needed");
    if (kp_load_trust(&trust, &o->keys, err) < 0 ||
        kp_bundle_repair(argv[0], o->from.items, o->from.count, trust, &done, err) < 0 ||
        verify_after(o, argv[0], err) < 0)
        return -1;
    if (o->json) {
        kp_auto_json out = json_pack("{s:s, s:b, s:I, s:I}", "bundle", argv[0], "ok", 1, "ranges",
                                     (json_int_t)done.ranges, "bytes", (json_int_t)done.bytes);
        kp_json_print(out);
        return 0;
    }
    printf("repaired  %s   %llu range%s, %s fetched; verified whole\n", argv[0],
           (unsigned long long)done.ranges, done.ranges == 1 ? "" : "s",
           kp_text_bytes(done.bytes).s);
    return 0;
}

bool kp_is_lone_slice(const char *path)
{
    size_t stem;
    unsigned number;
    return kp_slice_name(path, &stem, &number) && number > 1;
}

int kp_verify_slice(const struct kp_reading_options *o, const char *path, struct kp_err *err)
{
    size_t stem;
    unsigned number;
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_medium) file = NULL;
    kp_auto_value(kp_slices) list = {0};
    kp_auto_free struct kp_signers *signers = kp_alloc(sizeof(*signers));
    if (!kp_slice_name(path, &stem, &number))
        return kp_fail(err, KP_USAGE, "%s is not the name of a slice", path);
    kp_auto_free char *list_path = kp_asprintf("%.*s" KP_SLICES_SUFFIX, (int)stem, path);
    if (kp_load_trust(&trust, &o->keys, err) < 0 ||
        kp_slices_open(&list, list_path, trust, signers, err) < 0)
        return -1;
    if (kp_medium_open_file(&file, path, O_RDONLY, err) < 0 ||
        kp_slices_verify_one(&list, number, file, err) < 0)
        return kp_wrap(err, "%s", path);
    if (o->json) {
        kp_auto_json out = json_pack(
            "{s:s, s:b, s:i, s:i, s:s, s:I, s:o}", "slice", path, "ok", 1, "number", (int)number,
            "slices", (int)list.count + 1, "id", kp_digest_hex(&list.bundle).hex, "size",
            (json_int_t)kp_medium_size(file), "signers", kp_signers_json(signers));
        kp_json_print(out);
        return 0;
    }
    printf("ok        %s   slice %u of %zu of bundle %.12s…   %s\n", path, number, list.count + 1,
           kp_digest_hex(&list.bundle).hex, kp_text_bytes(kp_medium_size(file)).s);
    return 0;
}
