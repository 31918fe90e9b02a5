/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors. Functions that can fail return 0 or -1 and take `struct kp_err *err` as their last
 * argument; the struct lives by value on the caller's stack. The place that knows a fact states
 * it, the command adds the purpose, once. Messages are one line, lower case, no full stop.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#define KP_CHECK __attribute__((warn_unused_result))
#define KP_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* The number is the exit code of the program (DESIGN §3). */
enum kp_code {
    KP_OK = 0,
    KP_FAILED = 1,    /* could not be done: I/O, network, a command on a node … */
    KP_USAGE = 2,     /* the command line, an inventory, a release file is wrong */
    KP_UNTRUSTED = 3, /* signature, key, policy */
    KP_DAMAGED = 4,   /* bytes differ from what was signed */
    KP_MISSING = 5,   /* a base, a slice, an image, an arch … is not there */
};

#define KP_ERR_MESSAGE_MAX 1024

struct kp_err {
    enum kp_code code;
    int sys;            /* errno, or 0 */
    const char *reason; /* static: "bad_signature", "unknown_key", … for --json; may be NULL */
    const void *about;  /* what it failed at, for whoever mends that: compared only; or NULL */
    bool reported;      /* the command's own document on standard output says it: no second one */
    char message[KP_ERR_MESSAGE_MAX]; /* one line; cut with "…" where longer */
    char hint[KP_ERR_MESSAGE_MAX];    /* what to do next, one line; empty where none */
};

#define KP_ERR_INIT ((struct kp_err){.code = KP_OK})

/* Each sets *err and returns -1, so that setting and returning is one statement. err may be NULL.
 */
int kp_fail(struct kp_err *err, enum kp_code code, const char *fmt, ...) KP_PRINTF(3, 4);
/* As kp_fail, with the exact reason for machines; `reason` is a string literal. */
int kp_fail_as(struct kp_err *err, enum kp_code code, const char *reason, const char *fmt, ...)
    KP_PRINTF(4, 5);
/* KP_FAILED with ": <strerror(sys)>" appended. ENOSPC, EDQUOT give reason "disk_full", EIO
 * "io_error", ENODEV and its like "medium_gone". */
int kp_fail_sys(struct kp_err *err, int sys, const char *fmt, ...) KP_PRINTF(3, 4);
/* Puts "<text>: " before the message that is there; code, reason and hint stay. */
int kp_wrap(struct kp_err *err, const char *fmt, ...) KP_PRINTF(2, 3);
/* Sets the hint (what to do next) where none is set yet; returns -1. */
int kp_hint(struct kp_err *err, const char *fmt, ...) KP_PRINTF(2, 3);
/* The exact reason for machines; where the error has none the word for its code ("usage", "failed",
 * …). */
const char *kp_err_reason(const struct kp_err *err);
/* The errno's text; thread-safe. */
const char *kp_strerror(int sys);

/* clang-tidy sees one file at a time: it has to be told that these always return -1. */
#if defined(__clang_analyzer__) && !defined(KP_ERR_DEFINITIONS)
#define kp_fail(...) (kp_fail(__VA_ARGS__), -1)
#define kp_fail_as(...) (kp_fail_as(__VA_ARGS__), -1)
#define kp_fail_sys(...) (kp_fail_sys(__VA_ARGS__), -1)
#define kp_wrap(...) (kp_wrap(__VA_ARGS__), -1)
#define kp_hint(...) (kp_hint(__VA_ARGS__), -1)
#endif
