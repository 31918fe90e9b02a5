/* SPDX-License-Identifier: Apache-2.0 */
#include "manifests/listing.h"

#include "manifests/walk.h"

#include <stdio.h>

#define PREFIX_MAX 64

struct reading {
    struct kp_listing *listing;
    const char *name;
    struct kp_slice text;
    unsigned document;       // of the scalar before
    size_t first;            // its objects begin here
    char prefix[PREFIX_MAX]; // "" or "items[3]."
    unsigned line;           // where the text was split last, and that place
    size_t at;
};

void kp_listing_free(struct kp_listing *listing)
{
    if (!listing)
        return;
    kp_arena_free(listing->arena);
    kp_free(listing);
}

bool kp_listed_comes_first(const struct kp_listed *object)
{
    return strcmp(object->kind, "Namespace") == 0 ||
           strcmp(object->kind, "CustomResourceDefinition") == 0;
}

static void *grown(struct kp_arena *arena, const void *items, size_t count, size_t size)
{
    char *out = kp_arena_array(arena, count ? count * 2 : 16, size);
    if (count)
        memcpy(out, items, count * size);
    return out;
}

/* Whether count elements fill what `grown` made. */
static bool is_full(size_t count)
{
    return count == 0 || (count >= 16 && (count & (count - 1)) == 0);
}

static int add_object(struct reading *r, struct kp_err *err)
{
    struct kp_listing *l = r->listing;
    if (l->count == KP_LISTED_MAX)
        return kp_fail_as(err, KP_USAGE, "too_large", "%s: more than %d objects", r->name,
                          KP_LISTED_MAX);
    if (is_full(l->count))
        l->items = grown(l->arena, l->items, l->count, sizeof(*l->items));
    l->items[l->count++] = (struct kp_listed){.api_version = "",
                                              .kind = "",
                                              .namespace_ = "",
                                              .name = "",
                                              .document = l->document_count - 1};
    return 0;
}

static size_t start_of_line(struct reading *r, unsigned line)
{
    while (r->line < line && r->at < r->text.len) {
        const char *end = memchr(r->text.ptr + r->at, '\n', r->text.len - r->at);
        r->at = end ? (size_t)(end - r->text.ptr) + 1 : r->text.len;
        r->line++;
    }
    return r->at;
}

/* The document before ends where this one begins; the first one has also what stands before it. */
static void begin_document(struct reading *r, unsigned line)
{
    struct kp_listing *l = r->listing;
    size_t at = l->document_count ? start_of_line(r, line) : 0;
    if (l->document_count) {
        struct kp_slice *before = &l->documents[l->document_count - 1];
        before->len = at - (size_t)(before->ptr - r->text.ptr);
    }
    if (is_full(l->document_count))
        l->documents = grown(l->arena, l->documents, l->document_count, sizeof(*l->documents));
    l->documents[l->document_count++] = (struct kp_slice){r->text.ptr + at, r->text.len - at};
}

static bool is_whole(const struct kp_listed *object)
{
    return object->api_version[0] && object->kind[0] && object->name[0];
}

/* A List is no object of its own: its items are. In another object `items` are just a field. */
static int end_document(struct reading *r, struct kp_err *err)
{
    struct kp_listing *l = r->listing;
    if (l->count == r->first)
        return 0;
    struct kp_listed *head = &l->items[r->first];
    if (!kp_ends_with(head->kind, "List")) {
        l->count = r->first + 1;
    } else if (l->count > r->first + 1) {
        memmove(head, head + 1, (l->count - r->first - 1) * sizeof(*head));
        l->count--;
    }
    for (size_t i = r->first; i < l->count; i++)
        if (!is_whole(&l->items[i]))
            return kp_fail_as(err, KP_USAGE, "no_object",
                              "%s: document %zu is no object: it needs apiVersion, kind and "
                              "metadata.name",
                              r->name, l->document_count);
    return 0;
}

static int turn_to(struct reading *r, const struct kp_walk_scalar *scalar, struct kp_err *err)
{
    if (end_document(r, err) < 0)
        return -1;
    r->document = scalar->document;
    r->first = r->listing->count;
    r->prefix[0] = '\0';
    begin_document(r, scalar->document_line);
    return add_object(r, err);
}

/* "items[3].kind" -> "kind", and an object for each new place in the list. */
static int turn_item(struct reading *r, const char **path, struct kp_listed **object,
                     struct kp_err *err)
{
    struct kp_listing *l = r->listing;
    size_t len = strcspn(*path, "]");
    *object = &l->items[r->first];
    if (!kp_starts_with(*path, "items[") || !(*path)[len] || (*path)[len + 1] != '.' ||
        len + 3 > PREFIX_MAX)
        return 0;
    char prefix[PREFIX_MAX];
    snprintf(prefix, sizeof(prefix), "%.*s", (int)len + 2, *path);
    *path += len + 2;
    if (strcmp(prefix, r->prefix) != 0 && add_object(r, err) < 0)
        return -1;
    memcpy(r->prefix, prefix, sizeof(prefix));
    *object = &l->items[l->count - 1];
    return 0;
}

static const char *kept(struct reading *r, struct kp_slice text)
{
    size_t len = text.len < KP_LISTED_NAME_MAX ? text.len : KP_LISTED_NAME_MAX;
    return kp_arena_strndup(r->listing->arena, text.ptr, len);
}

/* The name of a container, or its image's without registry and tag. */
static void note_program(struct reading *r, const char *path, struct kp_slice text)
{
    struct kp_listing *l = r->listing;
    const char *at = strstr(path, "ontainers[");
    const char *end = at ? strchr(at, ']') : NULL;
    if (!end || l->program_count == KP_LISTED_PROGRAMS_MAX)
        return;
    bool image = strcmp(end, "].image") == 0;
    if (!image && strcmp(end, "].name") != 0)
        return;
    char *name = kp_arena_strdup(l->arena, kept(r, text));
    if (image) {
        name[strcspn(name, "@")] = '\0';
        name = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
        name[strcspn(name, ":")] = '\0';
    }
    for (size_t i = 0; i < l->program_count; i++)
        if (strcmp(l->programs[i], name) == 0)
            return;
    l->programs[l->program_count++] = name;
}

static int take_scalar(void *user, const struct kp_walk_scalar *scalar, struct kp_err *err)
{
    struct reading *r = user;
    const char *path = scalar->path;
    struct kp_listed *object;
    if (!*path && !scalar->text.len)
        return 0; // an empty document
    if ((scalar->document != r->document && turn_to(r, scalar, err) < 0) ||
        turn_item(r, &path, &object, err) < 0)
        return -1;
    if (strcmp(path, "apiVersion") == 0)
        object->api_version = kept(r, scalar->text);
    else if (strcmp(path, "kind") == 0)
        object->kind = kept(r, scalar->text);
    else if (strcmp(path, "metadata.name") == 0)
        object->name = kept(r, scalar->text);
    else if (strcmp(path, "metadata.namespace") == 0)
        object->namespace_ = kept(r, scalar->text);
    else
        note_program(r, path, scalar->text);
    return 0;
}

int kp_listing_read(struct kp_listing **out, struct kp_slice text, const char *name,
                    struct kp_err *err)
{
    kp_auto(kp_listing) l = kp_alloc(sizeof(*l));
    l->arena = kp_arena_new();
    l->programs = kp_arena_array(l->arena, KP_LISTED_PROGRAMS_MAX + 1, sizeof(*l->programs));
    struct reading r = {.listing = l, .name = name, .text = text, .line = 1};
    if (kp_yaml_walk(text, name, take_scalar, &r, err) < 0 || end_document(&r, err) < 0)
        return -1;
    *out = kp_steal(&l);
    return 0;
}
