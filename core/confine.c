/* SPDX-License-Identifier: Apache-2.0 */
#include "core/confine.h"

#include "core/mem.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "kp_confine: which seccomp architecture is this?"
#endif
#define OTHER_ABI 0x40000000U // the x32 numbers of x86-64
#define FIELD(member) ((unsigned)offsetof(struct seccomp_data, member))
#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(member))
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, value)

static bool limit(__rlimit_resource_t what, rlim_t most)
{
    const struct rlimit both = {most, most};
    return setrlimit(what, &both) == 0;
}

bool kp_confine(void)
{
    struct sock_filter rules[] = {
        LOAD(arch),
        IS(ARCH, 1, 0),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, OTHER_ABI, 2, 0),
        IS(SYS_socket, 1, 0),
        IS(SYS_io_uring_setup, 0, 1),
        ANSWER(SECCOMP_RET_ERRNO | EACCES),
        ANSWER(SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {KP_COUNT(rules), rules};
    return limit(RLIMIT_CORE, 0) && limit(RLIMIT_CPU, KP_CONFINED_CPU_S) &&
           limit(RLIMIT_FSIZE, KP_CONFINED_FILE_MAX) &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
