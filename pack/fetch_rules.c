/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/fetch_rules.h"

#include <stdio.h>
#include <strings.h>

void kp_reply_release(struct kp_reply *answer)
{
    kp_buf_release(&answer->challenge);
}

void kp_reply_reset(struct kp_reply *answer)
{
    kp_reply_release(answer);
    *answer = (struct kp_reply){.retry_after = -1, .challenge = KP_BUF(KP_HTTP_CHALLENGE_MAX)};
}

double kp_retry_after(struct kp_slice value, time_t now)
{
    uint64_t seconds;
    if (kp_parse_u64(value, UINT32_MAX, &seconds))
        return (double)seconds;
    char text[64];
    if (value.len >= sizeof(text))
        return -1;
    memcpy(text, value.ptr, value.len);
    text[value.len] = '\0';
    struct tm tm = {0};
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (!end || *end)
        return -1;
    time_t when = timegm(&tm);
    return when > now ? (double)(when - now) : 0;
}

static void copy_value(char *out, size_t size, struct kp_slice value)
{
    if (value.len >= size)
        return;
    memcpy(out, value.ptr, value.len);
    out[value.len] = '\0';
}

/* "text/Plain; charset=x" -> "text/plain" */
static void copy_type(char *out, size_t size, struct kp_slice value)
{
    struct kp_slice type;
    if (!kp_slice_cut(&value, ';', &type))
        type = value;
    copy_value(out, size, kp_slice_trim(type));
    for (; *out; out++)
        if (*out >= 'A' && *out <= 'Z')
            *out = (char)(*out - 'A' + 'a');
}

// "bytes 5-9/10", "bytes 5-9/*", in a 416 "bytes */10"
static void parse_range(struct kp_reply *answer, struct kp_slice value)
{
    struct kp_slice unit, span, first;
    if (!kp_slice_cut(&value, ' ', &unit) || !kp_slice_equal(unit, "bytes") ||
        !kp_slice_cut(&value, '/', &span))
        return;
    if (!kp_parse_u64(value, UINT64_MAX, &answer->range_total))
        answer->range_total = 0;
    answer->has_range =
        kp_slice_cut(&span, '-', &first) && kp_parse_u64(first, UINT64_MAX, &answer->first);
}

static bool is_name(struct kp_slice name, const char *wanted)
{
    return name.len == strlen(wanted) && strncasecmp(name.ptr, wanted, name.len) == 0;
}

static bool take_header(struct kp_reply *answer, struct kp_slice name, struct kp_slice value,
                        time_t now)
{
    if (is_name(name, "content-length"))
        answer->has_length = kp_parse_u64(value, UINT64_MAX, &answer->length);
    else if (is_name(name, "content-range"))
        parse_range(answer, value);
    else if (is_name(name, "retry-after"))
        answer->retry_after = kp_retry_after(value, now);
    else if (is_name(name, "content-encoding"))
        answer->encoded = value.len && !is_name(value, "identity");
    else if (is_name(name, "etag") && value.len > 2 && value.ptr[0] == '"')
        copy_value(answer->etag, sizeof(answer->etag), value);
    else if (is_name(name, "location"))
        copy_value(answer->location, sizeof(answer->location), value);
    else if (is_name(name, "last-modified"))
        copy_value(answer->modified, sizeof(answer->modified), value);
    else if (is_name(name, "content-type"))
        copy_type(answer->content_type, sizeof(answer->content_type), value);
    else if (is_name(name, "docker-content-digest"))
        copy_value(answer->content_digest, sizeof(answer->content_digest), value);
    else if (is_name(name, "www-authenticate"))
        return (!answer->challenge.len || kp_buf_adds(&answer->challenge, "\n")) &&
               kp_buf_add(&answer->challenge, value.ptr, value.len);
    return true;
}

bool kp_reply_header(struct kp_reply *answer, struct kp_slice line, time_t now)
{
    struct kp_slice name;
    if (kp_slice_starts(line, "HTTP/"))
        kp_reply_reset(answer);
    answer->header_bytes += line.len;
    if (answer->header_bytes > KP_HTTP_HEADERS_MAX)
        return false;
    line = kp_slice_trim(line);
    if (!kp_slice_cut(&line, ':', &name))
        return true;
    return take_header(answer, name, kp_slice_trim(line), now);
}

bool kp_status_passing(unsigned status)
{
    return status == 408 || status == 425 || status == 429 ||
           (status >= 500 && status != 501 && status != 505);
}

bool kp_status_redirect(unsigned status)
{
    return (status >= 301 && status <= 303) || status == 307 || status == 308;
}

double kp_backoff(double first, unsigned attempt)
{
    double wait = first;
    for (unsigned i = 1; i < attempt && wait < KP_BACKOFF_MAX; i++)
        wait *= 2;
    return wait < KP_BACKOFF_MAX ? wait : KP_BACKOFF_MAX;
}

int kp_status_fail(unsigned status, const char *what, const char *host, struct kp_err *err)
{
    switch (status) {
    case 404:
    case 410:
        kp_fail_as(err, KP_FAILED, "not_found", "%s: not found (HTTP %u)", what, status);
        return kp_hint(err, "check the version and the URL; with a mirror, whether it has this");
    case 401:
    case 403:
    case 407:
        kp_fail_as(err, KP_FAILED, "unauthorized", "%s: not allowed (HTTP %u)", what, status);
        return kp_hint(err,
                       "give credentials for %s: docker login %s, or username and password_file "
                       "in the mirrors file",
                       host, host);
    case 429:
        kp_fail_as(err, KP_FAILED, "rate_limited", "%s: too many requests (HTTP 429)", what);
        return kp_hint(err,
                       "wait and run again (what was fetched is kept), log in to %s, or use a "
                       "mirror",
                       host);
    default:
        kp_fail_as(err, KP_FAILED, status >= 500 ? "server_error" : "bad_status", "%s: HTTP %u",
                   what, status);
        return kp_hint(err,
                       status >= 500 ? "the server %s has trouble; run again later"
                                     : "see what %s says to this URL",
                       host);
    }
}

static const char kept[] = "run again; what was fetched is kept and continued";

int kp_network_fail(enum kp_network_failure failure, const struct kp_network_facts *facts,
                    struct kp_err *err)
{
    const char *what = facts->what, *why = facts->why;
    switch (failure) {
    case KP_NET_CERTIFICATE:
        kp_fail_as(err, KP_FAILED, "certificate", "%s: the server's certificate is not trusted: %s",
                   what, why);
        return kp_hint(err,
                       "if %s has a certificate of your own CA, name that CA in the mirrors file "
                       "(ca: FILE); check this machine's clock and its ca-certificates",
                       facts->host);
    case KP_NET_UNRESOLVED:
        kp_fail_as(err, KP_FAILED, "unresolved_host", "%s: %s", what, why);
        return kp_hint(err, "check the name, this machine's DNS and network, or use a mirror");
    case KP_NET_UNREACHABLE:
        kp_fail_as(err, KP_FAILED, "unreachable", "%s: %s", what, why);
        return kp_hint(err, "is %s up, and does a firewall or proxy (https_proxy) stand between?",
                       facts->host);
    case KP_NET_TIMEOUT:
        kp_fail_as(err, KP_FAILED, "timeout", "%s: too slow or silent: %s", what, why);
        return kp_hint(err, "%s", kept);
    case KP_NET_TRUNCATED:
        kp_fail_as(err, KP_FAILED, "truncated",
                   "%s: the answer was cut off at %llu of %llu bytes: %s", what,
                   (unsigned long long)facts->have, (unsigned long long)facts->total, why);
        return kp_hint(err, "%s", kept);
    case KP_NET_TOO_LARGE:
        return kp_fail_as(err, KP_FAILED, "too_large", "%s: larger than the limit", what);
    default:
        return kp_fail_as(err, KP_FAILED, "network", "%s: %s", what, why);
    }
}

char *kp_url_shown(const char *url)
{
    size_t len = strcspn(url, "?#");
    const char *scheme = strstr(url, "://");
    size_t host = scheme && (size_t)(scheme - url) < len ? (size_t)(scheme - url) + 3 : 0;
    size_t authority = strcspn(url + host, "/?#");
    const char *at = memrchr(url + host, '@', authority);
    if (at)
        return kp_asprintf("%.*s%.*s", (int)host, url, (int)(len - (size_t)(at + 1 - url)), at + 1);
    return kp_strndup(url, len);
}
