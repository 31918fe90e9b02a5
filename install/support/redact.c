/* SPDX-License-Identifier: Apache-2.0 */
#include "install/support/redact.h"

#include "core/buf.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define BUCKETS 65536u
#define NAME_MAX_LEN 128
#define TOKEN_ID 6
#define TOKEN_SECRET 16
#define JWT_LEAST 20
#define TEXT_MAX ((size_t)256 << 20)

struct known {
    struct known *next;
    size_t len;
    char text[];
};
struct kp_redactor {
    struct known *buckets[BUCKETS];
};

struct kp_redactor *kp_redactor_new(void)
{
    return kp_alloc(sizeof(struct kp_redactor));
}

void kp_redactor_free(struct kp_redactor *redactor)
{
    for (size_t i = 0; redactor && i < BUCKETS; i++)
        while (redactor->buckets[i]) {
            struct known *known = redactor->buckets[i];
            redactor->buckets[i] = known->next;
            kp_free_secret((char *)known, sizeof(*known) + known->len);
        }
    kp_free(redactor);
}

/* By the first eight bytes, which each of them has. */
static size_t bucket_of(const char *at)
{
    uint64_t head;
    memcpy(&head, at, sizeof(head));
    return (size_t)((head * UINT64_C(0x9e3779b97f4a7c15)) >> 48);
}

static const struct known *find_known(const struct kp_redactor *redactor, struct kp_slice rest)
{
    const struct known *best = NULL;
    if (rest.len < KP_SECRET_LEAST)
        return NULL;
    for (const struct known *k = redactor->buckets[bucket_of(rest.ptr)]; k; k = k->next)
        if (k->len <= rest.len && memcmp(k->text, rest.ptr, k->len) == 0 &&
            (!best || k->len > best->len))
            best = k;
    return best;
}

static void know_one(struct kp_redactor *redactor, struct kp_slice secret)
{
    const struct known *same = find_known(redactor, secret);
    if (secret.len < KP_SECRET_LEAST || (same && same->len == secret.len))
        return;
    struct known *known = kp_alloc(sizeof(*known) + secret.len);
    size_t bucket = bucket_of(secret.ptr);
    memcpy(known->text, secret.ptr, secret.len);
    known->len = secret.len;
    known->next = redactor->buckets[bucket];
    redactor->buckets[bucket] = known;
}

void kp_redactor_know(struct kp_redactor *redactor, struct kp_slice text)
{
    struct kp_slice line;
    while (kp_slice_line(&text, &line))
        know_one(redactor, kp_slice_trim(line));
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

/* Names, without case and separators, whose value is a secret. */
static bool is_sensitive(const char *name, size_t len)
{
    static const char *const endings[] = {
        "password",       "passwd",      "passphrase", "token",         "secret",
        "secretkey",      "apikey",      "accesskey",  "clientkeydata", "privatekey",
        "certificatekey", "credentials", "cookie",     "authorization", "tokensecret"};
    char plain[NAME_MAX_LEN];
    size_t n = 0;
    for (size_t i = len > NAME_MAX_LEN ? len - NAME_MAX_LEN : 0; i < len && n < sizeof(plain); i++)
        if (isalnum((unsigned char)name[i]))
            plain[n++] = (char)tolower((unsigned char)name[i]);
    for (size_t i = 0; i < KP_COUNT(endings); i++) {
        size_t m = strlen(endings[i]);
        if (n >= m && memcmp(plain + n - m, endings[i], m) == 0)
            return true;
    }
    return false;
}

/* The name that ends before `at`: quotes and blanks between are passed over. */
static struct kp_slice name_before(struct kp_slice line, size_t at)
{
    while (at > 0 && strchr(" \t\"'\\", line.ptr[at - 1]))
        at--;
    size_t end = at;
    while (at > 0 && is_word(line.ptr[at - 1]))
        at--;
    return (struct kp_slice){line.ptr + at, end - at};
}

/* Words that say something and hide nothing. */
static bool is_harmless(struct kp_slice value)
{
    static const char *const words[] = {"true", "false", "null", "{}", "[]", KP_REDACTED};
    for (size_t i = 0; i < KP_COUNT(words); i++)
        if (kp_slice_equal(value, words[i]))
            return true;
    return value.len == 0;
}

/* Where the value at `at` begins and ends; to the end of the line, or of the word. */
static struct kp_slice value_at(struct kp_slice line, size_t at, bool whole_line)
{
    while (at < line.len && strchr(" \t\\", line.ptr[at]))
        at++;
    if (at < line.len && (line.ptr[at] == '"' || line.ptr[at] == '\'')) {
        char quote = line.ptr[at++];
        size_t end = at;
        while (end < line.len &&
               (line.ptr[end] != quote || (line.ptr[end - 1] == '\\' && line.ptr[at - 2] != '\\')))
            end++;
        return (struct kp_slice){line.ptr + at, end - at};
    }
    size_t end = at;
    while (end < line.len && (whole_line || !strchr(" \t,;&\"'", line.ptr[end])))
        end++;
    return kp_slice_trim((struct kp_slice){line.ptr + at, end - at});
}

/* "key: value", "key=value", `"key":"value"`, "--key value". */
static struct kp_slice keyed_value(struct kp_slice line, size_t at)
{
    struct kp_slice none = {line.ptr, 0};
    char c = line.ptr[at];
    if (c != ':' && c != '=' && c != ' ')
        return none;
    struct kp_slice name = name_before(line, at);
    if (c == ' ' && !(name.len > 2 && kp_slice_starts(name, "--")))
        return none;
    if (name.len == 0 || !is_sensitive(name.ptr, name.len) ||
        (at + 2 < line.len && memcmp(line.ptr + at, "://", 3) == 0))
        return none;
    struct kp_slice value = value_at(line, at + 1, c == ':');
    return is_harmless(value) ? none : value;
}

static size_t run_of(struct kp_slice rest, const char *more, bool upper)
{
    size_t n = 0;
    while (n < rest.len &&
           (isdigit((unsigned char)rest.ptr[n]) || islower((unsigned char)rest.ptr[n]) ||
            (upper && isupper((unsigned char)rest.ptr[n])) ||
            (rest.ptr[n] && strchr(more, rest.ptr[n]))))
        n++;
    return n;
}

static bool is_bootstrap_token(struct kp_slice rest)
{
    if (rest.len < TOKEN_ID + 1 + TOKEN_SECRET || run_of(rest, "", false) != TOKEN_ID ||
        rest.ptr[TOKEN_ID] != '.')
        return false;
    struct kp_slice secret = {rest.ptr + TOKEN_ID + 1, rest.len - TOKEN_ID - 1};
    return run_of(secret, "-", true) == TOKEN_SECRET;
}

/* How many bytes at `at` have the look of a secret; *keep of them at the front stay. */
static size_t looks_secret(struct kp_slice line, size_t at, size_t *keep)
{
    struct kp_slice rest = {line.ptr + at, line.len - at};
    bool begins = at == 0 || !is_word(line.ptr[at - 1]);
    *keep = 0;
    if (begins && kp_slice_starts(rest, "eyJ")) {
        size_t n = run_of(rest, "_-.=", true);
        return n >= JWT_LEAST ? n : 0;
    }
    if (begins && is_bootstrap_token(rest))
        return TOKEN_ID + 1 + TOKEN_SECRET;
    static const char *const schemes[] = {"Bearer ", "Basic "};
    for (size_t i = 0; begins && i < KP_COUNT(schemes); i++)
        if (rest.len > strlen(schemes[i]) &&
            strncasecmp(rest.ptr, schemes[i], strlen(schemes[i])) == 0) {
            *keep = strlen(schemes[i]);
            return value_at(rest, *keep, false).len + *keep;
        }
    if (kp_slice_starts(rest, "://")) { // user:password@
        size_t n = 3;
        while (n < rest.len && !strchr("/@ \t\"'", rest.ptr[n]))
            n++;
        *keep = 3;
        return n < rest.len && rest.ptr[n] == '@' && n > 3 ? n : 0;
    }
    return 0;
}

/* What to take out at `at`: its end, or 0. *from: where it begins. */
static size_t find_secret(const struct kp_redactor *redactor, struct kp_slice line, size_t at,
                          size_t *from)
{
    size_t keep;
    const struct known *known =
        find_known(redactor, (struct kp_slice){line.ptr + at, line.len - at});
    *from = at;
    if (known)
        return at + known->len;
    size_t len = looks_secret(line, at, &keep);
    *from = at + keep;
    if (len > keep)
        return at + len;
    struct kp_slice value = keyed_value(line, at);
    *from = (size_t)(value.ptr - line.ptr);
    return value.len ? *from + value.len : 0;
}

typedef void removal(void *user, struct kp_slice secret);

struct scan {
    const struct kp_redactor *redactor;
    struct kp_buf *out;
    removal *removed;
    void *user;
    bool in_key; /* inside a PEM block */
};

static void scan_line(struct scan *scan, struct kp_slice line)
{
    size_t done = 0;
    for (size_t at = 0; at < line.len;) {
        size_t from, end = find_secret(scan->redactor, line, at, &from);
        if (!end) {
            at++;
            continue;
        }
        kp_buf_add(scan->out, line.ptr + done, from - done);
        kp_buf_adds(scan->out, KP_REDACTED);
        scan->removed(scan->user, (struct kp_slice){line.ptr + from, end - from});
        done = at = end;
    }
    kp_buf_add(scan->out, line.ptr + done, line.len - done);
    kp_buf_add(scan->out, "\n", 1);
}

static bool has(struct kp_slice line, const char *word)
{
    return memmem(line.ptr, line.len, word, strlen(word)) != NULL;
}

static void scan_text(struct scan *scan, struct kp_slice text)
{
    struct kp_slice line;
    while (kp_slice_line(&text, &line)) {
        if (scan->in_key) {
            scan->removed(scan->user, kp_slice_trim(line));
            scan->in_key = !has(line, "-----END");
        } else if (has(line, "PRIVATE KEY-----") && has(line, "-----BEGIN")) {
            kp_buf_adds(scan->out, KP_REDACTED " (a private key)\n");
            scan->in_key = !has(line, "-----END");
            if (!scan->in_key)
                scan->removed(scan->user, kp_slice_trim(line));
        } else {
            scan_line(scan, line);
        }
    }
}

static void count(void *user, struct kp_slice secret)
{
    size_t *n = user;
    *n += secret.len > 0;
}

static void learn(void *user, struct kp_slice secret)
{
    if (!has(secret, "-----END"))
        know_one(user, secret);
}

void kp_redactor_know_document(struct kp_redactor *redactor, struct kp_slice text)
{
    kp_auto(kp_redactor) nothing = kp_redactor_new();
    kp_auto_value(kp_buf) out = KP_BUF_SECRET(TEXT_MAX);
    struct scan scan = {nothing, &out, learn, redactor, false};
    scan_text(&scan, text);
}

char *kp_redact(const struct kp_redactor *redactor, struct kp_slice text, size_t *len,
                size_t *removed)
{
    kp_auto_value(kp_buf) out = KP_BUF(TEXT_MAX);
    struct scan scan = {redactor, &out, count, removed, false};
    scan_text(&scan, text);
    *len = out.len;
    return kp_buf_steal(&out);
}
