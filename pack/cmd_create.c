/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/set.h"
#include "bundle/medium.h"
#include "bundle/revocations.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/secret.h"
#include "core/text.h"
#include "pack/assemble.h"
#include "pack/commands.h"
#include "pack/create_screen.h"
#include "pack/keys.h"
#include "pack/lock.h"
#include "pack/own.h"
#include "pack/resolve.h"
#include "pack/sources.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define BUNDLE_SUFFIX ".tar.zst"

struct create_options {
    const char *k8s, *arch, *network, *release, *mirrors, *lock, *output, *key, *passphrase_fd,
        *cache, *split, *runtime;
    const char *have, *expires;
    struct kp_text_list with, images, image_files, manifests, packages, hooks, waived, libexec,
        bases, trusted, revocations, charts, values, network_manifests;
    uint64_t jobs, level, serial;
    bool plan, unsigned_, json, quiet;
};
const size_t kp_create_size = sizeof(struct create_options);

#define FIELD(member) offsetof(struct create_options, member)
const struct kp_option kp_create_options[] = {
    {"k8s", 0, KP_OPT_TEXT, FIELD(k8s), "VERSION", "v1.30 (its newest patch) or v1.30.14", 0},
    {"arch", 0, KP_OPT_TEXT, FIELD(arch), "LIST", "amd64,arm64 (default: this machine's)", 0},
    {"network", 0, KP_OPT_TEXT, FIELD(network), "NAME",
     "flannel (default), calico, cilium or none, as the release has them", 0},
    {"network-manifest", 0, KP_OPT_LIST, FIELD(network_manifests), "FILE|URL",
     "a network of your own instead, applied before nodes join", 0},
    {"with", 0, KP_OPT_LIST, FIELD(with), "NAME,…",
     "add-ons of the release: multus, metrics-server, local-path …", 0},
    {"runtime", 0, KP_OPT_TEXT, FIELD(runtime), "LIST",
     "what nodes run pods with: containerd-2.1,crio,crun; the first is the nodes' default", 0},
    {"image", 0, KP_OPT_LIST, FIELD(images), "REF", "a further image", 0},
    {"images", 0, KP_OPT_LIST, FIELD(image_files), "FILE", "further images, one per line", 0},
    {"manifest", 0, KP_OPT_LIST, FIELD(manifests), "FILE|URL", "YAML to apply to the cluster", 0},
    {"chart", 0, KP_OPT_LIST, FIELD(charts), "[NS/NAME=]TGZ",
     "a packaged Helm chart (file or URL), rendered here; its images are added", 0},
    {"values", 0, KP_OPT_LIST, FIELD(values), "[CHART=]FILE",
     "values for a chart, also for one of the release", 0},
    {"package", 0, KP_OPT_LIST, FIELD(packages), "FILE",
     "a .deb or .rpm that kinstall installs on the nodes", 0},
    {"hook", 0, KP_OPT_LIST, FIELD(hooks), "HOOK",
     "a script beside a phase: PHASE:before|after:WHERE[:SECONDS]=FILE", 0},
    {"waive", 0, KP_OPT_LIST, FIELD(waived), "REF",
     "an image that may be missing though a manifest names it", 0},
    {"release", 0, KP_OPT_TEXT, FIELD(release), "FILE", "another release file", 0},
    {"mirrors", 0, KP_OPT_TEXT, FIELD(mirrors), "FILE", "where sources are really fetched from", 0},
    {"lock", 0, KP_OPT_TEXT, FIELD(lock), "FILE",
     "make the bundle of this lock again, byte for byte", 0},
    {"base", 0, KP_OPT_LIST, FIELD(bases), "OLD",
     "a bundle that the site has: only what it lacks is carried", 0},
    {"have", 0, KP_OPT_TEXT, FIELD(have), "RECEIPT", "what the site has, by kinstall receipt", 0},
    {"trust", 0, KP_OPT_LIST, FIELD(trusted), "FILE",
     "a public key to trust for --base in this run", 0},
    {"expires", 0, KP_OPT_TEXT, FIELD(expires), "TIME",
     "sites do not apply it after this: 2027-06-30T00:00:00Z", 0},
    {"revocations", 0, KP_OPT_LIST, FIELD(revocations), "FILE",
     "carry this list of revoked keys and bundles (kpack revoke)", 0},
    {"plan", 0, KP_OPT_FLAG, FIELD(plan), NULL, "show what and how much, fetch nothing large", 0},
    {"jobs", 'j', KP_OPT_NUMBER, FIELD(jobs), "N", "downloads at once (default 8)",
     KP_FETCH_JOBS_MAX},
    {"level", 0, KP_OPT_NUMBER, FIELD(level), "N", "zstd level of files (default 3)", KP_LEVEL_MAX},
    {"serial", 0, KP_OPT_NUMBER, FIELD(serial), "N", "serial (default: seconds since 1970, UTC)",
     INT64_MAX},
    {"output", 'o', KP_OPT_TEXT, FIELD(output), "FILE",
     "default: k8s-VERSION-NETWORK-ARCH.tar.zst here", 0},
    {"key", 0, KP_OPT_TEXT, FIELD(key), "KEY",
     "signing key: a file, a name in ~/.config/kpack/keys, or pkcs11:…", 0},
    {"passphrase-fd", 0, KP_OPT_TEXT, FIELD(passphrase_fd), "FD",
     "read the key's passphrase or the token's PIN there", 0},
    {"split", 0, KP_OPT_MAYBE, FIELD(split), "[SIZE]",
     "slices FILE.001 … of at most SIZE, like 4G or 700MiB (fat32, the default: 4 GiB - 1)", 0},
    {"unsigned", 0, KP_OPT_FLAG, FIELD(unsigned_), NULL, "sign later, by kpack sign", 0},
    {"cache", 0, KP_OPT_TEXT, FIELD(cache), "DIR", "default: ~/.cache/kpack", 0},
    {"libexec", 0, KP_OPT_LIST, FIELD(libexec), "DIR",
     "folder with ARCH/kinstall, knode, kregistry", 0},
    {"json", 0, KP_OPT_FLAG, FIELD(json), NULL, "one JSON document on stdout", 0},
    {"quiet", 'q', KP_OPT_FLAG, FIELD(quiet), NULL, "no progress", 0},
    {0},
};

struct creating {
    const struct create_options *o;
    struct kp_screen *screen;
    struct kp_releases *releases; // the plan borrows from it
    struct kp_plan *plan;
    struct kp_held *held;
    struct kp_cache *cache;
    struct kp_mirrors *mirrors;
    struct kp_create_screen *shown;
    struct kp_fetch *fetch;
    struct kp_gather *gather;
    struct kp_scan *scan;
    struct kp_signing_key key;
    char *output, *lock;
    uint64_t saved; // bytes that lie in bases
    json_t *warnings;
    double begin;
    uint64_t split;
};

static void creating_release(struct creating *c)
{
    kp_scan_free(c->scan);
    kp_fetch_free(c->fetch); // first: it still knows the jobs that the gathering owns
    kp_gather_free(c->gather);
    kp_create_screen_free(c->shown);
    kp_mirrors_free(c->mirrors);
    kp_cache_free(c->cache);
    kp_held_free(c->held);
    kp_plan_free(c->plan);
    kp_releases_free(c->releases);
    kp_signing_key_release(&c->key);
    kp_screen_free(c->screen);
    kp_free(c->output);
    kp_free(c->lock);
    json_decref(c->warnings);
}
KP_DEFINE_AUTO_VALUE(creating);

static void warn(struct creating *c, const char *fmt, ...) KP_PRINTF(2, 3);
static void warn(struct creating *c, const char *fmt, ...)
{
    char text[KP_ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_array_append_new(c->warnings, json_string(text));
    kp_screen_line(c->screen, "warning   %s", text);
}

static const char *host_arch(void)
{
    struct utsname system;
    bool arm = uname(&system) == 0 && strcmp(system.machine, "aarch64") == 0;
    return arm ? "arm64" : "amd64";
}

static int make_plan(struct creating *c, struct kp_err *err)
{
    const struct create_options *o = c->o;
    kp_auto_free char *base = kp_own_base();
    kp_auto_free char *libexec = kp_path_join(base, "libexec/kpack");
    struct kp_request request = {
        .kubernetes = o->k8s,
        .arches = o->arch ? o->arch : host_arch(),
        .network = o->network                   ? o->network
                   : o->network_manifests.count ? KP_OWN_NETWORK
                                                : KP_DEFAULT_NETWORK,
        .network_manifests = &o->network_manifests,
        .with = &o->with,
        .runtimes = o->runtime,
        .charts = &o->charts,
        .values = &o->values,
        .images = &o->images,
        .image_files = &o->image_files,
        .manifests = &o->manifests,
        .packages = &o->packages,
        .hooks = &o->hooks,
        .waived = &o->waived,
        .libexec = &o->libexec,
        .libexec_default = libexec,
        .level = o->level ? (int)o->level : KP_LEVEL_DEFAULT,
        .serial = o->serial,
    };
    if (o->lock) {
        if (kp_lock_load(&c->plan, o->lock, err) < 0)
            return -1;
        return kp_sources_find(c->plan, &request, err);
    }
    if (!o->k8s)
        return kp_fail(err, KP_USAGE, "--k8s VERSION is needed (or --lock FILE)");
    if (kp_sources_release(&c->releases, o->k8s, o->release, base, err) < 0)
        return -1;
    request.releases = c->releases;
    return kp_resolve(&c->plan, &request, err);
}

/* What the bundle says of its own end and of others'. */
static int set_policy(struct creating *c, struct kp_err *err)
{
    const struct create_options *o = c->o;
    time_t when;
    if (o->expires && !kp_parse_utc(o->expires, &when))
        return kp_fail(err, KP_USAGE, "--expires %s: a time like 2027-06-30T00:00:00Z is needed",
                       o->expires);
    if (o->expires)
        c->plan->expires = kp_arena_strdup(c->plan->arena, o->expires);
    if (o->revocations.count > KP_REVOCATIONS_MAX)
        return kp_fail(err, KP_USAGE, "more than %d --revocations", KP_REVOCATIONS_MAX);
    for (size_t i = 0; i < o->revocations.count; i++) {
        kp_auto(kp_document) document = NULL;
        kp_auto(kp_revoked) read = kp_revoked_new();
        if (kp_document_load(&document, o->revocations.items[i], err) < 0 ||
            kp_revocations_read(read, document, NULL, err) < 0)
            return kp_wrap(err, "--revocations %s", o->revocations.items[i]);
        if (!document->signatures.count)
            return kp_fail(err, KP_USAGE, "--revocations %s is not signed: kpack trust sign %s",
                           o->revocations.items[i], o->revocations.items[i]);
        if (!c->plan->revocations)
            c->plan->revocations = json_array();
        json_array_append_new(c->plan->revocations, kp_document_json(document));
    }
    return 0;
}

static int check_options(const struct create_options *o, struct kp_err *err)
{
    if (!o->lock)
        return 0;
    if (o->k8s || o->arch || o->network || o->runtime || o->release || o->with.count ||
        o->images.count || o->image_files.count || o->waived.count || o->level || o->serial ||
        o->expires || o->revocations.count || o->values.count)
        return kp_fail(err, KP_USAGE,
                       "--lock decides what goes in; of the others only --manifest, "
                       "--network-manifest, --chart, --package and --libexec can stand beside it, "
                       "to find files again");
    return 0;
}

static void warn_insecure(void *user, const struct kp_site *site)
{
    warn(user, "certificates of %s are not checked, as the mirrors file says", site->to);
}

static int find_held(struct creating *c, struct kp_err *err)
{
    const struct create_options *o = c->o;
    kp_auto(kp_trust) trust = NULL;
    if (o->bases.count && kp_load_trust(&trust, &o->trusted, err) < 0)
        return -1;
    if (kp_held_load(&c->held, &o->bases, o->have, trust, err) < 0)
        return -1;
    return kp_held_settle(c->held, c->plan, o->lock != NULL, err);
}

/* A delta has its base's name; by default it must not take its place. */
static char *choose_output(const struct creating *c)
{
    const struct kp_plan *plan = c->plan;
    if (c->o->output)
        return kp_path_expand(c->o->output);
    if (!c->held)
        return kp_asprintf("%s" BUNDLE_SUFFIX, plan->name);
    return kp_asprintf("%s-delta-%llu" BUNDLE_SUFFIX, plan->name, (unsigned long long)plan->serial);
}

static int check_output(const struct creating *c, struct kp_err *err)
{
    struct stat output, base;
    if (stat(c->output, &output) < 0)
        return 0;
    for (size_t i = 0; i < c->o->bases.count; i++)
        if (stat(c->o->bases.items[i], &base) == 0 && base.st_ino == output.st_ino &&
            base.st_dev == output.st_dev)
            return kp_fail(err, KP_USAGE, "%s is the base; choose another --output", c->output);
    return 0;
}

static int begin(struct creating *c, struct kp_err *err)
{
    const struct create_options *o = c->o;
    if (find_held(c, err) < 0)
        return -1;
    c->output = choose_output(c);
    if (check_output(c, err) < 0)
        return -1;
    size_t stem = strlen(c->output) -
                  (kp_ends_with(c->output, BUNDLE_SUFFIX) ? sizeof(BUNDLE_SUFFIX) - 1 : 0);
    c->lock = kp_asprintf("%.*s.lock.json", (int)stem, c->output);
    if (kp_cache_open(&c->cache, o->cache, err) < 0 ||
        kp_mirrors_load(&c->mirrors, o->mirrors, err) < 0)
        return -1;
    kp_mirrors_insecure(c->mirrors, warn_insecure, c);
    c->shown = kp_create_screen_new(c->screen);
    struct kp_fetch_options options = {
        .cache = c->cache,
        .mirrors = c->mirrors,
        .watch = kp_create_watch(c->shown),
        .jobs = (unsigned)o->jobs,
    };
    c->fetch = kp_fetch_new(&options);
    c->gather = kp_gather_new(c->plan, c->cache, c->fetch);
    c->gather->held = c->held;
    return 0;
}

static void warn_unexpected(struct creating *c)
{
    for (size_t i = 0; i < c->plan->image_count; i++) {
        const struct kp_plan_image *image = &c->plan->images[i];
        if (image->checked == KP_CHECKED_EXPECTED_MISMATCH)
            warn(c,
                 "%s is sha256:%.12s…, the release file expects sha256:%.12s…; noted in the "
                 "provenance",
                 image->reference, kp_digest_hex(&image->root).hex,
                 kp_digest_hex(&image->expected).hex);
    }
}

static void say_missing(struct creating *c)
{
    for (size_t i = 0; c->scan->missing_count > 1 && i < c->scan->missing_count; i++) {
        const struct kp_scan_miss *miss = &c->scan->missing[i];
        kp_screen_line(c->screen, "missing   %s   %s   %s", miss->reference, miss->where,
                       miss->path);
    }
}

static int find_out(struct creating *c, struct kp_err *err)
{
    if (kp_gather_documents(c->gather, err) < 0)
        return -1;
    warn_unexpected(c);
    if (c->gather->unsteady)
        warn(
            c,
            "chart %s renders differently each time (it makes passwords or certificates): its lock "
            "makes the same bundle only with this cache",
            c->gather->unsteady);
    c->scan = kp_scan_new(c->plan);
    if (kp_gather_scan(c->gather, c->scan, err) < 0) {
        say_missing(c);
        return -1;
    }
    return 0;
}

static int fetch_all(struct creating *c, struct kp_err *err)
{
    struct kp_gather_sizes sizes = kp_gather_measure(c->gather);
    kp_auto_free char *summary = kp_plan_summary(c->gather);
    char *second = strchr(summary, '\n');
    *second = '\0';
    kp_screen_line(c->screen, "%s", summary);
    kp_screen_line(c->screen, "%s", second + 1);
    kp_create_expect(c->shown, sizes.fetch);
    if (kp_gather_blobs(c->gather, err) < 0)
        return -1;
    kp_screen_total(c->screen, 0, 0);
    kp_screen_line(
        c->screen,
        "complete  every image named in %zu manifest%s and %zu static pods is in the bundle",
        c->scan->manifests, c->scan->manifests == 1 ? "" : "s", c->scan->static_pods);
    return 0;
}

static void show_writing(void *user, uint64_t done, uint64_t total)
{
    (void)total;
    kp_row_set(user, done);
}

/* Of the blobs that are carried, or of those that lie in a base. */
static uint64_t content_size(const struct kp_manifest *m, bool carried)
{
    uint64_t size = 0;
    for (size_t i = 0; i < m->blob_count; i++)
        size += !m->blobs[i].base == carried ? m->blobs[i].size : 0;
    return size;
}

static int write_bundle(struct creating *c, struct kp_bundle_written *written, struct kp_err *err)
{
    kp_auto(kp_manifest) manifest = NULL;
    struct kp_assembling assembling = {.gather = c->gather, .key = c->key.key, .split = c->split};
    struct kp_row *row = NULL;
    if (kp_interrupt_check(err) < 0 || kp_assemble(&manifest, c->gather, err) < 0)
        return -1;
    c->saved = content_size(manifest, false);
    if (kp_screen_live(c->screen)) {
        row = kp_screen_row(c->screen, "write", content_size(manifest, true));
        assembling.progress = show_writing;
        assembling.user = row;
    }
    int result = kp_assemble_write(&assembling, manifest, c->output, written, err);
    if (row)
        kp_row_done(row, NULL);
    return result;
}

static int write_lock(struct creating *c, struct kp_err *err)
{
    kp_auto_free char *text = kp_lock_dump(c->plan);
    return kp_file_write_atomic(c->lock, kp_slice_of(text), 0644, err);
}

static void add_program(void *user, const char *text)
{
    json_array_append_new(user, json_string(text));
}

static void say_program(void *user, const char *text)
{
    struct creating *c = user;
    kp_screen_line(c->screen, "          %s", text);
}

static void say_programs(struct creating *c)
{
    if (!c->plan->programs[0])
        return;
    kp_screen_line(c->screen, "nodes     must have these packages, which are not in the bundle:");
    kp_plan_programs(c->plan, say_program, c);
}

static void say_key(struct creating *c)
{
    char fingerprint[80];
    if (!c->key.made)
        return;
    kp_fingerprint(kp_key_id(c->key.key), fingerprint);
    kp_screen_line(c->screen, "new key   %s   made just now, as there was none", c->key.path);
    kp_screen_line(
        c->screen,
        "          give %.*s.pub to the site by another way than the bundle, and compare",
        (int)strlen(c->key.path) - 4, c->key.path);
    kp_screen_line(c->screen, "          %s", fingerprint);
}

static void report_json(struct creating *c, const struct kp_bundle_written *written)
{
    json_t *programs = json_array();
    kp_plan_programs(c->plan, add_program, programs);
    kp_auto_json out = json_pack(
        "{s:s, s:s, s:s, s:I, s:s, s:I, s:s, s:s?, s:f, s:O, s:o}", "bundle", c->output, "name",
        c->plan->name, "id", kp_digest_hex(&written->id).hex, "size", (json_int_t)written->size,
        "sha256", kp_digest_hex(&written->sha256).hex, "serial", (json_int_t)c->plan->serial,
        "lock", c->lock, "key", c->key.key ? kp_digest_hex(kp_key_id(c->key.key)).hex : NULL,
        "seconds", kp_now() - c->begin, "warnings", c->warnings, "packages", programs);
    if (c->key.made)
        json_object_set_new(out, "key_made", json_string(c->key.path));
    if (c->held) {
        json_object_set_new(out, "saved", json_integer((json_int_t)c->saved));
        json_object_set_new(out, "bases", kp_bases_json(c->plan->bases, c->plan->base_count));
    }
    kp_json_print(out);
}

static void report(struct creating *c, const struct kp_bundle_written *written)
{
    say_programs(c);
    say_key(c);
    if (c->o->json) {
        report_json(c, written);
        return;
    }
    for (size_t i = 0; i < c->plan->base_count; i++)
        printf("%-9s %s\n", i ? "" : "needs", kp_base_text(&c->plan->bases[i]).s);
    if (c->held)
        printf("left out  %s, which the site has\n", kp_text_bytes(c->saved).s);
    if (c->key.key) {
        struct kp_digest_text id = kp_digest_hex(kp_key_id(c->key.key));
        printf("signed    key %.4s…%s (%s)  %s\n", id.hex, id.hex + 60, c->key.name, c->key.path);
    } else {
        printf("unsigned  sign it by kpack sign %s\n", c->output);
    }
    if (written->slices)
        printf("slices    %s.%0*d – %s.%zu   list %s.slices\n", c->output,
               (int)kp_slice_digits(written->slices), 1, c->output, written->slices, c->output);
    printf("wrote     %s   %s   sha256 %s   lock %s   %s\n", c->output,
           kp_text_bytes(written->size).s, kp_digest_hex(&written->sha256).hex, c->lock,
           kp_text_seconds(kp_now() - c->begin).s);
}

/* Where this host has a trust list, a key without the role is refused here and not at the site. */
static int check_hooks(const struct creating *c, struct kp_err *err)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    if (!c->plan->hook_count || !c->key.key)
        return 0;
    if (kp_trust_add_default(trust, err) < 0)
        return -1;
    const struct kp_trust_key *key = kp_trust_find(trust, kp_key_id(c->key.key));
    if (!kp_trust_list_of(trust) || !key || key->roles & KP_KEY_HOOKS)
        return 0;
    kp_fail_as(err, KP_UNTRUSTED, "no_role",
               "--hook: the key %s has no role hooks in the trust list", key->name);
    return kp_hint(err, "sign with one that has it, or give it that role: kpack trust");
}

static int show_plan(struct creating *c)
{
    if (!c->o->json) {
        kp_plan_print(c->gather);
        say_programs(c);
        return 0;
    }
    kp_auto_json out = kp_plan_json(c->gather);
    json_object_set(out, "warnings", c->warnings);
    kp_json_print(out);
    return 0;
}

int kp_cmd_create(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct create_options *o = options;
    struct kp_bundle_written written;
    (void)argc;
    (void)argv;
    kp_auto_value(creating) c = {.o = o, .begin = kp_now(), .warnings = json_array()};
    c.screen = kp_screen_new(o->quiet || o->json ? KP_SCREEN_QUIET : KP_SCREEN_AUTO);
    if ((o->split && kp_parse_split(o->split, &c.split, err) < 0) || check_options(o, err) < 0 ||
        make_plan(&c, err) < 0 || set_policy(&c, err) < 0 || begin(&c, err) < 0)
        return -1;
    // the key first: a missing one must not show only after the long part
    int fd = -1;
    if (kp_secret_fd(o->passphrase_fd, "--passphrase-fd", &fd, err) < 0 ||
        (!o->plan && !o->unsigned_ && kp_signing_key_unlock(&c.key, o->key, fd, true, err) < 0))
        return -1;
    if (check_hooks(&c, err) < 0 || find_out(&c, err) < 0)
        return -1;
    if (o->plan)
        return show_plan(&c);
    if (fetch_all(&c, err) < 0 || write_bundle(&c, &written, err) < 0 || write_lock(&c, err) < 0)
        return -1;
    report(&c, &written);
    return 0;
}
