/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/scan.h"

#include "manifests/walk.h"
#include "pack/reference.h"

#include <strings.h>

#define WORD_ENDS " \t\r\n\"'`,;=()[]{}<>|&"
#define NAME_LEN_MAX 256

struct scanning {
    struct kp_scan *scan;
    const char *file;
    char variable[NAME_LEN_MAX]; // the last "name: X": its "value:" comes next
};

struct place {
    const struct kp_walk_scalar *scalar;
    unsigned line, column;
};

struct kp_scan *kp_scan_new(const struct kp_plan *plan)
{
    struct kp_scan *scan = kp_alloc(sizeof(*scan));
    scan->arena = kp_arena_new();
    scan->plan = plan;
    return scan;
}

void kp_scan_free(struct kp_scan *scan)
{
    if (!scan)
        return;
    kp_arena_free(scan->arena);
    kp_free(scan);
}

static void add_miss(struct kp_scan *scan, const struct kp_scan_miss *miss)
{
    if (scan->missing_count == scan->missing_room) {
        size_t room = scan->missing_room ? scan->missing_room * 2 : 16;
        struct kp_scan_miss *out = kp_arena_array(scan->arena, room, sizeof(*out));
        if (scan->missing_count)
            memcpy(out, scan->missing, scan->missing_count * sizeof(*out));
        scan->missing = out;
        scan->missing_room = room;
    }
    scan->missing[scan->missing_count++] = *miss;
}

static bool is_waived(const struct kp_scan *scan, const char *reference)
{
    for (const char *const *p = scan->plan->waived; p && *p; p++)
        if (strcmp(*p, reference) == 0)
            return true;
    return false;
}

/* By name and tag, or by name and digest where only a digest is asked for. */
static bool is_carried(struct kp_scan *scan, const struct kp_reference *wanted, const char **detail)
{
    for (size_t i = 0; i < scan->plan->image_count; i++) {
        const struct kp_plan_image *image = &scan->plan->images[i];
        struct kp_reference has;
        struct kp_err ignored = KP_ERR_INIT;
        if (kp_reference_parse(&has, scan->arena, image->reference, &ignored) < 0 ||
            strcmp(has.registry, wanted->registry) != 0 ||
            strcmp(has.repository, wanted->repository) != 0)
            continue;
        bool same_tag = wanted->tag && has.tag && strcmp(wanted->tag, has.tag) == 0;
        bool same_root =
            wanted->has_digest && image->known && kp_digest_equal(&wanted->digest, &image->root);
        if (same_root || (same_tag && !wanted->has_digest))
            return true;
        if (same_tag)
            *detail = kp_arena_printf(scan->arena, "the bundle has sha256:%s under that tag",
                                      kp_digest_hex(&image->root).hex);
    }
    return false;
}

static void check_reference(struct scanning *s, const struct kp_reference *reference,
                            const struct place *place)
{
    const char *detail = "";
    struct kp_scan *scan = s->scan;
    scan->references++;
    kp_auto_free char *full = kp_reference_text(reference);
    if (is_carried(scan, reference, &detail) || is_waived(scan, full))
        return;
    struct kp_scan_miss miss = {
        .reference = kp_arena_strdup(scan->arena, full),
        .where = kp_arena_printf(scan->arena, "%s:%u:%u", s->file, place->line, place->column),
        .path = kp_arena_strdup(scan->arena, place->scalar->path),
        .detail = detail,
    };
    add_miss(scan, &miss);
}

/* HOST/…: the first part has a dot or a port, or is localhost. */
static bool has_host(const char *word)
{
    size_t len = strcspn(word, "/");
    if (!word[len] || !len || len >= NAME_LEN_MAX)
        return false;
    kp_auto_free char *host = kp_strndup(word, len);
    return (strpbrk(host, ".:") || strcmp(host, "localhost") == 0) &&
           kp_reference_is_registry(host);
}

static bool has_tag(const char *word)
{
    const char *last = strrchr(word, '/');
    return strstr(word, "@sha256:") || strchr(last ? last : word, ':');
}

static bool contains_image(const char *text)
{
    for (; *text; text++)
        if (strncasecmp(text, "image", 5) == 0)
            return true;
    return false;
}

static void check_word(struct scanning *s, struct kp_slice word, bool image_key,
                       const struct place *place)
{
    struct kp_reference reference;
    struct kp_err ignored = KP_ERR_INIT;
    if (word.len < 3 || word.len > KP_REFERENCE_MAX || memchr(word.ptr, '\0', word.len))
        return;
    kp_auto_free char *text = kp_strndup(word.ptr, word.len);
    if (strstr(text, "://") || !has_tag(text) || (!image_key && !has_host(text)))
        return;
    if (kp_reference_parse(&reference, s->scan->arena, text, &ignored) == 0)
        check_reference(s, &reference, place);
}

static void move_place(struct place *place, struct kp_slice passed)
{
    if (!place->scalar->block) { // folded lines of other styles are not told apart: where it begins
        return;
    }
    for (size_t i = 0; i < passed.len; i++) {
        place->line += passed.ptr[i] == '\n';
        place->column = passed.ptr[i] == '\n' ? 1 : place->column + 1;
    }
}

static void check_words(struct scanning *s, const struct kp_walk_scalar *scalar, bool image_key)
{
    struct place place = {scalar, scalar->line + scalar->block, scalar->block ? 1 : scalar->column};
    struct kp_slice rest = scalar->text;
    while (rest.len) {
        size_t len = 0;
        while (len < rest.len && (!rest.ptr[len] || !strchr(WORD_ENDS, rest.ptr[len])))
            len++;
        check_word(s, (struct kp_slice){rest.ptr, len}, image_key, &place);
        len += len < rest.len;
        move_place(&place, (struct kp_slice){rest.ptr, len});
        rest = (struct kp_slice){rest.ptr + len, rest.len - len};
    }
}

/* The whole value under a key that is just "image": a name without tag means :latest. */
static bool check_plain_image(struct scanning *s, const struct kp_walk_scalar *scalar)
{
    struct kp_reference reference;
    struct kp_err ignored = KP_ERR_INIT;
    struct place place = {scalar, scalar->line, scalar->column};
    if (strcmp(scalar->key, "image") != 0 || !scalar->text.len ||
        scalar->text.len > KP_REFERENCE_MAX)
        return false;
    kp_auto_free char *text = kp_strndup(scalar->text.ptr, scalar->text.len);
    if (kp_reference_parse(&reference, s->scan->arena, text, &ignored) < 0)
        return false;
    check_reference(s, &reference, &place);
    return true;
}

struct embedded {
    struct scanning *s;
    const struct kp_walk_scalar *outer;
};

/* What check_words cannot know in a text: a short name or one without a tag below `image`. */
static int scan_embedded(void *user, const struct kp_walk_scalar *inner, struct kp_err *err)
{
    const struct embedded *e = user;
    (void)err;
    if (strcmp(inner->key, "image") != 0 || inner->text.len > KP_REFERENCE_MAX)
        return 0;
    kp_auto_free char *text = kp_strndup(inner->text.ptr, inner->text.len);
    if (has_host(text) && has_tag(text))
        return 0;
    struct kp_walk_scalar placed = *inner;
    placed.line += e->outer->line;
    check_plain_image(e->s, &placed);
    return 0;
}

/* An object in a ConfigMap (the helper pod of a storage provisioner): a line of its own says its
 * kind. Text that only looks like one is none. */
static void check_object(struct scanning *s, const struct kp_walk_scalar *scalar)
{
    static const char mark[] = "\nkind:";
    struct embedded e = {s, scalar};
    struct kp_err ignored = KP_ERR_INIT;
    if (scalar->block && memmem(scalar->text.ptr, scalar->text.len, mark, sizeof(mark) - 1))
        (void)!kp_yaml_walk(scalar->text, s->file, scan_embedded, &e, &ignored);
}

static int scan_scalar(void *user, const struct kp_walk_scalar *scalar, struct kp_err *err)
{
    struct scanning *s = user;
    (void)err;
    bool value = strcmp(scalar->key, "value") == 0;
    bool image_key = contains_image(scalar->key) || (value && contains_image(s->variable));
    if (strcmp(scalar->key, "name") == 0) {
        size_t len = scalar->text.len < NAME_LEN_MAX - 1 ? scalar->text.len : NAME_LEN_MAX - 1;
        memcpy(s->variable, scalar->text.ptr, len);
        s->variable[len] = '\0';
    }
    if (!check_plain_image(s, scalar))
        check_words(s, scalar, image_key);
    check_object(s, scalar);
    if (value)
        s->variable[0] = '\0';
    return 0;
}

int kp_scan_manifest(struct kp_scan *scan, struct kp_slice text, const char *name,
                     struct kp_err *err)
{
    struct scanning s = {.scan = scan, .file = name};
    scan->manifests++;
    return kp_yaml_walk(text, name, scan_scalar, &s, err);
}

static const struct kp_plan_image *image_named(const struct kp_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->image_count; i++)
        if (strcmp(plan->images[i].name, name) == 0)
            return &plan->images[i];
    return NULL;
}

void kp_scan_static_pods(struct kp_scan *scan)
{
    static const struct {
        const char *name, *what;
    } needed[] = {
        {"kube-apiserver", "static pod"},  {"kube-controller-manager", "static pod"},
        {"kube-scheduler", "static pod"},  {"etcd", "static pod"},
        {"kube-proxy", "kubeadm add-on"},  {"coredns", "kubeadm add-on"},
        {"pause", "sandbox of every pod"},
    };
    const struct kp_plan *plan = scan->plan;
    for (size_t i = 0; i < KP_COUNT(needed); i++) {
        const struct kp_plan_image *image = image_named(plan, needed[i].name);
        scan->references++;
        scan->static_pods += strcmp(needed[i].what, "static pod") == 0;
        const char *tag = kp_arena_printf(scan->arena, ":%s", plan->kubernetes);
        bool by_version = strncmp(needed[i].name, "kube-", 5) == 0;
        if (image && (!by_version || kp_ends_with(image->reference, tag)))
            continue;
        struct kp_scan_miss miss = {
            .reference = kp_arena_printf(scan->arena, "registry.k8s.io/%s%s", needed[i].name,
                                         by_version ? tag : ""),
            .where = kp_arena_printf(scan->arena, "%s %s", needed[i].what, needed[i].name),
            .path = "image",
            .detail = "",
        };
        add_miss(scan, &miss);
    }
}

int kp_scan_result(const struct kp_scan *scan, struct kp_err *err)
{
    if (!scan->missing_count)
        return 0;
    const struct kp_scan_miss *first = &scan->missing[0];
    kp_fail_as(err, KP_MISSING, "missing_image", "%s: %s: %s is not in the bundle%s%s",
               first->where, first->path, first->reference, *first->detail ? "; " : "",
               first->detail);
    if (scan->missing_count > 1)
        kp_wrap(err, "%zu images are missing; the first", scan->missing_count);
    return kp_hint(err, "add it by --image %s, or leave it out knowingly by --waive %s",
                   first->reference, first->reference);
}
