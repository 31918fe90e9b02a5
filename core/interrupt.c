/* SPDX-License-Identifier: Apache-2.0 */
#include "core/interrupt.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

// A signal handler can reach nothing but objects of static storage.
static volatile sig_atomic_t caught;
static int wake[2] = {-1, -1};

static void on_signal(int number)
{
    if (caught && number == SIGINT)
        _exit(128 + SIGINT);
    caught = 1;
    if (wake[1] >= 0) {
        ssize_t ignored = write(wake[1], "", 1);
        (void)ignored;
    }
}

void kp_interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    if (wake[0] < 0 && pipe2(wake, O_CLOEXEC | O_NONBLOCK) < 0)
        wake[0] = wake[1] = -1;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

bool kp_interrupted(void)
{
    return caught;
}

int kp_interrupt_fd(void)
{
    return wake[0];
}

int kp_interrupt_check(struct kp_err *err)
{
    return caught ? kp_fail_as(err, KP_FAILED, "interrupted", "interrupted") : 0;
}
