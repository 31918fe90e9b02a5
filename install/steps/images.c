/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/images.h"

#include "install/steps/common.h"

#include <time.h>

#define UNIT "kpack-images.service"
#define PULL_TIMEOUT_S 3600
#define PAUSE_NS 300000000L
#define PINNED "io.cri-containerd.pinned=pinned"
#define ARGV_MAX 200

/* References come as arguments, never as text of the script. */
static const char pull_script[] =
    "failed=0; for image; do n=0;"
    " until " KP_CRICTL " -r unix:///run/containerd/containerd.sock"
    " -i unix:///run/containerd/containerd.sock pull \"$image\"; do"
    " n=$((n + 1)); if [ $n -ge 5 ]; then failed=1; break; fi; sleep 1; done;"
    " done; exit $failed";

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

static int look(struct kp_site *site, struct kp_site_node *node, struct kp_image_state **out,
                size_t *n, size_t *missing, struct kp_err *err)
{
    static const char *const argv[] = {KP_CTR, "-n", "k8s.io", "images", "ls", NULL};
    kp_auto_free struct kp_image_state *states =
        kp_images_wanted(site->manifest, node->node->roles, node->arch, n);
    drop_unneeded(site, node, states, n);
    kp_auto_free char *listing = NULL;
    int status = 0;
    bool there = true;
    // In a dry run containerd may not be there yet.
    if (site->dry_run && kp_have_file(node, KP_CTR, &there, err) < 0)
        return -1;
    if (there && kp_ask(site, node, argv, 60, &status, &listing, err) < 0)
        return -1;
    if (status != 0 && !site->dry_run)
        return kp_fail_as(err, KP_FAILED, "command_failed", "ctr images ls failed (exit %d)",
                          status);
    kp_images_read(states, *n, kp_slice_of(listing));
    *missing = 0;
    for (size_t i = 0; i < *n; i++)
        *missing += !states[i].present;
    *out = kp_steal(&states);
    return 0;
}

static size_t add_missing(const char **argv, size_t used, const struct kp_image_state *states,
                          size_t n)
{
    for (size_t i = 0; i < n && used + 1 < ARGV_MAX; i++)
        if (!states[i].present)
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

int kp_images_start(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const char *argv[ARGV_MAX] = {"systemd-run",       "--quiet", "--collect", "--unit=" UNIT,
                                  "--property=Nice=5", "--",      "/bin/sh",   "-c",
                                  pull_script,         "sh"};
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
    add_missing(argv, 10, states, n);
    return kp_ask(site, node, argv, 60, NULL, NULL, err);
}

static int pull_now(struct kp_site *site, struct kp_site_node *node,
                    const struct kp_image_state *states, size_t n, struct kp_err *err)
{
    const char *argv[ARGV_MAX] = {"/bin/sh", "-c", pull_script, "sh"};
    add_missing(argv, 4, states, n);
    return kp_ask(site, node, argv, PULL_TIMEOUT_S, NULL, NULL, err);
}

static int pin(struct kp_site *site, struct kp_site_node *node, const struct kp_image_state *states,
               size_t n, struct kp_err *err)
{
    struct kp_change change = {.changed = true};
    for (size_t i = 0; i < n; i++) {
        const char *argv[] = {KP_CTR, "-n", "k8s.io", "images", "label", states[i].image->reference,
                              PINNED, NULL};
        if (states[i].pinned || !kp_image_is_vital(states[i].image))
            continue;
        if (!site->dry_run && kp_ask(site, node, argv, 60, NULL, NULL, err) < 0)
            return -1;
        kp_auto_free char *what = kp_asprintf("pin %s", states[i].image->reference);
        kp_step_changed(site, node, what, &change);
    }
    return 0;
}

int kp_images_finish(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    kp_auto_free struct kp_image_state *states = NULL;
    size_t n, missing;
    bool active = true, tried = false;
    for (;;) {
        kp_free(kp_steal(&states));
        if (look(site, node, &states, &n, &missing, err) < 0)
            return -1;
        if (missing == 0 || site->dry_run)
            break;
        kp_step_note(site, node, "images %zu/%zu", n - missing, n);
        if (is_active(site, node, &active, err) < 0)
            return -1;
        if (!active && tried) {
            kp_fail_as(err, KP_MISSING, "images", "%zu images did not arrive", missing);
            return kp_hint(err, "on the node: journalctl -u containerd -u kpack-images");
        }
        if (!active && pull_now(site, node, states, n, err) < 0)
            return -1;
        tried = !active;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    return pin(site, node, states, n, err);
}
