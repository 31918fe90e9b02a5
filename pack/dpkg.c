/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/dpkg.h"

static bool is_blank(struct kp_slice line)
{
    return kp_slice_trim(line).len == 0;
}

/* The next stanza, without the blank lines around it; false at the end. */
static bool next_stanza(struct kp_slice *text, struct kp_slice *stanza)
{
    struct kp_slice line, rest = *text;
    while (kp_slice_line(&rest, &line) && is_blank(line))
        *text = rest;
    const char *start = text->ptr, *end = start;
    while (kp_slice_line(text, &line) && !is_blank(line))
        end = line.ptr + line.len;
    *stanza = (struct kp_slice){start, (size_t)(end - start)};
    return stanza->len > 0;
}

struct kp_slice kp_dpkg_field(struct kp_slice text, char separator, const char *key)
{
    struct kp_slice line, name;
    while (kp_slice_line(&text, &line)) {
        if (line.len && (line.ptr[0] == ' ' || line.ptr[0] == '\t'))
            continue; // goes on with the field before
        if (!kp_slice_cut(&line, separator, &name) || !kp_slice_equal(name, key))
            continue;
        line = kp_slice_trim(line);
        if (line.len > 1 && (line.ptr[0] == '"' || line.ptr[0] == '\'') &&
            line.ptr[line.len - 1] == line.ptr[0])
            line = (struct kp_slice){line.ptr + 1, line.len - 2};
        return line;
    }
    return (struct kp_slice){"", 0};
}

static bool has_only(struct kp_slice text, const char *others)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (!c || !strchr(others, c)))
            return false;
    }
    return text.len > 0 && text.len <= 200;
}

static bool is_installed(struct kp_slice status)
{
    struct kp_slice word;
    while (kp_slice_cut(&status, ' ', &word))
        ;
    return !status.len || kp_slice_equal(status, "installed");
}

size_t kp_dpkg_parse(struct kp_slice text, kp_dpkg_each *each, void *user)
{
    struct kp_slice stanza;
    size_t odd = 0;
    while (next_stanza(&text, &stanza)) {
        struct kp_dpkg_package package = {.name = kp_dpkg_field(stanza, ':', "Package"),
                                          .version = kp_dpkg_field(stanza, ':', "Version"),
                                          .arch = kp_dpkg_field(stanza, ':', "Architecture")};
        if (!is_installed(kp_dpkg_field(stanza, ':', "Status")))
            continue;
        if (has_only(package.name, "+-.") && has_only(package.version, ".+-~:") &&
            has_only(package.arch, "-"))
            each(user, &package);
        else
            odd++;
    }
    return odd;
}
