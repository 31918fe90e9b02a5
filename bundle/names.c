/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/names.h"

#include "bundle/manifest.h"
#include "core/text.h"

#define PART_MAX 255
#define MEDIA_TYPE_MAX 128
#define TAG_MAX 128

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c);
}

static bool all_in(struct kp_slice s, const char *extra, bool upper)
{
    for (size_t i = 0; i < s.len; i++) {
        bool is_upper = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z';
        if (!s.ptr[i] || (is_upper && !upper) || (!is_alnum(s.ptr[i]) && !strchr(extra, s.ptr[i])))
            return false;
    }
    return s.len > 0;
}

static bool is_word(const char *text, const char *extra)
{
    struct kp_slice s = kp_slice_of(text);
    return s.len && s.len <= KP_NAME_MAX && is_alnum(text[0]) && all_in(s, extra, true) &&
           !strstr(text, "..");
}

bool kp_name_ok(const char *text)
{
    return is_word(text, "._+-");
}

bool kp_version_ok(const char *text)
{
    return is_word(text, "._+-:~");
}

bool kp_kubernetes_ok(const char *text)
{
    const char *p = text + 1;
    if (text[0] != 'v' || !kp_name_ok(text))
        return false;
    for (int part = 0; part < 3; part++) {
        if (!is_digit(*p))
            return false;
        while (is_digit(*p))
            p++;
        if (part < 2 && *p++ != '.')
            return false;
    }
    return *p == '\0' || *p == '-' || *p == '+';
}

bool kp_arch_ok(const char *text)
{
    static const char *const known[] = {"amd64",   "arm64", "arm",    "386",
                                        "ppc64le", "s390x", "riscv64"};
    for (size_t i = 0; i < KP_COUNT(known); i++)
        if (strcmp(text, known[i]) == 0)
            return true;
    return false;
}

static bool part_ok(struct kp_slice part)
{
    return part.len && part.len <= PART_MAX && all_in(part, "._+@:~-", true) &&
           !kp_slice_equal(part, ".") && !kp_slice_equal(part, "..");
}

bool kp_target_ok(const char *text)
{
    struct kp_slice rest = kp_slice_of(text), part;
    if (rest.len < 2 || rest.len >= KP_PATH_MAX || text[0] != '/')
        return false;
    rest.ptr++;
    rest.len--;
    while (kp_slice_cut(&rest, '/', &part))
        if (!part_ok(part))
            return false;
    return part_ok(rest);
}

bool kp_media_type_ok(const char *text)
{
    struct kp_slice rest = kp_slice_of(text), type;
    return rest.len <= MEDIA_TYPE_MAX && kp_slice_cut(&rest, '/', &type) &&
           all_in(type, "._+-", true) && all_in(rest, "._+-", true);
}

static bool host_ok(struct kp_slice host)
{
    bool full = kp_slice_equal(host, "localhost");
    for (size_t i = 0; i < host.len; i++)
        full = full || host.ptr[i] == '.' || host.ptr[i] == ':';
    return full && is_alnum(host.ptr[0]) && all_in(host, ".:-", true);
}

static bool repository_ok(struct kp_slice rest)
{
    struct kp_slice part;
    bool good = true;
    while (good && kp_slice_cut(&rest, '/', &part))
        good = is_alnum(part.len ? part.ptr[0] : '\0') && all_in(part, "._-", false);
    return good && is_alnum(rest.len ? rest.ptr[0] : '\0') && all_in(rest, "._-", false);
}

static bool tag_ok(struct kp_slice tag)
{
    return tag.len && tag.len <= TAG_MAX && tag.ptr[0] != '.' && tag.ptr[0] != '-' &&
           all_in(tag, "._-", true);
}

bool kp_reference_ok(const char *text)
{
    struct kp_slice rest = kp_slice_of(text), host, name, repository;
    struct kp_digest digest;
    if (rest.len > KP_REF_MAX || strstr(text, "..") || !kp_slice_cut(&rest, '/', &host) ||
        !host.len || !host_ok(host))
        return false;
    bool pinned = kp_slice_cut(&rest, '@', &name);
    if (pinned && (!kp_slice_starts(rest, "sha256:") || !kp_digest_parse(rest, &digest)))
        return false;
    if (!pinned)
        name = rest;
    if (kp_slice_cut(&name, ':', &repository))
        return repository_ok(repository) && tag_ok(name);
    return pinned && repository_ok(name);
}
