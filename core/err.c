/* SPDX-License-Identifier: Apache-2.0 */
#define KP_ERR_DEFINITIONS
#include "core/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char ellipsis[] = "…";

static void KP_PRINTF(2, 0) set_text(char *out, const char *fmt, va_list ap)
{
    int n = vsnprintf(out, KP_ERR_MESSAGE_MAX, fmt, ap);
    if (n >= KP_ERR_MESSAGE_MAX)
        memcpy(out + KP_ERR_MESSAGE_MAX - sizeof(ellipsis), ellipsis, sizeof(ellipsis));
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
}

static void KP_PRINTF(5, 0) set_error(struct kp_err *err, enum kp_code code, const char *reason,
                                      int sys, const char *fmt, va_list ap)
{
    if (!err)
        return;
    err->code = code;
    err->reason = reason;
    err->about = NULL;
    err->sys = sys;
    err->hint[0] = '\0';
    set_text(err->message, fmt, ap);
}

int kp_fail(struct kp_err *err, enum kp_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_error(err, code, NULL, 0, fmt, ap);
    va_end(ap);
    return -1;
}

int kp_fail_as(struct kp_err *err, enum kp_code code, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_error(err, code, reason, 0, fmt, ap);
    va_end(ap);
    return -1;
}

const char *kp_strerror(int sys)
{
    const char *text = strerrordesc_np(sys);
    return text ? text : "unknown error";
}

const char *kp_err_reason(const struct kp_err *err)
{
    if (err->reason)
        return err->reason;
    switch (err->code) {
    case KP_USAGE:
        return "usage";
    case KP_UNTRUSTED:
        return "untrusted";
    case KP_DAMAGED:
        return "damaged";
    case KP_MISSING:
        return "missing";
    case KP_OK:
    case KP_FAILED:
        break;
    }
    return "failed";
}

static const char *reason_of(int sys)
{
    switch (sys) {
    case ENOENT:
        return "no_file";
    case ENOSPC:
    case EDQUOT:
        return "disk_full";
    case EIO:
    case EREMOTEIO:
    case EUCLEAN:
    case EBADMSG:
        return "io_error";
    case ENODEV: // what it lay on was pulled out, unmounted by force or is a server gone away
    case ENXIO:
    case ENOMEDIUM:
    case ESTALE:
    case ENOTCONN:
    case ECONNABORTED: // FUSE, a read that was under way
    case ESHUTDOWN:
        return "medium_gone";
    case EACCES:
    case EPERM:
        return "permission";
    default:
        return NULL;
    }
}

int kp_fail_sys(struct kp_err *err, int sys, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_error(err, KP_FAILED, reason_of(sys), sys, fmt, ap);
    va_end(ap);
    if (err) {
        size_t len = strlen(err->message);
        snprintf(err->message + len, sizeof(err->message) - len, ": %s", kp_strerror(sys));
    }
    return -1;
}

int kp_wrap(struct kp_err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    char purpose[KP_ERR_MESSAGE_MAX];
    char fact[KP_ERR_MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    set_text(purpose, fmt, ap);
    va_end(ap);
    memcpy(fact, err->message, sizeof(fact));
    if (snprintf(err->message, sizeof(err->message), "%s: %s", purpose, fact) >=
        (int)sizeof(err->message))
        memcpy(err->message + KP_ERR_MESSAGE_MAX - sizeof(ellipsis), ellipsis, sizeof(ellipsis));
    return -1;
}

int kp_hint(struct kp_err *err, const char *fmt, ...)
{
    if (!err || err->hint[0])
        return -1;
    va_list ap;
    va_start(ap, fmt);
    set_text(err->hint, fmt, ap);
    va_end(ap);
    return -1;
}
