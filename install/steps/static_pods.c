/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/static_pods.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "install/steps/common.h"

#include <assert.h>
#include <time.h>

#define STARTED_S 120.0
#define LINGERS "kube-apiserver"
#define LINGER_S 5.0
#define PODS_MAX 4
#define PAUSE_NS 500000000L

int kp_static_pod_find(struct kp_site *site, struct kp_site_node *node, const char *name, char **id,
                       struct kp_err *err)
{
    static const char script[] =
        "for p in /proc/[0-9]*; do a=$(tr '\\0' ' ' 2>/dev/null <$p/cmdline) || continue;"
        " case ${a%% *} in \"$1\"|*/\"$1\") case $a in */etc/kubernetes/*)"
        " echo \"${p#/proc/}\"; exit 0;; esac;; esac; done; exit 0";
    const char *argv[] = {"/bin/sh", "-c", script, "sh", name, NULL};
    kp_auto_free char *said = NULL;
    if (kp_ask(site, node, argv, 60, NULL, &said, err) < 0)
        return kp_wrap(err, "%s", name);
    struct kp_slice text = kp_slice_trim(kp_slice_of(said));
    *id = kp_asprintf("%.*s", (int)text.len, text.len ? text.ptr : "");
    return 0;
}

static int end_process(struct kp_site *site, struct kp_site_node *node, const char *how,
                       const char *id, struct kp_err *err)
{
    const char *argv[] = {"kill", how, id, NULL};
    int status; // it may have ended by itself
    return kp_ask(site, node, argv, 30, &status, NULL, err);
}

int kp_static_pod_await(struct kp_site *site, struct kp_site_node *node, const char *name,
                        const char *before, double calm, struct kp_err *err)
{
    double begun = kp_now(), until = begun + STARTED_S, since = 0;
    bool lingers = strcmp(name, LINGERS) == 0;
    kp_auto_free char *seen = kp_strdup("");
    while (kp_now() < until) {
        char *now = NULL;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        if (kp_interrupt_check(err) < 0 || kp_static_pod_find(site, node, name, &now, err) < 0)
            return -1;
        bool other = now[0] && strcmp(now, before) != 0;
        bool overdue = lingers && now[0] && !other && kp_now() - begun > LINGER_S;
        if (!other || strcmp(now, seen) != 0)
            since = kp_now();
        kp_free(seen);
        seen = now;
        if (other && kp_now() - since >= calm)
            return 0;
        if (overdue && end_process(site, node, "-KILL", now, err) < 0)
            return kp_wrap(err, "stop %s", name);
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "not_started", "the kubelet did not start %s again in %.0f s", name,
               STARTED_S);
    return kp_hint(err, "on %s: crictl ps -a; journalctl -u kubelet", node->node->name);
}

/* The process began behind the file: by the clock of the node, whose boot is known to the second.
 */
static int has_read(struct kp_site *site, struct kp_site_node *node, const char *id,
                    const char *file, bool *out, struct kp_err *err)
{
    static const char script[] =
        "b=$(sed -n 's/^btime //p' /proc/stat); s=$(sed 's/.*) //' \"/proc/$1/stat\" | cut -d' '"
        " -f20); [ $((b + s / $(getconf CLK_TCK))) -gt $(($(stat -c %Y \"$2\") + 1)) ]";
    const char *argv[] = {"/bin/sh", "-c", script, "sh", id, file, NULL};
    int status;
    if (kp_ask(site, node, argv, 30, &status, NULL, err) < 0)
        return -1;
    *out = status == 0;
    return 0;
}

/* *due: it has ended, or is about to, and another one has to come. */
static int begin_restart(struct kp_site *site, struct kp_site_node *node,
                         const struct kp_static_pod *pod, char **before, bool *due,
                         struct kp_err *err)
{
    bool read = false;
    if (kp_static_pod_find(site, node, pod->name, before, err) < 0 ||
        (**before && has_read(site, node, *before, pod->reads, &read, err) < 0))
        return -1;
    *due = !read;
    if (read || !**before)
        return 0;
    kp_step_note(site, node, "restarting %s", pod->name);
    return end_process(site, node, "-TERM", *before, err);
}

int kp_static_pods_restart(struct kp_site *site, struct kp_site_node *node,
                           const struct kp_static_pod *pods, size_t count, struct kp_err *err)
{
    char *before[PODS_MAX] = {0};
    bool due[PODS_MAX] = {0};
    int result = 0;
    assert(count <= PODS_MAX);
    for (size_t i = 0; i < count && result == 0; i++)
        result = begin_restart(site, node, &pods[i], &before[i], &due[i], err);
    for (size_t i = 0; i < count && result == 0; i++)
        if (due[i])
            result = kp_static_pod_await(site, node, pods[i].name, before[i], 0, err);
    for (size_t i = 0; i < count; i++)
        kp_free(before[i]);
    return result;
}

int kp_static_pod_anew(struct kp_site *site, struct kp_site_node *node, const char *name,
                       const char *word, struct kp_err *err)
{
    // A name that begins with a dot is none to the kubelet.
    static const char script[] =
        "set -eu; cd \"$1\"; f=$2.yaml n=.kpack-$2; cp -a \"$f\" \"$n\";"
        " sed -e '/^    kpack.internal\\/anew:/d' "
        "-e \"s|^  annotations:\\$|&\\n    kpack.internal/anew: \\\"$3\\\"|\" \"$f\" >\"$n\";"
        " grep -qF \"$3\" \"$n\"; mv -f \"$n\" \"$f\"; sync";
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    // A run that was killed behind the word comes here again with the same one.
    kp_auto_free char *fresh = kp_asprintf("%s-%llx.%lx", word, (unsigned long long)now.tv_sec,
                                           (unsigned long)now.tv_nsec);
    const char *argv[] = {"/bin/sh", "-c", script, "sh", KP_STATIC_PODS_FOLDER, name, fresh, NULL};
    kp_auto_free char *before = NULL;
    kp_step_note(site, node, "%s starts anew", name);
    if (kp_static_pod_find(site, node, name, &before, err) < 0)
        return -1;
    if (kp_ask(site, node, argv, 60, NULL, NULL, err) < 0)
        return kp_wrap(err, "mark %s to be made anew", name);
    return kp_static_pod_await(site, node, name, before, 0, err);
}
