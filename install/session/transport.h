/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One command run on a node over SSH, as three descriptors. Two transports: the system's ssh as a
 * process, and libssh2 with a thread that pumps between its channel and pipes; above, nobody can
 * tell them apart. Host keys are always checked. Internal to kp_session.
 */
#pragma once

#include "core/buf.h"
#include "install/session/session.h"

#define KP_REMOTE_COMMAND_MAX 4096
#define KP_HOST_KEY_MAX 8192

struct kp_transport;
struct kp_transport_ops {
    const char *name; /* "openssh", "libssh2" */
    /* Begins to run command. May return before the connection stands: then its failure shows as the
     * end of `out`, and explain tells why. Called from the thread that outlives the transport. */
    int (*open)(struct kp_transport *t, const struct kp_ssh_target *target, const char *command,
                struct kp_err *err);
    /* After the end of out: puts into err why, from what was said on stderr so far. Returns -1. */
    int (*explain)(struct kp_transport *t, const struct kp_ssh_target *target, struct kp_slice said,
                   struct kp_err *err);
    /* Cuts the connection, so that reads and writes on the descriptors end. Any thread. */
    void (*abort)(struct kp_transport *t);
    void (*close)(struct kp_transport *t); /* frees all; never blocks for long */
};
struct kp_transport {
    const struct kp_transport_ops *ops;
    int in, out, err; /* to and from the remote command; -1 when closed */
    void *state;
};

extern const struct kp_transport_ops kp_transport_openssh, kp_transport_libssh2;
/* What the target asks for; auto is libssh2 from 1.11.1 on where neither jump host nor config file
 * is named. */
KP_CHECK int kp_transport_choose(const struct kp_ssh_target *target,
                                 const struct kp_transport_ops **out, struct kp_err *err);
/* User, address, jump host and key type hold nothing that ssh or a shell could take for more than a
 * name. */
KP_CHECK int kp_target_check(const struct kp_ssh_target *target, struct kp_err *err);
/* "SHA256:…" of an OpenSSH public key line or of its base64 part; false where it is no key. */
bool kp_key_fingerprint(const char *host_key, char *out, size_t size);
/* The file that host keys are looked up in: the target's own, or ~/.ssh/known_hosts; kp_free. */
char *kp_known_hosts_path(const struct kp_ssh_target *target);
/* "address" or "[address]:port", as known_hosts writes it; kp_free. */
char *kp_known_hosts_name(const struct kp_ssh_target *target);
/* The error for a host key that is not known: asks the node for its keys where it can, and says
 * their fingerprints and how to accept one. Returns -1. offered: "ssh-ed25519 AAAA…", or NULL. */
int kp_unknown_host_key(const struct kp_ssh_target *target, const char *offered,
                        struct kp_err *err);
/* For a key that differs from the one that is known. Returns -1. */
int kp_changed_host_key(const struct kp_ssh_target *target, const char *offered,
                        struct kp_err *err);
