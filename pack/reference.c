/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/reference.h"

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_word(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* */
static bool is_path_part(struct kp_slice part)
{
    if (!part.len || !is_lower_alnum(part.ptr[0]) || !is_lower_alnum(part.ptr[part.len - 1]))
        return false;
    for (size_t i = 0; i < part.len; i++) {
        char c = part.ptr[i];
        if (is_lower_alnum(c))
            continue;
        size_t run = 1;
        while (part.ptr[i + run] == c)
            run++;
        bool good = c == '-' || (c == '.' && run == 1) || (c == '_' && run <= 2);
        if (!good || !is_lower_alnum(part.ptr[i + run]))
            return false;
        i += run - 1;
    }
    return true;
}

bool kp_reference_is_repository(const char *text)
{
    struct kp_slice rest = kp_slice_of(text), part;
    if (!rest.len || rest.len > KP_REPOSITORY_MAX)
        return false;
    while (kp_slice_cut(&rest, '/', &part))
        if (!is_path_part(part))
            return false;
    return is_path_part(rest);
}

bool kp_reference_is_tag(const char *text)
{
    size_t len = strlen(text);
    if (!len || len > KP_TAG_MAX || !is_word(text[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!is_word(text[i]) && text[i] != '.' && text[i] != '-')
            return false;
    return true;
}

static bool is_host(struct kp_slice host)
{
    if (!host.len || host.len > 253)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool edge = i == 0 || i + 1 == host.len || host.ptr[i - 1] == '.' || host.ptr[i + 1] == '.';
        if (!is_lower_alnum(c) && (edge || (c != '-' && c != '.')))
            return false;
    }
    return true;
}

/* An IPv6 address in brackets; the digits are left to whoever connects. */
static bool is_bracketed(struct kp_slice host)
{
    if (host.len < 4 || host.ptr[0] != '[' || host.ptr[host.len - 1] != ']')
        return false;
    for (size_t i = 1; i + 1 < host.len; i++) {
        char c = host.ptr[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f') && c != ':' && c != '.')
            return false;
    }
    return true;
}

bool kp_reference_is_registry(const char *text)
{
    struct kp_slice host = kp_slice_of(text);
    const char *colon = strrchr(text, ':');
    if (colon && !strchr(colon, ']')) {
        uint64_t port;
        if (!kp_parse_u64(kp_slice_of(colon + 1), 65535, &port) || port == 0)
            return false;
        host.len = (size_t)(colon - text);
    }
    return is_host(host) || is_bracketed(host);
}

/* Docker's rule: the first part is a registry where it has a dot or colon or is localhost. */
static void split_registry(struct kp_arena *arena, const char *name, struct kp_reference *out)
{
    const char *slash = strchr(name, '/');
    size_t len = slash ? (size_t)(slash - name) : 0;
    const char *first = kp_arena_strndup(arena, name, len);
    if (len && (strpbrk(first, ".:") || strcmp(first, "localhost") == 0)) {
        out->registry = first;
        out->repository = slash + 1;
    } else {
        out->registry = KP_DOCKER_HUB;
        out->repository = name;
    }
    if (strcmp(out->registry, "index.docker.io") == 0 ||
        strcmp(out->registry, "registry-1.docker.io") == 0)
        out->registry = KP_DOCKER_HUB;
    if (strcmp(out->registry, KP_DOCKER_HUB) == 0 && !strchr(out->repository, '/'))
        out->repository = kp_arena_printf(arena, "library/%s", out->repository);
}

int kp_reference_parse(struct kp_reference *out, struct kp_arena *arena, const char *text,
                       struct kp_err *err)
{
    struct kp_reference ref = {0};
    size_t len = strlen(text);
    if (!len || len > KP_REFERENCE_MAX)
        return kp_fail(err, KP_USAGE, "image reference of %zu bytes: 1 to %d are allowed", len,
                       KP_REFERENCE_MAX);
    char *name = kp_arena_strdup(arena, text);
    char *at = strchr(name, '@');
    if (at) {
        *at = '\0';
        if (!kp_slice_starts(kp_slice_of(at + 1), "sha256:") ||
            !kp_digest_parse(kp_slice_of(at + 1), &ref.digest))
            return kp_fail(err, KP_USAGE,
                           "image reference '%s': the digest must be sha256: and 64 lower-case "
                           "hex digits",
                           text);
        ref.has_digest = true;
    }
    char *slash = strrchr(name, '/');
    char *colon = strchr(slash ? slash : name, ':');
    if (colon) {
        *colon = '\0';
        ref.tag = colon + 1;
        if (!kp_reference_is_tag(ref.tag))
            return kp_fail(err, KP_USAGE, "image reference '%s': '%s' is no tag", text, ref.tag);
    } else if (!at) {
        ref.tag = "latest";
    }
    split_registry(arena, name, &ref);
    if (!kp_reference_is_registry(ref.registry))
        return kp_fail(err, KP_USAGE, "image reference '%s': '%s' is no registry host", text,
                       ref.registry);
    if (!kp_reference_is_repository(ref.repository))
        return kp_fail(err, KP_USAGE,
                       "image reference '%s': '%s' is no repository name (lower-case letters, "
                       "digits, and . _ - between them)",
                       text, ref.repository);
    *out = ref;
    return 0;
}

char *kp_reference_name(const struct kp_reference *reference)
{
    return kp_asprintf("%s/%s", reference->registry, reference->repository);
}

char *kp_reference_text(const struct kp_reference *reference)
{
    return kp_asprintf("%s/%s%s%s%s%s", reference->registry, reference->repository,
                       reference->tag ? ":" : "", reference->tag ? reference->tag : "",
                       reference->has_digest ? "@sha256:" : "",
                       reference->has_digest ? kp_digest_hex(&reference->digest).hex : "");
}
