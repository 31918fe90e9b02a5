/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What something costs, for tests on machines that others use too: wall seconds, CPU seconds (user
 * and system) and peak resident KiB, in one line.
 *   cost run COMMAND…        of that command, whose output goes to /dev/null
 *   cost hash THREADS MIB    of SHA-256 by OpenSSL's one call over a buffer of 1 MiB, MIB times in
 *                            all: what `openssl speed` measures, with all cores at once
 */
#include "core/pool.h"
#include "core/slice.h"
#include "core/text.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void print_cost(double began, const struct rusage *used)
{
    printf("%.3f %.3f %ld\n", kp_now() - began, seconds(used->ru_utime) + seconds(used->ru_stime),
           used->ru_maxrss);
}

static int hash_part(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    unsigned char digest[32];
    kp_auto_free unsigned char *buffer = kp_alloc(MIB);
    const uint64_t *each = user;
    (void)worker;
    (void)err;
    memset(buffer, (int)item, MIB);
    EVP_MD *method = EVP_MD_fetch(NULL, "SHA256", NULL);
    for (uint64_t i = 0; i < *each; i++)
        if (EVP_Digest(buffer, MIB, digest, NULL, method, NULL) != 1)
            return -1;
    EVP_MD_free(method);
    return 0;
}

static int hash(const char *threads, const char *mib)
{
    struct kp_err err = KP_ERR_INIT;
    struct rusage used;
    uint64_t n, total;
    if (!kp_parse_u64(kp_slice_of(threads), 256, &n) || !n ||
        !kp_parse_u64(kp_slice_of(mib), UINT32_MAX, &total))
        return 2;
    uint64_t each = total / n;
    double began = kp_now();
    if (kp_parallel((unsigned)n, n, hash_part, &each, &err) < 0 ||
        getrusage(RUSAGE_SELF, &used) < 0)
        return 1;
    print_cost(began, &used);
    return 0;
}

static int run(char **argv)
{
    struct rusage used;
    int status;
    double began = kp_now();
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0)
            execvp(argv[0], argv);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &used) != pid)
        return 1;
    print_cost(began, &used);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "run") == 0)
        return run(argv + 2);
    if (argc == 4 && strcmp(argv[1], "hash") == 0)
        return hash(argv[2], argv[3]);
    fprintf(stderr, "cost run COMMAND… | cost hash THREADS MIB\n");
    return 2;
}
