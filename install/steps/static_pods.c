/* SPDX-License-Identifier: Apache-2.0 */
#include "install/steps/static_pods.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "install/steps/common.h"

#include <time.h>

#define STARTED_S 120.0
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

int kp_static_pod_await(struct kp_site *site, struct kp_site_node *node, const char *name,
                        const char *before, double calm, struct kp_err *err)
{
    double until = kp_now() + STARTED_S, since = 0;
    kp_auto_free char *seen = kp_strdup("");
    while (kp_now() < until) {
        char *now = NULL;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        if (kp_interrupt_check(err) < 0 || kp_static_pod_find(site, node, name, &now, err) < 0)
            return -1;
        bool other = now[0] && strcmp(now, before) != 0;
        if (!other || strcmp(now, seen) != 0)
            since = kp_now();
        kp_free(seen);
        seen = now;
        if (other && kp_now() - since >= calm)
            return 0;
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "not_started", "the kubelet did not start %s again in %.0f s", name,
               STARTED_S);
    return kp_hint(err, "on %s: crictl ps -a; journalctl -u kubelet", node->node->name);
}

int kp_static_pod_restart(struct kp_site *site, struct kp_site_node *node, const char *name,
                          struct kp_err *err)
{
    kp_auto_free char *before = NULL;
    int status; // it may have ended by itself
    kp_step_note(site, node, "restarting %s", name);
    if (kp_static_pod_find(site, node, name, &before, err) < 0)
        return -1;
    const char *stop[] = {"kill", "-TERM", before, NULL};
    if (before[0] && kp_ask(site, node, stop, 30, &status, NULL, err) < 0)
        return kp_wrap(err, "stop %s", name);
    return kp_static_pod_await(site, node, name, before, 0, err);
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
