/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/set.h"
#include "core/screen.h"
#include "core/text.h"
#include "pack/commands.h"

#include <stdio.h>

static void show_progress(void *user, uint64_t done, uint64_t total)
{
    (void)total;
    kp_row_set(user, done);
}

static void print_verified(const struct kp_reading_options *o, const struct kp_bundle *bundle,
                           const struct kp_signers *signers, double seconds)
{
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    const struct kp_base *missing[KP_BASES_MAX];
    uint64_t size = kp_bundle_size(bundle);
    if (o->json) {
        kp_auto_json out = json_pack(
            "{s:s, s:b, s:s, s:s, s:I, s:I, s:f, s:o}", "bundle", kp_bundle_path(bundle), "ok", 1,
            "id", kp_digest_hex(&m->id).hex, "name", m->name, "serial", (json_int_t)m->serial,
            "size", (json_int_t)size, "seconds", seconds, "signers", kp_signers_json(signers));
        json_object_set_new(out, "complete", json_boolean(kp_bundle_missing(bundle, missing) == 0));
        json_object_set_new(out, "bases", kp_bases_json(m->bases, m->base_count));
        kp_auto_free char *text = kp_json_dump(out, true);
        fputs(text, stdout);
        return;
    }
    kp_auto_value(kp_buf) names = KP_BUF(65536);
    kp_signers_text(signers, &names);
    printf("ok        %s   serial %llu   signed by %s   %s verified in %s (%s)\n", m->name,
           (unsigned long long)m->serial, kp_buf_slice(&names).ptr, kp_text_bytes(size).s,
           kp_text_seconds(seconds).s, kp_text_rate(seconds > 0 ? (double)size / seconds : 0).s);
    for (size_t i = 0; i < m->base_count; i++) {
        const struct kp_bundle *base = kp_bundle_base(bundle, i);
        printf("          %s base %s%s%s\n", base ? "with" : "needs", kp_base_text(&m->bases[i]).s,
               base ? "   verified: " : "", base ? kp_bundle_path(base) : "");
    }
}

static int verify_file(struct kp_bundle *bundle, struct kp_screen *screen, struct kp_err *err)
{
    bool live = kp_screen_live(screen);
    struct kp_row *row = live ? kp_screen_row(screen, "verify", kp_bundle_size(bundle)) : NULL;
    struct kp_verify_options how = {.progress = row ? show_progress : NULL, .user = row};
    int result = kp_bundle_verify(bundle, &how, NULL, err);
    if (row)
        kp_row_done(row, NULL);
    if (result < 0)
        return err->code == KP_DAMAGED ? kp_wrap(err, "damaged") : -1;
    return 0;
}

/* With --base every base must be there, and whole. */
static int verify_bases(const struct kp_reading_options *o, struct kp_bundle *bundle,
                        struct kp_screen *screen, struct kp_err *err)
{
    if (!o->bases.count)
        return 0;
    if (kp_bundle_open_bases(bundle, o->bases.items, o->bases.count, err) < 0 ||
        kp_bundle_need_bases(bundle, err) < 0)
        return -1;
    for (size_t i = 0; i < kp_bundle_manifest(bundle)->base_count; i++)
        if (verify_file(kp_bundle_base(bundle, i), screen, err) < 0)
            return -1;
    return 0;
}

static int verify_one(const struct kp_reading_options *o, const char *path, struct kp_err *err)
{
    kp_auto(kp_trust) trust = NULL;
    kp_auto(kp_bundle) bundle = NULL;
    struct kp_signers signers = {0};
    double begin = kp_now();
    if (kp_open_trusted(&bundle, path, &o->keys, &trust, &signers, err) < 0)
        return -1;
    kp_auto(kp_screen) screen =
        kp_screen_new(o->quiet || o->json ? KP_SCREEN_QUIET : KP_SCREEN_AUTO);
    if (verify_file(bundle, screen, err) < 0 || verify_bases(o, bundle, screen, err) < 0)
        return -1;
    print_verified(o, bundle, &signers, kp_now() - begin);
    return 0;
}

int kp_cmd_verify(void *options, int argc, char **argv, struct kp_err *err)
{
    for (int i = 0; i < argc; i++)
        if (verify_one(options, argv[i], err) < 0)
            return -1;
    return 0;
}
