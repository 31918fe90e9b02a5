/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/oci_auth.h"

#include "core/json.h"
#include "core/text.h"

#include <strings.h>

static bool is_token_char(char c)
{
    return c && !strchr(" \t\r\n,=\"", c);
}

/* name="value" or name=value; escapes inside quotes are undone. False at the end or at nonsense. */
static bool next_parameter(const char **at, struct kp_arena *arena, char **name, char **value)
{
    const char *p = *at + strspn(*at, " \t,");
    const char *begin = p;
    while (is_token_char(*p))
        p++;
    if (p == begin || *p != '=')
        return false;
    *name = kp_arena_strndup(arena, begin, (size_t)(p - begin));
    p++;
    *value = kp_arena_alloc(arena, strlen(p) + 1);
    size_t len = 0;
    if (*p == '"') {
        for (p++; *p && *p != '"'; p++) {
            if (*p == '\\' && p[1])
                p++;
            (*value)[len++] = *p;
        }
        if (*p != '"')
            return false;
        p++;
    } else {
        while (is_token_char(*p))
            (*value)[len++] = *p++;
    }
    *at = p;
    return true;
}

static void parse_line(struct kp_challenge *out, struct kp_arena *arena, const char *line)
{
    *out = (struct kp_challenge){.realm = "", .service = "", .scope = ""};
    size_t len = strcspn(line, " \t");
    if (len == 5 && strncasecmp(line, "basic", len) == 0)
        out->scheme = KP_CHALLENGE_BASIC;
    else if (len == 6 && strncasecmp(line, "bearer", len) == 0)
        out->scheme = KP_CHALLENGE_BEARER;
    else
        return;
    char *name, *value;
    for (const char *p = line + len; next_parameter(&p, arena, &name, &value);) {
        if (strcasecmp(name, "realm") == 0)
            out->realm = value;
        else if (strcasecmp(name, "service") == 0)
            out->service = value;
        else if (strcasecmp(name, "scope") == 0)
            out->scope = value;
    }
}

void kp_challenge_parse(struct kp_challenge *out, struct kp_arena *arena, const char *lines)
{
    struct kp_slice rest = kp_slice_of(lines), line;
    *out = (struct kp_challenge){.realm = "", .service = "", .scope = ""};
    while (kp_slice_line(&rest, &line)) {
        struct kp_challenge one;
        parse_line(&one, arena, kp_arena_strndup(arena, line.ptr, line.len));
        if (one.scheme > out->scheme)
            *out = one;
    }
}

const char *kp_https_authority(struct kp_arena *arena, const char *url)
{
    if (strncasecmp(url, "https://", 8) != 0)
        return "";
    size_t len = strcspn(url + 8, "/?#");
    char *authority = kp_arena_strndup(arena, url + 8, len);
    for (char *p = authority; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return kp_reference_is_registry(authority) ? authority : "";
}

static size_t host_len(const char *authority)
{
    const char *colon = strrchr(authority, ':');
    return colon && !strchr(colon, ']') ? (size_t)(colon - authority) : strlen(authority);
}

static bool same_host(const char *a, const char *b)
{
    size_t n = host_len(a);
    return n && n == host_len(b) && strncasecmp(a, b, n) == 0;
}

bool kp_realm_may_have_credentials(const char *registry_host, const char *realm,
                                   const char *const *realms)
{
    static const struct {
        const char *registry, *realm;
    } known[] = {
        {"registry-1.docker.io", "auth.docker.io"},
        {"registry.gitlab.com", "gitlab.com"},
    };
    if (same_host(registry_host, realm))
        return true;
    for (size_t i = 0; i < KP_COUNT(known); i++)
        if (strcasecmp(registry_host, known[i].registry) == 0 &&
            strcasecmp(realm, known[i].realm) == 0)
            return true;
    for (; realms && *realms; realms++)
        if (strcasecmp(*realms, realm) == 0 ||
            (host_len(*realms) == strlen(*realms) && same_host(*realms, realm)))
            return true;
    return false;
}

int kp_token_parse(const char **token, struct kp_arena *arena, struct kp_slice answer,
                   const char *url, const char *host, struct kp_err *err)
{
    kp_auto_json document = NULL;
    if (kp_json_parse(&document, answer, KP_TOKEN_MAX, url, err) < 0)
        return -1;
    const char *text = json_string_value(json_object_get(document, "token"));
    text = text ? text : json_string_value(json_object_get(document, "access_token"));
    if (!text || !*text || !kp_text_plain(text, KP_TOKEN_MAX))
        return kp_fail_as(err, KP_FAILED, "unauthorized", "%s: an answer without a token", host);
    *token = kp_arena_strdup(arena, text);
    return 0;
}
