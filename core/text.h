/* SPDX-License-Identifier: Apache-2.0 */
/* Texts for people: sizes, durations, times, nearest names. */
#pragma once

#include "core/mem.h"

#include <time.h>

struct kp_text {
    char s[48];
};

struct kp_text kp_text_bytes(uint64_t bytes);     /* "402.1 MB" (powers of 1000), "12 bytes" */
struct kp_text kp_text_rate(double bytes_per_s);  /* "88 MB/s" */
struct kp_text kp_text_seconds(double seconds);   /* "0.3 s", "81 s", "4 min 10 s" */
struct kp_text kp_text_grouped(uint64_t number);  /* "41 943 040" */
struct kp_text kp_text_utc(time_t when);          /* "2026-11-23T21:00:00Z" */
bool kp_parse_utc(const char *text, time_t *out); /* the same form only */
double kp_now(void);                              /* CLOCK_MONOTONIC in seconds */

/* The candidate nearest to word by edit distance, or NULL where none is near; n candidates. */
const char *kp_nearest(const char *word, const char *const *candidates, size_t n);
/* Columns that text takes on a terminal (counts UTF-8 code points). */
size_t kp_text_width(const char *text);
/* True where every byte is a graphic ASCII character or blank and len is at most max. */
bool kp_text_plain(const char *text, size_t max);
/* Name of a node, cluster, bundle: [a-z0-9]([-a-z0-9.]*[a-z0-9])?, at most max. */
bool kp_text_dns_name(const char *text, size_t max);
