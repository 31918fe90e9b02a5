/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/images.h"

#include "core/interrupt.h"
#include "install/steps/common.h"
#include "install/steps/runtime.h"

#include <time.h>

#define UNIT "kpack-images.service"
#define PULL_TIMEOUT_S 3600
#define PAUSE_NS 300000000L
#define PINNED "io.cri-containerd.pinned=pinned"
#define ARGV_MAX 200
#define SAID_MAX ((size_t)300)
#define LISTING_MAX ((size_t)16 << 20)

/* References come as arguments, never as text of the script. Two at once: one is unpacked while the
 * next arrives. What failed is seen when the images are looked for. */
static const char pull_script[] =
    "socket=$1; shift;"
    " pull() { n=0;"
    " until " KP_CRICTL " -r \"$socket\" -i \"$socket\" pull \"$1\"; do"
    " n=$((n + 1)); if [ $n -ge 5 ]; then return 1; fi; sleep 1; done; };"
    " while [ $# -gt 0 ]; do pull \"$1\" & shift;"
    " if [ $# -gt 0 ]; then pull \"$1\" & shift; fi; wait; done";
static const char pin_script[] =
    "for image; do " KP_CTR " -n k8s.io images label \"$image\" " PINNED
    " >/dev/null || exit 1; done";

static bool has_arch(const struct kp_image *image, const char *arch)
{
    for (size_t i = 0; image->arches[i]; i++)
        if (strcmp(image->arches[i], arch) == 0)
            return true;
    return false;
}

struct kp_image_state *kp_images_wanted(const struct kp_manifest *manifest, unsigned roles,
                                        const char *arch, size_t *n)
{
    struct kp_image_state *out = kp_alloc_array(manifest->image_count + 1, sizeof(*out));
    *n = 0;
    for (size_t i = 0; i < manifest->image_count; i++)
        if ((manifest->images[i].roles & roles) && has_arch(&manifest->images[i], arch))
            out[(*n)++].image = &manifest->images[i];
    return out;
}

bool kp_image_is_vital(const struct kp_image *image)
{
    return image->pinned || strcmp(image->why, "release") == 0 ||
           kp_starts_with(image->why, "network ");
}

static bool next_word(struct kp_slice *rest, struct kp_slice *word)
{
    *rest = kp_slice_trim(*rest);
    size_t len = 0;
    while (len < rest->len && rest->ptr[len] != ' ' && rest->ptr[len] != '\t')
        len++;
    *word = (struct kp_slice){rest->ptr, len};
    rest->ptr += len;
    rest->len -= len;
    return len > 0;
}

static void read_line(struct kp_image_state *states, size_t n, struct kp_slice line)
{
    struct kp_slice reference, type, digest;
    struct kp_digest have;
    if (!next_word(&line, &reference) || !next_word(&line, &type) || !next_word(&line, &digest) ||
        !kp_digest_parse(digest, &have))
        return;
    for (size_t i = 0; i < n; i++) {
        if (!kp_slice_equal(reference, states[i].image->reference))
            continue;
        states[i].present = kp_digest_equal(&have, &states[i].image->digest);
        states[i].pinned = memmem(line.ptr, line.len, PINNED, strlen(PINNED)) != NULL;
    }
}

void kp_images_read(struct kp_image_state *states, size_t n, struct kp_slice listing)
{
    struct kp_slice line;
    while (kp_slice_line(&listing, &line))
        read_line(states, n, line);
}

static bool lists(const json_t *texts, const char *wanted, bool as_digest)
{
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const char *text = json_string_value(json_array_get(texts, i));
        const char *at = text && as_digest ? strrchr(text, '@') : NULL;
        if (text && strcmp(as_digest ? (at ? at + 1 : "") : text, wanted) == 0)
            return true;
    }
    return false;
}

void kp_images_read_cri(struct kp_image_state *states, size_t n, const json_t *listing)
{
    size_t at;
    json_t *image;
    json_array_foreach(json_object_get(listing, "images"), at, image)
    {
        for (size_t i = 0; i < n; i++) {
            kp_auto_free char *digest =
                kp_asprintf("sha256:%s", kp_digest_hex(&states[i].image->digest).hex);
            if (!lists(json_object_get(image, "repoTags"), states[i].image->reference, false))
                continue;
            states[i].present = lists(json_object_get(image, "repoDigests"), digest, true);
            states[i].pinned = json_is_true(json_object_get(image, "pinned"));
        }
    }
}

/* What is in the bundle for another way to the API than this site's. */
static void drop_unneeded(const struct kp_site *site, const struct kp_site_node *node,
                          struct kp_image_state *states, size_t *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++)
        if (kp_endpoint_wants_image(site->inventory, node->node, states[i].image))
            states[kept++] = states[i];
    *n = kept;
}

static bool is_crio(const struct kp_site *site, const struct kp_site_node *node)
{
    return kp_node_runtime(site, node).kind == KP_RUNTIME_CRIO;
}

/* In a dry run the program may not be there yet, or its service not run. */
static int ask_listing(struct kp_site *site, struct kp_site_node *node, const char *const *argv,
                       char **listing, struct kp_err *err)
{
    int status = 0;
    bool there = true;
    *listing = NULL;
    if (site->dry_run && kp_have_file(node, argv[0], &there, err) < 0)
        return -1;
    if (there && kp_ask(site, node, argv, 60, &status, listing, err) < 0)
        return -1;
    return status == 0 || site->dry_run ? 0
                                        : kp_fail_as(err, KP_FAILED, "command_failed",
                                                     "%s images failed (exit %d)", argv[0], status);
}

static int ask_containerd(struct kp_site *site, struct kp_site_node *node,
                          struct kp_image_state *states, size_t n, struct kp_err *err)
{
    static const char *const argv[] = {KP_CTR, "-n", "k8s.io", "images", "ls", NULL};
    kp_auto_free char *listing = NULL;
    if (ask_listing(site, node, argv, &listing, err) < 0)
        return -1;
    kp_images_read(states, n, kp_slice_of(listing));
    return 0;
}

static int ask_crio(struct kp_site *site, struct kp_site_node *node, struct kp_image_state *states,
                    size_t n, struct kp_err *err)
{
    static const char *const argv[] = {KP_CRICTL, "images", "-o", "json", NULL};
    kp_auto_free char *listing = NULL;
    kp_auto_json parsed = NULL;
    if (ask_listing(site, node, argv, &listing, err) < 0)
        return -1;
    if (!listing || !*listing)
        return 0;
    if (kp_json_parse(&parsed, kp_slice_of(listing), LISTING_MAX, "crictl images", err) < 0)
        return -1;
    kp_images_read_cri(states, n, parsed);
    return 0;
}

static int look(struct kp_site *site, struct kp_site_node *node, struct kp_image_state **out,
                size_t *n, size_t *missing, struct kp_err *err)
{
    kp_auto_free struct kp_image_state *states =
        kp_images_wanted(site->manifest, node->node->roles, node->arch, n);
    drop_unneeded(site, node, states, n);
    if ((is_crio(site, node) ? ask_crio : ask_containerd)(site, node, states, *n, err) < 0)
        return -1;
    *missing = 0;
    for (size_t i = 0; i < *n; i++)
        *missing += !states[i].present;
    *out = kp_steal(&states);
    return 0;
}

static bool is_of_release(const struct kp_image *image)
{
    return strcmp(image->why, "release") == 0;
}

/* Those that kubeadm looks for come first. */
static size_t add_missing(const char **argv, size_t used, const struct kp_image_state *states,
                          size_t n)
{
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n && used + 1 < ARGV_MAX; i++)
            if (!states[i].present && is_of_release(states[i].image) == (pass == 0))
                argv[used++] = states[i].image->reference;
    argv[used] = NULL;
    return used;
}

static int is_active(struct kp_site *site, struct kp_site_node *node, bool *active,
                     struct kp_err *err)
{
    static const char *const argv[] = {"systemctl", "is-active", "--quiet", UNIT, NULL};
    int status;
    if (kp_ask(site, node, argv, 30, &status, NULL, err) < 0)
        return -1;
    *active = status == 0;
    return 0;
}

static const char *socket_of(const struct kp_site *site, const struct kp_site_node *node)
{
    return kp_runtime_place(kp_node_runtime(site, node).kind)->endpoint;
}

int kp_images_start(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const char *argv[ARGV_MAX] = {
        "systemd-run", "--quiet", "--collect", "--unit=" UNIT, "--property=Nice=5",  "--",
        "/bin/sh",     "-c",      pull_script, "sh",           socket_of(site, node)};
    kp_auto_free struct kp_image_state *states = NULL;
    struct kp_change change = {.changed = true};
    size_t n, missing;
    bool active;
    if (look(site, node, &states, &n, &missing, err) < 0)
        return -1;
    if (missing == 0)
        return 0;
    kp_auto_free char *what = kp_asprintf("pull %zu of %zu images", missing, n);
    kp_step_changed(site, node, what, &change);
    if (site->dry_run)
        return 0;
    if (is_active(site, node, &active, err) < 0)
        return -1;
    if (active)
        return 0;
    add_missing(argv, 11, states, n);
    return kp_ask(site, node, argv, 60, NULL, NULL, err);
}

/* *said: the last line of it, kp_free. */
static int pull_now(struct kp_site *site, struct kp_site_node *node,
                    const struct kp_image_state *states, size_t n, char **said, struct kp_err *err)
{
    kp_auto_free char *script = kp_asprintf("exec 2>&1; %s", pull_script), *out = NULL;
    const char *argv[ARGV_MAX] = {"/bin/sh", "-c", script, "sh", socket_of(site, node)};
    struct kp_slice line, last = {"", 0};
    add_missing(argv, 5, states, n);
    if (kp_ask(site, node, argv, PULL_TIMEOUT_S, NULL, &out, err) < 0)
        return -1;
    struct kp_slice rest = kp_slice_trim(kp_slice_of(out));
    while (kp_slice_line(&rest, &line))
        last = line;
    size_t skip = last.len > SAID_MAX ? last.len - SAID_MAX : 0;
    kp_free(*said);
    *said = kp_strndup(last.ptr + skip, last.len - skip);
    return 0;
}

static int fail_images(const struct kp_site *site, const struct kp_site_node *node, size_t missing,
                       const char *said, struct kp_err *err)
{
    const struct kp_runtime_place *place = kp_runtime_place(kp_node_runtime(site, node).kind);
    kp_fail_as(err, KP_MISSING, "images", "%zu images did not arrive: %s", missing, said);
    return kp_hint(err, "on the node: df -h %s; journalctl -u %s -u kpack-images", place->state,
                   place->unit);
}

static int pin(struct kp_site *site, struct kp_site_node *node, const struct kp_image_state *states,
               size_t n, struct kp_err *err)
{
    const char *argv[ARGV_MAX] = {"/bin/sh", "-c", pin_script, "sh"};
    struct kp_change change = {.changed = true};
    if (is_crio(site, node))
        return 0; // its configuration pins them
    size_t used = 4;
    for (size_t i = 0; i < n && used + 1 < ARGV_MAX; i++)
        if (!states[i].pinned && kp_image_is_vital(states[i].image))
            argv[used++] = states[i].image->reference;
    if (used == 4)
        return 0;
    if (!site->dry_run && kp_ask(site, node, argv, 120, NULL, NULL, err) < 0)
        return -1;
    for (size_t i = 4; i < used; i++) {
        kp_auto_free char *what = kp_asprintf("pin %s", argv[i]);
        kp_step_changed(site, node, what, &change);
    }
    return 0;
}

/* Those of the release are listed without the others where nothing but kubeadm waits. */
static void keep_release(struct kp_image_state *states, size_t *n, size_t *missing)
{
    size_t kept = 0;
    *missing = 0;
    for (size_t i = 0; i < *n; i++)
        if (is_of_release(states[i].image)) {
            *missing += !states[i].present;
            states[kept++] = states[i];
        }
    *n = kept;
}

static int await_images(struct kp_site *site, struct kp_site_node *node, bool release,
                        struct kp_image_state **out, size_t *n, struct kp_err *err)
{
    kp_auto_free struct kp_image_state *states = NULL;
    kp_auto_free char *said = kp_strdup("");
    size_t missing;
    bool active = true, tried = false;
    for (;;) {
        kp_free(kp_steal(&states));
        if (kp_interrupt_check(err) < 0 || look(site, node, &states, n, &missing, err) < 0)
            return -1;
        if (release)
            keep_release(states, n, &missing);
        if (missing == 0 || site->dry_run)
            break;
        kp_step_note(site, node, "images %zu/%zu", *n - missing, *n);
        if (is_active(site, node, &active, err) < 0)
            return -1;
        if (!active && tried)
            return fail_images(site, node, missing, said, err);
        if (!active && pull_now(site, node, states, *n, &said, err) < 0)
            return -1;
        tried = !active;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    *out = kp_steal(&states);
    return 0;
}

int kp_images_first(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free struct kp_image_state *states = NULL;
    size_t n;
    return await_images(site, node, true, &states, &n, err);
}

int kp_images_finish(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free struct kp_image_state *states = NULL;
    size_t n;
    if (await_images(site, node, false, &states, &n, err) < 0)
        return -1;
    return pin(site, node, states, n, err);
}
