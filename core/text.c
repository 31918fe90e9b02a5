/* SPDX-License-Identifier: Apache-2.0 */
#include "core/text.h"

#include "core/slice.h"

#include <stdio.h>
#include <string.h>

#define NEAREST_MAX 64

static struct kp_text scaled(double value, const char *suffix)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB"};
    struct kp_text out;
    size_t unit = 0;
    value /= 1000;
    while (value >= 999.95 && unit + 1 < KP_COUNT(units)) {
        value /= 1000;
        unit++;
    }
    snprintf(out.s, sizeof(out.s), value < 10 || unit >= 1 ? "%.1f %s%s" : "%.0f %s%s", value,
             units[unit], suffix);
    return out;
}

struct kp_text kp_text_bytes(uint64_t bytes)
{
    if (bytes >= 1000)
        return scaled((double)bytes, "");
    struct kp_text out;
    snprintf(out.s, sizeof(out.s), "%u byte%s", (unsigned)bytes, bytes == 1 ? "" : "s");
    return out;
}

struct kp_text kp_text_rate(double bytes_per_s)
{
    return scaled(bytes_per_s, "/s");
}

struct kp_text kp_text_seconds(double seconds)
{
    struct kp_text out;
    if (seconds < 10)
        snprintf(out.s, sizeof(out.s), "%.1f s", seconds);
    else if (seconds < 120)
        snprintf(out.s, sizeof(out.s), "%.0f s", seconds);
    else
        snprintf(out.s, sizeof(out.s), "%d min %d s", (int)seconds / 60, (int)seconds % 60);
    return out;
}

struct kp_text kp_text_grouped(uint64_t number)
{
    struct kp_text plain, out;
    int n = snprintf(plain.s, sizeof(plain.s), "%llu", (unsigned long long)number);
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            out.s[at++] = ' ';
        out.s[at++] = plain.s[i];
    }
    out.s[at] = '\0';
    return out;
}

struct kp_text kp_text_utc(time_t when)
{
    struct kp_text out;
    struct tm tm;
    gmtime_r(&when, &tm);
    strftime(out.s, sizeof(out.s), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return out;
}

bool kp_parse_utc(const char *text, time_t *out)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (!end || *end)
        return false;
    time_t when = timegm(&tm);
    if (strcmp(kp_text_utc(when).s, text) != 0)
        return false;
    *out = when;
    return true;
}

double kp_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static size_t edit_distance(const char *a, const char *b)
{
    size_t n = strlen(b);
    size_t row[NEAREST_MAX + 1];
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t above = row[j];
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            best = above + 1 < best ? above + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[n];
}

const char *kp_nearest(const char *word, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 2 + 1;
    if (strlen(word) > NEAREST_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (strlen(candidates[i]) > NEAREST_MAX)
            continue;
        size_t distance = edit_distance(word, candidates[i]);
        if (distance < best_distance) {
            best = candidates[i];
            best_distance = distance;
        }
    }
    return best;
}

size_t kp_text_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

bool kp_text_plain(const char *text, size_t max)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7e)
            return false;
    return len <= max;
}

static bool is_alnum_lower(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool kp_text_dns_name(const char *text, size_t max)
{
    size_t len = strlen(text);
    if (!len || len > max || !is_alnum_lower(text[0]) || !is_alnum_lower(text[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_alnum_lower(text[i]) && text[i] != '-' && text[i] != '.')
            return false;
        if (text[i] == '.' && (text[i - 1] == '.' || text[i - 1] == '-' || text[i + 1] == '-'))
            return false;
    }
    return true;
}
