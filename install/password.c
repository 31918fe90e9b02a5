/* SPDX-License-Identifier: Apache-2.0 */
#include "install/password.h"

#include "core/buf.h"
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#define PASSWORD_MAX 1024

/* Byte by byte: what stands behind the line belongs to whoever reads the descriptor next. */
static int read_line(int fd, char **out, struct kp_err *err)
{
    kp_auto_value(kp_buf) buf = KP_BUF_SECRET(PASSWORD_MAX);
    for (;;) {
        char c;
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kp_fail_sys(err, errno, "read the password");
        if (n == 0 || c == '\n')
            break;
        if (!kp_buf_add(&buf, &c, 1))
            return kp_fail(err, KP_USAGE, "password longer than %d bytes", PASSWORD_MAX);
    }
    if (!buf.len)
        return kp_fail(err, KP_USAGE, "the password is empty");
    *out = kp_buf_steal(&buf);
    return 0;
}

int kp_password_read(char **out, int fd, const char *prompt, struct kp_err *err)
{
    if (fd >= 0)
        return read_line(fd, out, err);
    kp_auto_fd int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios before;
    if (tty < 0 || tcgetattr(tty, &before) < 0) {
        kp_fail(err, KP_USAGE, "a password is needed and there is no terminal to ask on");
        return kp_hint(err, "give it by --sudo-password-fd FD");
    }
    struct termios silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    if (kp_write_full(tty, prompt, strlen(prompt), err) < 0)
        return -1;
    tcsetattr(tty, TCSAFLUSH, &silent);
    int result = read_line(tty, out, err);
    tcsetattr(tty, TCSAFLUSH, &before);
    struct kp_err ignored = KP_ERR_INIT;
    if (kp_write_full(tty, "\n", 1, &ignored) < 0)
        return result;
    return result;
}
