/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing a run: inventory, trust, bundle (verified whole before any connection),
 * state folder and journal, connections to all nodes. What every command of kinstall begins with.
 */
#pragma once

#include "core/cli.h"
#include "install/audit/policy.h"
#include "install/step.h"

/* The options that all commands share; first member of each command's own struct. */
struct kp_site_options {
    const char *bundle, *inventory;
    struct kp_text_list keys;        /* --key FILE */
    struct kp_text_list bases;       /* --base FILE */
    uint64_t password_fd;            /* --sudo-password-fd, plus 1; 0: a prompt where needed */
    uint64_t registry_fd;            /* --registry-password-fd; 0: a prompt where needed */
    struct kp_policy_options policy; /* of the commands that apply a bundle */
    bool json, quiet;
};
#define KP_SITE_OPTIONS(type)                                                                      \
    {"bundle",                                                                                     \
     'b',                                                                                          \
     KP_OPT_TEXT,                                                                                  \
     offsetof(struct type, site.bundle),                                                           \
     "FILE",                                                                                       \
     "the bundle (.tar.zst)",                                                                      \
     0},                                                                                           \
        {"base",                                                                                   \
         0,                                                                                        \
         KP_OPT_LIST,                                                                              \
         offsetof(struct type, site.bases),                                                        \
         "FILE",                                                                                   \
         "a bundle that the delta stands on, where no mirror of the site has it yet",              \
         0},                                                                                       \
        {"inventory",                                                                              \
         'i',                                                                                      \
         KP_OPT_TEXT,                                                                              \
         offsetof(struct type, site.inventory),                                                    \
         "FILE",                                                                                   \
         "hosts.yaml (docs/inventory.md)",                                                         \
         0},                                                                                       \
        {"key",                                                                                    \
         0,                                                                                        \
         KP_OPT_LIST,                                                                              \
         offsetof(struct type, site.keys),                                                         \
         "FILE",                                                                                   \
         "trust this public key (PEM) for this run",                                               \
         0},                                                                                       \
        {"sudo-password-fd",                                                                       \
         0,                                                                                        \
         KP_OPT_NUMBER,                                                                            \
         offsetof(struct type, site.password_fd),                                                  \
         "FD",                                                                                     \
         "read the sudo password from this descriptor (3 or more)",                                \
         1024},                                                                                    \
        {"registry-password-fd",                                                                   \
         0,                                                                                        \
         KP_OPT_NUMBER,                                                                            \
         offsetof(struct type, site.registry_fd),                                                  \
         "FD",                                                                                     \
         "read the passwords of registries from this descriptor, one a line",                      \
         1024},                                                                                    \
        {"json",                                                                                   \
         0,                                                                                        \
         KP_OPT_FLAG,                                                                              \
         offsetof(struct type, site.json),                                                         \
         NULL,                                                                                     \
         "one JSON document on standard output",                                                   \
         0},                                                                                       \
    {                                                                                              \
        "quiet", 'q', KP_OPT_FLAG, offsetof(struct type, site.quiet), NULL, "errors only", 0       \
    }

enum {
    KP_SITE_NO_BUNDLE = 1, /* the command needs none: --bundle may still be given */
    /* Without --bundle the front of the one that was applied last, out of the state folder, tells
     * what is on the nodes (with KP_SITE_NO_BUNDLE: status, reset). */
    KP_SITE_KEPT_FRONT = 16,
    KP_SITE_READ_ONLY = 2, /* check, plan: no journal lines, no lock of the state folder */
    KP_SITE_DRY_RUN = 4,
    KP_SITE_APPLY = 8, /* apply, check, plan: serial, expiry and revocations decide too */
};
struct kp_open_site; /* owns everything that a kp_site borrows */
/* Loads, verifies (with progress; a line on the screen), takes the state folder's lock. No
 * connection. err is the command's own and outlives *out: what it says when that is freed is the
 * end of a run that nobody has ended, in the audit log. */
KP_CHECK int kp_site_open(struct kp_open_site **out, const struct kp_site_options *options,
                          int flags, struct kp_err *err);
void kp_open_site_free(struct kp_open_site *open); /* closes the sessions, releases the locks */
KP_DEFINE_AUTO(kp_open_site);
struct kp_site *kp_site_of(struct kp_open_site *open);
double kp_site_verify_seconds(const struct kp_open_site *open);
/* Why trust was refused where --insecure-no-verify lifted that; "" else. Borrowed. */
const char *kp_site_insecure(const struct kp_open_site *open);
/* Who signed, for the first line of a report: "site-2026 (1 of 1 needed)"; borrowed. */
const char *kp_site_signers(const struct kp_open_site *open);

/* Connects to all nodes side by side and asks each for its facts and record; nodes that cannot be
 * reached are marked failed with their reason, the call itself succeeds. Asks for the sudo password
 * first where any node needs one. */
KP_CHECK int kp_site_connect(struct kp_open_site *open, struct kp_err *err);
/* The first node of the site is the hand by which the cluster is asked and told: a control plane
 * that is connected and in the cluster (install/hand.h), in the inventory's order; connecting
 * chooses it. Where there is none (yet) it stays the inventory's first. except (may be NULL): any
 * but this one.
 */
void kp_site_choose_first(struct kp_open_site *open, const char *except);
/* It answered by SSH and has no knode: nothing was begun there, or a reset came to its end. */
bool kp_site_is_bare(const struct kp_site_node *node);
/* Takes the lock of every node that is connected. */
KP_CHECK int kp_site_lock_nodes(struct kp_open_site *open, struct kp_err *err);
/* The front of the bundle that was applied last, by the state folder; *out NULL where none was.
 * kp_bundle_free. Trust is asked as for the bundle. */
KP_CHECK int kp_site_bundle_before(struct kp_open_site *open, struct kp_bundle **out,
                                   struct kp_err *err);
/* From here on nodes are changed: the bundle's serial is remembered, and its front, by which status
 * and reset know what is on the nodes. */
KP_CHECK int kp_site_accept(struct kp_open_site *open, struct kp_err *err);
