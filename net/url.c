/* SPDX-License-Identifier: Apache-2.0 */
#include "net/url.h"

#include <stdio.h>
#include <string.h>

static bool url_chars_ok(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || strchr("\\\"<>^`{|}#", *p))
            return false;
    return true;
}

static bool host_ok(const char *host)
{
    struct kp_net_address ignored;
    if (kp_net_parse_ip(host, &ignored))
        return true;
    size_t n = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");
    return n > 0 && host[n] == '\0';
}

static int parse_authority(struct kp_url *out, struct kp_slice authority, const char *text,
                           struct kp_err *err)
{
    char with_port[KP_NET_HOST_MAX + 8];
    if (!authority.len || authority.len >= KP_NET_HOST_MAX)
        return kp_fail(err, KP_USAGE, "%s: no host", text);
    const char *bracket = memchr(authority.ptr, ']', authority.len);
    size_t from = bracket ? (size_t)(bracket - authority.ptr) : 0;
    bool port = memchr(authority.ptr + from, ':', authority.len - from) != NULL;
    snprintf(out->authority, sizeof(out->authority), "%.*s", (int)authority.len, authority.ptr);
    snprintf(with_port, sizeof(with_port), "%s%s", out->authority,
             port       ? ""
             : out->tls ? ":443"
                        : ":80");
    if (kp_net_split(with_port, out->host, &out->port, err) < 0)
        return -1;
    if (!host_ok(out->host) || !out->port)
        return kp_fail(err, KP_USAGE, "%s: not a host name or address", text);
    return 0;
}

int kp_url_parse(struct kp_url *out, const char *text, struct kp_err *err)
{
    *out = (struct kp_url){0};
    out->tls = kp_starts_with(text, "https://");
    if (!out->tls && !kp_starts_with(text, "http://"))
        return kp_fail(err, KP_USAGE, "%s: not an http or https URL", text);
    if (!url_chars_ok(text))
        return kp_fail(err, KP_USAGE, "%s: has characters that no URL has", text);
    const char *start = text + (out->tls ? 8 : 7);
    size_t n = strcspn(start, "/?");
    if (memchr(start, '@', n))
        return kp_fail(err, KP_USAGE, "user names in URLs are not taken");
    if (strlen(start + n) + 1 >= sizeof(out->path))
        return kp_fail(err, KP_USAGE, "%.40s…: the URL is too long", text);
    snprintf(out->path, sizeof(out->path), "%s%s", start[n] == '/' ? "" : "/", start + n);
    return parse_authority(out, (struct kp_slice){start, n}, text, err);
}
