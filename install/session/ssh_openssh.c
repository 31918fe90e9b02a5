/* SPDX-License-Identifier: Apache-2.0 */
/* The system's ssh as a process (DESIGN §6). */
#include "install/session/transport.h"

#include "core/file.h"
#include "core/proc.h"
#include "core/text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARGS_MAX 64

struct openssh {
    struct kp_proc proc;
    char folder[64]; /* of the temporary known_hosts file; "" where none */
    char *known_hosts;
};

struct args {
    const char *items[ARGS_MAX];
    char *owned[ARGS_MAX];
    size_t count, owned_count;
};

static void args_release(struct args *args)
{
    for (size_t i = 0; i < args->owned_count; i++)
        kp_free(args->owned[i]);
}
KP_DEFINE_AUTO_VALUE(args);

static void add(struct args *args, const char *item)
{
    if (args->count < ARGS_MAX - 1)
        args->items[args->count++] = item;
}

static void add_option(struct args *args, char *option)
{
    args->owned[args->owned_count++] = option;
    add(args, "-o");
    add(args, option);
}

// A file of one line: the inventory's key is the only one that counts.
static int write_known_host(struct openssh *state, const struct kp_ssh_target *target,
                            struct kp_err *err)
{
    snprintf(state->folder, sizeof(state->folder), "/tmp/kpack-ssh-XXXXXX");
    if (!mkdtemp(state->folder)) {
        state->folder[0] = '\0';
        return kp_fail_sys(err, errno, "make a folder in /tmp");
    }
    kp_auto_free char *name = kp_known_hosts_name(target);
    kp_auto_free char *line = kp_asprintf("%s %s\n", name, target->host_key);
    state->known_hosts = kp_path_join(state->folder, "known_hosts");
    return kp_file_write_atomic(state->known_hosts, kp_slice_of(line), 0600, err);
}

/* The jump host is checked as strictly as the node: -J would begin an ssh that asks on the
 * terminal. */
static char *proxy_command(const struct kp_ssh_target *target)
{
    kp_auto_free char *key = target->key ? kp_path_expand(target->key) : NULL;
    kp_auto_free char *known = kp_known_hosts_path(target);
    const char *colon = strrchr(target->jump, ':'), *bracket = strrchr(target->jump, ']');
    bool port = colon && (bracket ? colon > bracket : strchr(target->jump, ':') == colon);
    kp_auto_free char *host =
        kp_strndup(target->jump, port ? (size_t)(colon - target->jump) : strlen(target->jump));
    return kp_asprintf(
        "ProxyCommand=ssh -F none -T -o BatchMode=yes -o StrictHostKeyChecking=yes -o "
        "GlobalKnownHostsFile=none -o ControlPath=none -o ForwardAgent=no -o "
        "UserKnownHostsFile='\"%s\"' "
        "%s%s%s -p %s -W [%%h]:%%p -- %s",
        known, key ? "-o IdentitiesOnly=yes -i '" : "", key ? key : "", key ? "'" : "",
        port ? colon + 1 : "22", host);
}

static void add_options(struct args *args, const struct openssh *state,
                        const struct kp_ssh_target *target)
{
    static const char *const fixed[] = {
        "BatchMode=yes",         "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=none",
        "ControlPath=none",      "ForwardAgent=no",           "ServerAliveInterval=15",
        "ServerAliveCountMax=3", "UpdateHostKeys=no",         "LogLevel=ERROR"};
    add(args, "ssh");
    add(args, "-F");
    add(args, target->config ? target->config : "none");
    add(args, "-T");
    for (size_t i = 0; i < KP_COUNT(fixed); i++)
        add_option(args, kp_strdup(fixed[i]));
    add_option(args, kp_asprintf("UserKnownHostsFile=\"%s\"", state->known_hosts));
    add_option(args, kp_asprintf("ConnectTimeout=%u",
                                 target->connect_timeout ? target->connect_timeout : 15));
    if (target->key) {
        kp_auto_free char *key = kp_path_expand(target->key);
        add_option(args, kp_strdup("IdentitiesOnly=yes"));
        add_option(args, kp_asprintf("IdentityFile=\"%s\"", key));
    }
    if (target->jump)
        add_option(args, proxy_command(target));
    // Without it ssh would take the key type it likes best, whatever the inventory has.
    if (target->host_key)
        add_option(args, kp_asprintf("HostKeyAlgorithms=%s%.*s",
                                     kp_starts_with(target->host_key, "ssh-rsa ")
                                         ? "rsa-sha2-512,rsa-sha2-256,"
                                         : "",
                                     (int)strcspn(target->host_key, " "), target->host_key));
}

static void openssh_close(struct kp_transport *t)
{
    struct openssh *state = t->state;
    if (!state)
        return;
    state->proc.in = t->in;
    state->proc.out = t->out;
    state->proc.err = t->err;
    kp_proc_kill(&state->proc);
    t->in = t->out = t->err = -1;
    if (state->known_hosts && state->folder[0]) {
        (void)unlink(state->known_hosts);
        (void)rmdir(state->folder);
    }
    kp_free(state->known_hosts);
    kp_free(state);
    t->state = NULL;
}

static bool has_quote(const char *path)
{
    return path && (strchr(path, '"') || strchr(path, '\'') || strchr(path, '\n') ||
                    strchr(path, '%') || strstr(path, "${"));
}

static int openssh_open(struct kp_transport *t, const struct kp_ssh_target *target,
                        const char *command, struct kp_err *err)
{
    struct openssh *state = kp_alloc(sizeof(*state));
    char port[16];
    t->state = state;
    t->in = t->out = t->err = -1;
    state->proc = (struct kp_proc){-1, -1, -1, -1};
    if (has_quote(target->key) || has_quote(target->known_hosts))
        return kp_fail(err, KP_USAGE, "node %s: file names of keys may not have quotes or %% signs",
                       target->node);
    if (!target->host_key)
        state->known_hosts = kp_known_hosts_path(target);
    else if (write_known_host(state, target, err) < 0)
        return -1;
    kp_auto_value(args) args = {.count = 0};
    add_options(&args, state, target);
    snprintf(port, sizeof(port), "%u", target->port);
    const char *rest[] = {"-p", port, "-l", target->user, "--", target->address, command};
    for (size_t i = 0; i < KP_COUNT(rest); i++)
        add(&args, rest[i]);
    if (kp_proc_start(&state->proc, args.items, NULL,
                      KP_PROC_IN | KP_PROC_OUT | KP_PROC_ERR | KP_PROC_GROUP, err) < 0)
        return kp_hint(err,
                       "the openssh transport needs the system's ssh (package openssh-client)");
    t->in = state->proc.in;
    t->out = state->proc.out;
    t->err = state->proc.err;
    return 0;
}

static int openssh_explain(struct kp_transport *t, const struct kp_ssh_target *target,
                           struct kp_slice said, struct kp_err *err)
{
    (void)t;
    kp_auto_free char *text = kp_strndup(said.ptr, said.len);
    if (strstr(text, "REMOTE HOST IDENTIFICATION HAS CHANGED") ||
        (target->host_key && strstr(text, "Host key verification failed")))
        return kp_changed_host_key(target, NULL, err);
    if (strstr(text, "Host key verification failed") || strstr(text, "host key is known for"))
        return kp_unknown_host_key(target, NULL, err);
    if (strstr(text, "Permission denied (")) {
        kp_fail_as(err, KP_FAILED, "permission_denied", "node %s: %s@%s: no key was accepted",
                   target->node, target->user, target->address);
        return kp_hint(err,
                       "name the key in the inventory (ssh: key) or load it into the agent; the "
                       "node must have it in "
                       "~%s/.ssh/authorized_keys",
                       target->user);
    }
    static const char *const unreachable[] = {"Connection refused", "timed out", "No route to host",
                                              "Could not resolve", "Network is unreachable"};
    struct kp_slice rest = kp_slice_trim(said), line = {"", 0}, last = {"", 0};
    while (kp_slice_line(&rest, &line))
        last = kp_slice_trim(line).len ? kp_slice_trim(line) : last;
    for (size_t i = 0; i < KP_COUNT(unreachable); i++)
        if (strstr(text, unreachable[i])) {
            kp_fail_as(err, KP_FAILED, "unreachable", "node %s: no SSH connection: %.*s",
                       target->node, (int)last.len, last.ptr);
            return kp_hint(err,
                           "is the node up, is its address right, does sshd listen on port %u?",
                           target->port);
        }
    return kp_fail_as(err, KP_FAILED, "ssh_failed", "node %s: ssh ended%s%.*s", target->node,
                      last.len ? ": " : "", (int)last.len, last.ptr);
}

static void openssh_abort(struct kp_transport *t)
{
    struct openssh *state = t->state;
    if (state && state->proc.pid > 0)
        kill(state->proc.pid, SIGKILL);
}

const struct kp_transport_ops kp_transport_openssh = {"openssh", openssh_open, openssh_explain,
                                                      openssh_abort, openssh_close};
