/* SPDX-License-Identifier: Apache-2.0 */
#include "core/secret.h"

#include "core/buf.h"
#include "core/file.h"
#include "core/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#define FD_MAX 65535

/* Byte by byte: what stands behind the line belongs to whoever reads the descriptor next. */
static int read_line(int fd, char **out, const struct kp_secret_question *q, struct kp_err *err)
{
    kp_auto_value(kp_buf) buf = KP_BUF_SECRET(KP_PASSPHRASE_MAX);
    for (;;) {
        char c;
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno == EINTR && kp_interrupt_check(err) < 0)
            return -1;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kp_fail_sys(err, errno, "read %s", q->what);
        if (n == 0 || c == '\n')
            break;
        if (!kp_buf_add(&buf, &c, 1))
            return kp_fail(err, KP_USAGE, "%s is longer than %d bytes", q->what, KP_PASSPHRASE_MAX);
    }
    if (!buf.len)
        return kp_fail(err, KP_USAGE, "%s is empty", q->what);
    *out = kp_buf_steal(&buf);
    return 0;
}

static int ask(char **out, const struct kp_secret_question *q, const char *prompt,
               struct kp_err *err)
{
    kp_auto_fd int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios before;
    if (tty < 0 || tcgetattr(tty, &before) < 0) {
        kp_fail(err, KP_USAGE, "%s is needed and there is no terminal to ask on", q->what);
        return kp_hint(err, "give it by %s FD", q->option);
    }
    struct termios silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    if (kp_write_full(tty, prompt, strlen(prompt), err) < 0)
        return -1;
    tcsetattr(tty, TCSAFLUSH, &silent);
    int result = read_line(tty, out, q, err);
    tcsetattr(tty, TCSAFLUSH, &before);
    struct kp_err ignored = KP_ERR_INIT;
    if (kp_write_full(tty, "\n", 1, &ignored) < 0)
        return result;
    return result;
}

int kp_secret_read(char **out, int fd, const struct kp_secret_question *q, struct kp_err *err)
{
    return fd >= 0 ? read_line(fd, out, q, err) : ask(out, q, q->prompt, err);
}

int kp_secret_new(char **out, int fd, const struct kp_secret_question *q, size_t least,
                  struct kp_err *err)
{
    char *first = NULL, *second = NULL;
    int result = kp_secret_read(&first, fd, q, err);
    if (result == 0 && strlen(first) < least)
        result = kp_fail(err, KP_USAGE, "%s is shorter than %zu bytes", q->what, least);
    if (result == 0 && fd < 0) {
        kp_auto_free char *again = kp_asprintf("once more, %s", q->prompt);
        result = ask(&second, q, again, err);
        if (result == 0 && strcmp(first, second) != 0)
            result = kp_fail(err, KP_USAGE, "the two are not alike");
    }
    kp_secret_free(second);
    if (result == 0)
        *out = kp_steal(&first);
    kp_secret_free(first);
    return result;
}

void kp_secret_free(char *secret)
{
    if (secret)
        kp_free_secret(secret, strlen(secret));
}

int kp_secret_fd(const char *text, const char *option, int *fd, struct kp_err *err)
{
    uint64_t number;
    *fd = -1;
    if (!text)
        return 0;
    if (!kp_parse_u64(kp_slice_of(text), FD_MAX, &number) || fcntl((int)number, F_GETFD) < 0)
        return kp_fail(err, KP_USAGE, "%s %s: not the number of an open descriptor", option, text);
    *fd = (int)number;
    return 0;
}
