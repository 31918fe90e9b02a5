/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run is a list of steps. Each asks the node whether it is so already (check), and makes it so
 * (apply). Nodes of one step run in parallel, bounded; a node that fails stops its own line and the
 * steps that need it. The journal is history; the node decides.
 */
#pragma once

#include "core/screen.h"
#include "install/inventory/inventory.h"
#include "install/previous.h"
#include "install/session/session.h"

#include <pthread.h>
#include <time.h>

struct kp_journal;
struct kp_audit_log;

struct kp_site_node {
    const struct kp_node *node;
    struct kp_session *session; /* NULL until connected */
    json_t *facts;
    const char *arch;
    bool removed; /* the cluster knows it no more, its own record does (install/hand.h) */
    bool failed;  /* its line has stopped; failure says why */
    struct kp_err failure;
    char *failed_step;
    json_t *record;       /* the node's own record, as read at the start of the run */
    size_t changes;       /* that this run made, or would make in a dry run */
    time_t kubelet_since; /* by the node's clock: this run restarted its kubelet; 0: it did not */
};
struct kp_site_base { /* a base of the delta that is applied (install/audit/holdings.h) */
    const struct kp_bundle *file;      /* given by --base, or NULL */
    const struct kp_site_node *holder; /* a mirror that has it, or NULL */
    uint64_t size;                     /* of its file */
};
struct kp_site { /* one run: everything that steps stand on; borrowed by them */
    const struct kp_inventory *inventory;
    const struct kp_bundle *bundle;
    const struct kp_manifest *manifest;
    struct kp_site_base bases[KP_BASES_MAX]; /* as the manifest's */
    const struct kp_trust *trust;
    const json_t *terms;      /* beside it, for the nodes (install/audit/policy.h) */
    const char *state_folder; /* 0700 */
    struct kp_screen *screen;
    struct kp_journal *journal;
    struct kp_audit_log *audit; /* NULL where nothing is changed */
    struct kp_site_node *nodes; /* same order as the inventory's */
    size_t node_count;
    bool dry_run; /* plan: nothing is changed, changes are counted and shown */
    char run_id[33];
    const char **mirror_urls; /* "https://10.77.0.11:5000", NULL-terminated */
    char *mirror_ca;          /* PEM of the site's CA */
    uint64_t accepted;        /* when this bundle was, for its mirrors (steps/mirror.c) */
    double kubeadm_seconds;   /* while at least one of kubeadm's own commands ran, for the report */
    bool made_now;            /* this run made the cluster (steps/init.c) */
    bool probe_started;       /* the probe's pods are on their way (steps/network.c) */
    bool proven_now;          /* the whole verification ran in this run (steps/prove.c) */
    char policy[64];          /* what it says of NetworkPolicy; "": nothing yet */
    double kubeadm_since;
    unsigned kubeadm_running;
    struct { /* kinstall upgrade (steps/upgrade.h) */
        char from[32];
        double gate_seconds;
        uint64_t drain_seconds;
        bool force_drain;
    } upgrade;
    struct {            /* kinstall certs renew (steps/renew.h) */
        char id[40];    /* of this renewal, through all runs that it takes; "": none */
        time_t started; /* what is younger was made by it */
        long days;      /* only what ends within so many days; 0: all */
    } renew;
    struct {          /* kinstall encryption rotate (steps/encryption.h) */
        char id[40];  /* of this rotation, through all runs that it takes */
        char key[32]; /* the new key's name */
    } encryption;
    unsigned batch;              /* nodes at once in a halting step; 0: one */
    struct kp_previous previous; /* what the mirrors serve beside the bundle, to go back to */
    bool hooks;                  /* this run has them: apply, plan, upgrade */
    const struct kp_hook *hook;  /* that runs now (install/hooks.h), or NULL */
    bool stopped;                /* one of them failed: nothing that comes after it is begun */
    struct kp_row *row;          /* of the running phase; NULL between phases */
    struct {                     /* while nodes join; secrets, wiped afterwards (steps/join.c) */
        char token[24], ca_hash[65];
    } join;
    pthread_mutex_t lock; /* guards row, kubeadm_seconds and whatever steps share */
};

enum kp_step_nodes {
    KP_STEP_ADMIN,
    KP_STEP_FIRST,
    KP_STEP_CONTROL_PLANES,
    KP_STEP_OTHER_CONTROL_PLANES,
    KP_STEP_WORKERS,
    KP_STEP_JOINING /* all but the first */,
    KP_STEP_MIRRORS,
    KP_STEP_ALL /* of the cluster: not those that only carry etcd */,
    KP_STEP_ETCD /* external etcd's */,
    KP_STEP_EVERY
};
struct kp_step {
    const char *name;  /* "containerd-config"; names the unit kpack-<name> and the record */
    const char *phase; /* "runtime"; the screen shows one row per phase */
    enum kp_step_nodes nodes;
    bool serial; /* one node after the other */
    /* Is it so already? Asked of the node; *done. NULL: apply decides by itself what changes. node
     * NULL for ADMIN. */
    int (*check)(struct kp_site *site, struct kp_site_node *node, bool *done, struct kp_err *err);
    /* Makes it so. In a dry run it must only find out and report changes by kp_step_changed. */
    int (*apply)(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
    bool recorded; /* begun and finished are written to the node's record (init, join) */
    int (*describe)(const struct kp_site *site, char *out,
                    size_t size); /* text beside the phase; may be NULL */
    bool whole;                   /* only where no node has failed (prove) */
    /* upgrade: site->batch nodes at once, none begins once a node has failed, and no later step
     * or phase either */
    bool halting;
};
/* How many nodes' lines have stopped. */
size_t kp_site_failed(const struct kp_site *site);
/* For where something was found on no node of these roles: -1 and the reason where one of them, not
 * `except` (may be NULL), could not be asked at all: it was never reached, or its connection was
 * lost meanwhile. */
KP_CHECK int kp_site_all_asked(const struct kp_site *site, unsigned roles,
                               const struct kp_site_node *except, struct kp_err *err);
/* Counts and shows a change (plan), or notes it in the journal and the node's log (apply). what:
 * "write /etc/…". */
void kp_step_changed(struct kp_site *site, struct kp_site_node *node, const char *what,
                     const struct kp_change *change);
/* Text beside the running phase on the screen ("cp1: kubeadm init · waiting for the API server").
 */
void kp_step_note(struct kp_site *site, const struct kp_site_node *node, const char *fmt, ...)
    KP_PRINTF(3, 4);
/* Runs the command through the session, its output goes to state/log/<node>.log; a status other
 * than 0 is an error with the last lines of output. Measured into kubeadm_seconds where argv[0] is
 * kubeadm. */
KP_CHECK int kp_step_run(struct kp_site *site, struct kp_site_node *node, const struct kp_run *run,
                         struct kp_run_result *out, struct kp_err *err);

/* Phases in their order (DESIGN §6); each file of steps/ exports its list, ended by .name = NULL.
 */
extern const struct kp_step kp_steps_mirror[], kp_steps_prepare[], kp_steps_runtime[],
    kp_steps_tools[], kp_steps_etcd[], kp_steps_init[], kp_steps_join[], kp_steps_network[],
    kp_steps_addons[], kp_steps_secure[], kp_steps_custom[], kp_steps_prove[];
/* Runs the phases; 0 where every node finished. The report of failures is printed by the caller
 * from site. */
KP_CHECK int kp_steps_run(struct kp_site *site, const struct kp_step *const *phases, size_t count,
                          struct kp_err *err);
/* Takes from the node what the steps put there (steps/reset.c): stops and removes units, files by
 * the node's record, own interfaces and own chains only. Fine where little or nothing is there. */
KP_CHECK int kp_node_reset(struct kp_site *site, struct kp_site_node *node, struct kp_err *err);
